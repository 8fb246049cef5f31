//! What goes into statements and what comes out of them.

use std::str::FromStr;

use havre_oci::Digest;

use crate::{DatabaseError, Result};

/// A parameter, or a column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Integer(i64),
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
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
pub struct Row(Vec<Value>);

impl Row {
    /// Of its columns.
    pub fn new(columns: Vec<Value>) -> Self {
        Self(columns)
    }

    pub fn text(&self, column: usize) -> Result<String> {
        self.text_or_null(column)?
            .ok_or_else(|| DatabaseError::not_a("a text"))
    }

    /// Its one column.
    pub fn into_text(self) -> Result<String> {
        match self.0.into_iter().next() {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(DatabaseError::not_a("a text")),
        }
    }

    pub fn text_or_null(&self, column: usize) -> Result<Option<String>> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(Value::Null) => Ok(None),
            _ => Err(DatabaseError::not_a("a text")),
        }
    }

    pub fn integer(&self, column: usize) -> Result<i64> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => Ok(*number),
            _ => Err(DatabaseError::not_a("a number")),
        }
    }

    pub fn integer_or_null(&self, column: usize) -> Result<Option<i64>> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(Value::Null) => Ok(None),
            _ => Err(DatabaseError::not_a("a number")),
        }
    }

    /// Bytes.
    pub fn size(&self, column: usize) -> Result<u64> {
        u64::try_from(self.integer(column)?).map_err(|_| DatabaseError::not_a("a size"))
    }

    /// A text that stands for something.
    pub fn parsed<T: FromStr>(&self, column: usize) -> Result<T> {
        self.text(column)?
            .parse()
            .map_err(|_| DatabaseError::not_a(std::any::type_name::<T>()))
    }
}
