//! Tags that were deleted, which come back as long as their manifests are there; and what they leave behind when that time is over.

use std::collections::BTreeSet;
use std::time::Duration;

use havre_oci::Digest;

use crate::blobs::lock_repository;
use crate::name::{RepositoryName, Tag};
use crate::tags::{digest_of, note_change};
use crate::{RegistryStore, Result, StoreError};
use havre_database::{Connection, Value, now};

/// A tag that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTag {
    pub tag: Tag,
    /// What it stood for.
    pub digest: Digest,
    /// Milliseconds since 1970.
    pub deleted: i64,
    /// What the tag stands for by now, if somebody has pushed it again.
    pub taken: Option<Digest>,
}

impl RegistryStore {
    /// Takes tags away, all of them or none: each must still stand for what is said. The manifests stay.
    pub fn delete_tags(&self, name: &RepositoryName, tags: &[(Tag, Digest)]) -> Result<()> {
        self.delete_tags_if(name, tags, &|_, _| Ok(()))
    }

    /// The same if each is `allowed`, which is asked in the transaction.
    pub fn delete_tags_if(
        &self,
        name: &RepositoryName,
        tags: &[(Tag, Digest)],
        allowed: &dyn Fn(&mut dyn Connection, &Tag) -> Result<()>,
    ) -> Result<()> {
        self.writing(|connection| {
            lock_repository(connection, name)?;
            for (tag, expected) in tags {
                match digest_of(connection, name, tag)? {
                    Some(digest) if digest == *expected => {
                        allowed(connection, tag)?;
                        self.remove_tag(connection, name, tag, &digest)?;
                    }
                    Some(_) => return Err(StoreError::TagMoved(tag.clone())),
                    None => return Err(StoreError::ManifestUnknown(tag.to_string())),
                }
            }
            Ok(())
        })
    }

    /// The tags of a repository that were deleted within the time and whose manifests are there, the last one first.
    pub fn deleted_tags(
        &self,
        name: &RepositoryName,
        within: Duration,
        limit: usize,
    ) -> Result<Vec<DeletedTag>> {
        let rows = self.reading(|connection| {
            Ok(connection.query(
                "SELECT gone.name, gone.digest, gone.deleted, tags.digest FROM deleted_tags AS gone
                 JOIN manifests ON manifests.repository = gone.repository AND manifests.digest = gone.digest
                 LEFT JOIN tags ON tags.repository = gone.repository AND tags.name = gone.name
                 WHERE gone.repository = $1 AND gone.deleted > $2
                 ORDER BY gone.deleted DESC, gone.name, gone.digest LIMIT $3",
                &[name.as_str().into(), since(within).into(), (limit as i64).into()],
            )?)
        })?;
        rows.iter()
            .map(|row| {
                let taken = row.text_or_null(3)?;
                Ok(DeletedTag {
                    tag: row.parsed(0)?,
                    digest: row.parsed(1)?,
                    deleted: row.integer(2)?,
                    taken: taken.and_then(|digest| digest.parse().ok()),
                })
            })
            .collect()
    }

    /// Lets tags stand again for what they stood for when they were deleted, all of them or none. One that was pushed again
    /// meanwhile is left alone.
    pub fn restore_tags(
        &self,
        name: &RepositoryName,
        tags: &[(Tag, Digest)],
        within: Duration,
    ) -> Result<()> {
        self.writing(|connection| {
            lock_repository(connection, name)?;
            for (tag, digest) in tags {
                if let Some(by) = digest_of(connection, name, tag)? {
                    return Err(StoreError::TagTaken { tag: tag.clone(), by });
                }
                let which = [name.as_str().into(), tag.as_str().into(), Value::from(digest)];
                let known = connection.query_one(
                    "SELECT deleted FROM deleted_tags WHERE repository = $1 AND name = $2 AND digest = $3",
                    &which,
                )?;
                let deleted = known.map(|row| row.integer(0)).transpose()?;
                if deleted.is_none_or(|deleted| deleted <= since(within)) {
                    return Err(StoreError::NotDeleted(tag.clone()));
                }
                let there = connection.query_one(
                    "SELECT 1 FROM manifests WHERE repository = $1 AND digest = $2",
                    &[name.as_str().into(), digest.into()],
                )?;
                if there.is_none() {
                    return Err(StoreError::ManifestUnknown(digest.to_string()));
                }
                connection.execute(
                    "DELETE FROM deleted_tags WHERE repository = $1 AND name = $2 AND digest = $3",
                    &which,
                )?;
                self.set_tag(connection, name, tag, digest)?;
            }
            Ok(())
        })
    }

    /// Takes a tag away that stands for the digest, and remembers it.
    pub(crate) fn remove_tag(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<()> {
        connection.execute(
            "DELETE FROM tags WHERE repository = $1 AND name = $2",
            &[name.as_str().into(), tag.as_str().into()],
        )?;
        connection.execute(
            "INSERT INTO deleted_tags (repository, name, digest, deleted) VALUES ($1, $2, $3, $4)
             ON CONFLICT (repository, name, digest) DO UPDATE SET deleted = excluded.deleted",
            &[
                name.as_str().into(),
                tag.as_str().into(),
                digest.into(),
                now().into(),
            ],
        )?;
        note_change(connection, name)?;
        self.files().unlink_tag(name, tag)
    }
}

/// The repositories of tags that were deleted before `limit` (milliseconds since 1970), sorted.
pub(crate) fn repositories_of_deleted(
    connection: &mut dyn Connection,
    limit: i64,
) -> Result<Vec<RepositoryName>> {
    let rows = connection.query(
        "SELECT DISTINCT repository FROM deleted_tags WHERE deleted <= $1 ORDER BY repository",
        &[limit.into()],
    )?;
    Ok(rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?)
}

/// The manifests of a repository that tags stood for which were deleted before `limit`, and those that only these need or that only
/// refer to them: nothing else names them, and nobody pushed them since. Sorted.
pub(crate) fn left_behind(
    connection: &mut dyn Connection,
    name: &RepositoryName,
    limit: i64,
) -> Result<BTreeSet<Digest>> {
    let rows = connection.query(
        "SELECT DISTINCT digest FROM deleted_tags WHERE repository = $1 AND deleted <= $2",
        &[name.as_str().into(), limit.into()],
    )?;
    let mut left = BTreeSet::new();
    let mut waiting: Vec<Digest> = rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?;
    while let Some(digest) = waiting.pop() {
        if left.contains(&digest) || is_needed(connection, name, &digest, limit, &left)? {
            continue;
        }
        let close = connection.query(
            "SELECT manifests.digest FROM parts JOIN manifests USING (repository, digest)
                 WHERE parts.repository = $1 AND parts.manifest = $2
             UNION SELECT digest FROM manifests WHERE repository = $1 AND subject = $2",
            &[name.as_str().into(), Value::from(&digest)],
        )?;
        for row in close {
            waiting.push(row.parsed(0)?);
        }
        left.insert(digest);
    }
    Ok(left)
}

/// Whether a manifest stays, or isn't there. `going`: those that don't.
fn is_needed(
    connection: &mut dyn Connection,
    name: &RepositoryName,
    digest: &Digest,
    limit: i64,
    going: &BTreeSet<Digest>,
) -> Result<bool> {
    let alone = connection.query_one(
        "SELECT 1 FROM manifests JOIN blobs USING (digest)
         WHERE manifests.repository = $1 AND digest = $2 AND touched <= $3 AND added <= $3
         AND NOT EXISTS (SELECT 1 FROM tags WHERE repository = $1 AND digest = $2)
         AND NOT EXISTS (SELECT 1 FROM deleted_tags WHERE repository = $1 AND digest = $2 AND deleted > $3)",
        &[name.as_str().into(), digest.into(), limit.into()],
    )?;
    if alone.is_none() {
        return Ok(true);
    }
    is_named_by_others(connection, name, digest, going)
}

/// Whether a manifest of the repository that isn't one of these names a blob or manifest.
pub(crate) fn is_named_by_others(
    connection: &mut dyn Connection,
    name: &RepositoryName,
    digest: &Digest,
    these: &BTreeSet<Digest>,
) -> Result<bool> {
    let naming = connection.query(
        "SELECT manifest FROM parts WHERE repository = $1 AND digest = $2",
        &[name.as_str().into(), digest.into()],
    )?;
    for row in naming {
        if !these.contains(&row.parsed(0)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets tags that were deleted before `limit`: they can't come back.
pub(crate) fn forget_deleted(
    connection: &mut dyn Connection,
    name: &RepositoryName,
    limit: i64,
) -> Result<()> {
    connection.execute(
        "DELETE FROM deleted_tags WHERE repository = $1 AND deleted <= $2",
        &[name.as_str().into(), limit.into()],
    )?;
    Ok(())
}

/// Milliseconds since 1970 after which something happened within the time.
fn since(within: Duration) -> i64 {
    now().saturating_sub(i64::try_from(within.as_millis()).unwrap_or(i64::MAX))
}
