//! Blobs of repositories.

use std::io::Read as _;
use std::ops::Range;

use havre_oci::Digest;

use crate::name::RepositoryName;
use crate::storage::Contents;
use crate::{RegistryStore, Result, StoreError};
use havre_database::{Connection, Value, now};

/// What was touched so many milliseconds ago is not touched again.
pub(crate) const TOUCH_AFTER: i64 = 60 * 60 * 1000;

/// The bytes of a blob.
#[derive(Debug)]
pub struct Blob {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    store: RegistryStore,
}

impl Blob {
    /// A part of the bytes, as they come.
    pub fn open(&self, range: Range<u64>) -> Result<Contents> {
        self.store.files().open(&self.digest, range)
    }

    /// A small part of the bytes.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let size = range.end - range.start;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        let read = self.open(range)?.read_to_end(&mut bytes);
        match read {
            Ok(read) if read as u64 == size => Ok(bytes),
            Ok(_) => Err(StoreError::BytesMissing(self.digest.clone())),
            Err(source) => Err(StoreError::io("read", self.digest.to_string())(source)),
        }
    }

    /// Where a client can read all the bytes itself for a while, if it may.
    pub fn url(&self) -> Result<Option<String>> {
        self.store.files().url(&self.digest)
    }
}

impl RegistryStore {
    /// The size of a repository's blob in bytes, if it has it. Whoever is told so may count on it for a while.
    pub fn blob_size(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        let which = [name.as_str().into(), Value::from(digest)];
        let found = self.reading(|connection| {
            let row = connection.query_one(
                "SELECT size, held.touched FROM repository_blobs AS held JOIN blobs USING (digest)
                 WHERE repository = $1 AND digest = $2",
                &which,
            )?;
            row.map(|row| Ok((row.size(0)?, row.integer(1)?))).transpose()
        })?;
        let Some((size, touched)) = found else {
            return Ok(None);
        };
        if now() - touched < TOUCH_AFTER {
            return Ok(Some(size));
        }
        // It may have gone meanwhile.
        let still = self.writing(|connection| {
            Ok(connection.execute(
                "UPDATE repository_blobs SET touched = $1 WHERE repository = $2 AND digest = $3",
                &[now().into(), name.as_str().into(), digest.into()],
            )?)
        })?;
        Ok((still > 0).then_some(size))
    }

    /// Opens a repository's blob for reading.
    pub fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Blob> {
        let unknown = || StoreError::BlobUnknown(digest.clone());
        let size = self.blob_size(name, digest)?.ok_or_else(unknown)?;
        Ok(Blob {
            digest: digest.clone(),
            size,
            store: self.clone(),
        })
    }

    /// Lets a repository have a blob that another has; whether that one has it.
    pub fn mount(&self, from: &RepositoryName, to: &RepositoryName, digest: &Digest) -> Result<bool> {
        self.writing(|connection| {
            lock_bytes(connection, digest)?;
            if size_in(connection, from, digest)?.is_none() {
                return Ok(false);
            }
            self.give(connection, to, digest)?;
            Ok(true)
        })
    }

    /// Repositories that have a blob, a thousand of them at most.
    pub fn holders(&self, digest: &Digest) -> Result<Vec<RepositoryName>> {
        self.reading(|connection| {
            let rows = connection.query(
                "SELECT repository FROM repository_blobs WHERE digest = $1 ORDER BY repository LIMIT 1000",
                &[digest.into()],
            )?;
            Ok(rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?)
        })
    }

    /// Lets a repository have a blob that some repository has, whichever; whether one does.
    pub fn mount_any(&self, to: &RepositoryName, digest: &Digest) -> Result<bool> {
        self.writing(|connection| {
            lock_bytes(connection, digest)?;
            let held = "SELECT 1 FROM repository_blobs WHERE digest = $1 LIMIT 1";
            if connection.query_one(held, &[digest.into()])?.is_none() {
                return Ok(false);
            }
            self.give(connection, to, digest)?;
            Ok(true)
        })
    }

    /// Takes a blob away from a repository. One that a manifest of it needs stays.
    pub fn delete_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        self.writing(|connection| {
            lock_repository(connection, name)?;
            if size_in(connection, name, digest)?.is_none() {
                return Err(StoreError::BlobUnknown(digest.clone()));
            }
            refuse_if_used(connection, name, digest)?;
            connection.execute(
                "DELETE FROM repository_blobs WHERE repository = $1 AND digest = $2",
                &[name.as_str().into(), digest.into()],
            )?;
            touch_blob(connection, digest)?;
            self.files().unlink_layer(name, digest)
        })
    }

    /// Lets a repository have a blob whose bytes are there.
    pub(crate) fn give(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<()> {
        make_repository(connection, name)?;
        connection.execute(
            "INSERT INTO repository_blobs (repository, digest, touched) VALUES ($1, $2, $3)
             ON CONFLICT (repository, digest) DO UPDATE SET touched = excluded.touched",
            &[name.as_str().into(), digest.into(), now().into()],
        )?;
        self.files().link_layer(name, digest)
    }
}

/// While bytes are given to a repository or taken away. After the [repository](lock_repository), if both are locked.
pub(crate) fn lock_bytes(connection: &mut dyn Connection, digest: &Digest) -> Result<()> {
    Ok(connection.lock(digest.as_str())?)
}

/// While manifests of a repository come or go, or what they need.
pub(crate) fn lock_repository(connection: &mut dyn Connection, name: &RepositoryName) -> Result<()> {
    Ok(connection.lock(name.as_str())?)
}

/// Lets a repository be there, also if nothing is in it. For transactions of others beside the store's.
pub fn make_repository(connection: &mut dyn Connection, name: &RepositoryName) -> Result<()> {
    connection.execute(
        "INSERT INTO repositories (name, created) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        &[name.as_str().into(), now().into()],
    )?;
    Ok(())
}

/// Tells the database of bytes that are in the files.
pub(crate) fn insert_blob(connection: &mut dyn Connection, digest: &Digest, size: u64) -> Result<()> {
    connection.execute(
        "INSERT INTO blobs (digest, size, touched) VALUES ($1, $2, $3)
             ON CONFLICT (digest) DO UPDATE SET touched = excluded.touched",
        &[digest.into(), (size as i64).into(), now().into()],
    )?;
    Ok(())
}

/// From now on the bytes are left alone for a while, needed or not.
pub(crate) fn touch_blob(connection: &mut dyn Connection, digest: &Digest) -> Result<()> {
    connection.execute(
        "UPDATE blobs SET touched = $1 WHERE digest = $2",
        &[now().into(), digest.into()],
    )?;
    Ok(())
}

pub(crate) fn size_in(
    connection: &mut dyn Connection,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Option<u64>> {
    let row = connection.query_one(
        "SELECT size FROM repository_blobs JOIN blobs USING (digest) WHERE repository = $1 AND digest = $2",
        &[name.as_str().into(), digest.into()],
    )?;
    Ok(row.map(|row| row.size(0)).transpose()?)
}

/// An error if a manifest of the repository names the blob or manifest.
pub(crate) fn refuse_if_used(
    connection: &mut dyn Connection,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<()> {
    let by = connection.query_one(
        "SELECT manifest FROM parts WHERE repository = $1 AND digest = $2 LIMIT 1",
        &[name.as_str().into(), digest.into()],
    )?;
    match by {
        None => Ok(()),
        Some(row) => Err(StoreError::InUse {
            digest: digest.clone(),
            by: row.parsed(0)?,
        }),
    }
}
