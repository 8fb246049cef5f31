//! Results of build steps.

use std::collections::HashMap;

use havre_oci::Digest;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Meta, digest, integer, missing_layer, now, put_layers, timestamp, unsigned};
use crate::{Result, StoreError};

/// What the build cache remembers for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRecord {
    /// Diff IDs of the result, base first. They stay in the store as long as the record.
    pub layers: Vec<Digest>,
    /// Whatever else the builder needs, as JSON text.
    pub body: String,
    /// Bytes this step added.
    pub size: u64,
}

/// A build cache record with its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The builder's key.
    pub key: String,
    /// What it stands for.
    pub record: CacheRecord,
    /// When it was put.
    pub created: Timestamp,
    /// When it was last got.
    pub last_used: Timestamp,
    /// How often it was got.
    pub hits: u64,
}

/// A record without its layers.
fn record(row: &Row<'_>) -> rusqlite::Result<CacheRecord> {
    Ok(CacheRecord {
        layers: Vec::new(),
        body: row.get(0)?,
        size: unsigned(row, 1)?,
    })
}

fn layers_of(connection: &Connection, key: &str) -> rusqlite::Result<Vec<Digest>> {
    connection
        .prepare_cached("SELECT diff_id FROM cache_layers WHERE key = ?1 ORDER BY position")?
        .query_map([key], |row| digest(row, 0))?
        .collect()
}

impl Meta {
    /// Remembers a build step's result, replacing what the key had. Its layers must exist.
    pub fn cache_put(&self, key: &str, record: &CacheRecord) -> Result<()> {
        self.write("put a build cache record", |transaction| {
            if let Some(diff_id) = missing_layer(transaction, &record.layers)? {
                return Ok(Err(StoreError::LayerNotFound { diff_id: diff_id.clone() }));
            }
            transaction.prepare_cached("DELETE FROM cache WHERE key = ?1")?.execute([key])?;
            transaction
                .prepare_cached(
                    "INSERT INTO cache (key, body, size, created, last_used, hits) VALUES (?1, ?2, ?3, ?4, ?4, 0)",
                )?
                .execute((key, &record.body, integer(record.size), now()))?;
            let insert = "INSERT INTO cache_layers (key, position, diff_id) VALUES (?1, ?2, ?3)";
            put_layers(transaction, insert, key, &record.layers)?;
            Ok(Ok(()))
        })
    }

    /// The result of an earlier build step; notes the use.
    pub fn cache_get(&self, key: &str) -> Result<Option<CacheRecord>> {
        self.write("get a build cache record", |transaction| {
            let found = transaction
                .prepare_cached(
                    "UPDATE cache SET last_used = ?2, hits = hits + 1 WHERE key = ?1 RETURNING body, size",
                )?
                .query_row((key, now()), record)
                .optional()?;
            let Some(mut record) = found else {
                return Ok(Ok(None));
            };
            record.layers = layers_of(transaction, key)?;
            Ok(Ok(Some(record)))
        })
    }

    /// The layers of a record; none if it isn't there.
    pub(crate) fn cached_layers(&self, key: &str) -> Result<Vec<Digest>> {
        self.read("list the layers of a build cache record", |connection| {
            layers_of(connection, key)
        })
    }

    /// All records, least recently used first.
    pub fn cache_list(&self) -> Result<Vec<CacheEntry>> {
        let (mut entries, mut layers) = self.read("list the build cache", |connection| {
            let entries: Vec<CacheEntry> = connection
                .prepare_cached(
                    "SELECT body, size, key, created, last_used, hits FROM cache ORDER BY last_used, key",
                )?
                .query_map([], |row| {
                    Ok(CacheEntry {
                        key: row.get(2)?,
                        record: record(row)?,
                        created: timestamp(row, 3)?,
                        last_used: timestamp(row, 4)?,
                        hits: unsigned(row, 5)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            let mut layers: HashMap<String, Vec<Digest>> = HashMap::with_capacity(entries.len());
            let mut statement =
                connection.prepare_cached("SELECT key, diff_id FROM cache_layers ORDER BY key, position")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                layers.entry(row.get(0)?).or_default().push(digest(row, 1)?);
            }
            Ok((entries, layers))
        })?;
        for entry in &mut entries {
            entry.record.layers = layers.remove(&entry.key).unwrap_or_default();
        }
        Ok(entries)
    }

    /// Forgets a record; whether there was one.
    pub fn cache_delete(&self, key: &str) -> Result<bool> {
        self.write_reserved("delete a build cache record", |transaction| {
            let deleted = transaction
                .prepare_cached("DELETE FROM cache WHERE key = ?1")?
                .execute([key])?;
            Ok(Ok(deleted > 0))
        })
    }
}
