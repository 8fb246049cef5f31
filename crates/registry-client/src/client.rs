//! The client, its repositories, and what they share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use havre_oci::{Digest, Reference};
use reqwest::{Method, Url};

use crate::endpoint::{Call, Endpoint, EndpointState, Failure, Reply};
use crate::hosts::{Address, canonical_domain};
use crate::transport::Transport;
use crate::{Credentials, Hosts, Reach, RegistryError, RetryPolicy};

/// Settings of a client that no registry's configuration holds.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub user_agent: String,
    pub retry: RetryPolicy,
    /// Time for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest time without a byte.
    pub stall_timeout: Duration,
    /// Directory of `HOST/ca.crt`, as Docker's `/etc/docker/certs.d`.
    pub certs_dir: Option<std::path::PathBuf>,
    /// Where connections may lead.
    pub reach: Reach,
    /// Hosts (`HOST` or `HOST:PORT`) whose token servers get credentials, beside the registry's own; [`None`]: whichever
    /// the registry names over TLS, as Docker does it.
    pub realms: Option<Vec<String>>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            user_agent: concat!("havre/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            certs_dir: Some("/etc/docker/certs.d".into()),
            reach: Reach::default(),
            realms: None,
        }
    }
}

/// A client of any number of registries; cheap to clone, shares connections and tokens.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    hosts: Arc<Hosts>,
    transport: Arc<Transport>,
    endpoints: Mutex<HashMap<(Address, bool), Arc<EndpointState>>>,
}

/// Servers remembered at once.
const MAX_ENDPOINTS: usize = 1000;

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("hosts", &self.shared.hosts)
            .finish_non_exhaustive()
    }
}

/// One repository as seen by one user.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<RepositoryInner>,
}

struct RepositoryInner {
    /// Mirrors, then the registry itself.
    endpoints: Vec<Endpoint>,
    path: String,
    familiar_name: String,
    /// Upload sessions a registry opened when it didn't mount a blob.
    sessions: Mutex<HashMap<Digest, Url>>,
}

impl Client {
    /// A client of the registries as configured.
    pub fn new(hosts: Hosts, options: ClientOptions) -> Result<Self, RegistryError> {
        let shared = Shared {
            hosts: Arc::new(hosts),
            transport: Arc::new(Transport::new(options)),
            endpoints: Mutex::default(),
        };
        Ok(Client {
            shared: Arc::new(shared),
        })
    }

    /// The configured hosts.
    pub fn hosts(&self) -> &Hosts {
        &self.shared.hosts
    }

    /// The repository a reference lies in. Mirrors are asked without credentials, which are not theirs.
    pub fn repository(&self, reference: &Reference, credentials: &Credentials) -> Repository {
        let domain = reference.domain();
        let mirrors = self.shared.hosts.mirrors(domain).iter();
        let mut endpoints: Vec<_> = mirrors
            .map(|mirror| self.endpoint(mirror.clone(), false, &Credentials::None))
            .collect();
        endpoints.push(self.origin(domain, credentials));
        let inner = RepositoryInner {
            endpoints,
            path: reference.path().to_owned(),
            familiar_name: reference.familiar_name(),
            sessions: Mutex::default(),
        };
        Repository {
            inner: Arc::new(inner),
        }
    }

    /// As [`repository`](Self::repository), of a registry that need not prove who it is. Mirrors are not asked.
    pub fn insecure_repository(&self, reference: &Reference, credentials: &Credentials) -> Repository {
        let (address, _) = self.shared.hosts.origin(canonical_domain(reference.domain()));
        let inner = RepositoryInner {
            endpoints: vec![self.endpoint(address, true, credentials)],
            path: reference.path().to_owned(),
            familiar_name: reference.familiar_name(),
            sessions: Mutex::default(),
        };
        Repository {
            inner: Arc::new(inner),
        }
    }

    /// The server that stands for a registry.
    pub(crate) fn origin(&self, domain: &str, credentials: &Credentials) -> Endpoint {
        let (address, insecure) = self.shared.hosts.origin(canonical_domain(domain));
        self.endpoint(address, insecure, credentials)
    }

    pub(crate) fn endpoint(&self, address: Address, insecure: bool, credentials: &Credentials) -> Endpoint {
        let mut endpoints = self
            .shared
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if endpoints.len() >= MAX_ENDPOINTS {
            endpoints.clear();
        }
        let state = endpoints
            .entry((address, insecure))
            .or_insert_with_key(|(address, insecure)| {
                Arc::new(EndpointState::new(address.clone(), *insecure))
            });
        Endpoint {
            transport: Arc::clone(&self.shared.transport),
            hosts: Arc::clone(&self.shared.hosts),
            state: Arc::clone(state),
            credentials: credentials.clone(),
        }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.shared.transport
    }
}

impl Repository {
    /// The registry itself, without mirrors.
    pub(crate) fn origin(&self) -> &Endpoint {
        self.inner
            .endpoints
            .last()
            .expect("a repository has its registry")
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.inner.endpoints
    }

    /// Name as people write it.
    pub(crate) fn familiar_name(&self) -> &str {
        &self.inner.familiar_name
    }

    pub(crate) fn sessions(&self) -> &Mutex<HashMap<Digest, Url>> {
        &self.inner.sessions
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.origin().transport.options
    }

    /// `/v2/PATH/REST`.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.inner.path)
    }

    pub(crate) fn pull_scope(&self) -> String {
        format!("repository:{}:pull", self.inner.path)
    }

    pub(crate) fn push_scope(&self) -> String {
        format!("repository:{}:pull,push", self.inner.path)
    }

    /// Sends a reading request to the mirrors and the registry until one succeeds; the last answer otherwise.
    pub(crate) async fn read(&self, call: &Call<'_>) -> Result<Reply, RegistryError> {
        let (origin, mirrors) = self
            .endpoints()
            .split_last()
            .expect("a repository has its registry");
        for mirror in mirrors {
            match mirror.send(call, &self.options().retry.at_most(2)).await {
                Ok(reply) if reply.status().is_success() => return Ok(reply),
                Ok(reply) => {
                    tracing::debug!(url = %reply.url, status = %reply.status(), "mirror cannot serve")
                }
                Err(error) => tracing::debug!(%error, "mirror cannot serve"),
            }
        }
        origin.send(call, &self.options().retry).await
    }

    /// The error for a refused reading request of the repository.
    pub(crate) fn pull_error(&self, failure: Failure) -> RegistryError {
        let repository = || self.familiar_name().to_owned();
        match (failure.status.as_u16(), failure.code.as_deref()) {
            (_, Some("NAME_UNKNOWN")) => RegistryError::NameUnknown {
                repository: repository(),
                message: failure
                    .message
                    .unwrap_or_else(|| "repository name not known to registry".to_owned()),
            },
            (403, _) | (401, Some("DENIED")) => RegistryError::PullDenied {
                repository: repository(),
                message: failure
                    .message
                    .unwrap_or_else(|| "requested access to the resource is denied".to_owned()),
            },
            (401, _) if failure.insufficient => RegistryError::PullDenied {
                repository: repository(),
                message: "requested access to the resource is denied".to_owned(),
            },
            _ => failure.into_error(),
        }
    }

    /// All tags, page by page.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        crate::search::tags(self).await
    }

    pub(crate) fn call<'a>(&self, method: Method, rest: &str) -> Call<'a> {
        let scope = if matches!(method, Method::GET | Method::HEAD) {
            self.pull_scope()
        } else {
            self.push_scope()
        };
        Call::new(method, self.path(rest), scope)
    }
}
