//! What is known of layers.

use havre_oci::{Descriptor, Digest};
use rusqlite::{OptionalExtension, Row};

use super::{Meta, digest, integer, json, nanoseconds, timestamp, to_json, unsigned};
use crate::{Form, Layer, LayerFile, Result, StoreError};

const COLUMNS: &str = "diff_id, size, tar_size, entries, created, form, file_size, metadata_offset, metadata";

fn layer(row: &Row<'_>) -> rusqlite::Result<Layer> {
    Ok(Layer {
        diff_id: digest(row, 0)?,
        size: unsigned(row, 1)?,
        tar_size: unsigned(row, 2)?,
        entries: unsigned(row, 3)?,
        created: timestamp(row, 4)?,
        form: form(row)?,
    })
}

fn form(row: &Row<'_>) -> rusqlite::Result<Form> {
    let file = || {
        Ok::<_, rusqlite::Error>(LayerFile {
            size: unsigned(row, 6)?,
            metadata_offset: unsigned(row, 7)?,
            metadata: digest(row, 8)?,
        })
    };
    match row.get_ref(5)?.as_str()? {
        "directory" => Ok(Form::Directory),
        "tar" => Ok(Form::Tar(file()?)),
        "aligned" => Ok(Form::Aligned(file()?)),
        other => {
            let unknown = format!("unknown form of layer {other:?}").into();
            Err(rusqlite::Error::FromSqlConversionFailure(
                5,
                rusqlite::types::Type::Text,
                unknown,
            ))
        }
    }
}

/// What the columns `form` to `metadata` say.
fn columns(form: &Form) -> (&'static str, Option<&LayerFile>) {
    match form {
        Form::Directory => ("directory", None),
        Form::Tar(file) => ("tar", Some(file)),
        Form::Aligned(file) => ("aligned", Some(file)),
    }
}

/// Layers nothing in the database names.
const UNUSED: &str = "SELECT diff_id, coalesce(file_size, tar_size) FROM layers AS l
    WHERE NOT EXISTS (SELECT 1 FROM image_layers    AS u WHERE u.diff_id = l.diff_id)
      AND NOT EXISTS (SELECT 1 FROM cache_layers    AS u WHERE u.diff_id = l.diff_id)
      AND NOT EXISTS (SELECT 1 FROM snapshot_layers AS u WHERE u.diff_id = l.diff_id)
      AND NOT EXISTS (SELECT 1 FROM removed_layers  AS u WHERE u.diff_id = l.diff_id)";

impl Meta {
    pub(crate) fn find_layer(&self, diff_id: &Digest) -> Result<Option<Layer>> {
        self.read("find a layer", |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM layers WHERE diff_id = ?1"))?
                .query_row([diff_id.as_str()], layer)
                .optional()
        })
    }

    pub(crate) fn layers(&self) -> Result<Vec<Layer>> {
        self.read("list layers", |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM layers"))?
                .query_map([], layer)?
                .collect()
        })
    }

    pub(crate) fn insert_layer(&self, layer: &Layer) -> Result<()> {
        let (form, file) = columns(&layer.form);
        self.write("insert a layer", |transaction| {
            transaction
                .prepare_cached(&format!(
                    "INSERT INTO layers ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                ))?
                .execute((
                    layer.diff_id.as_str(),
                    integer(layer.size),
                    integer(layer.tar_size),
                    integer(layer.entries),
                    nanoseconds(layer.created),
                    form,
                    file.map(|file| integer(file.size)),
                    file.map(|file| integer(file.metadata_offset)),
                    file.map(|file| file.metadata.as_str()),
                ))?;
            Ok(Ok(()))
        })
    }

    /// Notes the form and the time of a layer whose files were replaced.
    pub(crate) fn update_layer(&self, layer: &Layer) -> Result<()> {
        let (form, file) = columns(&layer.form);
        self.write("update a layer", |transaction| {
            transaction
                .prepare_cached(
                    "UPDATE layers SET created = ?2, form = ?3, file_size = ?4, metadata_offset = ?5, metadata = ?6
                     WHERE diff_id = ?1",
                )?
                .execute((
                    layer.diff_id.as_str(),
                    nanoseconds(layer.created),
                    form,
                    file.map(|file| integer(file.size)),
                    file.map(|file| integer(file.metadata_offset)),
                    file.map(|file| file.metadata.as_str()),
                ))?;
            Ok(Ok(()))
        })
    }

    /// Deletes a layer's row; whether there was one.
    pub(crate) fn delete_layer(&self, diff_id: &Digest) -> Result<bool> {
        self.write_reserved("delete a layer", |transaction| {
            let deleted = transaction
                .prepare_cached("DELETE FROM layers WHERE diff_id = ?1")?
                .execute([diff_id.as_str()]);
            match deleted {
                Ok(count) => Ok(Ok(count > 0)),
                Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                    Ok(Err(StoreError::LayerInUse {
                        diff_id: diff_id.clone(),
                    }))
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Forgets a layer whose files are lost, with every image, snapshot and record that needs it. Returns the images.
    pub(crate) fn forget_layer(&self, diff_id: &Digest) -> Result<Vec<String>> {
        self.write_reserved("forget a lost layer", |transaction| {
            let lost = diff_id.as_str();
            let images: Vec<String> = transaction
                .prepare_cached("SELECT DISTINCT image FROM image_layers WHERE diff_id = ?1")?
                .query_map([lost], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for image in &images {
                transaction
                    .prepare_cached("DELETE FROM refs WHERE image = ?1")?
                    .execute([image])?;
                transaction
                    .prepare_cached("DELETE FROM images WHERE id = ?1")?
                    .execute([image])?;
            }
            for statement in [
                "DELETE FROM cache WHERE key IN (SELECT key FROM cache_layers WHERE diff_id = ?1)",
                "DELETE FROM snapshots WHERE id IN (SELECT snapshot FROM snapshot_layers WHERE diff_id = ?1)",
                "DELETE FROM removed WHERE seq IN (SELECT item FROM removed_layers WHERE diff_id = ?1)",
                "DELETE FROM layers WHERE diff_id = ?1",
            ] {
                transaction.prepare_cached(statement)?.execute([lost])?;
            }
            Ok(Ok(images))
        })
    }

    /// Layers neither an image, nor a snapshot, nor the build cache, nor the journal of removals names, with the bytes they take up.
    pub(crate) fn unused_layers(&self) -> Result<Vec<(Digest, u64)>> {
        self.read("find unused layers", |connection| {
            connection
                .prepare_cached(UNUSED)?
                .query_map([], |row| Ok((digest(row, 0)?, unsigned(row, 1)?)))?
                .collect()
        })
    }

    /// Whether neither an image, nor a snapshot, nor the build cache, nor the journal of removals names the layer.
    pub(crate) fn is_unused_layer(&self, diff_id: &Digest) -> Result<bool> {
        self.read("find unused layers", |connection| {
            connection
                .prepare_cached(&format!("{UNUSED} AND l.diff_id = ?1"))?
                .exists([diff_id.as_str()])
        })
    }

    /// The compressed forms known of a layer; their blobs may or may not be in the content store. Newest first.
    pub fn layer_blobs(&self, diff_id: &Digest) -> Result<Vec<Descriptor>> {
        self.read("list a layer's blobs", |connection| {
            connection
                .prepare_cached("SELECT descriptor FROM layer_blobs WHERE diff_id = ?1 ORDER BY seq DESC")?
                .query_map([diff_id.as_str()], |row| json(row, 0))?
                .collect()
        })
    }

    /// The layer whose compressed form has this digest.
    pub fn layer_of_blob(&self, blob: &Digest) -> Result<Option<Digest>> {
        self.read("find a blob's layer", |connection| {
            connection
                .prepare_cached(
                    "SELECT diff_id FROM layer_blobs WHERE digest = ?1 ORDER BY seq DESC LIMIT 1",
                )?
                .query_row([blob.as_str()], |row| digest(row, 0))
                .optional()
        })
    }

    /// Notes a compressed form of a layer, known to decompress to it. The layer must exist. Noting it again makes it the
    /// newest.
    pub fn add_layer_blob(&self, diff_id: &Digest, blob: &Descriptor) -> Result<()> {
        self.leases.touch([&blob.digest]);
        self.write("note a layer's blob", |transaction| {
            if super::missing_layer(transaction, std::slice::from_ref(diff_id))?.is_some() {
                return Ok(Err(StoreError::LayerNotFound {
                    diff_id: diff_id.clone(),
                }));
            }
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO layer_blobs (diff_id, digest, descriptor) VALUES (?1, ?2, ?3)",
                )?
                .execute((diff_id.as_str(), blob.digest.as_str(), to_json(blob)?))?;
            Ok(Ok(()))
        })
    }

    /// The digests of the compressed forms of all layers that are named by something.
    pub(crate) fn all_layer_blobs(&self) -> Result<Vec<(Digest, Digest)>> {
        self.read("list layers' blobs", |connection| {
            connection
                .prepare_cached("SELECT diff_id, digest FROM layer_blobs")?
                .query_map([], |row| Ok((digest(row, 0)?, digest(row, 1)?)))?
                .collect()
        })
    }
}
