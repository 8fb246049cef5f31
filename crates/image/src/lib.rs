//! The image service: pull, push, unpack, load, save, import, tag, list, history, remove.
//!
//! ```text
//! registry ──pull──► content (manifest, config, blobs) + layers (unpacked) ──► image row + reference, written last
//!          ◄──push──
//! tar file ──load / import──►                           ──save──► tar stream
//! ```
//!
//! One [`ImageService`] per store. Calls are asynchronous; decompression, hashing and files run on blocking threads.
//! Everything in flight holds a lease of the store; dropping a call cancels it and keeps partial downloads.

mod bootstrap;
mod change;
mod create;
mod error;
mod filter;
mod flight;
mod history;
mod import;
mod inspect;
mod labels;
mod list;
mod load;
mod lookup;
mod options;
mod origin;
mod packing;
mod progress;
mod prune;
mod pull;
mod push;
mod relay;
mod remote;
mod remove;
mod save;
mod service;
mod tag;
mod upkeep;

pub use bootstrap::BootstrapRequest;
pub use change::{ChangeError, apply_changes};
pub use create::CreateImage;
pub use error::{ErrorKind, ImageError};
pub use filter::{FilterError, Filters};
pub use havre_registry_client::Credentials;
pub use history::HistoryEntry;
pub use import::ImportOptions;
pub use inspect::Inspect;
pub use list::{ListOptions, Summary};
pub use load::Loaded;
pub use options::{KeepCompressed, Limits, Options, Packing};
pub use progress::{Progress, ProgressEvent, Silent};
pub use prune::{PruneOptions, PrunePlan, PruneRequest, Pruned};
pub use pull::{PullOptions, Pulled};
pub use push::{PushOptions, Pushed};
pub use remote::{Access, Distribution, NewIndex, RemoteManifest};
pub use remove::{ImageUse, Keep, RemoveOptions, Removed, RemovedImage};
pub use save::Archive;
pub use service::ImageService;
pub use upkeep::{
    Credential, Migrated, MigratedLayer, Object, Outcome, Problem, Remedy, Repaired, Report, Users,
};
