//! Everything persistent: content store, snapshotters, metadata, leases, garbage collection.
//!
//! One [`Store`] owns one root directory ([`layout`] draws it). Everything in it follows the same two rules:
//!
//! * **Aside, verified, published last.** Bytes are written to `ingest/`, checked, renamed to where they belong, and only
//!   then written into the database. A reader sees all of an object or none of it; a crash leaves only litter, which the
//!   next [`Store::open`] sweeps.
//! * **In flight means leased.** Whoever makes or uses an object before something persistent refers to it holds a
//!   [`Lease`]; [`Store::collect`] never removes what a lease, an image, a reference, a snapshot or the build cache reaches.
//!
//! The crate is blocking and has no runtime: call it from a blocking thread.

mod collect;
mod compressed;
mod content;
mod error;
mod image_removal;
mod layers;
pub mod layout;
mod lease;
mod lock;
mod meta;
mod options;
mod quotas;
mod removals;
mod reserve;
mod snapshots;
mod snapshotter;
mod spool;
mod store;
mod sync;
mod trash;

pub use collect::Freed;
pub use compressed::CompressedBlob;
pub use content::{ContentStore, ContentWriter, Ingest, IngestReader, VerifiedIngest};
pub use error::{ApplyError, Result, StoreError};
pub use image_removal::Removing;
pub use layers::{
    Checked, Converted, Damage, Layer, LayerStore, LayerTar, LayerTree, Limits, TarRange, TreeEntry,
    TreeFile, TreeKind,
};
pub use lease::Lease;
pub use meta::{
    CacheEntry, CacheRecord, DIGEST, Document, IMAGE, Image, ImageFacts, ImageRow, KeptImage, Lookup,
    LostName, Meta, Names, Operation, Reference, ReferenceChange, Removal, RemovedItem, RepoDigest, TAG,
    Taken, is_taken,
};
pub use options::{LayerForm, Probe, StoreOptions, UnknownLayerForm, Verify};
pub use removals::Removals;
pub use snapshots::{Change, ChangeKind, CommitMode, Snapshot, Snapshots, View};
pub use snapshotter::{Form, LayerFile, Outline, Shift};
pub use spool::Spool;
pub use store::Store;
