//! Opens what a registry holds, where its configuration says it is.

use std::path::Path;
use std::sync::Arc;

use havre_bucket::Bucket;
use havre_database::{Database, Sqlite};
use havre_postgres::Postgres;
use havre_registry_store::{RegistryStore, Result, StoreError};
use tokio::runtime::Handle;

use crate::Config;

/// The file of the database beside a bucket.
const DATABASE: &str = "havre-registry.db";

impl Config {
    /// Opens or makes what is served, with `root` as its folder. Blocking; a bucket is spoken to on `runtime`.
    pub fn open(&self, root: &Path, runtime: Handle) -> Result<RegistryStore> {
        let database: Option<Arc<dyn Database>> = match &self.database {
            None => None,
            Some(server) => Some(Arc::new(Postgres::open(&server.url, server.connections)?)),
        };
        match (&self.bucket, database) {
            (None, None) => RegistryStore::open(root),
            (None, Some(database)) => RegistryStore::in_folder(root, database),
            (Some(bucket), database) => {
                let database = match database {
                    Some(database) => database,
                    None => {
                        fs_err::create_dir_all(root).map_err(|source| StoreError::Io {
                            action: "make",
                            path: root.to_owned(),
                            source,
                        })?;
                        Arc::new(Sqlite::open(&root.join(DATABASE))?)
                    }
                };
                let bucket = Bucket::open(bucket, runtime)?;
                RegistryStore::in_objects(Arc::new(bucket), database)
            }
        }
    }

    /// Where that is, for people.
    pub fn place(&self, root: &Path) -> String {
        let bytes = match &self.bucket {
            Some(bucket) => format!("the bucket {}", bucket.bucket),
            None => root.display().to_string(),
        };
        match (&self.database, &self.bucket) {
            (Some(_), _) => format!("{bytes}, with a database server,"),
            (None, Some(_)) => format!("{bytes}, with the database in {},", root.display()),
            (None, None) => bytes,
        }
    }
}
