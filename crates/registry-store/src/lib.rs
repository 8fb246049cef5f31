//! What a registry holds: repositories of blobs and manifests, tags, referrers, and uploads under way.
//!
//! Bytes lie in files, in the layout of the reference registry (`layout.rs`), so that a folder of that one is served as it is
//! and can go back. Which repository has what is in a database beside them (`schema.rs`), written in the same order always:
//! bytes, then links as the reference registry has them, then the database's transaction. What the database doesn't know does
//! not exist; a crash leaves bytes nobody knows, never a name whose bytes are missing.
//!
//! Everything blocks, and any thread may call it.

mod adopt;
mod blobs;
mod collect;
mod error;
mod files;
mod layout;
mod manifests;
mod name;
mod pages;
mod referrers;
mod schema;
mod tags;
mod uploads;

use std::path::Path;
use std::sync::Arc;

pub use blobs::Blob;
pub use collect::{Collected, Patience};
pub use error::{Result, StoreError};
pub use manifests::{PutManifest, Stored};
pub use name::{Identifier, NameError, RepositoryName, Tag};
pub use pages::Page;
pub use referrers::Referrer;
pub use uploads::{Appending, Upload};

use havre_database::{Connection, Database, Sqlite};

use crate::files::Files;
use crate::uploads::Open;

/// The largest manifest that is taken, in bytes: what the distribution specification asks for at least.
pub const MAX_MANIFEST: u64 = 4 << 20;

/// The contents of a registry.
#[derive(Clone, Debug)]
pub struct RegistryStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    database: Box<dyn Database>,
    open: Open,
}

impl RegistryStore {
    /// Opens or makes the registry in a folder. One of the reference registry is taken over as it is.
    pub fn open(root: &Path) -> Result<Self> {
        let files = Files::open(root)?;
        let database: Box<dyn Database> = Box::new(Sqlite::open(&files.database())?);
        schema::SCHEMA.prepare(&*database)?;
        let store = Self(Arc::new(Inner {
            files,
            database,
            open: Open::default(),
        }));
        store.adopt()?;
        Ok(store)
    }

    fn files(&self) -> &Files {
        &self.0.files
    }

    /// Runs a transaction that changes something, and nothing if it fails.
    fn writing<T>(&self, work: impl FnMut(&mut dyn Connection) -> Result<T>) -> Result<T> {
        self.0.database.writing(work)
    }

    /// Runs a transaction that changes nothing.
    fn reading<T>(&self, work: impl FnMut(&mut dyn Connection) -> Result<T>) -> Result<T> {
        self.0.database.reading(work)
    }
}
