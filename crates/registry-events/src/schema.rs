//! The tables. Times are milliseconds since 1970.

use havre_database::Schema;

pub(crate) const SCHEMA: Schema = Schema {
    tables: "events",
    steps: &[&[
        "CREATE TABLE webhooks (
            name       TEXT PRIMARY KEY,
            url        TEXT NOT NULL,
            secret     TEXT NOT NULL,
            -- Words, with spaces between; none for all.
            actions    TEXT NOT NULL,
            repository TEXT,
            private    BIGINT NOT NULL,
            created    BIGINT NOT NULL)",
        "CREATE TABLE deliveries (
            id       TEXT PRIMARY KEY,
            target   TEXT NOT NULL,
            -- What happened, in few words: `push team/app:1`.
            about    TEXT NOT NULL,
            body     TEXT NOT NULL,
            created  BIGINT NOT NULL,
            attempts BIGINT NOT NULL,
            -- When it is sent next, or what came of it is looked at; NULL when it is over.
            due      BIGINT,
            -- The last answer.
            status   BIGINT,
            answer   TEXT,
            ended    BIGINT)",
        "CREATE INDEX deliveries_due ON deliveries (due)",
        "CREATE INDEX deliveries_target ON deliveries (target, created)",
        "CREATE INDEX deliveries_ended ON deliveries (ended)",
    ]],
};
