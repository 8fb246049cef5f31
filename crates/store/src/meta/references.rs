//! Names of images, and the digests registries serve images under.

use havre_oci::{Descriptor, Digest, Platform};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::images::{Image, insert_image, insert_image_blobs};
use super::reference_history::append;
use super::{Meta, descriptor_json, digest, json, json_or_null, now, timestamp};
use crate::{Result, StoreError};

/// A name and the image it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Canonical name with tag: `docker.io/library/debian:12`.
    pub name: String,
    /// The image; if there are some for several platforms, the one that is meant when nobody says which.
    pub image: Digest,
    /// Its images for other platforms.
    pub others: Vec<Digest>,
    /// What the registry answered for the name (a manifest or an index), if it came from one.
    pub target: Option<Descriptor>,
    /// When it was last set.
    pub updated: Timestamp,
}

/// A digest under which a repository serves an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoDigest {
    /// Canonical repository: `docker.io/library/debian`.
    pub repository: String,
    /// Digest of the manifest or index there.
    pub digest: Digest,
    /// The image it stands for, or one of them: an index serves an image for each platform.
    pub image: Digest,
}

const COLUMNS: &str = "name, image, target, updated";

fn reference(row: &Row<'_>) -> rusqlite::Result<Reference> {
    Ok(Reference {
        name: row.get(0)?,
        image: digest(row, 1)?,
        others: Vec::new(),
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

/// What [`Meta::publish_image`] makes visible together with an image.
#[derive(Clone, Debug, Default)]
pub struct Names<'a> {
    /// Canonical names with tags.
    pub references: Vec<String>,
    /// Images for other platforms that the names stand for as well, published with it.
    pub others: Vec<Image>,
    /// What the registry answered for these names. A name that stood for the same index keeps what it had of it.
    pub target: Option<&'a Descriptor>,
    /// Repository and digest under which a registry serves the image.
    pub repo_digest: Option<(String, &'a Digest)>,
    /// Blobs that came with the image: it holds them.
    pub blobs: Vec<Digest>,
}

/// Lets `name` stand for images of different platforms: the host's, if it is among them, else `image`. Of an index that it stood
/// for already it keeps the others.
pub(super) fn insert_reference(
    transaction: &Connection,
    name: &str,
    (image, others): (&Digest, &[Digest]),
    target: Option<&Descriptor>,
    command: &str,
) -> rusqlite::Result<Result<()>> {
    for id in [image].into_iter().chain(others) {
        if !exists(transaction, id)? {
            return Ok(Err(StoreError::ImageNotFound { id: id.clone() }));
        }
    }
    let mut group = vec![image.clone()];
    group.extend(others.iter().cloned());
    if let Some(before) = find(transaction, name)?
        && let (Some(before_target), Some(target)) = (&before.target, target)
        && before_target.digest == target.digest
    {
        group.push(before.image);
        group.extend(before.others);
    }
    let image = for_the_host(transaction, &group)?.unwrap_or_else(|| image.clone());
    put(transaction, name, &image, &group, target, command)?;
    Ok(Ok(()))
}

pub(super) fn exists(transaction: &Connection, image: &Digest) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM images WHERE id = ?1")?
        .exists([image.as_str()])
}

/// Of some images the one that suits the host's platform best, the first of equals.
fn for_the_host(transaction: &Connection, images: &[Digest]) -> rusqlite::Result<Option<Digest>> {
    if images.len() < 2 {
        return Ok(None);
    }
    let host = Platform::host();
    let mut statement = transaction.prepare_cached("SELECT platform FROM images WHERE id = ?1")?;
    let mut best: Option<(u32, &Digest)> = None;
    for image in images {
        let platform: Platform = statement.query_row([image.as_str()], |row| json(row, 0))?;
        if let Some(rank) = host.rank(&platform)
            && best.is_none_or(|(known, _)| rank < known)
        {
            best = Some((rank, image));
        }
    }
    Ok(best.map(|(_, image)| image.clone()))
}

/// Writes a name with all it stands for, and a line of its history.
fn put(
    transaction: &Connection,
    name: &str,
    image: &Digest,
    group: &[Digest],
    target: Option<&Descriptor>,
    command: &str,
) -> rusqlite::Result<()> {
    let (now, target) = (now(), descriptor_json(target)?);
    transaction
        .prepare_cached("DELETE FROM ref_platforms WHERE name = ?1")?
        .execute([name])?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO refs (name, image, target, updated) VALUES (?1, ?2, ?3, ?4)")?
        .execute((name, image.as_str(), &target, now))?;
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO ref_platforms (name, image) VALUES (?1, ?2)")?;
    for other in group.iter().filter(|other| *other != image) {
        insert.execute([name, other.as_str()])?;
    }
    let (image, target) = (Some(image.as_str()), target.as_deref());
    append(transaction, name, image, target, command)
}

/// A name with all it stands for.
pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<Reference>> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM refs WHERE name = ?1"))?
        .query_row([name], reference)
        .optional()?;
    let Some(mut found) = found else { return Ok(None) };
    add_others(connection, &mut found)?;
    Ok(Some(found))
}

fn add_others(connection: &Connection, reference: &mut Reference) -> rusqlite::Result<()> {
    reference.others = connection
        .prepare_cached("SELECT image FROM ref_platforms WHERE name = ?1 ORDER BY image")?
        .query_map([&reference.name], |row| digest(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(())
}

/// Takes an image out of a name that has others: it stands for those then.
fn leave(transaction: &Connection, left: &Reference, image: &Digest, command: &str) -> rusqlite::Result<()> {
    let (name, target) = (left.name.as_str(), left.target.as_ref());
    match left.others.first() {
        Some(first) if left.image == *image => {
            let next = for_the_host(transaction, &left.others)?.unwrap_or_else(|| first.clone());
            put(transaction, name, &next, &left.others, target, command)
        }
        _ => {
            transaction
                .prepare_cached("DELETE FROM ref_platforms WHERE name = ?1 AND image = ?2")?
                .execute([name, image.as_str()])?;
            Ok(())
        }
    }
}

/// Takes an image out of all names that have others.
pub(super) fn leave_names(transaction: &Connection, image: &Digest, command: &str) -> rusqlite::Result<()> {
    let names = standing_for(transaction, image)?;
    for left in names.into_iter().chain(beside(transaction, image)?) {
        leave(transaction, &left, image, command)?;
    }
    Ok(())
}

/// The names that stand for an image among others when its platform is asked for.
fn beside(connection: &Connection, image: &Digest) -> rusqlite::Result<Vec<Reference>> {
    let names: Vec<String> = connection
        .prepare_cached("SELECT name FROM ref_platforms WHERE image = ?1 ORDER BY name")?
        .query_map([image.as_str()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let found = names.iter().map(|name| find(connection, name));
    Ok(found
        .collect::<rusqlite::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// The names that stand for an image when nobody says which platform.
fn standing_for(connection: &Connection, image: &Digest) -> rusqlite::Result<Vec<Reference>> {
    let mut found: Vec<Reference> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM refs WHERE image = ?1 ORDER BY name"
        ))?
        .query_map([image.as_str()], reference)?
        .collect::<rusqlite::Result<_>>()?;
    for reference in &mut found {
        add_others(connection, reference)?;
    }
    Ok(found)
}

/// Puts an image beside the others of a name, which stands for it if it is for the host, or if there is no such name.
pub(super) fn join_name(
    transaction: &Connection,
    name: &str,
    image: &Digest,
    target: Option<&Descriptor>,
) -> rusqlite::Result<Result<()>> {
    match find(transaction, name)? {
        None => insert_reference(transaction, name, (image, &[]), target, "undo"),
        Some(found) => {
            let mut group = vec![found.image.clone(), image.clone()];
            group.extend(found.others);
            let image = for_the_host(transaction, &group)?.unwrap_or(found.image);
            put(transaction, name, &image, &group, found.target.as_ref(), "undo")?;
            Ok(Ok(()))
        }
    }
}

pub(super) fn insert_repo_digest(
    transaction: &Connection,
    repository: &str,
    digest: &Digest,
    image: &Digest,
) -> rusqlite::Result<Result<()>> {
    if !exists(transaction, image)? {
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
        let images = || names.others.iter().chain([image]);
        let manifests = images().filter_map(|image| Some(&image.manifest.as_ref()?.digest));
        let target = names.target.map(|target| &target.digest);
        let served = names.repo_digest.as_ref().map(|(_, digest)| *digest);
        let named = manifests.chain(target).chain(served).chain(&names.blobs);
        self.leases.touch(images().map(|image| &image.id).chain(named));
        self.write("publish an image", |transaction| {
            for image in names.others.iter().chain([image]) {
                if let Err(error) = insert_image(transaction, image)? {
                    return Ok(Err(error));
                }
            }
            insert_image_blobs(transaction, &image.id, &names.blobs)?;
            let others: Vec<Digest> = names.others.iter().map(|other| other.id.clone()).collect();
            if let Some((repository, digest)) = &names.repo_digest
                && let Err(error) = insert_repo_digest(transaction, repository, digest, &image.id)?
            {
                return Ok(Err(error));
            }
            for name in &names.references {
                let group = (&image.id, others.as_slice());
                if let Err(error) = insert_reference(transaction, name, group, names.target, command)? {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })
    }

    /// Lets `name` stand for `image`, and on other platforms for `others`, and appends to its history. The images must exist.
    pub fn set_reference(
        &self,
        name: &str,
        (image, others): (&Digest, &[Digest]),
        target: Option<&Descriptor>,
        command: &str,
    ) -> Result<()> {
        self.leases.touch(target.map(|target| &target.digest));
        self.write("set a reference", |transaction| {
            insert_reference(transaction, name, (image, others), target, command)
        })
    }

    /// What `name` stands for.
    pub fn reference(&self, name: &str) -> Result<Option<Reference>> {
        self.read("find a reference", |connection| find(connection, name))
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
        let (mut references, others) = self.read("list references", |connection| {
            let references: Vec<Reference> = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM refs ORDER BY name"))?
                .query_map([], reference)?
                .collect::<rusqlite::Result<_>>()?;
            Ok((references, platforms(connection)?))
        })?;
        for (name, image) in others {
            if let Ok(place) = references.binary_search_by(|reference| reference.name.cmp(&name)) {
                references[place].others.push(image);
            }
        }
        Ok(references)
    }

    /// All images for other platforms than the one a name stands for by itself, by name.
    pub fn reference_platforms(&self) -> Result<Vec<(String, Digest)>> {
        self.read("list platforms of names", platforms)
    }

    /// The references that stand for an image when nobody says which platform, by name.
    pub fn references_to(&self, image: &Digest) -> Result<Vec<Reference>> {
        self.read("list references", |connection| standing_for(connection, image))
    }

    /// The references that stand for an image when its platform is asked for, and else for another, by name.
    pub fn references_beside(&self, image: &Digest) -> Result<Vec<Reference>> {
        self.read("list references", |connection| beside(connection, image))
    }

    /// Removes the name and appends to its history; what it stood for.
    pub fn delete_reference(&self, name: &str, command: &str) -> Result<Option<Reference>> {
        self.write_reserved("delete a reference", |transaction| {
            let found = find(transaction, name)?;
            if found.is_some() {
                transaction
                    .prepare_cached("DELETE FROM refs WHERE name = ?1")?
                    .execute([name])?;
                append(transaction, name, None, None, command)?;
            }
            Ok(Ok(found))
        })
    }

    /// Takes an image out of all names that stand for images of other platforms as well.
    pub fn leave_names(&self, image: &Digest, command: &str) -> Result<()> {
        self.write_reserved("take an image out of its names", |transaction| {
            Ok(Ok(leave_names(transaction, image, command)?))
        })
    }

    /// Takes an image out of a name that stands for images of other platforms as well; the name as it was, if the image was one
    /// of several.
    pub fn leave_name(&self, name: &str, image: &Digest, command: &str) -> Result<Option<Reference>> {
        self.write_reserved("take an image out of a name", |transaction| {
            let found = find(transaction, name)?;
            let found = found.filter(|found| {
                !found.others.is_empty() && (found.image == *image || found.others.contains(image))
            });
            if let Some(left) = &found {
                leave(transaction, left, image, command)?;
            }
            Ok(Ok(found))
        })
    }

    /// Notes that `repository` serves `image` as `digest`. The image must exist.
    pub fn add_repo_digest(&self, repository: &str, digest: &Digest, image: &Digest) -> Result<()> {
        self.leases.touch([digest]);
        self.write("note a repository digest", |transaction| {
            insert_repo_digest(transaction, repository, digest, image)
        })
    }

    /// The images that `repository` serves as `digest`, of an index one for each platform that is here: the host's first, then
    /// the one noted last.
    pub fn find_repo_digest(&self, repository: &str, digest: &Digest) -> Result<Vec<RepoDigest>> {
        self.read("find a repository digest", |connection| {
            let mut found: Vec<RepoDigest> = connection
                .prepare_cached(
                    "SELECT repository, digest, image FROM repo_digests WHERE repository = ?1 AND digest = ?2
                     ORDER BY seq DESC",
                )?
                .query_map([repository, digest.as_str()], repo_digest)?
                .collect::<rusqlite::Result<_>>()?;
            if found.len() > 1 {
                let images: Vec<Digest> = found.iter().map(|known| known.image.clone()).collect();
                let first = for_the_host(connection, &images)?;
                found.sort_by_key(|known| Some(&known.image) != first.as_ref());
            }
            Ok(found)
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

    /// Forgets that a repository serves an image as a digest; whether it did.
    pub fn delete_repo_digest(&self, served: &RepoDigest) -> Result<bool> {
        self.write_reserved("forget a repository digest", |transaction| {
            let deleted = transaction
                .prepare_cached(
                    "DELETE FROM repo_digests WHERE repository = ?1 AND digest = ?2 AND image = ?3",
                )?
                .execute([&served.repository, served.digest.as_str(), served.image.as_str()])?;
            Ok(Ok(deleted > 0))
        })
    }
}

fn platforms(connection: &Connection) -> rusqlite::Result<Vec<(String, Digest)>> {
    connection
        .prepare_cached("SELECT name, image FROM ref_platforms ORDER BY name, image")?
        .query_map([], |row| Ok((row.get(0)?, digest(row, 1)?)))?
        .collect()
}
