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

/// What a missing interface is to be made as.
fn missing(driver: &ParentDriver) -> Result<Missing<'_>, NetworkError> {
    if driver.dummy {
        return Ok(Missing::Dummy);
    }
    let unknown = || NetworkError::ParentMissing {
        name: driver.parent.clone(),
    };
    let (link, number) = driver
        .parent
        .rsplit_once('.')
        .filter(|(link, _)| !link.is_empty())
        .ok_or_else(unknown)?;
    let id = number.parse().ok().filter(|id| (1..=4094).contains(id));
    let id = id.ok_or_else(|| NetworkError::VlanOutside {
        id: number.to_owned(),
    })?;
    Ok(Missing::Vlan { link, id })
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
pub(crate) fn make(driver: &ParentDriver) -> Result<(), NetworkError> {
    let name = driver.parent.as_str();
    let mut host = Connection::open().map_err(failed("create", name))?;
    let made = match missing(driver)? {
        Missing::Vlan { link, id } => {
            let below = netlink::link_index(link).map_err(failed("look for", link))?;
            let below = below.ok_or_else(|| NetworkError::VlanLinkMissing {
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
        let driver = |parent: &str, dummy| ParentDriver {
            parent: parent.to_owned(),
            dummy,
            sharing: crate::Sharing::Macvlan(crate::MacvlanMode::Bridge),
        };
        for (name, link, id) in [("eth0.10", "eth0", 10), ("bond0.1.4094", "bond0.1", 4094)] {
            assert_eq!(
                missing(&driver(name, false)).expect("a VLAN"),
                Missing::Vlan { link, id }
            );
        }
        assert_eq!(
            missing(&driver("dm-0123", true)).expect("a dummy"),
            Missing::Dummy
        );
        for name in ["eth0", ".5"] {
            let error = missing(&driver(name, false)).expect_err(name);
            assert!(matches!(error, NetworkError::ParentMissing { .. }), "{error}");
        }
        for name in ["eth0.", "eth0.0", "eth0.4095", "eth0.x"] {
            let error = missing(&driver(name, false)).expect_err(name);
            assert!(matches!(error, NetworkError::VlanOutside { .. }), "{error}");
        }
    }
}
