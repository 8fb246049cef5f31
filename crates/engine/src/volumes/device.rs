//! Options of the `local` driver: a volume that is mounted from somewhere while a container uses it.
//!
//! `type`, `device` and `o` are those of mount(8) and go to mount(2), as in Docker; `size` asks for a quota.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use havre_sys::mount;

use crate::containers::parse_bytes;
use crate::{EngineError, Result};

/// Where a volume's data come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device<'a> {
    kind: &'a str,
    device: &'a str,
    options: &'a str,
}

/// Refuses options nobody could mount. Gives the bytes that a volume of the store may take, if its options say so.
pub(super) fn check(
    name: &str,
    options: &BTreeMap<String, String>,
    has_quotas: impl Fn() -> bool,
) -> Result<Option<u64>> {
    let invalid = |text: String| Err(EngineError::invalid(format!("create {name}: {text}")));
    let known = |option: &&String| matches!(option.as_str(), "type" | "device" | "o" | "size");
    if let Some(option) = options.keys().find(|option| !known(option)) {
        return invalid(format!("invalid option: {option:?}"));
    }
    let named = |option: &&str| options.contains_key(*option);
    if ["o", "type", "device"].iter().any(&named)
        && let Some(missing) = ["device", "type"].into_iter().find(|option| !named(option))
    {
        return invalid(format!("missing required option: {missing:?}"));
    }
    let Some(size) = options.get("size") else {
        return Ok(None);
    };
    match parse_bytes(size) {
        None => invalid(format!("invalid size: '{size}'")),
        Some(0) => Ok(None),
        Some(_) if named(&"type") => invalid(
            "size is for volumes without a type: give what is mounted its size there, as a tmpfs with --opt o=size=SIZE".to_owned(),
        ),
        Some(_) if !has_quotas() => invalid(
            "quota size requested but no quota support: for a volume of limited size, use --opt type=tmpfs --opt \
             device=tmpfs --opt o=size=SIZE, or keep volumes on xfs mounted with pquota, or on ext4 made with -O \
             quota,project and mounted with prjquota"
                .to_owned(),
        ),
        limit => Ok(limit),
    }
}

impl<'a> Device<'a> {
    /// `None`: an ordinary directory.
    pub(super) fn of(options: &'a BTreeMap<String, String>) -> Option<Self> {
        let option = |name| options.get(name).map_or("", String::as_str);
        let device = Device {
            kind: option("type"),
            device: option("device"),
            options: option("o"),
        };
        (!device.kind.is_empty() || !device.device.is_empty()).then_some(device)
    }

    /// Mounts it at the volume's directory. Blocks as long as a server takes.
    pub(super) fn mount(&self, target: &Path) -> Result<()> {
        let failed = |text: String| {
            let place = target.display();
            EngineError::system(format!("error while mounting volume '{place}': {text}"))
        };
        if self.device.is_empty() {
            return Err(failed("missing device in volume options".to_owned()));
        }
        let (source, options) = self.resolved(resolve).map_err(failed)?;
        let device = mount::Device {
            source: &source,
            kind: self.kind,
            options: &options,
        };
        mount::device(&device, target).map_err(|error| {
            let reason = error.source.to_string();
            let reason = reason
                .split(" (os error")
                .next()
                .unwrap_or_default()
                .to_lowercase();
            failed(format!("failed to mount local volume: {error}: {reason}")).with_source(error)
        })
    }

    /// Source and options with the addresses of servers, which mount(2) wants instead of names.
    fn resolved(&self, resolve: impl Fn(&str) -> Result<IpAddr, String>) -> Result<(String, String), String> {
        let (mut source, mut options) = (self.device.to_owned(), self.options.to_owned());
        if !matches!(self.kind, "nfs" | "nfs4" | "cifs") {
            return Ok((source, options));
        }
        let is_name = |host: &str| !host.is_empty() && host.parse::<IpAddr>().is_err();
        let address = self
            .options
            .split(',')
            .find_map(|word| word.strip_prefix("addr="));
        if let Some(name) = address.filter(|address| is_name(address)) {
            options = options.replacen(&format!("addr={name}"), &format!("addr={}", resolve(name)?), 1);
        }
        if self.kind == "cifs"
            && let Some(rest) = self.device.strip_prefix("//")
        {
            let (host, share) = rest.split_once('/').unwrap_or((rest, ""));
            if is_name(host) {
                source = format!("//{}/{share}", resolve(host)?);
            }
        }
        Ok((source, options))
    }
}

fn resolve(name: &str) -> Result<IpAddr, String> {
    let failed =
        |reason: String| format!("error resolving passed in network volume address: lookup {name}: {reason}");
    let mut addresses = (name, 0)
        .to_socket_addrs()
        .map_err(|error| failed(error.to_string()))?;
    let address = addresses
        .next()
        .ok_or_else(|| failed("no such host".to_owned()))?;
    Ok(address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        pairs.collect()
    }

    #[test]
    fn what_nobody_could_mount_is_refused() {
        let refused =
            |pairs: &[(&str, &str)]| check("data", &options(pairs), || false).unwrap_err().to_string();
        assert_eq!(refused(&[("foo", "bar")]), "create data: invalid option: \"foo\"");
        assert_eq!(
            refused(&[("type", "tmpfs")]),
            "create data: missing required option: \"device\""
        );
        assert_eq!(
            refused(&[("device", "tmpfs")]),
            "create data: missing required option: \"type\""
        );
        assert_eq!(
            refused(&[("o", "bind")]),
            "create data: missing required option: \"device\""
        );
        assert_eq!(refused(&[("size", "x")]), "create data: invalid size: 'x'");
        assert!(
            refused(&[("size", "10m")])
                .starts_with("create data: quota size requested but no quota support: ")
        );
        assert!(refused(&[("size", "1.5GiB")]).contains("no quota support"));
        let size = |size, quotas: bool| check("data", &options(&[("size", size)]), || quotas);
        assert_eq!(size("0", false).unwrap(), None);
        assert_eq!(size("10k", true).unwrap(), Some(10 << 10));
        assert!(
            refused(&[("size", "1m"), ("type", "tmpfs"), ("device", "tmpfs")]).contains("without a type")
        );
        check("data", &options(&[]), || false).unwrap();
        check(
            "data",
            &options(&[("type", "none"), ("device", "/x"), ("o", "bind")]),
            || false,
        )
        .unwrap();
    }

    #[test]
    fn names_of_servers_become_addresses() {
        let resolved = |kind: &str, device: &str, o: &str| {
            let options = options(&[("type", kind), ("device", device), ("o", o)]);
            Device::of(&options).unwrap().resolved(|name| match name {
                "server" => Ok([192, 0, 2, 7].into()),
                other => Err(format!("asked for {other}")),
            })
        };
        let pair = |source: &str, options: &str| Ok((source.to_owned(), options.to_owned()));
        assert_eq!(
            resolved("nfs", ":/export", "vers=4,addr=server,ro"),
            pair(":/export", "vers=4,addr=192.0.2.7,ro")
        );
        for literal in ["addr=192.0.2.1", "addr=2001:db8::1", "rw", ""] {
            assert_eq!(resolved("nfs", ":/x", literal), pair(":/x", literal));
        }
        assert_eq!(
            resolved("cifs", "//server/share/sub", "username=u"),
            pair("//192.0.2.7/share/sub", "username=u")
        );
        assert_eq!(
            resolved("tmpfs", "tmpfs", "addr=server"),
            pair("tmpfs", "addr=server")
        );
        assert_eq!(
            resolved("nfs", ":/x", "addr=nobody"),
            Err("asked for nobody".to_owned())
        );
    }

    #[test]
    fn ordinary_volumes_have_no_device() {
        assert_eq!(Device::of(&options(&[])), None);
        assert_eq!(Device::of(&options(&[("type", ""), ("device", "")])), None);
    }
}
