//! Requests to addresses that others chose: never to what only this network has, unless that was allowed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether everybody reaches this address, not just those of some network or machine (IANA's registries of special purpose
/// addresses).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Shared by providers' customers, assignments of protocols, measurements.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // What stands for an address of version 4 reaches what that one does.
    let inner = match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    };
    if let Some(inner) = inner {
        return is_public_v4(inner);
    }
    // Global unicast, without documentation and what is for protocols.
    let [first, second, ..] = segments;
    (0x2000..0x4000).contains(&first)
        && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
        && first != 0x3fff
}

/// Looks names up, and finds public addresses only.
#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                let refused = format!("{} has no address outside this network", name.as_str());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, refused).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Speaks to the outside.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    public: reqwest::Client,
    any: reqwest::Client,
}

impl Outside {
    pub(crate) fn new() -> reqwest::Result<Self> {
        // What speaks TLS in here takes the process's provider; another one that was set does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                // Where an answer leads was not chosen by who may choose.
                .redirect(Policy::none())
                .user_agent(concat!("havre-registry/", env!("CARGO_PKG_VERSION")))
                .timeout(PATIENCE)
        };
        Ok(Self {
            // A proxy would look names up itself.
            public: builder().no_proxy().dns_resolver(Arc::new(PublicOnly)).build()?,
            any: builder().build()?,
        })
    }

    /// The client for an address, which is `literal` if it is no name; [`None`] if it must not be spoken to.
    pub(crate) fn client(&self, literal: Option<IpAddr>, private: bool) -> Option<&reqwest::Client> {
        match (private, literal) {
            (true, _) => Some(&self.any),
            (false, Some(address)) if !is_public(address) => None,
            (false, _) => Some(&self.public),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_network_are_not_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "203.0.113.9",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:a00:1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "fec0::1",
            "100::1",
        ] {
            assert!(!is_public(private.parse().expect("an address")), "{private}");
        }
        for public in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "8.8.8.8",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::",
        ] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_are_not_looked_up() {
        let outside = Outside::new().expect("a client");
        assert!(
            outside
                .client(Some("127.0.0.1".parse().expect("an address")), false)
                .is_none()
        );
        let client = outside.client(None, false).expect("a client");
        let error = client
            .get("http://localhost:1/")
            .send()
            .await
            .expect_err("it is here");
        let mut text = String::new();
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = source {
            text.push_str(&error.to_string());
            source = error.source();
        }
        assert!(text.contains("outside this network"), "{text}");
    }
}
