//! What is kept of another registry: manifests whose parts need not be here, tags that were looked at some time ago.
//!
//! An index stays what it is although only one of its manifests was ever asked for. What is not asked for any more goes.

use std::time::Duration;

use havre_database::{Connection, Row, Value, now};
use havre_oci::Digest;

use crate::blobs::{TOUCH_AFTER, lock_bytes, lock_repository, touch_blob};
use crate::collect::before;
use crate::manifests::{Facts, Stored, forget_manifest, stored};
use crate::name::{Identifier, RepositoryName, Tag};
use crate::tags::{digest_of, note_change};
use crate::{RegistryStore, Result};

/// Manifests that are looked at in one transaction.
const AT_ONCE: i64 = 100;

/// A manifest that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    pub stored: Stored,
    /// How long ago the tag stood for it where it comes from; nothing, if it was asked for by its digest.
    pub age: Duration,
}

impl RegistryStore {
    /// What is kept of a tag or digest. Whoever asks uses it: it stays for a while.
    pub fn cached(&self, name: &RepositoryName, wanted: &Identifier) -> Result<Option<Cached>> {
        let found = self.reading(|connection| {
            let (digest, checked) = match wanted {
                Identifier::Digest(digest) => (digest.clone(), None),
                Identifier::Tag(tag) => match digest_of(connection, name, tag)? {
                    None => return Ok(None),
                    Some(digest) => (digest, Some(checked(connection, name, tag)?)),
                },
            };
            let Some(stored) = stored(connection, name, &digest)? else {
                return Ok(None);
            };
            Ok(Some((stored, checked, used(connection, name, &digest)?)))
        })?;
        let Some((stored, checked, used)) = found else {
            return Ok(None);
        };
        if now() - used >= TOUCH_AFTER {
            self.writing(|connection| note_use(connection, name, &stored.digest))?;
        }
        let age = now().saturating_sub(checked.unwrap_or(now()));
        Ok(Some(Cached {
            stored,
            age: Duration::from_millis(u64::try_from(age).unwrap_or(0)),
        }))
    }

    /// Keeps a manifest, and lets a tag stand for it as of now or checks it against a digest.
    pub fn put_cached(
        &self,
        name: &RepositoryName,
        wanted: &Identifier,
        content_type: &str,
        bytes: &[u8],
    ) -> Result<Digest> {
        let facts = Facts::read(bytes, Some(content_type))?;
        let digest = wanted.digest_of(bytes)?;
        self.files().write(&digest, bytes)?;
        self.writing(|connection| {
            lock_repository(connection, name)?;
            lock_bytes(connection, &digest)?;
            self.take_manifest(connection, name, wanted, &digest, bytes, &facts)?;
            note_use(connection, name, &digest)?;
            match wanted {
                Identifier::Tag(tag) => note_check(connection, name, tag),
                Identifier::Digest(_) => Ok(()),
            }
        })?;
        Ok(digest)
    }

    /// Lets a tag stand for a manifest as of now, if that is kept; whether it is.
    pub fn confirm_cached(&self, name: &RepositoryName, tag: &Tag, digest: &Digest) -> Result<bool> {
        self.writing(|connection| {
            lock_repository(connection, name)?;
            if stored(connection, name, digest)?.is_none() {
                return Ok(false);
            }
            if digest_of(connection, name, tag)?.as_ref() != Some(digest) {
                self.set_tag(connection, name, tag, digest)?;
            }
            note_check(connection, name, tag)?;
            Ok(true)
        })
    }

    /// Lets a tag go that stands for nothing any more where it comes from.
    pub fn forget_cached(&self, name: &RepositoryName, tag: &Tag) -> Result<()> {
        self.writing(|connection| {
            lock_repository(connection, name)?;
            let which = [name.as_str().into(), tag.as_str().into()];
            for sql in [
                "DELETE FROM tags WHERE repository = $1 AND name = $2",
                "DELETE FROM cached_tags WHERE repository = $1 AND name = $2",
            ] {
                connection.execute(sql, &which)?;
            }
            note_change(connection, name)?;
            self.files().unlink_tag(name, tag)
        })
    }

    /// Lets manifests go that nobody asked for in so long, with the tags that stand for them; which ones. Of repositories beneath a
    /// prefix, or of all.
    pub fn expire_cached(
        &self,
        prefix: Option<&RepositoryName>,
        patience: Duration,
    ) -> Result<Vec<(RepositoryName, Digest)>> {
        // Behind what begins with `/` comes what begins with `0`.
        let (first, behind) = match prefix {
            Some(prefix) => (format!("{prefix}/"), format!("{prefix}0")),
            None => (String::new(), "~".to_owned()),
        };
        let mut expired = Vec::new();
        loop {
            let (gone, found) = self.writing(|connection| {
                let limit = before(patience);
                let rows = connection.query(
                    "SELECT repository, digest FROM cached_manifests
                     WHERE used <= $1 AND repository >= $2 AND repository < $3 ORDER BY repository, digest LIMIT $4",
                    &[
                        limit.into(),
                        first.as_str().into(),
                        behind.as_str().into(),
                        AT_ONCE.into(),
                    ],
                )?;
                let mut gone = Vec::new();
                for row in &rows {
                    let (name, digest): (RepositoryName, Digest) = (row.parsed(0)?, row.parsed(1)?);
                    lock_repository(connection, &name)?;
                    // As it was found, or somebody asked meanwhile.
                    let deleted = connection.execute(
                        "DELETE FROM cached_manifests WHERE repository = $1 AND digest = $2 AND used <= $3",
                        &[name.as_str().into(), (&digest).into(), limit.into()],
                    )?;
                    if deleted > 0 {
                        connection.execute(
                            "DELETE FROM cached_tags WHERE repository = $1 AND name IN
                             (SELECT name FROM tags WHERE repository = $1 AND digest = $2)",
                            &[name.as_str().into(), (&digest).into()],
                        )?;
                        touch_blob(connection, &digest)?;
                        forget_manifest(self, connection, &name, &digest)?;
                        gone.push((name, digest));
                    }
                }
                Ok((gone, rows.len() as i64))
            })?;
            let done = found < AT_ONCE || gone.is_empty();
            expired.extend(gone);
            if done {
                return Ok(expired);
            }
        }
    }
}

/// When a tag was last looked at where it comes from.
fn checked(connection: &mut dyn Connection, name: &RepositoryName, tag: &Tag) -> Result<i64> {
    time(connection.query_one(
        "SELECT checked FROM cached_tags WHERE repository = $1 AND name = $2",
        &[name.as_str().into(), tag.as_str().into()],
    )?)
}

/// When a manifest was last asked for.
fn used(connection: &mut dyn Connection, name: &RepositoryName, digest: &Digest) -> Result<i64> {
    time(connection.query_one(
        "SELECT used FROM cached_manifests WHERE repository = $1 AND digest = $2",
        &[name.as_str().into(), digest.into()],
    )?)
}

/// Never, if there is no row.
fn time(row: Option<Row>) -> Result<i64> {
    Ok(row.map_or(Ok(0), |row| row.integer(0))?)
}

fn note_check(connection: &mut dyn Connection, name: &RepositoryName, tag: &Tag) -> Result<()> {
    connection.execute(
        "INSERT INTO cached_tags (repository, name, checked) VALUES ($1, $2, $3)
         ON CONFLICT (repository, name) DO UPDATE SET checked = excluded.checked",
        &[name.as_str().into(), tag.as_str().into(), now().into()],
    )?;
    Ok(())
}

fn note_use(connection: &mut dyn Connection, name: &RepositoryName, digest: &Digest) -> Result<()> {
    connection.execute(
        "INSERT INTO cached_manifests (repository, digest, used) VALUES ($1, $2, $3)
         ON CONFLICT (repository, digest) DO UPDATE SET used = excluded.used",
        &[name.as_str().into(), Value::from(digest), now().into()],
    )?;
    Ok(())
}
