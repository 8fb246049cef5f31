//! What processes share: a storage and a database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use havre_bucket::{Bucket, BucketSettings};
use havre_database::{Database, Sqlite};
use havre_oci::Algorithm;
use havre_postgres::Postgres;
use havre_registry_store::RegistryStore;
use havre_testing::{PostgresServer, S3Server};

pub(crate) struct Shared {
    folder: tempfile::TempDir,
    postgres: Option<PostgresServer>,
    bucket: Option<S3Server>,
    runtime: tokio::runtime::Runtime,
}

impl Shared {
    fn new(postgres: bool, bucket: bool) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            postgres: postgres.then(PostgresServer::start),
            bucket: bucket.then(S3Server::start),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    pub(crate) fn folder_and_sqlite() -> Self {
        Self::new(false, false)
    }

    pub(crate) fn folder_and_postgres() -> Self {
        Self::new(true, false)
    }

    pub(crate) fn bucket_and_sqlite() -> Self {
        Self::new(false, true)
    }

    pub(crate) fn bucket_and_postgres() -> Self {
        Self::new(true, true)
    }

    /// Of the longest digests whose keys the storage takes: the bucket's service makes file names of twice a key's length.
    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.bucket {
            Some(_) => Algorithm::Sha256,
            None => Algorithm::Sha512,
        }
    }

    /// As another process.
    pub(crate) fn open(&self) -> RegistryStore {
        let database: Arc<dyn Database> = match &self.postgres {
            Some(server) => Arc::new(Postgres::open(&server.url(), 8).unwrap()),
            None => Arc::new(Sqlite::open(&self.folder.path().join("registry.db")).unwrap()),
        };
        self.over(database)
    }

    /// As another process, which has just the storage.
    pub(crate) fn open_without_database(&self) -> RegistryStore {
        self.over(Arc::new(
            Sqlite::open(&self.folder.path().join("new.db")).unwrap(),
        ))
    }

    fn over(&self, database: Arc<dyn Database>) -> RegistryStore {
        let Some(server) = &self.bucket else {
            return RegistryStore::in_folder(&self.folder(), database).unwrap();
        };
        let settings = BucketSettings {
            bucket: S3Server::BUCKET.to_owned(),
            region: Some("us-east-1".to_owned()),
            endpoint: Some(server.endpoint()),
            path_style: true,
            access_key: Some(S3Server::ACCESS_KEY.to_owned()),
            secret_key: Some(S3Server::SECRET_KEY.to_owned()),
            ..BucketSettings::default()
        };
        let bucket = Bucket::open(&settings, self.runtime.handle().clone()).unwrap();
        RegistryStore::in_objects(Arc::new(bucket), database).unwrap()
    }

    /// Where objects lie as files.
    pub(crate) fn folder(&self) -> PathBuf {
        match &self.bucket {
            Some(server) => server.folder(),
            None => self.folder.path().join("files"),
        }
    }

    /// How many objects have a component of that name.
    pub(crate) fn objects(&self, component: &str) -> usize {
        fn count(folder: &Path, component: &str, within: bool) -> usize {
            let entries = fs_err::read_dir(folder).into_iter().flatten();
            let counts = entries.map(|entry| {
                let entry = entry.unwrap();
                let within = within || entry.file_name() == component;
                match entry.file_type().unwrap().is_dir() {
                    true => count(&entry.path(), component, within),
                    false => usize::from(within),
                }
            });
            counts.sum()
        }
        count(&self.folder(), component, false)
    }
}
