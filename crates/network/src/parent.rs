//! Interfaces of the host that containers share (macvlan, ipvlan): found, or made for the purpose.

use std::io;

use netlink_packet_route::link::InfoKind;

use crate::endpoint::ParentDriver;
use crate::error::NetworkError;
use crate::netlink::{self, Connection};

/// The interface containers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) index: u32,
    pub(crate) mtu: u32,
}

/// What an interface that doesn't exist is made as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing<'a> {
    /// VLAN `id` of another interface.
    Vlan { link: &'a str, id: u16 },
    /// An interface that leads nowhere.
    Dummy,
}

/// What the name of a missing interface asks for; `None`: nothing can be made of it.
pub(crate) fn missing(name: &str, internal: bool) -> Option<Missing<'_>> {
    if internal && !name.contains('.') {
        return Some(Missing::Dummy);
    }
    let (link, id) = name.rsplit_once('.')?;
    let id = id.parse().ok().filter(|id| (1..=4094).contains(id))?;
    (!link.is_empty()).then_some(Missing::Vlan { link, id })
}

/// The interface of that name, if there is one.
pub(crate) fn find(name: &str) -> Result<Option<Parent>, NetworkError> {
    let links = Connection::open()
        .and_then(|mut host| host.links())
        .map_err(failed("look for", name))?;
    let link = links.into_iter().find(|link| link.name == name);
    Ok(link.map(|link| Parent {
        index: link.index,
        mtu: link.mtu,
    }))
}

/// Makes the interface as its name says.
pub(crate) fn make(driver: &ParentDriver, internal: bool) -> Result<(), NetworkError> {
    let name = driver.parent.as_str();
    let unknown = || NetworkError::ParentMissing {
        name: name.to_owned(),
    };
    let mut host = Connection::open().map_err(failed("create", name))?;
    let made = match missing(name, internal).ok_or_else(unknown)? {
        Missing::Vlan { link, id } => {
            let below = netlink::link_index(link).map_err(failed("look for", link))?;
            let below = below.ok_or_else(|| NetworkError::ParentMissing {
                name: link.to_owned(),
            })?;
            host.execute(vec![netlink::add_vlan(name, below, id)])
        }
        Missing::Dummy => match host.execute(vec![netlink::add_dummy(name, InfoKind::Dummy)]) {
            // Not every kernel has such interfaces; a bridge without ports leads nowhere as well.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {
                host.execute(vec![netlink::add_dummy(name, InfoKind::Bridge)])
            }
            outcome => outcome,
        },
    };
    made.map_err(failed("create", name))
}

/// Removes an interface that was made. There being none is no error.
pub(crate) fn remove(name: &str) -> Result<(), NetworkError> {
    let gone = Connection::open().and_then(|mut host| host.execute(vec![netlink::delete_link(name)]));
    match gone {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::NODEV.raw_os_error()) => {
            Err(failed("remove", name)(error))
        }
        _ => Ok(()),
    }
}

fn failed(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> NetworkError {
    let object = format!("the parent interface {name}");
    move |source| NetworkError::Netlink {
        action,
        object,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_to_make() {
        let vlan = |link, id| Some(Missing::Vlan { link, id });
        assert_eq!(missing("eth0.10", false), vlan("eth0", 10));
        assert_eq!(missing("bond0.1.4094", true), vlan("bond0.1", 4094));
        assert_eq!(missing("dm-0123456789ab", true), Some(Missing::Dummy));
        for (name, internal) in [
            ("eth0", false),
            ("eth0.", true),
            (".5", false),
            ("eth0.0", false),
            ("eth0.4095", true),
        ] {
            assert_eq!(missing(name, internal), None, "{name}");
        }
    }
}
