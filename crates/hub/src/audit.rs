//! Who did what, when and from where: every login and everything that was changed.

use std::sync::atomic::{AtomicU32, Ordering};

use havre_database::{Connection, Row, Value, now};
use havre_registry_store::RepositoryName;

use crate::name::namespace_of;
use crate::permission::must_administer;
use crate::{AccountName, Actor, Hub, Result};

/// Entries of a page.
const MOST: usize = 500;

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Behind which the next page begins.
    pub id: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Who; `system` is the registry itself, nothing is somebody unknown.
    pub actor: String,
    pub address: Option<String>,
    /// What: `repository.push`, `account.create` …
    pub action: String,
    /// To what.
    pub target: String,
    pub detail: String,
}

/// Which entries are looked for, the newest first.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Of what belongs to a person or organisation. Only administrators may leave it out.
    pub namespace: Option<AccountName>,
    /// Done by this account.
    pub actor: Option<String>,
    /// Whose action begins so: `repository.`
    pub action: Option<String>,
    /// Older than this entry.
    pub before: Option<String>,
    /// No more than so many.
    pub limit: usize,
}

/// A change to be noted.
pub(crate) struct Change<'a> {
    pub(crate) action: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) target: &'a str,
    pub(crate) detail: &'a str,
}

impl<'a> Change<'a> {
    pub(crate) fn of_account(action: &'a str, name: &'a AccountName) -> Self {
        Self {
            action,
            namespace: Some(name.namespace()),
            target: name.as_str(),
            detail: "",
        }
    }

    pub(crate) fn of_repository(action: &'a str, name: &'a RepositoryName) -> Self {
        Self {
            action,
            namespace: namespace_of(name),
            target: name.as_str(),
            detail: "",
        }
    }

    pub(crate) fn of_registry(action: &'a str, target: &'a str) -> Self {
        Self {
            action,
            namespace: None,
            target,
            detail: "",
        }
    }

    pub(crate) fn detail(self, detail: &'a str) -> Self {
        Self { detail, ..self }
    }
}

/// Notes a change, in the transaction that makes it.
pub(crate) fn note(connection: &mut dyn Connection, actor: &Actor, change: &Change<'_>) -> Result<()> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let at = now();
    // By time, then as they came within a process; the rest keeps processes apart.
    let id = format!(
        "{at:013x}{:08x}{}",
        LAST.fetch_add(1, Ordering::Relaxed),
        crate::secret::hex(&crate::secret::random::<4>()?)
    );
    connection.execute(
        "INSERT INTO audit (id, at, actor, address, action, namespace, target, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            id.into(),
            at.into(),
            actor.called().into(),
            actor.address.map(|address| address.to_string()).into(),
            change.action.into(),
            change.namespace.into(),
            change.target.into(),
            change.detail.into(),
        ],
    )?;
    Ok(())
}

impl Hub {
    /// What was done: in the whole registry for administrators, in a namespace for those it belongs to.
    pub fn audit(&self, actor: &Actor, query: &AuditQuery) -> Result<Vec<AuditEntry>> {
        self.reading(|connection| {
            match &query.namespace {
                None => actor.must_be_admin()?,
                Some(namespace) => must_administer(connection, actor, namespace)?,
            }
            let (mut conditions, mut values) = (Vec::new(), Vec::new());
            let mut and = |condition: &str, value: Value| {
                values.push(value);
                conditions.push(format!("{condition} ${}", values.len()));
            };
            if let Some(namespace) = &query.namespace {
                and("namespace =", namespace.into());
            }
            if let Some(by) = &query.actor {
                and("actor =", by.as_str().into());
            }
            if let Some(before) = &query.before {
                and("id <", before.as_str().into());
            }
            let action = query.action.as_deref().unwrap_or_default();
            and("action LIKE", format!("{}%", crate::name::escaped(action)).into());
            let sql = format!(
                "SELECT id, at, actor, address, action, target, detail FROM audit
                 WHERE {} ESCAPE '!' ORDER BY id DESC LIMIT {}",
                conditions.join(" AND "),
                query.limit.clamp(1, MOST)
            );
            let rows = connection.query(&sql, &values)?;
            rows.iter().map(entry).collect()
        })
    }
}

fn entry(row: &Row) -> Result<AuditEntry> {
    Ok(AuditEntry {
        id: row.text(0)?,
        at: row.integer(1)?,
        actor: row.text(2)?,
        address: row.text_or_null(3)?,
        action: row.text(4)?,
        target: row.text(5)?,
        detail: row.text(6)?,
    })
}
