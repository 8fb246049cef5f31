//! A database, whichever it is: the same statements run on all of them.
//!
//! Parameters are `$1`, `$2` … in the order in which they first appear; texts, 64-bit integers and NULL are all there is.

pub(crate) mod sqlite;

use std::fmt;

use havre_oci::Digest;

use crate::{Result, StoreError};

/// A parameter, or a column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&Digest> for Value {
    fn from(digest: &Digest) -> Self {
        Self::Text(digest.to_string())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of an answer.
#[derive(Debug)]
pub(crate) struct Row(pub(crate) Vec<Value>);

fn not_what_was_asked(what: &str) -> StoreError {
    StoreError::Database {
        action: "understand the database",
        reason: format!("a column is not {what}"),
    }
}

impl Row {
    pub(crate) fn text(&self, column: usize) -> Result<String> {
        self.text_or_null(column)?
            .ok_or_else(|| not_what_was_asked("a text"))
    }

    pub(crate) fn text_or_null(&self, column: usize) -> Result<Option<String>> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(Value::Null) => Ok(None),
            _ => Err(not_what_was_asked("a text")),
        }
    }

    pub(crate) fn integer(&self, column: usize) -> Result<i64> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => Ok(*number),
            _ => Err(not_what_was_asked("a number")),
        }
    }

    /// Bytes.
    pub(crate) fn size(&self, column: usize) -> Result<u64> {
        u64::try_from(self.integer(column)?).map_err(|_| not_what_was_asked("a size"))
    }

    pub(crate) fn digest(&self, column: usize) -> Result<Digest> {
        self.text(column)?
            .parse()
            .map_err(|_| not_what_was_asked("a digest"))
    }
}

/// A transaction.
pub(crate) trait Connection {
    /// How many rows it changed.
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64>;
    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>>;

    fn query_one(&mut self, sql: &str, values: &[Value]) -> Result<Option<Row>> {
        Ok(self.query(sql, values)?.into_iter().next())
    }
}

type Work<'a> = &'a mut dyn FnMut(&mut dyn Connection) -> Result<()>;

/// A database.
pub(crate) trait Database: fmt::Debug + Send + Sync {
    /// Runs a transaction that changes something; all of it or, with an error, nothing. It may run more than once.
    fn write(&self, work: Work<'_>) -> Result<()>;
    /// Runs a transaction that changes nothing, beside others.
    fn read(&self, work: Work<'_>) -> Result<()>;
}

impl dyn Database + '_ {
    pub(crate) fn writing<T>(&self, mut work: impl FnMut(&mut dyn Connection) -> Result<T>) -> Result<T> {
        let mut value = None;
        self.write(&mut |connection| {
            value = Some(work(connection)?);
            Ok(())
        })?;
        value.ok_or_else(|| not_what_was_asked("there"))
    }

    pub(crate) fn reading<T>(&self, mut work: impl FnMut(&mut dyn Connection) -> Result<T>) -> Result<T> {
        let mut value = None;
        self.read(&mut |connection| {
            value = Some(work(connection)?);
            Ok(())
        })?;
        value.ok_or_else(|| not_what_was_asked("there"))
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
