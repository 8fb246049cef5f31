//! What nobody needs goes, while the registry serves: manifests whose tags were deleted, blobs that no manifest of their repository
//! names, bytes that no repository has, uploads nobody goes on with. Each only after it was left alone for some time.
//!
//! Whoever is told that a blob is there has that time to push the manifest that names it: asking [touches](RegistryStore::blob_size)
//! it. Bytes are looked at, given away and taken back within write transactions only, which lock the digest, or the repository where
//! manifests come and go: what a transaction sees unused nobody begins to use before its bytes are gone. A crash in between leaves a row
//! whose bytes are gone and which no repository has; the next upload of the bytes puts them there again.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use havre_oci::Digest;

use crate::blobs::{lock_bytes, lock_repository};
use crate::deleted::{forget_deleted, is_named_by_others, left_behind, repositories_of_deleted};
use crate::manifests::forget_manifest;
use crate::name::RepositoryName;
use crate::{RegistryStore, Result, StoreError};
use havre_database::{Connection, now};

/// Objects that are taken away in one transaction, while which nobody else writes.
const AT_ONCE: i64 = 100;

/// What went, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests whose tags were deleted too long ago to come back, with what only they needed.
    pub manifests: Vec<(RepositoryName, Digest)>,
    /// Blobs that a repository had and none of its manifests needs.
    pub unused: Vec<(RepositoryName, Digest)>,
    /// Bytes that no repository has any more, with their size.
    pub blobs: Vec<(Digest, u64)>,
    /// Uploads: repository, id, bytes.
    pub uploads: Vec<(RepositoryName, String, u64)>,
}

impl Collected {
    /// Bytes that come back.
    pub fn bytes(&self) -> u64 {
        let blobs = self.blobs.iter().map(|(_, size)| size);
        blobs.chain(self.uploads.iter().map(|(.., size)| size)).sum()
    }
}

/// How long things must have been left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub blobs: Duration,
    pub uploads: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            blobs: Duration::from_secs(24 * 3600),
            uploads: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// Milliseconds since 1970 before which something was last touched.
pub(crate) fn before(patience: Duration) -> i64 {
    now().saturating_sub(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX))
}

const UNUSED: &str =
    "SELECT repository, digest FROM repository_blobs AS held WHERE touched <= $1 AND NOT EXISTS
    (SELECT 1 FROM parts WHERE parts.repository = held.repository AND parts.digest = held.digest)
    ORDER BY repository, digest LIMIT $2";
const BARE: &str = "SELECT digest, size FROM blobs WHERE touched <= $1
    AND NOT EXISTS (SELECT 1 FROM repository_blobs WHERE repository_blobs.digest = blobs.digest)
    AND NOT EXISTS (SELECT 1 FROM manifests WHERE manifests.digest = blobs.digest)
    ORDER BY digest LIMIT $2";

impl RegistryStore {
    /// Takes away what was not needed for so long.
    pub fn collect(&self, patience: Patience) -> Result<Collected> {
        let mut collected = Collected {
            manifests: self.collect_left_behind(before(patience.blobs))?,
            ..Collected::default()
        };
        loop {
            let (unused, candidates) = self.writing(|connection| {
                let limit = before(patience.blobs);
                let candidates = unused(connection, limit, AT_ONCE)?;
                let mut gone = Vec::new();
                for (name, digest) in &candidates {
                    lock_repository(connection, name)?;
                    // As they were found, or not: manifests may have come meanwhile, or somebody may have asked.
                    let deleted = connection.execute(
                        "DELETE FROM repository_blobs WHERE repository = $1 AND digest = $2 AND touched <= $3
                         AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.repository = repository_blobs.repository
                            AND parts.digest = repository_blobs.digest)",
                        &[name.as_str().into(), digest.into(), limit.into()],
                    )?;
                    if deleted > 0 {
                        self.files().unlink_layer(name, digest)?;
                        gone.push((name.clone(), digest.clone()));
                    }
                }
                Ok((gone, candidates.len() as i64))
            })?;
            let done = candidates < AT_ONCE || unused.is_empty();
            collected.unused.extend(unused);
            if done {
                break;
            }
        }
        loop {
            let (bare, candidates) = self.writing(|connection| {
                let limit = before(patience.blobs);
                let candidates = bare(connection, limit, AT_ONCE)?;
                let mut gone = Vec::new();
                for (digest, size) in &candidates {
                    lock_bytes(connection, digest)?;
                    let deleted = connection.execute(
                        "DELETE FROM blobs WHERE digest = $1 AND touched <= $2
                         AND NOT EXISTS (SELECT 1 FROM repository_blobs WHERE repository_blobs.digest = blobs.digest)
                         AND NOT EXISTS (SELECT 1 FROM manifests WHERE manifests.digest = blobs.digest)",
                        &[digest.into(), limit.into()],
                    )?;
                    if deleted > 0 {
                        self.files().remove_blob(digest)?;
                        gone.push((digest.clone(), *size));
                    }
                }
                Ok((gone, candidates.len() as i64))
            })?;
            let done = candidates < AT_ONCE || bare.is_empty();
            collected.blobs.extend(bare);
            if done {
                break;
            }
        }
        for (name, id, size) in self.abandoned(patience.uploads)? {
            match self.cancel_upload(&name, &id) {
                Ok(()) => collected.uploads.push((name, id, size)),
                // Somebody went on with it, or ended it.
                Err(StoreError::UploadBusy | StoreError::UploadUnknown) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(collected)
    }

    fn collect_left_behind(&self, limit: i64) -> Result<Vec<(RepositoryName, Digest)>> {
        let mut manifests = Vec::new();
        for name in self.reading(|connection| repositories_of_deleted(connection, limit))? {
            let left = self.writing(|connection| {
                lock_repository(connection, &name)?;
                let left = left_behind(connection, &name, limit)?;
                for digest in &left {
                    forget_manifest(self, connection, &name, digest)?;
                }
                forget_deleted(connection, &name, limit)?;
                Ok(left)
            })?;
            manifests.extend(left.into_iter().map(|digest| (name.clone(), digest)));
        }
        Ok(manifests)
    }

    /// What [`RegistryStore::collect`] would take away now: also the bytes that nobody would have any more.
    pub fn collectable(&self, patience: Patience) -> Result<Collected> {
        let limit = before(patience.blobs);
        let mut collected = self.reading(|connection| {
            let (mut manifests, mut unused) = (Vec::new(), unused(connection, limit, i64::MAX)?);
            for name in repositories_of_deleted(connection, limit)? {
                let left = left_behind(connection, &name, limit)?;
                for digest in needed_by(connection, &name, &left, limit)? {
                    unused.push((name.clone(), digest));
                }
                manifests.extend(left.into_iter().map(|digest| (name.clone(), digest)));
            }
            unused.sort();
            let blobs = bare_then(connection, limit, &manifests, &unused)?;
            Ok(Collected {
                manifests,
                unused,
                blobs,
                uploads: Vec::new(),
            })
        })?;
        collected.uploads = self.abandoned(patience.uploads)?;
        Ok(collected)
    }

    fn abandoned(&self, patience: Duration) -> Result<Vec<(RepositoryName, String, u64)>> {
        let found = self.0.uploads.abandoned(before(patience))?;
        Ok(found
            .into_iter()
            .map(|(key, size)| (key.name, key.id, size))
            .collect())
    }
}

/// Blobs that only these manifests need.
fn needed_by(
    connection: &mut dyn Connection,
    name: &RepositoryName,
    manifests: &BTreeSet<Digest>,
    limit: i64,
) -> Result<BTreeSet<Digest>> {
    let mut needed = BTreeSet::new();
    for manifest in manifests {
        let rows = connection.query(
            "SELECT held.digest FROM parts JOIN repository_blobs AS held USING (repository, digest)
             WHERE repository = $1 AND manifest = $2 AND touched <= $3",
            &[name.as_str().into(), manifest.into(), limit.into()],
        )?;
        for row in rows {
            let digest: Digest = row.parsed(0)?;
            if !is_named_by_others(connection, name, &digest, manifests)? {
                needed.insert(digest);
            }
        }
    }
    Ok(needed)
}

/// Bytes that nobody has, once these manifests and blobs of repositories have gone.
fn bare_then(
    connection: &mut dyn Connection,
    limit: i64,
    manifests: &[(RepositoryName, Digest)],
    unused: &[(RepositoryName, Digest)],
) -> Result<Vec<(Digest, u64)>> {
    let mut blobs = bare(connection, limit, i64::MAX)?;
    // How many repositories let go of it, as a blob and as a manifest.
    let mut going: HashMap<&Digest, (u64, u64)> = HashMap::new();
    for (_, digest) in unused {
        going.entry(digest).or_default().0 += 1;
    }
    for (_, digest) in manifests {
        going.entry(digest).or_default().1 += 1;
    }
    for (digest, (held, named)) in going {
        let row = connection.query_one(
            "SELECT size, CASE WHEN touched <= $1 THEN 1 ELSE 0 END, (SELECT count(*) FROM repository_blobs WHERE repository_blobs.digest = blobs.digest),
                 (SELECT count(*) FROM manifests WHERE manifests.digest = blobs.digest)
             FROM blobs WHERE digest = $2",
            &[limit.into(), digest.into()],
        )?;
        if let Some(row) = row
            && row.integer(1)? != 0
            && row.size(2)? == held
            && row.size(3)? == named
        {
            blobs.push((digest.clone(), row.size(0)?));
        }
    }
    blobs.sort();
    Ok(blobs)
}

fn unused(connection: &mut dyn Connection, limit: i64, most: i64) -> Result<Vec<(RepositoryName, Digest)>> {
    let rows = connection.query(UNUSED, &[limit.into(), most.into()])?;
    rows.iter()
        .map(|row| Ok((row.parsed(0)?, row.parsed(1)?)))
        .collect()
}

fn bare(connection: &mut dyn Connection, limit: i64, most: i64) -> Result<Vec<(Digest, u64)>> {
    let rows = connection.query(BARE, &[limit.into(), most.into()])?;
    rows.iter()
        .map(|row| Ok((row.parsed(0)?, row.size(1)?)))
        .collect()
}
