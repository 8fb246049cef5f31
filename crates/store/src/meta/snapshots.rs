//! Which layers a snapshot stands on.

use havre_oci::Digest;

use super::{Meta, digest, missing_layer, now, put_layers};
use crate::{Result, StoreError};

impl Meta {
    pub(crate) fn insert_snapshot(&self, id: &str, chain: &[Digest]) -> Result<()> {
        self.write("insert a snapshot", |transaction| {
            if let Some(diff_id) = missing_layer(transaction, chain)? {
                return Ok(Err(StoreError::LayerNotFound {
                    diff_id: diff_id.clone(),
                }));
            }
            let inserted = transaction
                .prepare_cached("INSERT OR IGNORE INTO snapshots (id, created) VALUES (?1, ?2)")?
                .execute((id, now()))?;
            if inserted == 0 {
                return Ok(Err(StoreError::SnapshotExists { id: id.to_owned() }));
            }
            let insert = "INSERT INTO snapshot_layers (snapshot, position, diff_id) VALUES (?1, ?2, ?3)";
            put_layers(transaction, insert, id, chain)?;
            Ok(Ok(()))
        })
    }

    /// The chain of a snapshot, base first.
    pub(crate) fn find_snapshot(&self, id: &str) -> Result<Option<Vec<Digest>>> {
        self.read("find a snapshot", |connection| {
            if !connection
                .prepare_cached("SELECT 1 FROM snapshots WHERE id = ?1")?
                .exists([id])?
            {
                return Ok(None);
            }
            connection
                .prepare_cached("SELECT diff_id FROM snapshot_layers WHERE snapshot = ?1 ORDER BY position")?
                .query_map([id], |row| digest(row, 0))?
                .collect::<Result<_, _>>()
                .map(Some)
        })
    }

    pub(crate) fn snapshot_ids(&self) -> Result<Vec<String>> {
        self.read("list snapshots", |connection| {
            connection
                .prepare_cached("SELECT id FROM snapshots ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    pub(crate) fn delete_snapshot(&self, id: &str) -> Result<bool> {
        self.write_reserved("delete a snapshot", |transaction| {
            let deleted = transaction
                .prepare_cached("DELETE FROM snapshots WHERE id = ?1")?
                .execute([id])?;
            Ok(Ok(deleted > 0))
        })
    }
}
