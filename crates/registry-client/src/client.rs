use std::time::Duration;

use havre_oci::{Descriptor, Digest, Reference};

use crate::{
    BlobSource, BlobStream, Credentials, Hosts, MountResult, RegistryError, Resolved, RetryPolicy,
    SearchResult, Source,
};

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
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            user_agent: concat!("havre/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            certs_dir: Some("/etc/docker/certs.d".into()),
        }
    }
}

/// A client of any number of registries; cheap to clone, shares connections and tokens.
#[derive(Clone)]
pub struct Client {}

/// Outcome of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginResult {
    /// "Login Succeeded".
    pub status: String,
    /// To be stored instead of the password, when the registry gives one.
    pub identity_token: Option<String>,
}

/// One repository as seen by one user.
#[derive(Clone)]
pub struct Repository {}

impl Client {
    pub fn new(hosts: Hosts, options: ClientOptions) -> Result<Self, RegistryError> {
        todo!("{hosts:?}{options:?}")
    }

    /// The repository a reference lies in.
    pub fn repository(&self, reference: &Reference, credentials: &Credentials) -> Repository {
        todo!("{reference:?}{credentials:?}")
    }

    /// Checks user name and password against a registry. `server` is a domain ("docker.io", "localhost:5000") or one of
    /// Docker's names of Docker Hub ("https://index.docker.io/v1/", "").
    pub async fn login(
        &self,
        server: &str,
        username: &str,
        password: &str,
    ) -> Result<LoginResult, RegistryError> {
        todo!("{server}{username}{password}")
    }

    /// Searches repositories: `TERM` on Docker Hub, `HOST/TERM` on another registry. At most `limit` (1 to 100) rows.
    pub async fn search(
        &self,
        term: &str,
        limit: usize,
        credentials: &Credentials,
    ) -> Result<Vec<SearchResult>, RegistryError> {
        todo!("{term}{limit}{credentials:?}")
    }
}

impl Repository {
    /// Gets the manifest or index under a tag or a digest, verified when it is a digest.
    pub async fn resolve(&self, tag_or_digest: &str) -> Result<Resolved, RegistryError> {
        todo!("{tag_or_digest}")
    }

    /// The descriptor only (HEAD); `None` when it does not exist.
    pub async fn head_manifest(&self, tag_or_digest: &str) -> Result<Option<Descriptor>, RegistryError> {
        todo!("{tag_or_digest}")
    }

    /// A blob from `offset` on.
    pub async fn fetch_blob(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        source: Source,
    ) -> Result<BlobStream, RegistryError> {
        todo!("{descriptor:?}{offset}{source:?}")
    }

    /// Reads a whole small blob, verified.
    pub async fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, RegistryError> {
        todo!("{descriptor:?}{limit}")
    }

    /// All tags, page by page.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        todo!()
    }

    /// Whether the registry already has the blob in this repository.
    pub async fn blob_exists(&self, digest: &Digest) -> Result<bool, RegistryError> {
        todo!("{digest}")
    }

    /// Asks the registry to take the blob from another of its repositories (`from`: path, e.g. "library/debian").
    pub async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<MountResult, RegistryError> {
        todo!("{digest}{from}")
    }

    /// Uploads a blob of known digest and size; `progress` gets the bytes sent so far.
    pub async fn push_blob(
        &self,
        descriptor: &Descriptor,
        source: &dyn BlobSource,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let _ = (descriptor, source, progress);
        todo!()
    }

    /// Puts a manifest under a tag or digest; the digest the registry gave it.
    pub async fn push_manifest(
        &self,
        tag_or_digest: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Digest, RegistryError> {
        todo!("{tag_or_digest}{media_type}{bytes:?}")
    }
}
