//! What names of images stood for before: a line for every change, so that a tag can be looked up as it was, and put back.
//!
//! The history holds nothing alive: an image whose line is here may be gone.

use havre_oci::{Descriptor, Digest};
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::{Meta, digest, json_or_null, now, timestamp};
use crate::Result;

/// Lines that one name keeps.
const KEPT: i64 = 50;
/// Lines of all names, about: the oldest go first, but never the one that tells of a name that is there.
const KEPT_OF_ALL: i64 = 20_000;
/// After so many lines the oldest are looked for.
const TURN: i64 = 256;

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

/// Adds a line if the name stands for something else by now.
pub(super) fn append(
    transaction: &Connection,
    name: &str,
    image: Option<&str>,
    target: Option<&str>,
    command: &str,
) -> rusqlite::Result<()> {
    let last: Option<(i64, Option<String>)> = transaction
        .prepare_cached("SELECT seq, image FROM ref_history WHERE name = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((seq, before)) = last
        && before.as_deref() == image
    {
        // The same image may have come to be served otherwise.
        transaction
            .prepare_cached("UPDATE ref_history SET target = coalesce(?2, target) WHERE seq = ?1")?
            .execute((seq, target))?;
        return Ok(());
    }
    let seq: i64 = transaction
        .prepare_cached(
            "INSERT INTO ref_history (name, image, target, command, at) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING seq",
        )?
        .query_row((name, image, target, command, now()), |row| row.get(0))?;
    transaction
        .prepare_cached(
            "DELETE FROM ref_history WHERE name = ?1 AND seq <=
                 (SELECT seq FROM ref_history WHERE name = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute((name, KEPT))?;
    if seq % TURN == 0 {
        transaction
            .prepare_cached(
                "DELETE FROM ref_history WHERE seq <= ?1
                   AND (EXISTS (SELECT 1 FROM ref_history AS newer
                                WHERE newer.name = ref_history.name AND newer.seq > ref_history.seq)
                        OR NOT EXISTS (SELECT 1 FROM refs WHERE refs.name = ref_history.name))",
            )?
            .execute([seq - KEPT_OF_ALL])?;
    }
    Ok(())
}

impl Meta {
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
                        image: match row.get_ref(1)? {
                            ValueRef::Null => None,
                            _ => Some(digest(row, 1)?),
                        },
                        target: json_or_null(row, 2)?,
                        command: row.get(3)?,
                        at: timestamp(row, 4)?,
                    })
                })?
                .collect()
        })
    }
}
