//! Rules for tags, of the whole registry, of a namespace or of a repository: which may be pushed again, how they are called, and
//! which go by themselves. What is said of several scopes that hold for a repository adds up, so nothing that is said further
//! within lets more through; of retention the nearest rules count.

mod immutable;
mod naming;
mod retention;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use havre_database::{Connection, now};
use havre_oci::Digest;
use havre_registry_store::{RepositoryName, StoreError, Tag};
use serde::{Deserialize, Serialize};

use crate::audit::{Change, note};
use crate::name::namespace_of;
use crate::permission::{Action, glob, must, must_administer};
use crate::{AccountName, Actor, Hub, HubError, Result};

pub use retention::{Doomed, Kept, Plan, Retention};

/// Patterns of one rule.
const MOST: usize = 50;

/// What rules hold for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PolicyScope {
    Everything,
    Namespace(AccountName),
    Repository(RepositoryName),
}

impl fmt::Display for PolicyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Namespace(name) => write!(f, "{name}/"),
            Self::Repository(name) => write!(f, "{name}"),
        }
    }
}

impl FromStr for PolicyScope {
    type Err = HubError;

    /// `*`, `acme/` or `acme/app`.
    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.strip_suffix('/') {
            _ if text == "*" => Self::Everything,
            Some(namespace) => Self::Namespace(namespace.parse()?),
            None => Self::Repository(text.parse()?),
        })
    }
}

/// Rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Patterns of tags that stand for what they first stood for: `v*`. They are not deleted either.
    pub immutable: Vec<String>,
    /// Regular expressions; a tag that is pushed must be one of them from its beginning to its end.
    pub naming: Vec<String>,
    /// Which tags go.
    pub retention: Option<Retention>,
}

impl Policy {
    fn check(&self) -> Result<()> {
        if self.immutable.len() > MOST || self.naming.len() > MOST {
            return Err(HubError::invalid(
                "policy",
                format!("at most {MOST} patterns of a kind"),
            ));
        }
        for pattern in &self.immutable {
            glob("immutable", pattern)?;
        }
        for pattern in &self.naming {
            naming::compile(pattern)?;
        }
        self.retention.as_ref().map_or(Ok(()), Retention::check)
    }
}

/// Rules, each with its scope, the nearest first.
type Rules = Vec<(String, Policy)>;

/// The scopes that hold for a repository, the nearest first.
fn scopes_of(name: &RepositoryName) -> Vec<String> {
    let namespace = namespace_of(name).map(|namespace| format!("{namespace}/"));
    [Some(name.to_string()), namespace, Some("*".to_owned())]
        .into_iter()
        .flatten()
        .collect()
}

fn stored(connection: &mut dyn Connection, scope: &str) -> Result<Option<Policy>> {
    let row = connection.query_one("SELECT policy FROM policies WHERE scope = $1", &[scope.into()])?;
    let broken = |_| havre_database::DatabaseError::not_a("a policy");
    let policy = row.map(|row| Ok::<_, HubError>(serde_json::from_str(&row.text(0)?).map_err(broken)?));
    policy.transpose()
}

/// The rules that hold for a repository, each with its scope, the nearest first.
pub(crate) fn of(connection: &mut dyn Connection, name: &RepositoryName) -> Result<Rules> {
    let mut all = Vec::new();
    for scope in scopes_of(name) {
        if let Some(policy) = stored(connection, &scope)? {
            all.push((scope, policy));
        }
    }
    Ok(all)
}

fn refused(error: HubError) -> StoreError {
    match error {
        HubError::Store(error) => error,
        HubError::Database(error) => error.into(),
        error => StoreError::Refused(Box::new(error)),
    }
}

impl Hub {
    /// An error unless the rules let this manifest come, under this tag if it has one. For the store, in its transaction.
    pub fn allow_push(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
        tag: Option<&Tag>,
        digest: &Digest,
        size: u64,
    ) -> Result<(), StoreError> {
        let mut check = || {
            self.must_hold(connection, name, digest, size)?;
            let Some(tag) = tag else { return Ok(()) };
            let policies = of(connection, name)?;
            naming::check(&policies, tag)?;
            immutable::check(connection, &policies, name, tag, Some(digest))
        };
        check().map_err(refused)
    }

    /// An error unless the rules let this tag go. For the store, in its transaction.
    pub fn allow_tag_delete(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), StoreError> {
        let mut check = || {
            let policies = of(connection, name)?;
            immutable::check(connection, &policies, name, tag, None)
        };
        check().map_err(refused)
    }

    /// An error unless the rules let this manifest go, and its tags with it. For the store, in its transaction.
    pub fn allow_manifest_delete(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), StoreError> {
        let rows = connection.query(
            "SELECT name FROM tags WHERE repository = $1 AND digest = $2",
            &[name.as_str().into(), digest.into()],
        )?;
        for row in rows {
            self.allow_tag_delete(connection, name, &row.parsed(0)?)?;
        }
        Ok(())
    }

    /// Deletes a tag for somebody, if they and the rules allow it. The manifest stays.
    pub fn delete_tag(&self, actor: &Actor, name: &RepositoryName, tag: &Tag) -> Result<()> {
        self.reading(|connection| must(connection, actor, name, Action::Delete))?;
        self.0
            .store
            .delete_tag_if(name, tag, &|connection, _| {
                self.allow_tag_delete(connection, name, tag)
            })
            .map_err(HubError::of_store)?;
        self.deleted(actor, name, tag.as_str())
    }

    /// Deletes tags for somebody, all or none, if they and the rules allow it: each must still stand for what is said. They
    /// [may come back](Hub::restore_tags).
    pub fn delete_tags(&self, actor: &Actor, name: &RepositoryName, tags: &[(Tag, Digest)]) -> Result<()> {
        self.reading(|connection| must(connection, actor, name, Action::Delete))?;
        self.0
            .store
            .delete_tags_if(name, tags, &|connection, tag| {
                self.allow_tag_delete(connection, name, tag)
            })
            .map_err(HubError::of_store)?;
        tags.iter()
            .try_for_each(|(tag, _)| self.deleted(actor, name, tag.as_str()))
    }

    /// Lets tags stand again for what they stood for when they were deleted, all or none, for who may delete them.
    pub fn restore_tags(
        &self,
        actor: &Actor,
        name: &RepositoryName,
        tags: &[(Tag, Digest)],
        within: Duration,
    ) -> Result<()> {
        self.reading(|connection| must(connection, actor, name, Action::Delete))?;
        self.0.store.restore_tags(name, tags, within)?;
        self.writing(|connection| {
            for (tag, digest) in tags {
                let detail = format!("{tag} {digest}");
                let change = Change::of_repository("repository.restore", name);
                note(connection, actor, &change.detail(&detail))?;
            }
            Ok(())
        })
    }

    /// Deletes a manifest with its tags for somebody, if they and the rules allow it.
    pub fn delete_manifest(&self, actor: &Actor, name: &RepositoryName, digest: &Digest) -> Result<()> {
        self.reading(|connection| must(connection, actor, name, Action::Delete))?;
        self.0
            .store
            .delete_manifest_if(name, digest, &|connection, digest| {
                self.allow_manifest_delete(connection, name, digest)
            })
            .map_err(HubError::of_store)?;
        self.deleted(actor, name, digest.as_str())
    }

    fn must_rule(&self, connection: &mut dyn Connection, actor: &Actor, scope: &PolicyScope) -> Result<()> {
        match scope {
            PolicyScope::Everything => actor.must_be_admin(),
            PolicyScope::Namespace(name) => must_administer(connection, actor, name),
            PolicyScope::Repository(name) => must(connection, actor, name, Action::Manage).map(drop),
        }
    }

    /// The rules of a scope, for who may change them.
    pub fn policy(&self, actor: &Actor, scope: &PolicyScope) -> Result<Option<Policy>> {
        self.reading(|connection| {
            self.must_rule(connection, actor, scope)?;
            stored(connection, &scope.to_string())
        })
    }

    /// Sets the rules of a scope, or takes them away.
    pub fn set_policy(&self, actor: &Actor, scope: &PolicyScope, policy: Option<&Policy>) -> Result<()> {
        if let Some(policy) = policy {
            policy.check()?;
        }
        let text = policy.map(|policy| serde_json::json!(policy).to_string());
        self.writing(|connection| {
            self.must_rule(connection, actor, scope)?;
            let name = scope.to_string();
            match &text {
                Some(text) => connection.execute(
                    "INSERT INTO policies (scope, policy, updated) VALUES ($1, $2, $3) ON CONFLICT (scope) DO UPDATE
                     SET policy = excluded.policy, updated = excluded.updated, ran = NULL",
                    &[name.as_str().into(), text.as_str().into(), now().into()],
                )?,
                None => connection.execute("DELETE FROM policies WHERE scope = $1", &[name.as_str().into()])?,
            };
            let change = Change {
                action: "policy.set",
                namespace: match scope {
                    PolicyScope::Everything => None,
                    PolicyScope::Namespace(name) => Some(name.as_str()),
                    PolicyScope::Repository(name) => namespace_of(name),
                },
                target: &name,
                detail: text.as_deref().unwrap_or("none"),
            };
            note(connection, actor, &change)
        })
    }
}
