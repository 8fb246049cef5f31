//! What a registry holds: repositories of blobs and manifests, tags, referrers, and uploads under way.
//!
//! Bytes lie in a storage, in the layout of the reference registry (`layout.rs`), so that a folder or bucket of that one is
//! served as it is and can go back. Which repository has what is in a database (`schema.rs`), written in the same order always:
//! bytes, then links as the reference registry has them, then the database's transaction. What the database doesn't know does
//! not exist; a crash leaves bytes nobody knows, never a name whose bytes are missing.
//!
//! Everything blocks, and any thread may call it.

mod adopt;
mod blobs;
mod cached;
mod check;
mod collect;
mod deleted;
mod error;
mod files;
mod layout;
mod manifests;
mod name;
mod overview;
mod pages;
mod referrers;
mod schema;
mod storage;
mod tags;
mod uploads;

use std::path::Path;
use std::sync::Arc;

pub use blobs::{Blob, make_repository};
pub use cached::Cached;
pub use check::{Checked, Damage, How};
pub use collect::{Collected, Patience};
pub use deleted::DeletedTag;
pub use error::{Result, StoreError};
pub use manifests::{Allowed, PutManifest, Stored};
pub use name::{Identifier, NameError, RepositoryName, Tag};
pub use overview::{Share, Summary, Tagged, Usage};
pub use pages::Page;
pub use referrers::Referrer;
pub use storage::{Contents, ObjectStorage, Storage};
pub use uploads::{Appending, Upload};

use havre_database::{Connection, Database, Sqlite};

use crate::files::Files;
use crate::storage::Folder;
use crate::uploads::{FileUploads, Open, PartUploads, Uploads};

/// The largest manifest that is taken, in bytes: what the distribution specification asks for at least.
pub const MAX_MANIFEST: u64 = 4 << 20;

/// The file of the database, in the folder of a registry.
const DATABASE: &str = "havre-registry.db";

/// The contents of a registry.
#[derive(Clone, Debug)]
pub struct RegistryStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    database: Arc<dyn Database>,
    uploads: Box<dyn Uploads>,
    open: Open,
}

impl RegistryStore {
    /// Opens or makes the registry in a folder, with its database in there. One of the reference registry is taken over as it is.
    pub fn open(root: &Path) -> Result<Self> {
        Self::in_folder(root, Self::database_in(root)?)
    }

    /// Opens or makes the database in a folder.
    pub fn database_in(root: &Path) -> Result<Arc<dyn Database>> {
        fs_err::create_dir_all(root).map_err(StoreError::io("make", root))?;
        Ok(Arc::new(Sqlite::open(&root.join(DATABASE))?))
    }

    /// Opens or makes the registry in a folder, with a database elsewhere.
    pub fn in_folder(root: &Path, database: Arc<dyn Database>) -> Result<Self> {
        let folder = Folder::new(root);
        for key in [layout::REPOSITORIES, layout::BLOBS] {
            let path = folder.path(key);
            fs_err::create_dir_all(&path).map_err(StoreError::io("make", path))?;
        }
        let uploads = Box::new(FileUploads::new(folder.clone()));
        Self::over(Arc::new(folder), uploads, database)
    }

    /// Opens or makes the registry in storage that several processes share, as they share the database.
    pub fn in_objects(storage: Arc<dyn ObjectStorage>, database: Arc<dyn Database>) -> Result<Self> {
        let uploads = Box::new(PartUploads::new(Arc::clone(&storage), Arc::clone(&database)));
        Self::over(storage, uploads, database)
    }

    fn over(
        storage: Arc<dyn Storage>,
        uploads: Box<dyn Uploads>,
        database: Arc<dyn Database>,
    ) -> Result<Self> {
        schema::SCHEMA.prepare(&*database)?;
        let store = Self(Arc::new(Inner {
            files: Files { storage },
            database,
            uploads,
            open: Open::default(),
        }));
        store.adopt()?;
        Ok(store)
    }

    /// Asks storage and database whether they answer.
    pub fn ping(&self) -> Result<()> {
        self.reading(|connection| Ok(connection.query_one("SELECT 1", &[])?))?;
        self.files().storage.names(layout::BLOBS).map(drop)
    }

    /// How many blobs and manifests are stored, and their bytes, each once.
    pub fn stored(&self) -> Result<(u64, u64)> {
        self.reading(|connection| {
            let sums = "SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM blobs";
            let row = connection.query_one(sums, &[])?;
            row.map_or(Ok((0, 0)), |row| Ok((row.size(0)?, row.size(1)?)))
        })
    }

    /// The database, for tables of others beside these.
    pub fn database(&self) -> Arc<dyn Database> {
        Arc::clone(&self.0.database)
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
