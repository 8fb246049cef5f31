//! Formats and identities of the container world: bytes in, values out.
//!
//! Everything here is blocking and free of side effects: names ([`Reference`]), content addresses ([`Digest`]), the
//! documents a registry serves ([`Manifest`], [`Index`], [`ImageConfig`]), the platform they are for, and layer archives
//! ([`layer`]) with their [`compression`]. All input is taken as hostile: sizes are bounded before memory is asked for,
//! and what comes out has been validated.

mod chain;
pub mod compression;
mod config;
mod descriptor;
mod digest;
mod document;
mod healthcheck;
mod history;
pub mod layer;
pub mod media_type;
mod null;
mod platform;
mod reference;
mod run_config;

pub use chain::{chain_id, chain_ids};
pub use compression::Compression;
pub use config::{ConfigError, ImageConfig, MAX_CONFIG_SIZE, RootFs};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, DigestReader, Digester};
pub use document::{Document, DocumentError, Index, MAX_DOCUMENT_SIZE, MAX_LAYERS, Manifest};
pub use healthcheck::Healthcheck;
pub use history::History;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use run_config::{Empty, RunConfig};
