//! What can go wrong with a database.

pub type Result<T, E = DatabaseError> = std::result::Result<T, E>;

/// Why a transaction did nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    #[error("cannot {action}: {reason}")]
    Failed { action: &'static str, reason: String },
    #[error("the database's {tables} have version {found}, this program knows versions up to {known}")]
    Version {
        tables: &'static str,
        found: i64,
        known: i64,
    },
}

impl DatabaseError {
    /// A column that is something else than was asked for.
    pub fn not_a(what: &str) -> Self {
        Self::Failed {
            action: "understand the database",
            reason: format!("a column is not {what}"),
        }
    }
}
