//! The engine: containers, volumes, networks, events, images, builds and the system, composed over the store, the
//! runtime, the network and the image service.
//!
//! Everything here speaks domain types; the HTTP API maps to and from them. Services are reached from [`Engine`]:
//!
//! ```text
//! Engine ── containers()  create start stop wait attach exec logs list inspect archive commit export remove
//!        ├─ volumes()     named and anonymous local volumes
//!        ├─ networks()    the predefined networks
//!        ├─ images()      the image service plus in-use protection and events
//!        ├─ builds()      the builder, with containers as its executor
//!        ├─ events()      subscribe, with a bounded history
//!        └─ system()      info, version, disk usage, login
//! ```

mod builds;
mod byte_stream;
mod config;
mod containers;
pub mod duration;
mod engine;
mod error;
mod events;
mod filters;
mod images;
mod networks;
mod plan;
mod platforms;
mod remap;
mod runtimes;
mod system;
mod undo;
mod volumes;

pub use builds::{Builds, CachePruned};
pub use byte_stream::{ByteStream, Pieces, produced};
pub use config::*;
pub use containers::*;
pub use engine::{Ending, Engine, EngineOptions};
pub use error::{EngineError, ErrorKind};
pub use events::*;
pub use filters::Filters;
pub use havre_runtime::{BlockCount, ExternalRuntime, HostCpu, InterfaceStats, Stage, Stats, Timings};
pub use images::{Images, Mended};

pub use networks::*;
pub use plan::*;
pub use runtimes::RuntimeSettings;
pub use system::*;
pub use undo::*;
pub use volumes::*;

/// What every service returns.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// The image service's own types, for the edges.
pub mod image {
    pub use havre_image::*;
}

/// The store's own types, for the edges.
pub mod store {
    pub use havre_store::{LayerForm, Operation};
}

/// The builder's own types, for the edges.
pub mod build {
    pub use havre_build::*;
}

/// The registry client's own types, for the edges: credentials, login, search.
pub mod registry {
    pub use havre_registry_client::*;
}
