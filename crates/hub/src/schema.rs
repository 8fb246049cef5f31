//! The tables, and how older ones become these. Times are milliseconds since 1970; what is yes or no is 1 or 0. Repositories need
//! not be in the registry's tables, and may leave them, so nothing refers to those.

use havre_database::Schema;

pub(crate) const SCHEMA: Schema = Schema {
    tables: "hub",
    steps: STEPS,
};

/// Each leads from one version to the next.
const STEPS: &[&[&str]] = &[
    &[
        "CREATE TABLE accounts (
        name     TEXT PRIMARY KEY,
        -- person, organisation or robot
        kind     TEXT NOT NULL,
        -- Of a robot: whom it belongs to.
        owner    TEXT REFERENCES accounts (name),
        email    TEXT,
        title    TEXT NOT NULL,
        -- Of a person: hashed.
        password TEXT,
        admin    BIGINT NOT NULL,
        disabled BIGINT NOT NULL,
        -- Of an organisation: what its members may do in all of its repositories.
        base     TEXT,
        created  BIGINT NOT NULL,
        seen     BIGINT)",
        "CREATE INDEX accounts_owner ON accounts (owner)",
        "CREATE TABLE invitations (
        hash    TEXT PRIMARY KEY,
        id      TEXT NOT NULL UNIQUE,
        note    TEXT NOT NULL,
        admin   BIGINT NOT NULL,
        organisation TEXT,
        inviter TEXT,
        created BIGINT NOT NULL,
        expires BIGINT NOT NULL)",
        "CREATE TABLE sessions (
        hash    TEXT PRIMARY KEY,
        id      TEXT NOT NULL UNIQUE,
        account TEXT NOT NULL REFERENCES accounts (name),
        csrf    TEXT NOT NULL,
        address TEXT,
        agent   TEXT NOT NULL,
        created BIGINT NOT NULL,
        seen    BIGINT NOT NULL,
        expires BIGINT NOT NULL)",
        "CREATE INDEX sessions_account ON sessions (account)",
        "CREATE TABLE tokens (
        hash    TEXT PRIMARY KEY,
        id      TEXT NOT NULL UNIQUE,
        -- access, or refresh
        kind    TEXT NOT NULL,
        account TEXT NOT NULL REFERENCES accounts (name),
        -- Of a refresh token: the access token it was given for.
        parent  TEXT,
        title   TEXT NOT NULL,
        role    TEXT NOT NULL,
        -- Patterns of repositories, in JSON.
        repositories TEXT NOT NULL,
        created BIGINT NOT NULL,
        expires BIGINT,
        used    BIGINT)",
        "CREATE INDEX tokens_account ON tokens (account)",
        "CREATE INDEX tokens_parent ON tokens (parent)",
        "CREATE TABLE keys (
        id      TEXT PRIMARY KEY,
        private TEXT NOT NULL,
        created BIGINT NOT NULL)",
        "CREATE TABLE failures (
        subject TEXT PRIMARY KEY,
        count   BIGINT NOT NULL,
        last    BIGINT NOT NULL)",
        "CREATE TABLE members (
        organisation TEXT NOT NULL REFERENCES accounts (name),
        account      TEXT NOT NULL REFERENCES accounts (name),
        owner        BIGINT NOT NULL,
        added        BIGINT NOT NULL,
        PRIMARY KEY (organisation, account))",
        "CREATE INDEX members_account ON members (account)",
        "CREATE TABLE teams (
        organisation TEXT NOT NULL REFERENCES accounts (name),
        name         TEXT NOT NULL,
        description  TEXT NOT NULL,
        created      BIGINT NOT NULL,
        PRIMARY KEY (organisation, name))",
        "CREATE TABLE team_members (
        organisation TEXT NOT NULL,
        team         TEXT NOT NULL,
        account      TEXT NOT NULL REFERENCES accounts (name),
        PRIMARY KEY (organisation, team, account),
        FOREIGN KEY (organisation, team) REFERENCES teams (organisation, name))",
        "CREATE INDEX team_members_account ON team_members (account)",
        "CREATE TABLE team_grants (
        organisation TEXT NOT NULL,
        team         TEXT NOT NULL,
        -- A repository's name, or * for all of the organisation.
        repository   TEXT NOT NULL,
        role         TEXT NOT NULL,
        PRIMARY KEY (organisation, team, repository),
        FOREIGN KEY (organisation, team) REFERENCES teams (organisation, name))",
        "CREATE TABLE grants (
        repository TEXT NOT NULL,
        account    TEXT NOT NULL REFERENCES accounts (name),
        role       TEXT NOT NULL,
        PRIMARY KEY (repository, account))",
        "CREATE INDEX grants_account ON grants (account)",
        "CREATE TABLE repository_settings (
        repository  TEXT PRIMARY KEY,
        public      BIGINT NOT NULL,
        description TEXT NOT NULL,
        readme      TEXT NOT NULL,
        official    BIGINT NOT NULL,
        pulls       BIGINT NOT NULL,
        pulled      BIGINT,
        created     BIGINT NOT NULL,
        updated     BIGINT NOT NULL)",
        "CREATE TABLE pulls (
        repository TEXT NOT NULL,
        digest     TEXT NOT NULL,
        count      BIGINT NOT NULL,
        pulled     BIGINT NOT NULL,
        PRIMARY KEY (repository, digest))",
        "CREATE TABLE labels (
        repository TEXT NOT NULL,
        name       TEXT NOT NULL,
        value      TEXT NOT NULL,
        PRIMARY KEY (repository, name))",
        "CREATE TABLE stars (
        repository TEXT NOT NULL,
        account    TEXT NOT NULL REFERENCES accounts (name),
        created    BIGINT NOT NULL,
        PRIMARY KEY (repository, account))",
        "CREATE INDEX stars_account ON stars (account)",
        "CREATE TABLE audit (
        -- Sorts by time.
        id        TEXT PRIMARY KEY,
        at        BIGINT NOT NULL,
        actor     TEXT NOT NULL,
        address   TEXT,
        action    TEXT NOT NULL,
        namespace TEXT,
        target    TEXT NOT NULL,
        detail    TEXT NOT NULL)",
        "CREATE INDEX audit_namespace ON audit (namespace, id)",
        "CREATE INDEX audit_actor ON audit (actor, id)",
        "CREATE TABLE policies (
        -- A repository, a namespace, or * for all.
        scope   TEXT PRIMARY KEY,
        policy  TEXT NOT NULL,
        updated BIGINT NOT NULL,
        ran     BIGINT)",
        "CREATE TABLE quotas (
        namespace    TEXT PRIMARY KEY,
        bytes        BIGINT,
        repositories BIGINT)",
    ],
    &["ALTER TABLE keys ADD COLUMN algorithm TEXT NOT NULL DEFAULT 'ES256'"],
];
