//! Tables and their migrations.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::failed;
use crate::{Result, StoreError};

/// One step per version; a database at `user_version` n has seen the first n.
const MIGRATIONS: [&str; 7] = [
    "
    CREATE TABLE layers (
        diff_id  TEXT PRIMARY KEY,
        size     INTEGER NOT NULL,
        tar_size INTEGER NOT NULL,
        entries  INTEGER NOT NULL,
        created  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Compressed forms of a layer.
    CREATE TABLE layer_blobs (
        seq        INTEGER PRIMARY KEY,
        diff_id    TEXT NOT NULL REFERENCES layers ON DELETE CASCADE,
        digest     TEXT NOT NULL,
        descriptor TEXT NOT NULL,
        UNIQUE (diff_id, digest)
    ) STRICT;
    CREATE INDEX layer_blobs_digest ON layer_blobs (digest);

    CREATE TABLE images (
        id        TEXT PRIMARY KEY,
        manifest  TEXT,
        size      INTEGER NOT NULL,
        created   TEXT,
        platform  TEXT NOT NULL,
        added     INTEGER NOT NULL,
        last_used INTEGER,
        parent    TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE image_layers (
        image    TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id  TEXT NOT NULL REFERENCES layers,
        PRIMARY KEY (image, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_layers_diff_id ON image_layers (diff_id);

    CREATE TABLE refs (
        name    TEXT PRIMARY KEY,
        image   TEXT NOT NULL REFERENCES images,
        target  TEXT,
        updated INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX refs_image ON refs (image);
    CREATE TABLE ref_history (
        seq     INTEGER PRIMARY KEY,
        name    TEXT NOT NULL,
        image   TEXT,
        target  TEXT,
        command TEXT NOT NULL,
        at      INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX ref_history_name ON ref_history (name, seq);

    CREATE TABLE repo_digests (
        seq        INTEGER PRIMARY KEY,
        repository TEXT NOT NULL,
        digest     TEXT NOT NULL,
        image      TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
        UNIQUE (repository, digest, image)
    ) STRICT;
    CREATE INDEX repo_digests_image ON repo_digests (image);

    CREATE TABLE documents (
        seq  INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        id   TEXT NOT NULL,
        name TEXT,
        body TEXT NOT NULL,
        UNIQUE (kind, id),
        UNIQUE (kind, name)
    ) STRICT;

    CREATE TABLE cache (
        key       TEXT PRIMARY KEY,
        body      TEXT NOT NULL,
        size      INTEGER NOT NULL,
        created   INTEGER NOT NULL,
        last_used INTEGER NOT NULL,
        hits      INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE cache_layers (
        key      TEXT NOT NULL REFERENCES cache ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id  TEXT NOT NULL REFERENCES layers,
        PRIMARY KEY (key, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX cache_layers_diff_id ON cache_layers (diff_id);

    CREATE TABLE snapshots (
        id      TEXT PRIMARY KEY,
        created INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE snapshot_layers (
        snapshot TEXT NOT NULL REFERENCES snapshots ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id  TEXT NOT NULL REFERENCES layers,
        PRIMARY KEY (snapshot, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX snapshot_layers_diff_id ON snapshot_layers (diff_id);
",
    // Layers that are files: size, where the metadata begin, and their digest.
    "
    ALTER TABLE layers ADD COLUMN form            TEXT NOT NULL DEFAULT 'directory';
    ALTER TABLE layers ADD COLUMN file_size       INTEGER;
    ALTER TABLE layers ADD COLUMN metadata_offset INTEGER;
    ALTER TABLE layers ADD COLUMN metadata        TEXT;
",
    // Removing an image asks who else names its blobs, and what was built on it.
    "
    CREATE INDEX images_parent ON images (parent);
    CREATE INDEX images_manifest ON images (manifest ->> 'digest');
    CREATE INDEX refs_target ON refs (target ->> 'digest');
    CREATE INDEX repo_digests_digest ON repo_digests (digest);
",
    // Removals that can be undone. Numbers are never used again: they name directories.
    "
    CREATE TABLE removals (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        token   TEXT NOT NULL UNIQUE,
        command TEXT NOT NULL,
        at      INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE removed (
        seq      INTEGER PRIMARY KEY AUTOINCREMENT,
        removal  INTEGER NOT NULL REFERENCES removals ON DELETE CASCADE,
        kind     TEXT NOT NULL,
        id       TEXT NOT NULL,
        name     TEXT,
        body     TEXT NOT NULL,
        snapshot TEXT,
        data     TEXT,
        size     INTEGER
    ) STRICT;
    CREATE INDEX removed_removal ON removed (removal);
    CREATE INDEX removed_snapshot ON removed (snapshot);
",
    // What removed images hold.
    "
    CREATE TABLE removed_layers (
        item     INTEGER NOT NULL REFERENCES removed ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id  TEXT NOT NULL REFERENCES layers,
        PRIMARY KEY (item, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX removed_layers_diff_id ON removed_layers (diff_id);
    CREATE TABLE removed_blobs (
        item   INTEGER NOT NULL REFERENCES removed ON DELETE CASCADE,
        digest TEXT NOT NULL,
        PRIMARY KEY (item, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX removed_blobs_digest ON removed_blobs (digest);
    CREATE INDEX removed_id ON removed (kind, id);
",
    // A history has a line where something changed, and not more than the last fifty.
    "
    DELETE FROM ref_history WHERE seq IN (
        SELECT seq FROM (SELECT seq, image, row_number() OVER line AS place, lag(image) OVER line AS before
                         FROM ref_history WINDOW line AS (PARTITION BY name ORDER BY seq))
        WHERE place > 1 AND image IS before);
    DELETE FROM ref_history WHERE seq IN (
        SELECT seq FROM (SELECT seq, row_number() OVER (PARTITION BY name ORDER BY seq DESC) AS place FROM ref_history)
        WHERE place > 50);
",
    // The images of a name for other platforms than the one it stands for by itself.
    "
    CREATE TABLE ref_platforms (
        name  TEXT NOT NULL REFERENCES refs ON DELETE CASCADE,
        image TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
        PRIMARY KEY (name, image)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX ref_platforms_image ON ref_platforms (image);

    -- What came with an image besides: its attestations, manifests and contents.
    CREATE TABLE image_blobs (
        image  TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
        digest TEXT NOT NULL,
        PRIMARY KEY (image, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_blobs_digest ON image_blobs (digest);
",
];

pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<()> {
    let failed = |action| failed(path, action);
    connection
        .busy_timeout(Duration::from_secs(10))
        .map_err(failed("configure"))?;
    connection.set_prepared_statement_cache_capacity(128);
    // EXCLUSIVE: the store has one owner, so nobody need be asked before every statement.
    // NORMAL: a commit survives the end of the process; the store's own sync makes it survive a power cut.
    connection
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA foreign_keys = ON;",
        )
        .map_err(failed("configure"))?;
    let version: usize = connection
        .query_row("SELECT user_version FROM pragma_user_version", [], |row| {
            row.get::<_, i64>(0)
        })
        .map_err(failed("read its version"))?
        .try_into()
        .unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        return Err(StoreError::Corrupt {
            path: path.to_path_buf(),
            reason: format!(
                "it has version {version}, this program knows up to {}",
                MIGRATIONS.len()
            ),
        });
    }
    for (done, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction().map_err(failed("migrate"))?;
        transaction.execute_batch(migration).map_err(failed("migrate"))?;
        transaction
            .pragma_update(None, "user_version", (done + 1) as i64)
            .map_err(failed("migrate"))?;
        transaction.commit().map_err(failed("migrate"))?;
    }
    Ok(())
}
