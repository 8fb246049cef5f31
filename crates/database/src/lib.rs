//! Databases: the same statements run on all of them, in transactions.
//!
//! Parameters are `$1`, `$2` … in the order in which they first appear; texts, 64-bit integers and NULL are all there is. Times
//! are milliseconds since 1970 ([`now`]). Everything blocks, and any thread may call it.

mod error;
mod schema;
mod sqlite;
mod value;

use std::fmt;

pub use error::{DatabaseError, Result};
pub use schema::Schema;
pub use sqlite::Sqlite;
pub use value::{Row, Value};

/// A transaction.
pub trait Connection {
    /// How many rows it changed.
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64>;
    /// All rows of the answer.
    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>>;
    /// All rows of the answer, which have one text each: for long lists.
    fn texts(&mut self, sql: &str, values: &[Value]) -> Result<Vec<String>> {
        let rows = self.query(sql, values)?;
        rows.into_iter().map(Row::into_text).collect()
    }

    /// Waits until no other transaction holds this name, in any process, and holds it until this one ends.
    fn lock(&mut self, name: &str) -> Result<()>;

    /// The first row of the answer.
    fn query_one(&mut self, sql: &str, values: &[Value]) -> Result<Option<Row>> {
        Ok(self.query(sql, values)?.into_iter().next())
    }
}

/// How a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Commit,
    RollBack,
}

/// What a transaction does.
pub type Work<'a> = &'a mut dyn FnMut(&mut dyn Connection) -> End;

/// A database. Transactions that write may run beside each other: what must not happen at once is [locked](Connection::lock).
pub trait Database: fmt::Debug + Send + Sync {
    /// Runs a transaction that changes something; all of it or nothing. It may run more than once.
    fn write(&self, work: Work<'_>) -> Result<()>;
    /// Runs a transaction that changes nothing, beside others. It may run more than once.
    fn read(&self, work: Work<'_>) -> Result<()>;
}

impl dyn Database + '_ {
    /// Runs a transaction that changes something, and nothing if it fails. It may run more than once.
    pub fn writing<T, E: From<DatabaseError>>(
        &self,
        work: impl FnMut(&mut dyn Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        outcome(|work| self.write(work), work)
    }

    /// Runs a transaction that changes nothing. It may run more than once.
    pub fn reading<T, E: From<DatabaseError>>(
        &self,
        work: impl FnMut(&mut dyn Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        outcome(|work| self.read(work), work)
    }
}

fn outcome<T, E: From<DatabaseError>>(
    run: impl FnOnce(Work<'_>) -> Result<()>,
    mut work: impl FnMut(&mut dyn Connection) -> Result<T, E>,
) -> Result<T, E> {
    let mut last = None;
    let ended = run(&mut |connection| {
        let outcome = work(connection);
        let end = if outcome.is_ok() {
            End::Commit
        } else {
            End::RollBack
        };
        last = Some(outcome);
        end
    });
    match last {
        Some(Err(error)) => Err(error),
        Some(Ok(value)) => Ok(ended.map(|()| value)?),
        None => Err(ended
            .err()
            .unwrap_or(DatabaseError::Failed {
                action: "run a transaction",
                reason: "it did not run".to_owned(),
            })
            .into()),
    }
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
