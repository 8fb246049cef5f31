//! Names of images, their history, and the digests registries serve images under.

use havre_oci::{Descriptor, Digest};
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::images::{Image, insert_image};
use super::{Meta, descriptor_json, digest, json_or_null, now, timestamp};
use crate::{Result, StoreError};

/// A name and the image it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Canonical name with tag: `docker.io/library/debian:12`.
    pub name: String,
    /// The image.
    pub image: Digest,
    /// What the registry answered for the name (a manifest or an index), if it came from one.
    pub target: Option<Descriptor>,
    /// When it was last set.
    pub updated: Timestamp,
}

/// One line of a name's history.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceChange {
    /// Canonical name with tag.
    pub name: String,
    /// The image it stood for from then on; `None` when it was removed.
    pub image: Option<Digest>,
    /// What the registry answered, if it came from one.
    pub target: Option<Descriptor>,
    /// The command that did it, for people: `pull`, `tag`, `build`, `rmi`.
    pub command: String,
    /// When.
    pub at: Timestamp,
}

/// A digest under which a repository serves an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoDigest {
    /// Canonical repository: `docker.io/library/debian`.
    pub repository: String,
    /// Digest of the manifest or index there.
    pub digest: Digest,
    /// The image it stands for on this machine's platform.
    pub image: Digest,
}

const COLUMNS: &str = "name, image, target, updated";

fn reference(row: &Row<'_>) -> rusqlite::Result<Reference> {
    Ok(Reference {
        name: row.get(0)?,
        image: digest(row, 1)?,
        target: json_or_null(row, 2)?,
        updated: timestamp(row, 3)?,
    })
}

fn repo_digest(row: &Row<'_>) -> rusqlite::Result<RepoDigest> {
    Ok(RepoDigest {
        repository: row.get(0)?,
        digest: digest(row, 1)?,
        image: digest(row, 2)?,
    })
}

const APPEND_HISTORY: &str =
    "INSERT INTO ref_history (name, image, target, command, at) VALUES (?1, ?2, ?3, ?4, ?5)";

/// What [`Meta::publish_image`] makes visible together with an image.
#[derive(Clone, Debug, Default)]
pub struct Names<'a> {
    /// Canonical names with tags.
    pub references: Vec<String>,
    /// What the registry answered for these names.
    pub target: Option<&'a Descriptor>,
    /// Repository and digest under which a registry serves the image.
    pub repo_digest: Option<(String, &'a Digest)>,
}

pub(super) fn insert_reference(
    transaction: &Connection,
    name: &str,
    image: &Digest,
    target: Option<&Descriptor>,
    command: &str,
) -> rusqlite::Result<Result<()>> {
    if !transaction
        .prepare_cached("SELECT 1 FROM images WHERE id = ?1")?
        .exists([image.as_str()])?
    {
        return Ok(Err(StoreError::ImageNotFound { id: image.clone() }));
    }
    let (now, target) = (now(), descriptor_json(target)?);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO refs (name, image, target, updated) VALUES (?1, ?2, ?3, ?4)")?
        .execute((name, image.as_str(), &target, now))?;
    transaction.prepare_cached(APPEND_HISTORY)?.execute((
        name,
        Some(image.as_str()),
        &target,
        command,
        now,
    ))?;
    Ok(Ok(()))
}

pub(super) fn insert_repo_digest(
    transaction: &Connection,
    repository: &str,
    digest: &Digest,
    image: &Digest,
) -> rusqlite::Result<Result<()>> {
    if !transaction
        .prepare_cached("SELECT 1 FROM images WHERE id = ?1")?
        .exists([image.as_str()])?
    {
        return Ok(Err(StoreError::ImageNotFound { id: image.clone() }));
    }
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO repo_digests (repository, digest, image) VALUES (?1, ?2, ?3)",
        )?
        .execute((repository, digest.as_str(), image.as_str()))?;
    Ok(Ok(()))
}

impl Meta {
    /// Puts an image and its names in one transaction: whoever looks, even after a crash, sees all of it or nothing.
    pub fn publish_image(&self, image: &Image, names: &Names<'_>, command: &str) -> Result<()> {
        let manifest = image.manifest.as_ref().map(|manifest| &manifest.digest);
        let target = names.target.map(|target| &target.digest);
        let served = names.repo_digest.as_ref().map(|(_, digest)| *digest);
        self.leases.touch(
            [&image.id]
                .into_iter()
                .chain(manifest)
                .chain(target)
                .chain(served),
        );
        self.write("publish an image", |transaction| {
            if let Err(error) = insert_image(transaction, image)? {
                return Ok(Err(error));
            }
            if let Some((repository, digest)) = &names.repo_digest
                && let Err(error) = insert_repo_digest(transaction, repository, digest, &image.id)?
            {
                return Ok(Err(error));
            }
            for name in &names.references {
                if let Err(error) = insert_reference(transaction, name, &image.id, names.target, command)? {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })
    }

    /// Lets `name` stand for `image` and appends to its history. The image must exist.
    pub fn set_reference(
        &self,
        name: &str,
        image: &Digest,
        target: Option<&Descriptor>,
        command: &str,
    ) -> Result<()> {
        self.leases.touch(target.map(|target| &target.digest));
        self.write("set a reference", |transaction| {
            insert_reference(transaction, name, image, target, command)
        })
    }

    /// What `name` stands for.
    pub fn reference(&self, name: &str) -> Result<Option<Reference>> {
        self.read("find a reference", |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM refs WHERE name = ?1"))?
                .query_row([name], reference)
                .optional()
        })
    }

    /// The images that some names stand for, in the order of the names.
    pub fn named_images<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Option<Digest>>> {
        self.read("find references", |connection| {
            let mut statement = connection.prepare_cached("SELECT image FROM refs WHERE name = ?1")?;
            names
                .into_iter()
                .map(|name| statement.query_row([name], |row| digest(row, 0)).optional())
                .collect()
        })
    }

    /// All names with the images they stand for, by name: what a list of images needs of [`Meta::references`].
    pub fn reference_names(&self) -> Result<Vec<(String, Digest)>> {
        self.read("list names", |connection| {
            connection
                .prepare_cached("SELECT name, image FROM refs ORDER BY name")?
                .query_map([], |row| Ok((row.get(0)?, digest(row, 1)?)))?
                .collect()
        })
    }

    /// All references, by name.
    pub fn references(&self) -> Result<Vec<Reference>> {
        self.read("list references", |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM refs ORDER BY name"))?
                .query_map([], reference)?
                .collect()
        })
    }

    /// The references of one image, by name.
    pub fn references_to(&self, image: &Digest) -> Result<Vec<Reference>> {
        self.read("list references", |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM refs WHERE image = ?1 ORDER BY name"
                ))?
                .query_map([image.as_str()], reference)?
                .collect()
        })
    }

    /// Removes the name and appends to its history; what it stood for.
    pub fn delete_reference(&self, name: &str, command: &str) -> Result<Option<Reference>> {
        self.write_reserved("delete a reference", |transaction| {
            let deleted = transaction
                .prepare_cached(&format!("DELETE FROM refs WHERE name = ?1 RETURNING {COLUMNS}"))?
                .query_row([name], reference)
                .optional()?;
            if deleted.is_some() {
                let nothing = None::<&str>;
                transaction.prepare_cached(APPEND_HISTORY)?.execute((
                    name,
                    nothing,
                    nothing,
                    command,
                    now(),
                ))?;
            }
            Ok(Ok(deleted))
        })
    }

    /// The history of one name, newest first.
    pub fn reference_history(&self, name: &str) -> Result<Vec<ReferenceChange>> {
        self.read("read a reference's history", |connection| {
            connection
                .prepare_cached(
                    "SELECT name, image, target, command, at FROM ref_history WHERE name = ?1 ORDER BY seq DESC",
                )?
                .query_map([name], |row| {
                    Ok(ReferenceChange {
                        name: row.get(0)?,
                        image: if row.get_ref(1)? == ValueRef::Null { None } else { Some(digest(row, 1)?) },
                        target: json_or_null(row, 2)?,
                        command: row.get(3)?,
                        at: timestamp(row, 4)?,
                    })
                })?
                .collect()
        })
    }

    /// Notes that `repository` serves `image` as `digest`. The image must exist.
    pub fn add_repo_digest(&self, repository: &str, digest: &Digest, image: &Digest) -> Result<()> {
        self.leases.touch([digest]);
        self.write("note a repository digest", |transaction| {
            insert_repo_digest(transaction, repository, digest, image)
        })
    }

    /// The image that `repository` serves as `digest`, if it is known. An index may stand for one image per platform: the
    /// one noted last is meant.
    pub fn find_repo_digest(&self, repository: &str, digest: &Digest) -> Result<Option<RepoDigest>> {
        self.read("find a repository digest", |connection| {
            connection
                .prepare_cached(
                    "SELECT repository, digest, image FROM repo_digests WHERE repository = ?1 AND digest = ?2
                     ORDER BY seq DESC LIMIT 1",
                )?
                .query_row([repository, digest.as_str()], repo_digest)
                .optional()
        })
    }

    /// Under which digests registries serve this image, in the order they were noted.
    pub fn repo_digests(&self, image: &Digest) -> Result<Vec<RepoDigest>> {
        self.read("list repository digests", |connection| {
            connection
                .prepare_cached(
                    "SELECT repository, digest, image FROM repo_digests WHERE image = ?1 ORDER BY seq",
                )?
                .query_map([image.as_str()], repo_digest)?
                .collect()
        })
    }

    /// All repository digests, in the order they were noted.
    pub fn all_repo_digests(&self) -> Result<Vec<RepoDigest>> {
        self.read("list repository digests", |connection| {
            connection
                .prepare_cached("SELECT repository, digest, image FROM repo_digests ORDER BY seq")?
                .query_map([], repo_digest)?
                .collect()
        })
    }

    /// Forgets a repository digest; whether there was one.
    pub fn delete_repo_digest(&self, repository: &str, digest: &Digest) -> Result<bool> {
        self.write_reserved("forget a repository digest", |transaction| {
            let deleted = transaction
                .prepare_cached("DELETE FROM repo_digests WHERE repository = ?1 AND digest = ?2")?
                .execute([repository, digest.as_str()])?;
            Ok(Ok(deleted > 0))
        })
    }
}
