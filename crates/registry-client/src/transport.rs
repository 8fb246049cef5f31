//! HTTP connections: which TLS settings a host gets, one request, and what its failures are called.

use std::collections::HashMap;
use std::error::Error as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Method, Url};

use crate::failure::network;
use crate::hosts::{Scheme, host_of};
use crate::trust::{Stamp, client_config, stamps};
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
    /// The system's certificates and those of the directory of this host, as they are now.
    Host(String, Vec<Stamp>),
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
        self.options.reach.check(url)?;
        let authority = authority_of(url);
        let trust = match url.scheme() {
            "http" => Trust::None,
            _ if insecure => Trust::Anything,
            _ => match self.host_dir(url) {
                Some(dir) => {
                    let files = stamps(&dir).map_err(|error| RegistryError::CertificateFile {
                        host: authority.clone(),
                        path: dir,
                        reason: error.to_string(),
                    })?;
                    Trust::Host(authority.clone(), files)
                }
                None => Trust::System,
            },
        };
        let host = host_of(&authority);
        let direct = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let key = Pool { trust, direct };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&key) {
            return Ok(pool.clone());
        }
        let pool = self.build(&key, &authority)?;
        if matches!(key.trust, Trust::Host(..)) {
            // Files that were exchanged or removed.
            pools.retain(|other, _| !matches!(&other.trust, Trust::Host(host, _) if *host == authority));
        }
        pools.insert(key, pool.clone());
        Ok(pool)
    }

    /// The directory of a host's certificates, when there is one.
    fn host_dir(&self, url: &Url) -> Option<PathBuf> {
        let certs_dir = self.options.certs_dir.as_ref()?;
        let host = url.host_str().filter(|host| !host.starts_with('.'))?;
        let mut names = vec![authority_of(url)];
        if url.port().is_none() {
            // Who writes the port in a reference writes it in the name of the directory.
            names.extend(url.port_or_known_default().map(|port| format!("{host}:{port}")));
        }
        names
            .into_iter()
            .map(|name| certs_dir.join(name))
            .find(|dir| dir.is_dir())
    }

    fn build(&self, key: &Pool, authority: &str) -> Result<reqwest::Client, RegistryError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.options.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.options.connect_timeout)
            .http2_adaptive_window(true)
            .tcp_nodelay(true);
        if let Some(resolver) = self.options.reach.resolver() {
            builder = builder.no_proxy().dns_resolver(Arc::new(resolver));
        } else if key.direct {
            builder = builder.no_proxy();
        }
        builder = match &key.trust {
            Trust::None => builder.tls_certs_only([]),
            Trust::System => builder.tls_backend_preconfigured(client_config(authority, &[])?),
            Trust::Host(_, files) => builder.tls_backend_preconfigured(client_config(authority, files)?),
            Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
        };
        builder.build().map_err(|error| RegistryError::Tls {
            host: authority.to_owned(),
            reason: reason(&error),
        })
    }

    /// Sends one request and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        pool: &reqwest::Client,
        request: reqwest::RequestBuilder,
        method: &Method,
        url: &Url,
    ) -> Result<reqwest::Response, RegistryError> {
        let failed = |error| network(method, url, &error, self.options.certs_dir.as_deref());
        let request = request.build().map_err(failed)?;
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
        answer.map_err(failed)
    }
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
