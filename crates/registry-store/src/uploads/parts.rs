//! Uploads to storage whose objects can't grow: parts of an object, noted in the database, so that an upload begun by one
//! process is gone on with by another.
//!
//! Bytes are collected until they are a part. What is too little for one when a request ends is an object of its own, `rest`,
//! and begins the next part. One process at a time writes: it holds the upload for a while, and again with each part; who
//! finds its hold gone writes no more, and a part that two wrote fails the object, since it goes by the parts' names.

use std::io;
use std::sync::Arc;

use havre_database::{Connection, Database};
use havre_oci::Digest;

use super::{Key, Pending, Uploads};
use crate::layout;
use crate::storage::{Contents, ObjectStorage};
use crate::{Result, StoreError};
use havre_database::now;

/// Bytes of the first parts: S3 asks for 5 MiB, and takes 10,000 parts.
const SMALL_PART: usize = 8 << 20;
/// So many are small; large blobs get larger ones, up to some 300 GiB in all.
const SMALL_PARTS: usize = 1000;
const LARGE_PART: usize = 32 << 20;
/// Milliseconds for which an upload is held.
const HOLD: i64 = 120_000;

/// Uploads as parts of objects.
#[derive(Debug)]
pub(crate) struct PartUploads {
    storage: Arc<dyn ObjectStorage>,
    database: Arc<dyn Database>,
}

impl PartUploads {
    pub(crate) fn new(storage: Arc<dyn ObjectStorage>, database: Arc<dyn Database>) -> Self {
        Self { storage, database }
    }
}

/// What the database knows of an upload.
#[derive(Debug)]
struct Row {
    /// What the storage calls the object of parts, once there are any.
    object: Option<String>,
    parts: Vec<String>,
    /// Bytes of all parts.
    parted: u64,
    /// Bytes of `rest`.
    rest: u64,
    /// Of all bytes.
    digest: Option<Digest>,
}

fn row_of(connection: &mut dyn Connection, key: &Key) -> Result<Row> {
    let which = [key.name.as_str().into(), key.id.as_str().into()];
    let row = connection.query_one(
        "SELECT object, rest, digest FROM uploads WHERE repository = $1 AND id = $2",
        &which,
    )?;
    let row = row.ok_or(StoreError::UploadUnknown)?;
    let parts = connection.query(
        "SELECT part, size FROM upload_parts WHERE repository = $1 AND id = $2 ORDER BY number",
        &which,
    )?;
    let sizes = parts.iter().map(|part| part.size(1));
    let digest = row.text_or_null(2)?.and_then(|text| text.parse().ok());
    Ok(Row {
        object: row.text_or_null(0)?,
        parted: sizes.sum::<Result<u64, _>>()?,
        parts: parts.iter().map(|part| part.text(0)).collect::<Result<_, _>>()?,
        rest: row.size(1)?,
        digest,
    })
}

impl Uploads for PartUploads {
    fn begin(&self, key: &Key) -> Result<()> {
        self.database.writing(|connection| {
            connection.execute(
                "INSERT INTO uploads (repository, id, touched, rest, held_until) VALUES ($1, $2, $3, 0, 0)",
                &[key.name.as_str().into(), key.id.as_str().into(), now().into()],
            )?;
            Ok(())
        })
    }

    fn size(&self, key: &Key) -> Result<u64> {
        let row = self.database.reading(|connection| row_of(connection, key))?;
        Ok(row.parted + row.rest)
    }

    fn open(&self, key: &Key) -> Result<Box<dyn Pending>> {
        let holder = super::new_id();
        let row = self.database.writing(|connection| {
            let row = row_of(connection, key)?;
            let held = connection.execute(
                "UPDATE uploads SET holder = $1, held_until = $2, touched = $3
                 WHERE repository = $4 AND id = $5 AND held_until <= $3",
                &[
                    holder.as_str().into(),
                    (now() + HOLD).into(),
                    now().into(),
                    key.name.as_str().into(),
                    key.id.as_str().into(),
                ],
            )?;
            match held {
                0 => Err(StoreError::UploadBusy),
                _ => Ok(row),
            }
        })?;
        let upload = layout::upload(&key.name, &key.id);
        let mut pending = PendingParts {
            storage: Arc::clone(&self.storage),
            database: Arc::clone(&self.database),
            key: key.clone(),
            data: format!("{upload}/data"),
            upload,
            holder,
            row,
            buffer: Vec::new(),
            sealed: None,
        };
        if pending.row.rest > 0 {
            let mut rest = self.storage.open(&pending.rest(), 0..pending.row.rest)?;
            io::copy(&mut rest, &mut pending.buffer).map_err(StoreError::io("read", pending.rest()))?;
        }
        Ok(Box::new(pending))
    }

    fn abandoned(&self, limit: i64) -> Result<Vec<(Key, u64)>> {
        self.database.reading(|connection| {
            let rows = connection.query(
                "SELECT repository, id FROM uploads WHERE touched <= $1 AND held_until <= $2",
                &[limit.into(), now().into()],
            )?;
            let uploads = rows.iter().map(|row| {
                let key = Key {
                    name: row.parsed(0)?,
                    id: row.text(1)?,
                };
                let row = row_of(connection, &key)?;
                Ok((key, row.parted + row.rest))
            });
            uploads.collect()
        })
    }
}

#[derive(Debug)]
struct PendingParts {
    storage: Arc<dyn ObjectStorage>,
    database: Arc<dyn Database>,
    key: Key,
    /// The key of everything of the upload.
    upload: String,
    data: String,
    holder: String,
    row: Row,
    /// Bytes behind the last part.
    buffer: Vec<u8>,
    sealed: Option<Sealed>,
}

/// Where the bytes of a finished upload are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sealed {
    /// In the buffer.
    Here,
    /// In the object of all parts.
    Object,
}

impl PendingParts {
    fn rest(&self) -> String {
        format!("{}/rest", self.upload)
    }

    fn next_part(&self) -> usize {
        match self.row.parts.len() < SMALL_PARTS {
            true => SMALL_PART,
            false => LARGE_PART,
        }
    }

    /// Changes what the database knows, and holds the upload on, or lets go.
    fn note(&self, hold: bool, work: impl Fn(&mut dyn Connection) -> Result<()>) -> Result<()> {
        let until = if hold { now() + HOLD } else { 0 };
        self.database.writing(|connection| {
            let held = connection.execute(
                "UPDATE uploads SET held_until = $1, touched = $2 WHERE repository = $3 AND id = $4 AND holder = $5",
                &[
                    until.into(),
                    now().into(),
                    self.key.name.as_str().into(),
                    self.key.id.as_str().into(),
                    self.holder.as_str().into(),
                ],
            )?;
            match held {
                0 => Err(StoreError::UploadBusy),
                _ => work(connection),
            }
        })
    }

    fn which(&self) -> [havre_database::Value; 2] {
        [self.key.name.as_str().into(), self.key.id.as_str().into()]
    }

    /// Makes a part of the first bytes of the buffer.
    fn put_part(&mut self, size: usize) -> Result<()> {
        let later = self.buffer.split_off(size);
        let bytes = std::mem::replace(&mut self.buffer, later);
        let object = match &self.row.object {
            Some(object) => object.clone(),
            None => {
                let object = self.storage.begin(&self.data)?;
                self.note(true, |connection| {
                    connection.execute(
                        "UPDATE uploads SET object = $1 WHERE repository = $2 AND id = $3",
                        &[[object.as_str().into()].as_slice(), &self.which()].concat(),
                    )?;
                    Ok(())
                })?;
                self.row.object = Some(object.clone());
                object
            }
        };
        let number = self.row.parts.len();
        let part = self.storage.put_part(&self.data, &object, number, bytes)?;
        self.note(true, |connection| {
            let more = [(number as i64).into(), part.as_str().into(), (size as i64).into()];
            connection.execute(
                "INSERT INTO upload_parts (repository, id, number, part, size) VALUES ($1, $2, $3, $4, $5)",
                &[self.which().as_slice(), &more].concat(),
            )?;
            connection.execute(
                "UPDATE uploads SET rest = 0, digest = NULL WHERE repository = $1 AND id = $2",
                &self.which(),
            )?;
            Ok(())
        })?;
        self.row.parts.push(part);
        self.row.parted += size as u64;
        self.row.rest = 0;
        Ok(())
    }
}

impl Pending for PendingParts {
    fn size(&self) -> u64 {
        self.row.parted + self.buffer.len() as u64
    }

    fn noted(&self) -> Option<&Digest> {
        self.row.digest.as_ref()
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.row.digest = None;
            let part = self.next_part();
            let room = part.saturating_sub(self.buffer.len());
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() >= part {
                self.put_part(part)?;
            }
        }
        Ok(())
    }

    fn pause(&mut self, digest: Option<&Digest>) -> Result<()> {
        let rest = self.buffer.len() as u64;
        if rest > 0 && rest != self.row.rest {
            self.storage.write(&self.rest(), &self.buffer)?;
        }
        let digest = digest.or(self.row.digest.as_ref()).cloned();
        self.note(false, |connection| {
            let now_there = [(rest as i64).into(), digest.as_ref().into()];
            connection.execute(
                "UPDATE uploads SET rest = $1, digest = $2 WHERE repository = $3 AND id = $4",
                &[now_there.as_slice(), &self.which()].concat(),
            )?;
            Ok(())
        })
    }

    fn seal(&mut self) -> Result<()> {
        let Some(object) = self.row.object.clone() else {
            self.sealed = Some(Sealed::Here);
            return Ok(());
        };
        if !self.buffer.is_empty() || self.row.parts.is_empty() {
            self.put_part(self.buffer.len())?;
        }
        let completed = self.storage.complete(&self.data, &object, self.row.parts.clone());
        // Whoever ended after this step last time left just the object.
        if completed.is_err() && self.storage.size(&self.data)? != Some(self.size()) {
            return completed;
        }
        self.sealed = Some(Sealed::Object);
        Ok(())
    }

    fn read(&self) -> Result<Contents> {
        match self.sealed {
            Some(Sealed::Object) => self.storage.open(&self.data, 0..self.size()),
            _ => Ok(Box::new(io::Cursor::new(self.buffer.clone()))),
        }
    }

    fn publish(&mut self, digest: &Digest) -> Result<()> {
        let blob = layout::blob_data(digest);
        match self.sealed {
            Some(Sealed::Object) => self.storage.copy(&self.data, &blob),
            _ => self.storage.write(&blob, &self.buffer),
        }
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn discard(&mut self) -> Result<()> {
        if let Some(object) = &self.row.object
            && self.sealed != Some(Sealed::Object)
        {
            self.storage.abort(&self.data, object)?;
        }
        // First the bytes: who finds the row finds what is left of them.
        if self.row.object.is_some() || self.row.rest > 0 {
            self.storage.remove(&self.upload)?;
        }
        self.database.writing(|connection| {
            for sql in [
                "DELETE FROM upload_parts WHERE repository = $1 AND id = $2",
                "DELETE FROM uploads WHERE repository = $1 AND id = $2",
            ] {
                connection.execute(sql, &self.which())?;
            }
            Ok(())
        })
    }
}
