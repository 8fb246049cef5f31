//! The database: images, references and their history, documents, build cache, what is known of layers.
//!
//! One SQLite file in WAL mode. Every function is one short transaction, or part of a longer one of the same thread
//! (`Meta::together`). Foreign keys keep the promise that a layer named
//! by an image, a snapshot or the build cache has a row: such a row can't be deleted, whatever a collection believes.

mod build_cache;
mod documents;
mod images;
mod layers;
mod reference_history;
mod references;
mod removals;
mod removed_images;
mod roots;
mod schema;
mod snapshots;

pub use build_cache::{CacheEntry, CacheRecord};
pub use documents::Document;
pub use images::{Image, ImageFacts, ImageRow, Lookup};
pub use reference_history::ReferenceChange;
pub use references::{Names, Reference, RepoDigest};
pub use removals::{Operation, Removal, RemovedItem, Taken};
pub use removed_images::{DIGEST, IMAGE, KeptImage, LostName, TAG, is_taken};

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use havre_oci::{Descriptor, Digest};
use jiff::Timestamp;
use parking_lot::ReentrantMutex;
use rusqlite::config::DbConfig;
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use crate::layout::Layout;
use crate::lease::Leases;
use crate::reserve::Reserve;
use crate::{Result, StoreError};

/// More than there are in these files, each of some kilobytes.
const STATEMENTS: usize = 128;

/// The database of a store. Any thread may call its functions.
#[derive(Debug)]
pub struct Meta {
    path: PathBuf,
    connection: ReentrantMutex<Connection>,
    leases: Arc<Leases>,
    reserve: Reserve,
}

impl Meta {
    pub(crate) fn open(layout: &Layout, leases: Arc<Leases>) -> Result<Self> {
        let path = layout.database();
        let mut connection = Connection::open(&path).map_err(failed(&path, "open"))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Without it, a statement is compiled anew for every other value that is looked for in an indexed expression, which was
        // half of the time it takes to remove an image.
        let stable = DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
        let stable = connection.set_db_config(stable, true);
        stable.map_err(failed(&path, "open"))?;
        schema::prepare(&mut connection, &path)?;
        Ok(Self {
            path,
            connection: ReentrantMutex::new(connection),
            leases,
            reserve: Reserve::new(layout.reserve()),
        })
    }

    fn read<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        work(&self.connection.lock()).map_err(failed(&self.path, action))
    }

    /// As [`Meta::write`], for what has to work on a full disk too: that something ended, and deleting.
    fn write_reserved<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T>>,
    ) -> Result<T> {
        if self.reserve.make_room() {
            self.rewind();
        }
        self.write(action, work)
    }

    /// Lets the journal begin anew within the room it has, after what is in it was written back: from the first moment that
    /// there is no room, so that others may take what was laid aside and deleting still goes on.
    fn rewind(&self) {
        let connection = self.connection.lock();
        if !connection.is_autocommit() {
            return;
        }
        let busy = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0));
        if busy != Ok(0) {
            tracing::debug!(?busy, "the journal cannot begin anew");
        }
    }

    /// Runs `work` in a transaction; an error of either kind rolls it back.
    fn write<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T>>,
    ) -> Result<T> {
        let connection = self.connection.lock();
        let scope = Scope::begin(&connection).map_err(failed(&self.path, action))?;
        let value = work(&connection).map_err(failed(&self.path, action))??;
        scope.commit().map_err(failed(&self.path, action))?;
        // What was given up on a full disk is laid aside as soon as there is room, for the next time.
        self.reserve.fill();
        Ok(value)
    }

    /// Makes one transaction of all that `work` calls of this database; an error rolls all of it back. Other threads wait.
    pub(crate) fn together<T, E: From<StoreError>>(
        &self,
        action: &'static str,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let connection = self.connection.lock();
        let scope = Scope::begin(&connection).map_err(failed(&self.path, action))?;
        let value = work()?;
        scope.commit().map_err(failed(&self.path, action))?;
        Ok(value)
    }
}

/// A transaction, or a part of the one that is under way, which fails alone. Rolled back when dropped.
struct Scope<'a> {
    connection: &'a Connection,
    rollback: &'static str,
    commit: &'static str,
    done: bool,
}

impl<'a> Scope<'a> {
    fn begin(connection: &'a Connection) -> rusqlite::Result<Self> {
        let (begin, commit, rollback) = if connection.is_autocommit() {
            ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
        } else {
            ("SAVEPOINT part", "RELEASE part", "ROLLBACK TO part; RELEASE part")
        };
        connection.prepare_cached(begin)?.execute([])?;
        Ok(Self {
            connection,
            rollback,
            commit,
            done: false,
        })
    }

    fn commit(mut self) -> rusqlite::Result<()> {
        self.connection.prepare_cached(self.commit)?.execute([])?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        // SQLite itself has rolled back after some errors.
        if !self.done
            && !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch(self.rollback)
        {
            tracing::error!(%error, "cannot roll back");
        }
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::NoSpace {
            path: path.to_path_buf(),
            // SQLite says no more than this.
            source: rustix::io::Errno::NOSPC.into(),
        },
        _ => StoreError::Database { action, source },
    }
}

/// Nanoseconds since 1970, the form of our own times in the database.
fn now() -> i64 {
    nanoseconds(Timestamp::now())
}

fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(if at < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}

fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let nanoseconds: i64 = row.get(column)?;
    Timestamp::from_nanosecond(nanoseconds.into())
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into()))
}

/// Sizes are far below 2^63: no file system holds more.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.try_into().unwrap_or(0))
}

fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse()
        .map_err(|error: T::Err| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    parsed(row, column)
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

fn json_or_null<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null {
        Ok(None)
    } else {
        json(row, column).map(Some)
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn descriptor_json(descriptor: Option<&Descriptor>) -> rusqlite::Result<Option<String>> {
    descriptor.map(to_json).transpose()
}

/// The first of `layers` that has no row.
fn missing_layer<'a>(connection: &Connection, layers: &'a [Digest]) -> rusqlite::Result<Option<&'a Digest>> {
    let mut known = connection.prepare_cached("SELECT 1 FROM layers WHERE diff_id = ?1")?;
    for diff_id in layers {
        if !known.exists([diff_id.as_str()])? {
            return Ok(Some(diff_id));
        }
    }
    Ok(None)
}

/// Writes the layers of an object into its table of positions.
fn put_layers(
    transaction: &Connection,
    insert: &str,
    owner: impl rusqlite::ToSql + Copy,
    layers: &[Digest],
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(insert)?;
    for (position, diff_id) in layers.iter().enumerate() {
        insert.execute((owner, position as i64, diff_id.as_str()))?;
    }
    Ok(())
}
