//! Tables, and how older ones become these.

use crate::{Connection, Database, DatabaseError, Result, Value};

/// Tables that change together.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// What they are called together.
    pub tables: &'static str,
    /// Statements that lead from one version to the next, from none to the present one. Only ever added to.
    pub steps: &'static [&'static [&'static str]],
}

impl Schema {
    /// Makes the tables, or makes them of older ones.
    pub fn prepare(&self, database: &dyn Database) -> Result<()> {
        database.writing(|connection| {
            connection.lock("schema")?;
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_versions (tables TEXT PRIMARY KEY, version BIGINT NOT NULL)",
                &[],
            )?;
            let found = self.version(connection)?;
            let known = self.steps.len() as i64;
            if found > known || found < 0 {
                let tables = self.tables;
                return Err(DatabaseError::Version { tables, found, known });
            }
            for statement in self.steps.iter().skip(found as usize).copied().flatten() {
                connection.execute(statement, &[])?;
            }
            connection.execute(
                "INSERT INTO schema_versions (tables, version) VALUES ($1, $2)
                 ON CONFLICT (tables) DO UPDATE SET version = excluded.version",
                &[self.tables.into(), Value::from(known)],
            )?;
            Ok(())
        })
    }

    fn version(&self, connection: &mut dyn Connection) -> Result<i64> {
        let row = connection.query_one(
            "SELECT version FROM schema_versions WHERE tables = $1",
            &[self.tables.into()],
        )?;
        row.map_or(Ok(0), |row| row.integer(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sqlite;

    const FIRST: &[&str] = &["CREATE TABLE things (name TEXT PRIMARY KEY)"];
    const SECOND: &[&str] = &["ALTER TABLE things ADD COLUMN size BIGINT NOT NULL DEFAULT 7"];

    #[test]
    fn older_tables_become_newer_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let database: Box<dyn Database> =
            Box::new(Sqlite::open(&folder.path().join("db")).expect("a database"));
        let old = Schema {
            tables: "things",
            steps: &[FIRST],
        };
        let new = Schema {
            tables: "things",
            steps: &[FIRST, SECOND],
        };
        old.prepare(&*database).expect("tables");
        let add = |connection: &mut dyn Connection| {
            connection.execute("INSERT INTO things (name) VALUES ($1)", &["one".into()])
        };
        assert_eq!(database.writing(add).expect("a row"), 1);
        new.prepare(&*database).expect("newer tables");
        new.prepare(&*database).expect("the same again");
        let sizes = database
            .reading(|connection| connection.query_one("SELECT size FROM things", &[]))
            .expect("a row");
        assert_eq!(sizes.expect("a row").integer(0).expect("a number"), 7);
        let refused = old.prepare(&*database).expect_err("tables of a newer program");
        assert_eq!(
            refused.to_string(),
            "the database's things have version 2, this program knows versions up to 1"
        );
    }

    #[test]
    fn nobody_else_reads_the_file() {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &std::path::Path| path.metadata().expect("a file").permissions().mode() & 0o777;
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        let mut everybody = std::fs::OpenOptions::new();
        everybody.create(true).append(true).mode(0o644);
        everybody.open(&old).expect("a file");
        for path in [&new, &old] {
            Sqlite::open(path).expect("a database");
            assert_eq!(mode(path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn a_failed_transaction_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let database: Box<dyn Database> =
            Box::new(Sqlite::open(&folder.path().join("db")).expect("a database"));
        let things = Schema {
            tables: "things",
            steps: &[FIRST],
        };
        things.prepare(&*database).expect("tables");
        let failed = database.writing(|connection| {
            connection.execute("INSERT INTO things (name) VALUES ($1)", &["one".into()])?;
            Err::<(), _>(DatabaseError::not_a("thing"))
        });
        assert!(failed.is_err());
        let rows = database
            .reading(|connection| connection.query("SELECT name FROM things", &[]))
            .expect("rows");
        assert!(rows.is_empty());
    }
}
