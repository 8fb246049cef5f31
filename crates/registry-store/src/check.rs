//! Whether what the database knows is what the storage has: every byte is read, and hashed.
//!
//! Damage is mended by forgetting: a blob that repositories no longer have is pushed again by the next client that needs it,
//! since it is told that it isn't there. Of manifests whose bytes are gone the tags go with them, and are named.

use std::io;

use havre_database::{Connection, now};
use havre_oci::{Digest, Digester};

use crate::blobs::{insert_blob, lock_bytes};
use crate::manifests::forget_manifest;
use crate::name::{RepositoryName, Tag};
use crate::{RegistryStore, Result, StoreError};

/// Blobs that are asked for at once.
const AT_ONCE: i64 = 500;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Blobs and manifests that were looked at, and their bytes.
    pub blobs: u64,
    pub bytes: u64,
    pub damaged: Vec<Damage>,
    /// Bytes in the storage that the database doesn't know, with their size: an upload was cut between the two.
    pub unknown: Vec<(Digest, u64)>,
}

/// Bytes that are not what they should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Damage {
    pub digest: Digest,
    pub how: How,
    /// The repositories that have it as a blob.
    pub repositories: Vec<RepositoryName>,
    /// Those that have it as a manifest, with the tags that stand for it.
    pub manifests: Vec<(RepositoryName, Vec<Tag>)>,
}

/// In which way bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    Missing,
    /// In bytes.
    Size {
        has: u64,
        expected: u64,
    },
    /// They are something else.
    Content {
        actual: Digest,
    },
}

impl RegistryStore {
    /// Reads everything, or (without `read`) only looks whether it is there. `progress` gets the bytes looked at so far.
    pub fn check(&self, read: bool, progress: &mut dyn FnMut(u64)) -> Result<Checked> {
        let mut checked = Checked::default();
        let mut last = String::new();
        loop {
            let rows = self.reading(|connection| {
                Ok(connection.query(
                    "SELECT digest, size FROM blobs WHERE digest > $1 ORDER BY digest LIMIT $2",
                    &[last.as_str().into(), AT_ONCE.into()],
                )?)
            })?;
            let Some(end) = rows.last() else { break };
            last = end.text(0)?;
            for row in rows {
                let (digest, size): (Digest, u64) = (row.parsed(0)?, row.size(1)?);
                if let Some(how) = self.damage(&digest, size, read)?
                    && let Some(damage) = self.damaged(&digest, how)?
                {
                    checked.damaged.push(damage);
                }
                checked.blobs += 1;
                checked.bytes += size;
                progress(checked.bytes);
            }
        }
        self.files().each_blob(&mut |digest| {
            if !self.reading(|connection| is_known(connection, &digest))?
                && let Some(size) = self.files().size(&digest)?
            {
                checked.unknown.push((digest, size));
            }
            Ok(())
        })?;
        Ok(checked)
    }

    /// Mends what was found, and is still so.
    pub fn repair(&self, checked: &Checked) -> Result<()> {
        for damage in &checked.damaged {
            self.forget(&damage.digest)?;
        }
        for (digest, size) in &checked.unknown {
            // From now on nobody needs them, as far as is known: they go when their time has come.
            self.writing(|connection| {
                lock_bytes(connection, digest)?;
                match self.files().size(digest)? == Some(*size) && !is_known(connection, digest)? {
                    true => insert_blob(connection, digest, *size),
                    false => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    /// What is wrong with the bytes of a blob.
    fn damage(&self, digest: &Digest, expected: u64, read: bool) -> Result<Option<How>> {
        let Some(has) = self.files().size(digest)? else {
            return Ok(Some(How::Missing));
        };
        if has != expected {
            return Ok(Some(How::Size { has, expected }));
        }
        if !read {
            return Ok(None);
        }
        let mut digester = Digester::new(digest.algorithm());
        let copied = io::copy(&mut self.files().open(digest, 0..has)?, &mut digester);
        copied.map_err(StoreError::io("read", digest.to_string()))?;
        let actual = digester.finish();
        Ok((actual != *digest).then_some(How::Content { actual }))
    }

    /// Who suffers; [`None`] if the database doesn't know the blob any more.
    fn damaged(&self, digest: &Digest, how: How) -> Result<Option<Damage>> {
        self.reading(|connection| {
            if !is_known(connection, digest)? {
                return Ok(None);
            }
            let held = connection.query(
                "SELECT repository FROM repository_blobs WHERE digest = $1 ORDER BY repository",
                &[digest.into()],
            )?;
            let repositories = held.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?;
            let mut manifests = Vec::new();
            for name in manifest_in(connection, digest)? {
                let tags = connection.query(
                    "SELECT name FROM tags WHERE repository = $1 AND digest = $2 ORDER BY name",
                    &[name.as_str().into(), digest.into()],
                )?;
                let tags = tags.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?;
                manifests.push((name, tags));
            }
            Ok(Some(Damage {
                digest: digest.clone(),
                how: how.clone(),
                repositories,
                manifests,
            }))
        })
    }

    /// Takes a blob or manifest away from everybody, and its bytes, if they are damaged still.
    fn forget(&self, digest: &Digest) -> Result<()> {
        self.writing(|connection| {
            let names = manifest_in(connection, digest)?;
            for name in &names {
                crate::blobs::lock_repository(connection, name)?;
            }
            lock_bytes(connection, digest)?;
            let row = connection.query_one("SELECT size FROM blobs WHERE digest = $1", &[digest.into()])?;
            let Some(size) = row.map(|row| row.size(0)).transpose()? else {
                return Ok(());
            };
            if self.damage(digest, size, true)?.is_none() {
                return Ok(());
            }
            for name in &names {
                forget_manifest(self, connection, name, digest)?;
            }
            let held = connection.query(
                "SELECT repository FROM repository_blobs WHERE digest = $1",
                &[digest.into()],
            )?;
            for row in held {
                self.files().unlink_layer(&row.parsed(0)?, digest)?;
            }
            for sql in [
                "DELETE FROM repository_blobs WHERE digest = $1",
                "DELETE FROM blobs WHERE digest = $1",
            ] {
                connection.execute(sql, &[digest.into()])?;
            }
            self.files().remove_blob(digest)
        })
    }

    /// Makes the database know whatever the storage says, beside what it knows: after the database was lost, or went back in
    /// time. What was deleted since comes back if its links are there.
    pub fn rebuild(&self) -> Result<()> {
        self.writing(|connection| {
            connection.execute("DELETE FROM milestones WHERE reached <= $1", &[now().into()])?;
            Ok(())
        })?;
        self.adopt()
    }
}

fn is_known(connection: &mut dyn Connection, digest: &Digest) -> Result<bool> {
    let row = connection.query_one("SELECT 1 FROM blobs WHERE digest = $1", &[digest.into()])?;
    Ok(row.is_some())
}

/// The repositories that have it as a manifest.
fn manifest_in(connection: &mut dyn Connection, digest: &Digest) -> Result<Vec<RepositoryName>> {
    let rows = connection.query(
        "SELECT repository FROM manifests WHERE digest = $1 ORDER BY repository",
        &[digest.into()],
    )?;
    Ok(rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?)
}
