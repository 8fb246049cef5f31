//! Opens what a registry holds, where its configuration says it is.

use std::path::Path;
use std::sync::Arc;

use havre_bucket::Bucket;
use havre_database::Database;
use havre_postgres::Postgres;
use havre_registry_store::{RegistryStore, Result};
use tokio::runtime::Handle;

use crate::Config;

impl Config {
    /// Opens or makes what is served, with `root` as its folder. Blocking; a bucket is spoken to on `runtime`.
    pub fn open(&self, root: &Path, runtime: Handle) -> Result<RegistryStore> {
        let database: Arc<dyn Database> = match &self.database {
            None => RegistryStore::database_in(root)?,
            Some(server) => Arc::new(Postgres::open(&server.url, server.connections)?),
        };
        match &self.bucket {
            None => RegistryStore::in_folder(root, database),
            Some(bucket) => {
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
