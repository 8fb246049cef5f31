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
mod files;
mod filter;
mod flight;
mod history;
mod import;
mod inspect;
mod labels;
mod list;
mod load;
mod log;
mod lookup;
mod options;
mod origin;
mod packing;
mod platforms;
mod progress;
mod prune;
mod pull;
mod push;
mod relay;
mod remote;
mod remove;
mod save;
mod select;
mod service;
mod squash;
mod tag;
mod upkeep;

pub use bootstrap::BootstrapRequest;
pub use change::{ChangeError, apply_changes};
pub use create::CreateImage;
pub use error::{ErrorKind, ImageError};
pub use files::{Abandon, FileContents, ImageFiles, LayerAbout, Located, View, Watch};
pub use filter::{FilterError, Filters};
pub use havre_registry_client::{Accounts, Credentials};
pub use havre_store::{TreeEntry, TreeFile, TreeKind};
pub use history::HistoryEntry;
pub use import::ImportOptions;
pub use inspect::Inspect;
pub use list::{ListOptions, Summary};
pub use load::Loaded;
pub use log::{EntryState, HistoryError, LogEntry, Restored};
pub use options::{KeepCompressed, Limits, Options, Packing};
pub use platforms::{Attestation, PlatformSummary, Platforms};
pub use progress::{Progress, ProgressEvent, Silent};
pub use prune::{PruneOptions, PrunePlan, PruneRequest, Pruned};
pub use pull::{PlannedLayer, PullOptions, PullPlan, Pulled};
pub use push::{PushOptions, Pushed};
pub use remote::{
    Access, CopyOptions, Distribution, Freshness, NewManifest, Outdated, RemoteImage, RemoteManifest,
    RemoteTag, RemoteTags, Source, TagQuery,
};
pub use remove::{ImageUse, Keep, Planned, RemoveOptions, Removed, RemovedImage};
pub use save::{Archive, SaveOptions};
pub use service::ImageService;
pub use squash::{SquashError, SquashFrom, Squashed, Weight};
pub use upkeep::{Migrated, MigratedLayer, Object, Outcome, Problem, Remedy, Repaired, Report, Users};
