//! SQLite: one connection that writes, others that read meanwhile.

use std::fs::{Metadata, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OpenFlags, ToSql};

use crate::{Connection, Database, DatabaseError, End, Result, Row, Value, Work};

/// Connections that are kept for readers.
const READERS: usize = 8;

/// A file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    writer: Mutex<rusqlite::Connection>,
    readers: Mutex<Vec<rusqlite::Connection>>,
}

fn failed(action: &'static str) -> impl FnOnce(rusqlite::Error) -> DatabaseError {
    move |error| DatabaseError::Failed {
        action,
        reason: error.to_string(),
    }
}

/// Takes a file away from others than its owner; one that is not there is made so. Where files have no such permissions, or it is
/// somebody else's, opening it says what is wrong.
fn restrict(path: &Path) {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    let Ok(file) = file else { return };
    let is_open = |status: Metadata| status.permissions().mode() & 0o077 != 0;
    if file.metadata().is_ok_and(is_open) {
        let _ = file.set_permissions(Permissions::from_mode(0o600));
    }
}

impl Sqlite {
    /// Opens or makes it. It may hold secrets: nobody else on the machine reads it.
    pub fn open(path: &Path) -> Result<Self> {
        restrict(path);
        let open = || {
            let connection = rusqlite::Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // An acknowledged push is on the disk.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.busy_timeout(std::time::Duration::from_secs(30))?;
            connection.set_prepared_statement_cache_capacity(128);
            Ok(connection)
        };
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(open().map_err(failed("open the database"))?),
            readers: Mutex::default(),
        })
    }

    fn readers(&self) -> MutexGuard<'_, Vec<rusqlite::Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> Result<rusqlite::Connection> {
        if let Some(reader) = self.readers().pop() {
            return Ok(reader);
        }
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = rusqlite::Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(std::time::Duration::from_secs(30))?;
            connection.set_prepared_statement_cache_capacity(128);
            Ok(connection)
        };
        open().map_err(failed("open the database"))
    }
}

impl Database for Sqlite {
    fn write(&self, work: Work<'_>) -> Result<()> {
        let connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let run = |sql: &str| connection.prepare_cached(sql)?.execute([]);
        run("BEGIN IMMEDIATE").map_err(failed("begin a transaction"))?;
        let mut within = Within(&connection);
        let committed = match work(&mut within) {
            End::Commit => run("COMMIT").map(drop).map_err(failed("commit a transaction")),
            End::RollBack => Ok(()),
        };
        // What was not committed; SQLite itself has rolled back after some errors.
        if !connection.is_autocommit() {
            let _ = run("ROLLBACK");
        }
        committed
    }

    fn read(&self, work: Work<'_>) -> Result<()> {
        let connection = self.reader()?;
        let run = |sql: &str| connection.prepare_cached(sql)?.execute([]);
        run("BEGIN").map_err(failed("begin a transaction"))?;
        work(&mut Within(&connection));
        if run("COMMIT").is_ok() {
            let mut readers = self.readers();
            if readers.len() < READERS {
                readers.push(connection);
            }
        }
        Ok(())
    }
}

struct Within<'a>(&'a rusqlite::Connection);

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn column(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Integer(number)),
        ValueRef::Text(text) => Ok(Value::Text(String::from_utf8_lossy(text).into_owned())),
        ValueRef::Real(_) | ValueRef::Blob(_) => Err(rusqlite::Error::InvalidQuery),
    }
}

impl Connection for Within<'_> {
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64> {
        let run = || {
            let mut statement = self.0.prepare_cached(sql)?;
            statement.execute(rusqlite::params_from_iter(values))
        };
        run()
            .map(|rows| rows as u64)
            .map_err(failed("write to the database"))
    }

    /// Whoever writes is alone already.
    fn lock(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        let run = || {
            let mut statement = self.0.prepare_cached(sql)?;
            let columns = statement.column_count();
            let mut rows = statement.query(rusqlite::params_from_iter(values))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|index| column(row.get_ref(index)?));
                found.push(Row::new(values.collect::<rusqlite::Result<_>>()?));
            }
            Ok(found)
        };
        run().map_err(failed("read the database"))
    }

    fn texts(&mut self, sql: &str, values: &[Value]) -> Result<Vec<String>> {
        let run = || {
            let mut statement = self.0.prepare_cached(sql)?;
            let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(0))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        run().map_err(failed("read the database"))
    }
}
