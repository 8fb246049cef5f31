//! Addresses of engines.

use std::fmt;
use std::path::PathBuf;

use crate::error::CliError;

/// The socket of the engine of this machine.
pub(crate) const DEFAULT_SOCKET: &str = "/run/havre/havre.sock";
/// The data of the engine of this machine.
pub(crate) const DEFAULT_ROOT: &str = "/var/lib/havre";

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Endpoint {
    /// The engine of this machine.
    pub(crate) fn local() -> Self {
        Self::Unix(PathBuf::from(DEFAULT_SOCKET))
    }

    /// Reads `unix:///path`, `tcp://host:port` or `host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let invalid =
            |reason: &str| CliError::Invalid(format!("unable to parse docker host `{text}`: {reason}"));
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.is_empty() => Ok(Self::local()),
            "unix" => Ok(Self::Unix(PathBuf::from(rest))),
            "tcp" | "http" => {
                let rest = rest.trim_end_matches('/');
                let (host, port) = match rest.rsplit_once(':') {
                    Some((host, port)) if !port.ends_with(']') => (host, port),
                    _ => (rest, "2375"),
                };
                if port.parse::<u16>().is_err() {
                    return Err(invalid("the port is not a number between 0 and 65535"));
                }
                let host = if host.is_empty() { "127.0.0.1" } else { host };
                if host.contains('/') {
                    return Err(invalid("a path after the port is not supported"));
                }
                Ok(Self::Tcp(format!("{host}:{port}")))
            }
            "ssh" => Err(invalid(
                "ssh:// is not supported: forward the socket with `ssh -L ./engine.sock:/run/havre/havre.sock HOST` and use unix://./engine.sock",
            )),
            "https" => Err(invalid(
                "TLS is not supported: use unix:// or tcp:// over a tunnel",
            )),
            other => Err(invalid(&format!(
                "{other}:// is not supported, unix:// and tcp:// are"
            ))),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let parse = |text| Endpoint::parse(text).unwrap();
        assert_eq!(parse("unix:///tmp/x.sock"), Endpoint::Unix("/tmp/x.sock".into()));
        assert_eq!(parse("unix://"), Endpoint::local());
        assert_eq!(parse("tcp://10.0.0.1:99/"), Endpoint::Tcp("10.0.0.1:99".into()));
        assert_eq!(parse("tcp://box"), Endpoint::Tcp("box:2375".into()));
        assert_eq!(parse("[::1]:2376"), Endpoint::Tcp("[::1]:2376".into()));
        for refused in ["ssh://box", "https://box", "fd://", "tcp://box:port"] {
            assert!(Endpoint::parse(refused).is_err(), "{refused}");
        }
        assert!(
            Endpoint::parse("ssh://box")
                .unwrap_err()
                .to_string()
                .contains("ssh:// is not supported")
        );
    }
}
