//! Values in the types of PostgreSQL.

use bytes::BytesMut;
use havre_database::{DatabaseError, Result, Row, Value};
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

type Failed = Box<dyn std::error::Error + Sync + Send>;

/// What goes into a statement.
#[derive(Debug)]
pub(crate) struct Parameter<'a>(pub(crate) &'a Value);

impl Parameter<'_> {
    pub(crate) fn as_sql(&self) -> &(dyn ToSql + Sync) {
        self
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self, to: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Text(text) => text.to_sql(to, out),
            Value::Integer(number) if *to == Type::INT4 => i32::try_from(*number)?.to_sql(to, out),
            Value::Integer(number) if *to == Type::INT8 => number.to_sql(to, out),
            Value::Integer(_) => Err(format!("a number where there is {to}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// What comes out.
struct Column(Value);

impl<'a> FromSql<'a> for Column {
    fn from_sql(from: &Type, raw: &'a [u8]) -> Result<Self, Failed> {
        Ok(Self(match *from {
            Type::INT8 => Value::Integer(i64::from_sql(from, raw)?),
            Type::INT4 => Value::Integer(i32::from_sql(from, raw)?.into()),
            Type::BOOL => Value::Integer(bool::from_sql(from, raw)?.into()),
            // Of a function without an answer.
            Type::VOID => Value::Null,
            _ => Value::Text(String::from_sql(from, raw)?),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failed> {
        Ok(Self(Value::Null))
    }

    fn accepts(to: &Type) -> bool {
        matches!(*to, Type::INT8 | Type::INT4 | Type::BOOL | Type::VOID) || <String as FromSql>::accepts(to)
    }
}

pub(crate) fn row(row: &postgres::Row) -> Result<Row> {
    let values = (0..row.len()).map(|index| {
        let column = row.try_get::<_, Column>(index);
        let column = column.map_err(|error| DatabaseError::Failed {
            action: "understand the database",
            reason: super::reason(&error),
        })?;
        Ok(column.0)
    });
    Ok(Row::new(values.collect::<Result<_>>()?))
}
