//! Images.

use std::collections::HashMap;

use havre_oci::{Descriptor, Digest, Platform};
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::reference_history::append;
use super::references::leave_names;
use super::{
    Meta, descriptor_json, digest, integer, json, json_or_null, missing_layer, nanoseconds, now, parsed,
    put_layers, timestamp, to_json, unsigned,
};
use crate::{Result, StoreError};

/// An image of one platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Its id: the digest of its configuration, which is a blob of the content store.
    pub id: Digest,
    /// The manifest it was pulled by, if it was.
    pub manifest: Option<Descriptor>,
    /// Diff IDs, base first.
    pub layers: Vec<Digest>,
    /// Bytes of all its layers' files.
    pub size: u64,
    /// When it was made, as its configuration says.
    pub created: Option<Timestamp>,
    /// What it runs on.
    pub platform: Platform,
    /// When it came into this store.
    pub added: Timestamp,
    /// When it was last used: pulled again, built upon, or a container was made from it or removed.
    pub last_used: Option<Timestamp>,
    /// The image it was built on, if that is known.
    pub parent: Option<Digest>,
}

/// What lists show of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    /// Its id.
    pub id: Digest,
    /// Bytes of all its layers' files.
    pub size: u64,
    /// When it was made, as its configuration says.
    pub created: Option<Timestamp>,
    /// The image it was built on, if that is known.
    pub parent: Option<Digest>,
}

/// What filters ask of an image beside [`ImageRow`].
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFacts {
    /// What it runs on.
    pub platform: Platform,
    /// When it came into this store.
    pub added: Timestamp,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
}

impl ImageFacts {
    /// When it was last used; what never was counts from when it came.
    pub fn used(&self) -> Timestamp {
        self.last_used.map_or(self.added, |used| used.max(self.added))
    }
}

/// The outcome of a search by the beginning of an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup<T> {
    /// Nothing begins so.
    None,
    /// Exactly one does.
    One(T),
    /// Several do; these are (some of) their ids.
    Ambiguous(Vec<Digest>),
}

const COLUMNS: &str = "id, manifest, size, created, platform, added, last_used, parent";

/// An image without its layers.
fn image(row: &Row<'_>) -> rusqlite::Result<Image> {
    let null = |column| row.get_ref(column).map(|value| value == ValueRef::Null);
    Ok(Image {
        id: digest(row, 0)?,
        manifest: json_or_null(row, 1)?,
        layers: Vec::new(),
        size: unsigned(row, 2)?,
        created: if null(3)? { None } else { Some(parsed(row, 3)?) },
        platform: json(row, 4)?,
        added: timestamp(row, 5)?,
        last_used: if null(6)? { None } else { Some(timestamp(row, 6)?) },
        parent: if null(7)? { None } else { Some(digest(row, 7)?) },
    })
}

fn layers_of(connection: &Connection, id: &Digest) -> rusqlite::Result<Vec<Digest>> {
    connection
        .prepare_cached("SELECT diff_id FROM image_layers WHERE image = ?1 ORDER BY position")?
        .query_map([id.as_str()], |row| digest(row, 0))?
        .collect()
}

/// Inserts or replaces an image's row within a transaction.
pub(super) fn insert_image(transaction: &Connection, image: &Image) -> rusqlite::Result<Result<()>> {
    if let Some(diff_id) = missing_layer(transaction, &image.layers)? {
        return Ok(Err(StoreError::LayerNotFound {
            diff_id: diff_id.clone(),
        }));
    }
    transaction
        .prepare_cached(
            "INSERT INTO images (id, manifest, size, created, platform, added, last_used, parent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET manifest = coalesce(excluded.manifest, manifest),
                 size = excluded.size, created = excluded.created, platform = excluded.platform,
                 parent = coalesce(excluded.parent, parent)",
        )?
        .execute((
            image.id.as_str(),
            descriptor_json(image.manifest.as_ref())?,
            integer(image.size),
            image.created.map(|at| at.to_string()),
            to_json(&image.platform)?,
            nanoseconds(image.added),
            image.last_used.map(nanoseconds),
            image.parent.as_ref().map(Digest::as_str),
        ))?;
    transaction
        .prepare_cached("DELETE FROM image_layers WHERE image = ?1")?
        .execute([image.id.as_str()])?;
    let insert = "INSERT INTO image_layers (image, position, diff_id) VALUES (?1, ?2, ?3)";
    put_layers(transaction, insert, image.id.as_str(), &image.layers)?;
    Ok(Ok(()))
}

/// Lets an image hold blobs that came with it.
pub(super) fn insert_image_blobs(
    transaction: &Connection,
    image: &Digest,
    blobs: &[Digest],
) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO image_blobs (image, digest) VALUES (?1, ?2)")?;
    for blob in blobs {
        insert.execute([image.as_str(), blob.as_str()])?;
    }
    Ok(())
}

pub(super) fn image_blobs(connection: &Connection, image: &Digest) -> rusqlite::Result<Vec<Digest>> {
    connection
        .prepare_cached("SELECT digest FROM image_blobs WHERE image = ?1 ORDER BY digest")?
        .query_map([image.as_str()], |row| digest(row, 0))?
        .collect()
}

impl Meta {
    /// The blobs that came with an image beside its own documents and layers.
    pub fn image_blobs(&self, image: &Digest) -> Result<Vec<Digest>> {
        self.read("list blobs of an image", |connection| {
            image_blobs(connection, image)
        })
    }

    /// Inserts or replaces an image's row. `added` and `last_used` of an existing row stay. Its layers must exist.
    pub fn put_image(&self, image: &Image) -> Result<()> {
        self.leases.touch(
            [&image.id]
                .into_iter()
                .chain(image.manifest.as_ref().map(|manifest| &manifest.digest)),
        );
        self.write("put an image", |transaction| insert_image(transaction, image))
    }

    /// The image, if it is there.
    pub fn find_image(&self, id: &Digest) -> Result<Option<Image>> {
        self.read("find an image", |connection| {
            let found = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM images WHERE id = ?1"))?
                .query_row([id.as_str()], image)
                .optional()?;
            let Some(mut image) = found else { return Ok(None) };
            image.layers = layers_of(connection, id)?;
            Ok(Some(image))
        })
    }

    /// Whether an image was built on this one.
    pub fn has_children(&self, id: &Digest) -> Result<bool> {
        self.read("look for images built on an image", |connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM images WHERE parent = ?1)")?
                .query_row([id.as_str()], |row| row.get(0))
        })
    }

    /// The image whose id's hex begins with `hex` (lower case, 1 to 64 characters).
    pub fn find_image_by_prefix(&self, hex: &str) -> Result<Lookup<Image>> {
        if hex.is_empty() || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Lookup::None);
        }
        self.read("find an image", |connection| {
            // 'g' follows the last hex digit, so the range is exactly the ids that begin so.
            let mut found: Vec<Image> = connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM images WHERE id >= ?1 AND id < ?2 LIMIT 10"
                ))?
                .query_map([format!("sha256:{hex}"), format!("sha256:{hex}g")], image)?
                .collect::<Result<_, _>>()?;
            match found.len() {
                0 => Ok(Lookup::None),
                1 => {
                    let mut image = found.remove(0);
                    image.layers = layers_of(connection, &image.id)?;
                    Ok(Lookup::One(image))
                }
                _ => Ok(Lookup::Ambiguous(
                    found.into_iter().map(|image| image.id).collect(),
                )),
            }
        })
    }

    /// All images, newest `created` first.
    pub fn images(&self) -> Result<Vec<Image>> {
        let (mut images, mut layers) = self.read("list images", |connection| {
            let images: Vec<Image> = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM images"))?
                .query_map([], image)?
                .collect::<Result<_, _>>()?;
            let mut layers: HashMap<Digest, Vec<Digest>> = HashMap::with_capacity(images.len());
            let mut statement = connection
                .prepare_cached("SELECT image, diff_id FROM image_layers ORDER BY image, position")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                layers.entry(digest(row, 0)?).or_default().push(digest(row, 1)?);
            }
            Ok((images, layers))
        })?;
        for image in &mut images {
            image.layers = layers.remove(&image.id).unwrap_or_default();
        }
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(images)
    }

    /// The images that lists show when nothing is asked for: with a tag, or with a digest or without children if no name means
    /// them for another platform only.
    pub fn listed_images(&self) -> Result<Vec<Digest>> {
        self.read("list images", |connection| {
            connection
                .prepare_cached(
                    "SELECT id FROM images WHERE id IN (SELECT image FROM refs)
                     OR id NOT IN (SELECT image FROM ref_platforms)
                        AND (id IN (SELECT image FROM repo_digests)
                             OR NOT EXISTS (SELECT 1 FROM images AS child WHERE child.parent = images.id))",
                )?
                .query_map([], |row| digest(row, 0))?
                .collect()
        })
    }

    /// The diff IDs of all layers that some image has, each once.
    pub fn layers_of_images(&self) -> Result<Vec<Digest>> {
        self.read("list layers of images", |connection| {
            connection
                .prepare_cached("SELECT DISTINCT diff_id FROM image_layers")?
                .query_map([], |row| digest(row, 0))?
                .collect()
        })
    }

    /// All images as lists show them, in no particular order: a fraction of the work of [`Meta::images`].
    pub fn image_rows(&self) -> Result<Vec<ImageRow>> {
        self.read("list images", |connection| {
            let null = |row: &Row<'_>, column| row.get_ref(column).map(|value| value == ValueRef::Null);
            connection
                .prepare_cached("SELECT id, size, created, parent FROM images")?
                .query_map([], |row| {
                    Ok(ImageRow {
                        id: digest(row, 0)?,
                        size: unsigned(row, 1)?,
                        created: if null(row, 2)? {
                            None
                        } else {
                            Some(parsed(row, 2)?)
                        },
                        parent: if null(row, 3)? {
                            None
                        } else {
                            Some(digest(row, 3)?)
                        },
                    })
                })?
                .collect()
        })
    }

    /// Platforms and uses of all images.
    pub fn image_facts(&self) -> Result<HashMap<Digest, ImageFacts>> {
        self.read("list uses of images", |connection| {
            connection
                .prepare_cached("SELECT id, platform, added, last_used FROM images")?
                .query_map([], |row| {
                    let last_used = match row.get_ref(3)? {
                        ValueRef::Null => None,
                        _ => Some(timestamp(row, 3)?),
                    };
                    let facts = ImageFacts {
                        platform: json(row, 1)?,
                        added: timestamp(row, 2)?,
                        last_used,
                    };
                    Ok((digest(row, 0)?, facts))
                })?
                .collect()
        })
    }

    /// How many images there are.
    pub fn image_count(&self) -> Result<u64> {
        self.read("count images", |connection| {
            connection
                .prepare_cached("SELECT count(*) FROM images")?
                .query_row([], |row| unsigned(row, 0))
        })
    }

    /// Notes that the image was used now. A write that nobody waits for the disk to have: the last ones may be lost with the power.
    pub fn touch_image(&self, id: &Digest) -> Result<()> {
        self.write("note an image's use", |transaction| {
            let touched = transaction
                .prepare_cached("UPDATE images SET last_used = ?2 WHERE id = ?1")?
                .execute((id.as_str(), now()))?;
            Ok(if touched > 0 {
                Ok(())
            } else {
                Err(StoreError::ImageNotFound { id: id.clone() })
            })
        })
    }

    /// Deletes the row, its references (with a line of history each) and repository digests; whether there was one. A name that
    /// stands for images of other platforms stays for them.
    pub fn delete_image(&self, id: &Digest, command: &str) -> Result<bool> {
        self.write_reserved("delete an image", |transaction| {
            leave_names(transaction, id, command)?;
            let id = id.as_str();
            let names: Vec<String> = transaction
                .prepare_cached("SELECT name FROM refs WHERE image = ?1")?
                .query_map([id], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for name in names {
                append(transaction, &name, None, None, command)?;
            }
            transaction
                .prepare_cached("DELETE FROM refs WHERE image = ?1")?
                .execute([id])?;
            let deleted = transaction
                .prepare_cached("DELETE FROM images WHERE id = ?1")?
                .execute([id])?;
            Ok(Ok(deleted > 0))
        })
    }
}
