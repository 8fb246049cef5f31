//! The journal of removals: documents taken away, with what is needed to bring them back.

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Meta, integer, now, removed_images, timestamp};
use crate::{Result, StoreError};

/// One thing that was removed and is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedItem {
    /// Names the item.
    pub(crate) seq: i64,
    /// Kind of its document.
    pub kind: String,
    /// The document's id.
    pub id: String,
    /// The document's name.
    pub name: Option<String>,
    /// The document.
    pub body: String,
    /// The snapshot that waits with it.
    pub snapshot: Option<String>,
    /// Where its data belong, relative to the root; they lie aside.
    pub(crate) data: Option<PathBuf>,
    /// Bytes of its own files, once they were counted.
    pub(crate) size: Option<u64>,
    /// Bytes of layers and blobs that are only there for what was removed, and for this first; counted anew each time.
    pub(crate) held: u64,
}

impl RemovedItem {
    /// Bytes it takes up, as far as they were counted ([`Removals::measure`](crate::Removals::measure)).
    pub fn bytes(&self) -> u64 {
        self.size.unwrap_or(0) + self.held
    }
}

/// What one command removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Names it; later ones have higher numbers.
    pub id: u64,
    /// When it began.
    pub at: Timestamp,
    /// What the user did: `container rm`.
    pub command: String,
    /// In the order they went.
    pub items: Vec<RemovedItem>,
}

/// A command that removes; all it removes comes back together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// The same for all requests of one command.
    pub token: String,
    /// What the user did.
    pub command: String,
}

/// A document to take away.
#[derive(Clone, Debug)]
pub struct Taken<'a> {
    /// Kind of the document.
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
    /// A snapshot that is kept as long as it.
    pub snapshot: Option<&'a str>,
    /// A directory of the store that is moved aside, relative to the root.
    pub data: Option<PathBuf>,
}

pub(super) const COLUMNS: &str = "seq, kind, id, name, body, snapshot, data, size";

pub(super) fn item(row: &Row<'_>) -> rusqlite::Result<RemovedItem> {
    Ok(RemovedItem {
        seq: row.get(0)?,
        kind: row.get(1)?,
        id: row.get(2)?,
        name: row.get(3)?,
        body: row.get(4)?,
        snapshot: row.get(5)?,
        data: row.get::<_, Option<String>>(6)?.map(PathBuf::from),
        size: row
            .get::<_, Option<i64>>(7)?
            .map(|size| size.try_into().unwrap_or(0)),
        held: 0,
    })
}

impl Meta {
    /// Moves documents into the journal, all or none; the removal's id and the items.
    pub(crate) fn take_documents(
        &self,
        operation: &Operation,
        taken: &[Taken<'_>],
    ) -> Result<(u64, Vec<RemovedItem>)> {
        self.write_reserved("remove documents", |transaction| {
            let removal = begin_removal(transaction, operation)?;
            let mut items = Vec::with_capacity(taken.len());
            for one in taken {
                match take(transaction, removal, one)? {
                    Ok(item) => items.push(item),
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok((removal.try_into().unwrap_or(0), items)))
        })
    }

    /// Every removal with its items, newest first.
    pub(crate) fn removals(&self) -> Result<Vec<Removal>> {
        self.read("list removals", |connection| {
            let mut removals = connection
                .prepare_cached("SELECT id, at, command FROM removals ORDER BY id DESC")?
                .query_map([], |row| {
                    Ok(Removal {
                        id: row.get::<_, i64>(0)?.try_into().unwrap_or(0),
                        at: timestamp(row, 1)?,
                        command: row.get(2)?,
                        items: Vec::new(),
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            for removal in &mut removals {
                removal.items = connection
                    .prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM removed WHERE removal = ?1 ORDER BY seq"
                    ))?
                    .query_map([integer(removal.id)], item)?
                    .collect::<rusqlite::Result<_>>()?;
            }
            removals.retain(|removal| !removal.items.is_empty());
            Ok(removals)
        })
    }

    /// Brings documents back under their names, with these bodies, and forgets the removal; all or nothing.
    pub(crate) fn return_documents(&self, removal: &Removal) -> Result<()> {
        self.write("bring documents back", |transaction| {
            if let Err(error) = removed_images::return_images(transaction, removal)? {
                return Ok(Err(error));
            }
            let images = [removed_images::IMAGE, removed_images::TAG, removed_images::DIGEST];
            let documents = removal.items.iter();
            for item in documents.filter(|item| !images.contains(&item.kind.as_str())) {
                if let Some(name) = &item.name {
                    let holder: Option<String> = transaction
                        .prepare_cached("SELECT id FROM documents WHERE kind = ?1 AND name = ?2")?
                        .query_row([&item.kind, name], |row| row.get(0))
                        .optional()?;
                    if let Some(holder) = holder {
                        let name = name.clone();
                        return Ok(Err(StoreError::NameTaken { name, holder }));
                    }
                }
                let inserted = transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO documents (kind, id, name, body) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute((&item.kind, &item.id, &item.name, &item.body))?;
                if inserted == 0 {
                    return Ok(Err(StoreError::DocumentExists {
                        kind: item.kind.clone(),
                        id: item.id.clone(),
                    }));
                }
            }
            transaction
                .prepare_cached("DELETE FROM removals WHERE id = ?1")?
                .execute([integer(removal.id)])?;
            Ok(Ok(()))
        })
    }

    /// Forgets a removal with its items; what they held is the caller's.
    pub(crate) fn delete_removal(&self, id: u64) -> Result<()> {
        self.write_reserved("forget a removal", |transaction| {
            transaction
                .prepare_cached("DELETE FROM removals WHERE id = ?1")?
                .execute([integer(id)])?;
            Ok(Ok(()))
        })
    }

    /// Forgets one item.
    pub(crate) fn delete_removed(&self, seq: i64) -> Result<()> {
        self.write_reserved("forget something removed", |transaction| {
            transaction
                .prepare_cached("DELETE FROM removed WHERE seq = ?1")?
                .execute([seq])?;
            Ok(Ok(()))
        })
    }

    /// Notes how many bytes an item takes up.
    pub(crate) fn set_removed_size(&self, seq: i64, size: u64) -> Result<()> {
        self.write("note the size of something removed", |transaction| {
            transaction
                .prepare_cached("UPDATE removed SET size = ?2 WHERE seq = ?1")?
                .execute((seq, integer(size)))?;
            Ok(Ok(()))
        })
    }

    /// Whether a snapshot belongs to something that was removed and can be brought back.
    pub(crate) fn is_snapshot_kept(&self, snapshot: &str) -> Result<bool> {
        self.read("find a removed snapshot", |connection| {
            connection
                .prepare_cached("SELECT 1 FROM removed WHERE snapshot = ?1")?
                .exists([snapshot])
        })
    }
}

/// The number of an operation's removal, which is new or has been begun.
pub(super) fn begin_removal(transaction: &Connection, operation: &Operation) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO removals (token, command, at) VALUES (?1, ?2, ?3)")?
        .execute((&operation.token, &operation.command, now()))?;
    transaction
        .prepare_cached("SELECT id FROM removals WHERE token = ?1")?
        .query_row([&operation.token], |row| row.get(0))
}

/// Adds what is no document; its number.
pub(super) fn put_removed(
    transaction: &Connection,
    removal: i64,
    (kind, id, name): (&str, &str, &str),
    body: &str,
) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO removed (removal, kind, id, name, body) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING seq",
        )?
        .query_row((removal, kind, id, name, body), |row| row.get(0))
}

fn take(transaction: &Connection, removal: i64, taken: &Taken<'_>) -> rusqlite::Result<Result<RemovedItem>> {
    let data = taken.data.as_ref().map(|path| path.to_string_lossy());
    let seq = transaction
        .prepare_cached(
            "INSERT INTO removed (removal, kind, id, name, body, snapshot, data)
             SELECT ?1, kind, id, name, body, ?4, ?5 FROM documents WHERE kind = ?2 AND id = ?3
             RETURNING seq",
        )?
        .query_row((removal, taken.kind, taken.id, taken.snapshot, data), |row| {
            row.get::<_, i64>(0)
        })
        .optional()?;
    let Some(seq) = seq else {
        return Ok(Err(StoreError::DocumentNotFound {
            kind: taken.kind.to_owned(),
            id: taken.id.to_owned(),
        }));
    };
    transaction
        .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND id = ?2")?
        .execute([taken.kind, taken.id])?;
    transaction
        .prepare_cached(&format!("SELECT {COLUMNS} FROM removed WHERE seq = ?1"))?
        .query_row([seq], item)
        .map(Ok)
}
