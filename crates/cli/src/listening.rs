//! Where a daemon listens beside its socket. The API is root on this machine for whoever may speak it, so an address
//! that others reach wants TLS with certificates of clients, or somebody who says that he does not.

use std::env;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use havre_api::{Identity, Listener};
use havre_engine::Listening as Configured;

use crate::args::daemon::Listening;
use crate::daemon::with_sources;
use crate::error::CliError;

/// One place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A socket more.
    Unix(PathBuf),
    /// An address, with TLS if there is an identity.
    Tcp(SocketAddr, Option<Identity>),
}

/// The places that flags and configuration name together; a flag hides the configuration's key.
pub(crate) fn places(flags: &Listening, configured: &Configured) -> Result<Vec<Place>, CliError> {
    let hosts = if flags.hosts.is_empty() {
        &configured.hosts
    } else {
        &flags.hosts
    };
    let verify = flags.tlsverify.or(configured.tlsverify);
    let tls = flags.tls.or(configured.tls);
    // As in dockerd: to speak of verifying at all switches TLS on.
    let encrypted = tls == Some(true) || verify.is_some_and(|verify| verify || tls != Some(false));
    let verified = verify == Some(true);
    let file = |flag: &Option<String>, key: &Option<String>, name: &str| {
        let named = flag.as_ref().or(key.as_ref()).map(PathBuf::from);
        named.unwrap_or_else(|| usual_directory().join(name))
    };
    let identity = encrypted.then(|| Identity {
        certificate: file(&flags.tlscert, &configured.tlscert, "cert.pem"),
        key: file(&flags.tlskey, &configured.tlskey, "key.pem"),
        clients: verified.then(|| file(&flags.tlscacert, &configured.tlscacert, "ca.pem")),
    });
    let asked_for = verify == Some(false) || tls == Some(false);
    let mut places = Vec::new();
    for host in hosts {
        let Some(address) = host.strip_prefix("tcp://") else {
            let path = host.strip_prefix("unix://").filter(|path| path.starts_with('/'));
            places.push(Place::Unix(path.ok_or_else(|| invalid(host))?.into()));
            continue;
        };
        let port = if encrypted { 2376 } else { 2375 };
        let address = resolve(address, port).ok_or_else(|| invalid(host))?;
        if !verified && !address.ip().is_loopback() && !asked_for {
            return Err(CliError::Invalid(format!(
                "refusing to listen on tcp://{address} without verifying clients: whoever reaches it would be root on this machine; \
                 use --tlsverify with --tlscacert, --tlscert and --tlskey, or, if the network is that safe, say {}",
                if encrypted {
                    "--tlsverify=false"
                } else {
                    "--tls=false"
                }
            )));
        }
        places.push(Place::Tcp(address, identity.clone()));
    }
    Ok(places)
}

impl Place {
    /// As a line of text.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Unix(path) => path.to_string_lossy().into_owned(),
            Self::Tcp(address, _) => address.to_string(),
        }
    }

    /// Binds it; what is open to strangers is told loudly.
    pub(crate) async fn bind(&self) -> Result<Listener, CliError> {
        let bound = match self {
            Self::Unix(path) => Listener::unix(path),
            Self::Tcp(address, Some(identity)) => {
                if identity.clients.is_none() {
                    tracing::warn!(%address, "listening without asking clients for certificates: whoever reaches it is root on this machine (--tlsverify)");
                }
                Listener::tls(*address, identity).await
            }
            Self::Tcp(address, None) => {
                tracing::warn!(%address, "listening without authentication: whoever reaches it is root on this machine (--tlsverify)");
                Listener::tcp(*address).await
            }
        };
        bound.map_err(|error| CliError::Invalid(with_sources(&error)))
    }
}

/// Where the certificates are that no flag names: as Docker's client and daemon have it.
fn usual_directory() -> PathBuf {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    variable("DOCKER_CERT_PATH")
        .or_else(|| variable("DOCKER_CONFIG"))
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            env::home_dir()
                .unwrap_or_else(|| PathBuf::from("/"))
                .join(".docker")
        })
}

/// `ADDRESS:PORT`, `NAME:PORT`, `:PORT` (every address), or without a port. A name is one address: its first.
fn resolve(text: &str, port: u16) -> Option<SocketAddr> {
    let text = text.trim_end_matches('/');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => (host, digits.parse().ok()?),
        _ => (text, port),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    (host, port).to_socket_addrs().ok()?.next()
}

fn invalid(host: &str) -> CliError {
    CliError::Invalid(format!(
        "invalid --host address {host:?}: use tcp://ADDRESS:PORT, such as tcp://127.0.0.1:2375, or unix:///PATH"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(hosts: &[&str]) -> Listening {
        Listening {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Listening::default()
        }
    }

    fn refusal(flags: &Listening) -> String {
        places(flags, &Configured::default()).unwrap_err().to_string()
    }

    #[test]
    fn addresses() {
        let places = |host| places(&flags(&[host]), &Configured::default());
        let plain = |text: &str| vec![Place::Tcp(text.parse().unwrap(), None)];
        assert_eq!(places("tcp://127.0.0.1:99").unwrap(), plain("127.0.0.1:99"));
        assert_eq!(places("tcp://[::1]").unwrap(), plain("[::1]:2375"));
        assert_eq!(
            places("unix:///run/x.sock").unwrap(),
            [Place::Unix("/run/x.sock".into())]
        );
        for wrong in ["127.0.0.1:2375", "tcp://127.0.0.1:port", "unix://x", "http://x:1"] {
            let error = places(wrong).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("invalid --host address {wrong:?}")),
                "{error}"
            );
        }
    }

    #[test]
    fn others_get_in_by_certificate_or_by_an_explicit_word() {
        let open = flags(&["tcp://0.0.0.0:2375"]);
        assert!(
            refusal(&open).starts_with("refusing to listen on tcp://0.0.0.0:2375 without verifying clients")
        );
        let encrypted = Listening {
            tls: Some(true),
            ..flags(&["tcp://:1"])
        };
        assert!(refusal(&encrypted).starts_with("refusing to listen on tcp://0.0.0.0:1 "));
        let insecure = Listening {
            tls: Some(false),
            ..flags(&["tcp://0.0.0.0"])
        };
        let found = places(&insecure, &Configured::default()).unwrap();
        assert_eq!(found, [Place::Tcp("0.0.0.0:2375".parse().unwrap(), None)]);
        let verified = Listening {
            tlsverify: Some(true),
            tlscert: Some("/flag".to_owned()),
            ..Listening::default()
        };
        let configured = Configured {
            hosts: vec!["tcp://0.0.0.0".to_owned()],
            tlscacert: Some("/ca".to_owned()),
            tlscert: Some("/hidden".to_owned()),
            tlskey: Some("/key".to_owned()),
            ..Configured::default()
        };
        let identity = Identity {
            certificate: "/flag".into(),
            key: "/key".into(),
            clients: Some("/ca".into()),
        };
        let found = places(&verified, &configured).unwrap();
        assert_eq!(
            found,
            [Place::Tcp("0.0.0.0:2376".parse().unwrap(), Some(identity))]
        );
    }
}
