//! Quotas of namespaces: bytes, each blob counted once however many of its repositories have it, and repositories.

use havre_database::Connection;
use havre_oci::Digest;
use havre_registry_store::RepositoryName;

use crate::audit::{Change, note};
use crate::name::{namespace_of, within};
use crate::permission::must_administer;
use crate::settings::Quota;
use crate::{AccountName, Actor, Hub, HubError, Result};

/// What a namespace has and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub bytes: u64,
    pub repositories: u64,
    pub quota: Quota,
    /// Whether the quota is its own, not everybody's.
    pub own: bool,
}

fn bytes_of(connection: &mut dyn Connection, namespace: &str) -> Result<u64> {
    // A sum of BIGINT is a NUMERIC elsewhere.
    let row = connection.query_one(
        "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs WHERE digest IN
             (SELECT digest FROM repository_blobs WHERE repository LIKE $1 ESCAPE '!'
              UNION SELECT digest FROM manifests WHERE repository LIKE $2 ESCAPE '!')",
        &[within(namespace), within(namespace)],
    )?;
    Ok(row.map(|row| row.size(0)).transpose()?.unwrap_or_default())
}

/// Whether a namespace has a blob or manifest already.
fn is_held(connection: &mut dyn Connection, namespace: &str, digest: &Digest) -> Result<bool> {
    let held = connection.query_one(
        "SELECT 1 FROM repository_blobs WHERE digest = $1 AND repository LIKE $2 ESCAPE '!'
         UNION SELECT 1 FROM manifests WHERE digest = $3 AND repository LIKE $4 ESCAPE '!'",
        &[digest.into(), within(namespace), digest.into(), within(namespace)],
    )?;
    Ok(held.is_some())
}

fn repositories_of(connection: &mut dyn Connection, namespace: &str) -> Result<u64> {
    let row = connection.query_one(
        "SELECT count(*) FROM repositories WHERE name LIKE $1 ESCAPE '!'",
        &[within(namespace)],
    )?;
    Ok(row.map(|row| row.size(0)).transpose()?.unwrap_or_default())
}

impl Hub {
    fn quota_of(&self, connection: &mut dyn Connection, namespace: &str) -> Result<(Quota, bool)> {
        let row = connection.query_one(
            "SELECT bytes, repositories FROM quotas WHERE namespace = $1",
            &[namespace.into()],
        )?;
        let Some(row) = row else {
            return Ok((self.settings().quota, false));
        };
        let some = |value: Option<i64>| value.map(|value| value.max(0) as u64);
        let quota = Quota {
            bytes: some(row.integer_or_null(0)?),
            repositories: some(row.integer_or_null(1)?),
        };
        Ok((quota, true))
    }

    /// What a namespace has and may have, for those it belongs to.
    pub fn usage(&self, actor: &Actor, namespace: &AccountName) -> Result<Usage> {
        self.reading(|connection| {
            if !actor.is_admin() && actor.name() != Some(namespace) {
                must_administer(connection, actor, namespace)?;
            }
            let (quota, own) = self.quota_of(connection, namespace.as_str())?;
            Ok(Usage {
                bytes: bytes_of(connection, namespace.as_str())?,
                repositories: repositories_of(connection, namespace.as_str())?,
                quota,
                own,
            })
        })
    }

    /// Gives a namespace a quota of its own, or that of everybody. For administrators.
    pub fn set_quota(&self, actor: &Actor, namespace: &AccountName, quota: Option<Quota>) -> Result<()> {
        actor.must_be_admin()?;
        let number = |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        self.writing(|connection| {
            match quota {
                None => connection.execute("DELETE FROM quotas WHERE namespace = $1", &[namespace.into()])?,
                Some(quota) => connection.execute(
                    "INSERT INTO quotas (namespace, bytes, repositories) VALUES ($1, $2, $3)
                     ON CONFLICT (namespace) DO UPDATE
                     SET bytes = excluded.bytes, repositories = excluded.repositories",
                    &[
                        namespace.into(),
                        number(quota.bytes).into(),
                        number(quota.repositories).into(),
                    ],
                )?,
            };
            let detail = format!("{quota:?}");
            note(
                connection,
                actor,
                &Change::of_account("quota.set", namespace).detail(&detail),
            )
        })
    }

    /// An error if a repository that is not there yet would be one too many.
    pub(crate) fn must_have_room(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
    ) -> Result<()> {
        let Some(namespace) = namespace_of(name) else {
            return Ok(());
        };
        let (quota, _) = self.quota_of(connection, namespace)?;
        let Some(limit) = quota.repositories else {
            return Ok(());
        };
        let known = "SELECT 1 FROM repositories WHERE name = $1";
        if connection.query_one(known, &[name.as_str().into()])?.is_some() {
            return Ok(());
        }
        let used = repositories_of(connection, namespace)?;
        match used >= limit {
            true => Err(exceeded(namespace, limit, used, "repositories")),
            false => Ok(()),
        }
    }

    /// How many bytes may still come to a repository; nothing is as many as one likes, as for a blob that its namespace has. An
    /// error if none may, or if the repository would be one too many.
    pub fn room(&self, name: &RepositoryName, digest: Option<&Digest>) -> Result<Option<u64>> {
        let Some(namespace) = namespace_of(name) else {
            return Ok(None);
        };
        self.reading(|connection| {
            self.must_have_room(connection, name)?;
            let (quota, _) = self.quota_of(connection, namespace)?;
            let Some(limit) = quota.bytes else {
                return Ok(None);
            };
            if let Some(digest) = digest
                && is_held(connection, namespace, digest)?
            {
                return Ok(None);
            }
            let used = bytes_of(connection, namespace)?;
            match used >= limit {
                true => Err(exceeded(namespace, limit, used, "bytes")),
                false => Ok(Some(limit - used)),
            }
        })
    }

    /// An error if a blob or manifest would be too much for the repository's namespace. What it has already costs nothing.
    pub fn must_fit(&self, name: &RepositoryName, digest: &Digest, size: u64) -> Result<()> {
        self.reading(|connection| self.must_hold(connection, name, digest, size))
    }

    /// The same within a transaction.
    pub(crate) fn must_hold(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<()> {
        let Some(namespace) = namespace_of(name) else {
            return Ok(());
        };
        self.must_have_room(connection, name)?;
        let (quota, _) = self.quota_of(connection, namespace)?;
        let Some(limit) = quota.bytes else {
            return Ok(());
        };
        if is_held(connection, namespace, digest)? {
            return Ok(());
        }
        let used = bytes_of(connection, namespace)?;
        match used.saturating_add(size) > limit {
            true => Err(exceeded(namespace, limit, used, "bytes")),
            false => Ok(()),
        }
    }
}

fn exceeded(namespace: &str, limit: u64, used: u64, unit: &'static str) -> HubError {
    HubError::Quota {
        namespace: namespace.to_owned(),
        limit,
        used,
        unit,
    }
}
