//! The tables, and how older ones become these. Times are milliseconds since 1970.

use havre_database::Schema;

pub(crate) const SCHEMA: Schema = Schema {
    tables: "registry",
    steps: STEPS,
};

/// Each leads from one version to the next.
const STEPS: &[&[&str]] = &[FIRST, DELETED_TAGS, CACHED, TAGS_VERSION];

const FIRST: &[&str] = &[
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
    // Uploads to storage whose objects are made of parts.
    "CREATE TABLE uploads (
        repository TEXT NOT NULL,
        id         TEXT NOT NULL,
        touched    BIGINT NOT NULL,
        -- What the storage calls the object of parts, once there are any.
        object     TEXT,
        -- Bytes behind the last part.
        rest       BIGINT NOT NULL,
        -- Of all bytes, if it is known.
        digest     TEXT,
        -- Who writes to it, and until when that counts.
        holder     TEXT,
        held_until BIGINT NOT NULL,
        PRIMARY KEY (repository, id))",
    "CREATE TABLE upload_parts (
        repository TEXT NOT NULL,
        id         TEXT NOT NULL,
        number     BIGINT NOT NULL,
        part       TEXT NOT NULL,
        size       BIGINT NOT NULL,
        PRIMARY KEY (repository, id, number),
        FOREIGN KEY (repository, id) REFERENCES uploads (repository, id))",
];

const DELETED_TAGS: &[&str] = &[
    // They come back as long as the manifest is there.
    "CREATE TABLE deleted_tags (
        repository TEXT NOT NULL,
        name       TEXT NOT NULL,
        digest     TEXT NOT NULL,
        deleted    BIGINT NOT NULL,
        PRIMARY KEY (repository, name, digest))",
    "CREATE INDEX deleted_tags_deleted ON deleted_tags (repository, deleted)",
    "CREATE INDEX tags_updated ON tags (repository, updated)",
    "CREATE INDEX tags_last_updated ON tags (updated)",
];

/// What is kept of another registry.
const CACHED: &[&str] = &[
    "CREATE TABLE cached_tags (
        repository TEXT NOT NULL,
        name       TEXT NOT NULL,
        -- When it was last looked at there.
        checked    BIGINT NOT NULL,
        PRIMARY KEY (repository, name))",
    "CREATE TABLE cached_manifests (
        repository TEXT NOT NULL,
        digest     TEXT NOT NULL,
        -- When somebody last asked for it.
        used       BIGINT NOT NULL,
        PRIMARY KEY (repository, digest))",
    "CREATE INDEX cached_manifests_used ON cached_manifests (used)",
];

/// Another whenever tags come or go, so that who has their list need not read it again. Never one of before, also if the database is
/// made anew.
const TAGS_VERSION: &[&str] = &["ALTER TABLE repositories ADD COLUMN tags_version BIGINT NOT NULL DEFAULT 0"];
