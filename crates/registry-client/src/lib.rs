//! Client of the OCI distribution API: resolve, authenticate, fetch, push.
//!
//! ```text
//! Client ── repository(reference, credentials) ──► Repository
//!    │                                               resolve · fetch_blob · tags · referrers
//!    │ login · search                                blob_exists · mount_blob · push_blob · push_made · push_manifest
//!    ▼
//! Hosts: which base addresses serve a registry name (mirrors first, then the endpoint), and how they may be reached
//! ```
//!
//! Everything a registry sends is hostile: manifests are bounded at 4 MiB, blobs at their descriptor's size, digests
//! are checked, credentials go only to the host they belong to. Connections that break are resumed with ranges;
//! temporary answers (429, 5xx) are asked again with exponential back-off.

mod accounts;
mod auth;
mod blob;
mod client;
mod credentials;
mod endpoint;
mod error;
mod failure;
mod hosts;
mod login;
mod manifest;
mod push;
mod reach;
mod referrers;
mod retry;
mod search;
mod transport;
mod trust;
mod verifier;

pub use accounts::Accounts;
pub use blob::{BlobStream, Source};
pub use client::{Client, ClientOptions, Repository};
pub use credentials::{Credentials, CredentialsError};
pub use error::{ErrorKind, RegistryError};
pub use hosts::{HostConfig, Hosts, HostsConfig, HostsError};
pub use login::LoginResult;
pub use manifest::Resolved;
pub use push::{BlobMaker, BlobSource, BodyStream, MountResult};
pub use reach::{PublicOnly, Reach, is_public};
pub use retry::RetryPolicy;
pub use search::{SearchResult, TagPage};
pub use verifier::Verifier;
