//! Addresses of engines.

use std::fmt;
use std::path::PathBuf;

use crate::error::CliError;

/// The socket of the engine of this machine.
pub(crate) const DEFAULT_SOCKET: &str = "/run/havre/havre.sock";
/// The data of the engine of this machine.
pub(crate) const DEFAULT_ROOT: &str = "/var/lib/havre";
/// Where an engine is that is spoken to with TLS and named by nobody: as for Docker's client.
pub(crate) const DEFAULT_TLS_HOST: &str = "tcp://localhost:2376";

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// Another machine, whose engine a command there speaks to.
    Ssh(SshHost),
}

/// `ssh://[user@]host[:port][/socket]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SshHost {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    socket: Option<String>,
}

impl Endpoint {
    /// The engine of this machine.
    pub(crate) fn local() -> Self {
        Self::Unix(PathBuf::from(DEFAULT_SOCKET))
    }

    /// Reads `unix:///path`, `tcp://host:port`, `host:port` or `ssh://user@host`.
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
            "ssh" => SshHost::parse(rest).map(Self::Ssh).map_err(|reason| {
                CliError::Invalid(format!(
                    "ssh host connection is not valid: invalid SSH URL: {reason}"
                ))
            }),
            "https" => Err(invalid(
                "TLS is asked for by --tls or --tlsverify, with a tcp:// address",
            )),
            other => Err(invalid(&format!(
                "{other}:// is not supported; unix://, tcp:// and ssh:// are"
            ))),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Ssh(host) => write!(f, "{host}"),
        }
    }
}

impl SshHost {
    /// Reads what follows `ssh://`, with the rules and words of Docker's client.
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, fragment)) = text.split_once('#') {
            return Err(format!("fragments are not allowed: {fragment:?}"));
        }
        if let Some((_, query)) = text.split_once('?') {
            return Err(format!("query parameters are not allowed: {query:?}"));
        }
        let (authority, path) = match text.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (text, String::new()),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err("plain-text password is not supported".to_owned());
        }
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let number = port.parse().map_err(|_| format!("invalid port {port:?}"))?;
                (host, Some(number))
            }
            _ => (place, None),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err("hostname is empty".to_owned());
        }
        // The socket's path goes through a shell at the other end.
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "/._-+@%,=:".contains(c));
        if path.contains(odd) {
            return Err(format!(
                "the socket {path:?} has a character that a shell there would understand"
            ));
        }
        Ok(Self {
            user: user.filter(|user| !user.is_empty()).map(str::to_owned),
            host: host.to_owned(),
            port,
            socket: (!path.trim_matches('/').is_empty()).then_some(path),
        })
    }

    /// The arguments of `ssh`, those of Docker's client. The host stands behind `--`: it cannot be an option.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut words: Vec<String> = ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
        if let Some(user) = &self.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words.extend(["--".to_owned(), self.host.clone(), "docker".to_owned()]);
        if let Some(socket) = &self.socket {
            words.extend(["--host".to_owned(), format!("unix://{socket}")]);
        }
        words.extend(["system", "dial-stdio"].map(str::to_owned));
        words
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
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
        for refused in ["https://box", "fd://", "tcp://box:port", "npipe:////./pipe/x"] {
            assert!(Endpoint::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn ssh_hosts_become_arguments() {
        let arguments = |text| match Endpoint::parse(text) {
            Ok(Endpoint::Ssh(host)) => {
                assert_eq!(host.to_string(), text);
                host.arguments().join(" ")
            }
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(
            arguments("ssh://box"),
            "-o ConnectTimeout=30 -T -- box docker system dial-stdio"
        );
        assert_eq!(
            arguments("ssh://me@[fe80::1]:2222/run/x.sock"),
            "-o ConnectTimeout=30 -T -l me -p 2222 -- fe80::1 docker --host unix:///run/x.sock system dial-stdio"
        );
        assert!(arguments("ssh://-oProxyCommand=x").contains(" -- -oProxyCommand=x docker"));
        for (text, reason) in [
            ("ssh://", "hostname is empty"),
            ("ssh://me:secret@box", "plain-text password is not supported"),
            ("ssh://box?x=1", "query parameters are not allowed: \"x=1\""),
            ("ssh://box#x", "fragments are not allowed: \"x\""),
            ("ssh://box:port", "invalid port \"port\""),
        ] {
            assert_eq!(
                Endpoint::parse(text).unwrap_err().to_string(),
                format!("ssh host connection is not valid: invalid SSH URL: {reason}")
            );
        }
        assert!(Endpoint::parse("ssh://box/run/x;reboot").is_err());
    }
}
