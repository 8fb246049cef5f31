//! HTTP connections: which TLS settings a host gets, one request, and what its failures are called.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use reqwest::{Certificate, Identity, Method, Url};

use crate::hosts::{Scheme, host_of};
use crate::{ClientOptions, RegistryError};

/// Connection pools, one for each way a host is trusted.
pub(crate) struct Transport {
    pub(crate) options: ClientOptions,
    pools: Mutex<HashMap<Pool, reqwest::Client>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Pool {
    trust: Trust,
    /// Loopback is never reached through a proxy.
    direct: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Trust {
    /// Plain HTTP only.
    None,
    /// The system's certificates.
    System,
    /// The system's certificates and those of the directory of this host.
    Host(String),
    /// Anything.
    Anything,
}

impl Transport {
    pub(crate) fn new(options: ClientOptions) -> Self {
        // Another part of the program may have been first; any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Transport {
            options,
            pools: Mutex::default(),
        }
    }

    /// The pool to reach an address with.
    pub(crate) fn pool(&self, url: &Url, insecure: bool) -> Result<reqwest::Client, RegistryError> {
        let authority = authority_of(url);
        let trust = match url.scheme() {
            "http" => Trust::None,
            _ if insecure => Trust::Anything,
            _ if self.host_dir(&authority).is_some() => Trust::Host(authority.clone()),
            _ => Trust::System,
        };
        let host = host_of(&authority);
        let direct = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let key = Pool { trust, direct };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&key) {
            return Ok(pool.clone());
        }
        let pool = self.build(&key, &authority)?;
        pools.insert(key, pool.clone());
        Ok(pool)
    }

    fn host_dir(&self, authority: &str) -> Option<std::path::PathBuf> {
        let dir = self.options.certs_dir.as_ref()?.join(authority);
        dir.is_dir().then_some(dir)
    }

    fn build(&self, key: &Pool, authority: &str) -> Result<reqwest::Client, RegistryError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.options.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.options.connect_timeout)
            .http2_adaptive_window(true)
            .tcp_nodelay(true);
        if key.direct {
            builder = builder.no_proxy();
        }
        let failed = |reason: String| RegistryError::Tls {
            host: authority.to_owned(),
            reason,
        };
        builder = match &key.trust {
            Trust::None => builder.tls_certs_only([]),
            Trust::System => builder,
            Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
            Trust::Host(authority) => {
                let dir = self.host_dir(authority).unwrap_or_default();
                let files = host_files(&dir).map_err(|error| failed(error.to_string()))?;
                let mut roots = Vec::new();
                for pem in &files.roots {
                    let found = Certificate::from_pem_bundle(pem).map_err(|error| failed(reason(&error)))?;
                    roots.extend(found);
                }
                if let Some(pem) = &files.identity {
                    builder =
                        builder.identity(Identity::from_pem(pem).map_err(|error| failed(reason(&error)))?);
                }
                if roots.is_empty() {
                    builder
                } else {
                    builder.tls_certs_merge(roots)
                }
            }
        };
        builder.build().map_err(|error| failed(reason(&error)))
    }

    /// Sends one request and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        pool: &reqwest::Client,
        request: reqwest::RequestBuilder,
        method: &Method,
        url: &Url,
    ) -> Result<reqwest::Response, RegistryError> {
        let request = request.build().map_err(|error| network(method, url, error))?;
        let streams = request.body().is_some_and(|body| body.as_bytes().is_none());
        let answer = pool.execute(request);
        // An upload takes as long as it takes; whoever sends it watches its progress.
        let answer = if streams {
            answer.await
        } else {
            let stall = self.options.stall_timeout + self.options.connect_timeout;
            tokio::time::timeout(stall, answer)
                .await
                .map_err(|_| stalled(method, url, stall))?
        };
        answer.map_err(|error| network(method, url, error))
    }
}

struct HostFiles {
    roots: Vec<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

/// Docker's layout: `*.crt` are roots, `NAME.cert` and `NAME.key` the client's certificate and key.
fn host_files(dir: &Path) -> io::Result<HostFiles> {
    let mut files = HostFiles {
        roots: Vec::new(),
        identity: None,
    };
    let mut paths: Vec<_> = fs_err::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => files.roots.push(fs_err::read(&path)?),
            Some("cert") if files.identity.is_none() => {
                let mut pem = fs_err::read(path.with_extension("key"))?;
                pem.push(b'\n');
                pem.extend(fs_err::read(&path)?);
                files.identity = Some(pem);
            }
            _ => {}
        }
    }
    Ok(files)
}

/// Host and port (when it isn't the scheme's) of an address.
pub(crate) fn authority_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether credentials for one address may go to the other.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

pub(crate) fn url(scheme: Scheme, authority: &str, path: &str) -> Result<Url, RegistryError> {
    let text = format!("{}://{authority}{path}", scheme.name());
    Url::parse(&text).map_err(|error| RegistryError::Protocol {
        url: text,
        reason: error.to_string(),
    })
}

/// Methods as Go's client shows them.
pub(crate) fn verb(method: &Method) -> String {
    let name = method.as_str();
    let mut verb = name.to_ascii_lowercase();
    if let Some(first) = verb.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    verb
}

/// An address fit for a message: signed queries of blob storages are secrets.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.into()
}

pub(crate) fn stalled(method: &Method, url: &Url, after: std::time::Duration) -> RegistryError {
    RegistryError::Stalled {
        method: verb(method),
        url: shown(url),
        seconds: after.as_secs(),
    }
}

/// Names what a transfer failed of, as Docker does.
pub(crate) fn network(method: &Method, url: &Url, error: reqwest::Error) -> RegistryError {
    let connect = error.is_connect();
    let mut at = url.clone();
    if connect {
        // Docker's first request to a registry is for its root, and people know the message so.
        at.set_path("/v2/");
    }
    let authority = match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    RegistryError::Network {
        method: verb(method),
        url: shown(&at),
        reason: network_reason(&error, &authority, url.host_str().unwrap_or_default()),
        connect,
        source: Some(Box::new(error.without_url())),
    }
}

fn network_reason(error: &reqwest::Error, authority: &str, host: &str) -> String {
    if error.is_timeout() && error.is_connect() {
        return format!("dial tcp {authority}: i/o timeout");
    }
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(current) = cause {
        text = current.to_string();
        if text.contains("failed to lookup address") || text.starts_with("dns error") {
            return format!("dial tcp: lookup {host}: no such host");
        }
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return tls_reason(tls);
        }
        if let Some(io) = current.downcast_ref::<io::Error>() {
            if let Some(tls) = io
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            {
                return tls_reason(tls);
            }
            match io.kind() {
                io::ErrorKind::ConnectionRefused => {
                    return format!("dial tcp {authority}: connect: connection refused");
                }
                io::ErrorKind::HostUnreachable => {
                    return format!("dial tcp {authority}: connect: no route to host");
                }
                io::ErrorKind::NetworkUnreachable => {
                    return format!("dial tcp {authority}: connect: network is unreachable");
                }
                io::ErrorKind::TimedOut => return format!("dial tcp {authority}: i/o timeout"),
                io::ErrorKind::ConnectionReset => {
                    return format!("read tcp {authority}: connection reset by peer");
                }
                io::ErrorKind::UnexpectedEof => return "unexpected EOF".to_owned(),
                _ => {}
            }
        }
        cause = current.source();
    }
    text
}

fn tls_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".to_owned(),
        rustls::Error::InvalidCertificate(certificate) => {
            format!("tls: failed to verify certificate: x509: {certificate}")
        }
        other => format!("tls: {other}"),
    }
}

/// The innermost cause in words.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        text = current.to_string();
        cause = current.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let same = |a: &str, b: &str| same_origin(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(same("https://a/x", "https://a:443/y"));
        assert!(!same("https://a/x", "http://a/x"));
        assert!(!same("https://a/x", "https://b/x"));
        assert!(!same("http://a:1/x", "http://a:2/x"));
    }

    #[test]
    fn shown_addresses_have_no_secrets() {
        let url = Url::parse("https://u:p@s3.example/b/x?X-Amz-Signature=abc").unwrap();
        assert_eq!(shown(&url), "https://s3.example/b/x");
        assert_eq!(verb(&Method::HEAD), "Head");
    }
}
