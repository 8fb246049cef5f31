//! Images, tags and repository digests in the journal of removals. What an image is made of is held for it by rows of its own,
//! which a collection sees as it sees those of images.

use havre_oci::{Descriptor, Digest, Platform};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::images::{Image, image_blobs, insert_image, insert_image_blobs};
use super::references::{
    Reference, RepoDigest, exists, find, insert_reference, insert_repo_digest, join_name,
};
use super::removals::{COLUMNS, begin_removal, item, put_removed};
use super::{Meta, Operation, Removal, RemovedItem, put_layers, timestamp, to_json, unsigned};
use crate::{Result, StoreError};

/// Kind of an image in the journal; its id is the image's.
pub const IMAGE: &str = "image";
/// Kind of a tag; its id is the canonical name.
pub const TAG: &str = "tag";
/// Kind of a repository digest; its id is `repository@digest`.
pub const DIGEST: &str = "digest";

/// A name that an image lost.
#[derive(Clone, Debug, PartialEq)]
pub enum LostName {
    Tag(Box<Reference>),
    /// A tag that stands for images of other platforms as well, and goes on to.
    Platform(Box<Reference>, Digest),
    Digest(RepoDigest),
}

impl LostName {
    /// What it stood for.
    pub fn image(&self) -> &Digest {
        match self {
            Self::Tag(reference) => &reference.image,
            Self::Platform(_, image) => image,
            Self::Digest(digest) => &digest.image,
        }
    }
}

/// A removed image that can be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptImage {
    /// The removal it is a part of.
    pub removal: u64,
    /// When it was removed.
    pub at: Timestamp,
    /// Bytes of all its layers' files.
    pub size: u64,
}

#[derive(Serialize, Deserialize)]
struct ImageBody {
    manifest: Option<Descriptor>,
    layers: Vec<Digest>,
    size: u64,
    created: Option<Timestamp>,
    platform: Platform,
    added: Timestamp,
    last_used: Option<Timestamp>,
    parent: Option<Digest>,
    /// What came with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blobs: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
struct NameBody {
    image: Digest,
    /// Its images for other platforms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Digest>,
    /// The image is one of several: the name may stay without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    one_of_several: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

impl Meta {
    /// Moves an image's row into the journal, where it holds its layers and these blobs. Its names must have gone before.
    pub(crate) fn take_image(
        &self,
        operation: &Operation,
        image: &Image,
        name: &str,
        blobs: &[Digest],
    ) -> Result<()> {
        self.write_reserved("keep a removed image", |transaction| {
            let with_it = image_blobs(transaction, &image.id)?;
            let body = ImageBody {
                manifest: image.manifest.clone(),
                layers: image.layers.clone(),
                size: image.size,
                created: image.created,
                platform: image.platform.clone(),
                added: image.added,
                last_used: image.last_used,
                parent: image.parent.clone(),
                blobs: with_it,
            };
            let removal = begin_removal(transaction, operation)?;
            let seq = put_removed(
                transaction,
                removal,
                (IMAGE, image.id.as_str(), name),
                &to_json(&body)?,
            )?;
            let insert = "INSERT INTO removed_layers (item, position, diff_id) VALUES (?1, ?2, ?3)";
            put_layers(transaction, insert, seq, &image.layers)?;
            hold_blobs(transaction, seq, blobs)?;
            transaction
                .prepare_cached("DELETE FROM images WHERE id = ?1")?
                .execute([image.id.as_str()])?;
            Ok(Ok(()))
        })
    }

    /// Writes names that were deleted into the journal; with each goes what people call it.
    pub(crate) fn take_names(&self, operation: &Operation, names: &[(LostName, String)]) -> Result<()> {
        self.write_reserved("keep removed names", |transaction| {
            let removal = begin_removal(transaction, operation)?;
            for (lost, name) in names {
                let (kind, id, body) = match lost {
                    LostName::Tag(reference) => {
                        let body = NameBody {
                            image: reference.image.clone(),
                            others: reference.others.clone(),
                            one_of_several: false,
                            target: reference.target.clone(),
                            repository: None,
                            digest: None,
                        };
                        (TAG, reference.name.clone(), body)
                    }
                    LostName::Platform(reference, image) => {
                        let body = NameBody {
                            image: image.clone(),
                            others: Vec::new(),
                            one_of_several: true,
                            target: reference.target.clone(),
                            repository: None,
                            digest: None,
                        };
                        (TAG, reference.name.clone(), body)
                    }
                    LostName::Digest(RepoDigest {
                        repository,
                        digest,
                        image,
                    }) => {
                        let body = NameBody {
                            image: image.clone(),
                            others: Vec::new(),
                            one_of_several: false,
                            target: None,
                            repository: Some(repository.clone()),
                            digest: Some(digest.clone()),
                        };
                        (DIGEST, format!("{repository}@{digest}"), body)
                    }
                };
                let seq = put_removed(transaction, removal, (kind, &id, name), &to_json(&body)?)?;
                let document = body.digest.or(body.target.map(|target| target.digest));
                hold_blobs(transaction, seq, document.as_slice())?;
            }
            Ok(Ok(()))
        })
    }

    /// The last removal that keeps an image, if one does.
    pub fn kept_image(&self, id: &Digest) -> Result<Option<KeptImage>> {
        self.read("find a removed image", |connection| {
            connection
                .prepare_cached(
                    "SELECT removal, at, body ->> 'size' FROM removed JOIN removals ON removals.id = removal
                     WHERE kind = ?1 AND removed.id = ?2 ORDER BY seq DESC LIMIT 1",
                )?
                .query_row((IMAGE, id.as_str()), |row| {
                    Ok(KeptImage {
                        removal: unsigned(row, 0)?,
                        at: timestamp(row, 1)?,
                        size: unsigned(row, 2)?,
                    })
                })
                .optional()
        })
    }

    /// Lets a name stand for an image again. If the image was removed it comes back, with the digests registries serve it under;
    /// the journal forgets what came back. Whether it had been removed, and blobs that the journal no longer holds.
    pub(crate) fn return_reference(
        &self,
        name: &str,
        image: &Digest,
        target: Option<&Descriptor>,
        command: &str,
    ) -> Result<(bool, Vec<Digest>)> {
        self.write("bring a reference back", |transaction| {
            let there = exists(transaction, image)?;
            let mut returned = Vec::new();
            if !there {
                let newest = transaction
                    .prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM removed WHERE kind = ?1 AND id = ?2 ORDER BY seq DESC LIMIT 1"
                    ))?
                    .query_row((IMAGE, image.as_str()), item)
                    .optional()?;
                let Some(newest) = newest else {
                    return Ok(Err(StoreError::ImageNotFound { id: image.clone() }));
                };
                if let Err(error) = return_image(transaction, &newest)? {
                    return Ok(Err(error));
                }
                let digests: Vec<RemovedItem> = transaction
                    .prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM removed WHERE kind = ?1 AND body ->> 'image' = ?2
                            AND removal = (SELECT removal FROM removed WHERE seq = ?3) ORDER BY seq"
                    ))?
                    .query_map((DIGEST, image.as_str(), newest.seq), item)?
                    .collect::<rusqlite::Result<_>>()?;
                for digest in &digests {
                    if let Err(error) = return_name(transaction, digest)? {
                        return Ok(Err(error));
                    }
                }
                returned.push(newest.seq);
                returned.extend(digests.into_iter().map(|digest| digest.seq));
            }
            let tags: Vec<i64> = transaction
                .prepare_cached(
                    "SELECT seq FROM removed WHERE kind = ?1 AND id = ?2 AND body ->> 'image' = ?3",
                )?
                .query_map((TAG, name, image.as_str()), |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            returned.extend(tags);
            if let Err(error) = insert_reference(transaction, name, (image, &[]), target, command)? {
                return Ok(Err(error));
            }
            let mut released = Vec::new();
            for seq in returned {
                let held = transaction
                    .prepare_cached("SELECT digest FROM removed_blobs WHERE item = ?1")?
                    .query_map([seq], |row| super::digest(row, 0))?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                released.extend(held);
                transaction
                    .prepare_cached("DELETE FROM removed WHERE seq = ?1")?
                    .execute([seq])?;
            }
            transaction
                .prepare_cached(
                    "DELETE FROM removals WHERE NOT EXISTS (SELECT 1 FROM removed WHERE removal = removals.id)",
                )?
                .execute([])?;
            Ok(Ok((!there, released)))
        })
    }

    /// What images and names of a removal hold: diff IDs, and blobs.
    pub(crate) fn held_by_removed(&self, removal: u64) -> Result<(Vec<Digest>, Vec<Digest>)> {
        self.read("list what removed images hold", |connection| {
            let list = |table, column| {
                connection
                    .prepare_cached(&format!(
                        "SELECT DISTINCT {column} FROM {table} JOIN removed ON seq = item WHERE removal = ?1"
                    ))?
                    .query_map([super::integer(removal)], |row| super::digest(row, 0))?
                    .collect::<rusqlite::Result<Vec<_>>>()
            };
            Ok((
                list("removed_layers", "diff_id")?,
                list("removed_blobs", "digest")?,
            ))
        })
    }

    /// Layers that only what was removed holds, images by their rows and containers by their snapshots, each with the first
    /// that does.
    pub(crate) fn layers_of_removed(&self) -> Result<Vec<(i64, Digest)>> {
        self.read("list layers of what was removed", |connection| {
            connection
                .prepare_cached(
                    "WITH held AS (SELECT item, diff_id FROM removed_layers
                                   UNION ALL
                                   SELECT seq, diff_id FROM removed JOIN snapshot_layers USING (snapshot))
                     SELECT min(item), diff_id FROM held
                     WHERE NOT EXISTS (SELECT 1 FROM image_layers AS u WHERE u.diff_id = held.diff_id)
                       AND NOT EXISTS (SELECT 1 FROM cache_layers AS u WHERE u.diff_id = held.diff_id)
                       AND NOT EXISTS (SELECT 1 FROM snapshot_layers AS u
                                       WHERE u.diff_id = held.diff_id
                                         AND NOT EXISTS (SELECT 1 FROM removed AS k WHERE k.snapshot = u.snapshot))
                     GROUP BY diff_id",
                )?
                .query_map([], |row| Ok((row.get(0)?, super::digest(row, 1)?)))?
                .collect()
        })
    }

    /// The same of blobs.
    pub(crate) fn blobs_of_removed(&self) -> Result<Vec<(i64, Digest)>> {
        self.read("list blobs of removed images", |connection| {
            connection
                .prepare_cached(
                    "SELECT min(item), digest FROM removed_blobs AS r
                     WHERE NOT EXISTS (SELECT 1 FROM images       AS u WHERE u.id = r.digest)
                       AND NOT EXISTS (SELECT 1 FROM images       AS u WHERE u.manifest ->> 'digest' = r.digest)
                       AND NOT EXISTS (SELECT 1 FROM refs         AS u WHERE u.target ->> 'digest' = r.digest)
                       AND NOT EXISTS (SELECT 1 FROM repo_digests AS u WHERE u.digest = r.digest)
                       AND NOT EXISTS (SELECT 1 FROM image_blobs  AS u WHERE u.digest = r.digest)
                       AND NOT EXISTS (SELECT 1 FROM layer_blobs  AS u WHERE u.digest = r.digest)
                     GROUP BY digest",
                )?
                .query_map([], |row| Ok((row.get(0)?, super::digest(row, 1)?)))?
                .collect()
        })
    }

    /// Forgets names of images that are neither there nor kept: nothing could have them again. What they held is given.
    pub(crate) fn drop_lost_names(&self) -> Result<Vec<Digest>> {
        const LOST: &str = "kind IN ('tag', 'digest')
            AND NOT EXISTS (SELECT 1 FROM images WHERE images.id = removed.body ->> 'image')
            AND NOT EXISTS (SELECT 1 FROM removed AS kept
                            WHERE kept.kind = 'image' AND kept.id = removed.body ->> 'image')";
        self.write_reserved("forget names of images that are gone", |transaction| {
            let held = transaction
                .prepare_cached(&format!(
                    "SELECT DISTINCT digest FROM removed_blobs WHERE item IN (SELECT seq FROM removed WHERE {LOST})"
                ))?
                .query_map([], |row| super::digest(row, 0))?
                .collect::<rusqlite::Result<_>>()?;
            transaction
                .prepare_cached(&format!("DELETE FROM removed WHERE {LOST}"))?
                .execute([])?;
            Ok(Ok(held))
        })
    }
}

fn hold_blobs(transaction: &Connection, item: i64, blobs: &[Digest]) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO removed_blobs (item, digest) VALUES (?1, ?2)")?;
    for blob in blobs {
        insert.execute((item, blob.as_str()))?;
    }
    Ok(())
}

/// Whether a tag that is there is in the way of a removed one: it stands for something else, and the removed one is not an image
/// that it lost of several.
pub fn is_taken(item: &RemovedItem, holder: &Reference) -> bool {
    let digest = |target: &Option<Descriptor>| target.as_ref().map(|target| target.digest.clone());
    body::<NameBody>(item).is_ok_and(|body| match body.one_of_several {
        true => digest(&body.target) != digest(&holder.target),
        false => body.image != holder.image,
    })
}

/// Brings images and names back, within a transaction: images first, for the names stand for them.
pub(super) fn return_images(transaction: &Connection, removal: &Removal) -> rusqlite::Result<Result<()>> {
    let of = |kinds: &'static [&'static str]| {
        let items = removal.items.iter();
        items.filter(move |item| kinds.contains(&item.kind.as_str()))
    };
    for item in of(&[IMAGE]) {
        if let Err(error) = return_image(transaction, item)? {
            return Ok(Err(error));
        }
    }
    for item in of(&[TAG, DIGEST]) {
        if let Err(error) = return_name(transaction, item)? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

fn body<T: serde::de::DeserializeOwned>(item: &RemovedItem) -> rusqlite::Result<T> {
    serde_json::from_str(&item.body).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

fn return_image(transaction: &Connection, item: &RemovedItem) -> rusqlite::Result<Result<()>> {
    let body: ImageBody = body(item)?;
    let id = item.id.parse().map_err(|error: havre_oci::DigestError| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })?;
    let image = Image {
        id,
        manifest: body.manifest,
        layers: body.layers,
        size: body.size,
        created: body.created,
        platform: body.platform,
        added: body.added,
        last_used: body.last_used,
        parent: body.parent,
    };
    // It may be there again, pulled or loaded meanwhile.
    if let Err(error) = insert_image(transaction, &image)? {
        return Ok(Err(error));
    }
    insert_image_blobs(transaction, &image.id, &body.blobs)?;
    Ok(Ok(()))
}

fn return_name(transaction: &Connection, item: &RemovedItem) -> rusqlite::Result<Result<()>> {
    let body: NameBody = body(item)?;
    if let (Some(repository), Some(digest)) = (&body.repository, &body.digest) {
        return insert_repo_digest(transaction, repository, digest, &body.image);
    }
    if body.one_of_several {
        if let Some(holder) = find(transaction, &item.id)?.filter(|holder| is_taken(item, holder)) {
            return Ok(Err(StoreError::NameTaken {
                name: item.id.clone(),
                holder: holder.image.to_string(),
            }));
        }
        return join_name(transaction, &item.id, &body.image, body.target.as_ref());
    }
    let mut others = Vec::new();
    for other in &body.others {
        others.extend(exists(transaction, other)?.then(|| other.clone()));
    }
    let holder: Option<String> = transaction
        .prepare_cached("SELECT image FROM refs WHERE name = ?1")?
        .query_row([&item.id], |row| row.get(0))
        .optional()?;
    match holder {
        Some(holder) if holder == body.image.as_str() => Ok(Ok(())),
        Some(holder) => Ok(Err(StoreError::NameTaken {
            name: item.id.clone(),
            holder,
        })),
        None => {
            let group = (&body.image, others.as_slice());
            insert_reference(transaction, &item.id, group, body.target.as_ref(), "undo")
        }
    }
}
