//! The tables, and how older ones become these. Times are milliseconds since 1970.

use crate::database::{Connection, Database, Value};
use crate::{Result, StoreError};

/// Each step leads from one version to the next.
const STEPS: &[&[&str]] = &[&[
    "CREATE TABLE repositories (
        name    TEXT PRIMARY KEY,
        created BIGINT NOT NULL)",
    // The bytes of blobs and manifests that are in the files.
    "CREATE TABLE blobs (
        digest TEXT PRIMARY KEY,
        size   BIGINT NOT NULL,
        -- When it came, came again, or was deleted somewhere.
        touched BIGINT NOT NULL)",
    "CREATE TABLE repository_blobs (
        repository TEXT NOT NULL REFERENCES repositories (name),
        digest     TEXT NOT NULL REFERENCES blobs (digest),
        -- When somebody was last told that it is there.
        touched    BIGINT NOT NULL,
        PRIMARY KEY (repository, digest))",
    "CREATE INDEX repository_blobs_digest ON repository_blobs (digest)",
    "CREATE TABLE manifests (
        repository    TEXT NOT NULL REFERENCES repositories (name),
        digest        TEXT NOT NULL REFERENCES blobs (digest),
        media_type    TEXT NOT NULL,
        size          BIGINT NOT NULL,
        subject       TEXT,
        artifact_type TEXT,
        annotations   TEXT,
        added         BIGINT NOT NULL,
        PRIMARY KEY (repository, digest))",
    "CREATE INDEX manifests_digest ON manifests (digest)",
    "CREATE INDEX manifests_subject ON manifests (repository, subject)",
    // What a manifest names and cannot do without: blobs and, of an index, manifests of the same repository.
    "CREATE TABLE parts (
        repository TEXT NOT NULL,
        manifest   TEXT NOT NULL,
        digest     TEXT NOT NULL,
        PRIMARY KEY (repository, manifest, digest),
        FOREIGN KEY (repository, manifest) REFERENCES manifests (repository, digest))",
    "CREATE INDEX parts_digest ON parts (repository, digest)",
    "CREATE TABLE tags (
        repository TEXT NOT NULL,
        name       TEXT NOT NULL,
        digest     TEXT NOT NULL,
        updated    BIGINT NOT NULL,
        PRIMARY KEY (repository, name),
        FOREIGN KEY (repository, digest) REFERENCES manifests (repository, digest))",
    "CREATE INDEX tags_digest ON tags (repository, digest)",
    // What was done once.
    "CREATE TABLE milestones (name TEXT PRIMARY KEY, reached BIGINT NOT NULL)",
    "CREATE INDEX repository_blobs_touched ON repository_blobs (touched)",
]];

/// Makes the tables, or makes them of older ones.
pub(crate) fn prepare(database: &dyn Database) -> Result<()> {
    database.writing(|connection| {
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)",
            &[],
        )?;
        let row = connection.query_one("SELECT version FROM schema_version", &[])?;
        let found = row.map(|row| row.integer(0)).transpose()?;
        let known = STEPS.len() as i64;
        let from = found.unwrap_or(0);
        if from > known || from < 0 {
            return Err(StoreError::Version { found: from, known });
        }
        for statement in STEPS.iter().skip(from as usize).copied().flatten() {
            connection.execute(statement, &[])?;
        }
        set_version(connection, found, known)
    })
}

fn set_version(connection: &mut dyn Connection, found: Option<i64>, version: i64) -> Result<()> {
    let values = [Value::from(version)];
    match found {
        Some(found) if found == version => Ok(()),
        Some(_) => connection
            .execute("UPDATE schema_version SET version = $1", &values)
            .map(drop),
        None => connection
            .execute("INSERT INTO schema_version (version) VALUES ($1)", &values)
            .map(drop),
    }
}
