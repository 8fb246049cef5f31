//! Tags that go by themselves, and manifests nothing names any more then. What a run does is planned first, by the same code that
//! shows the plan: who looks at it sees exactly what a run would do in that moment, and why.

use std::collections::{BTreeMap, BTreeSet};

use globset::GlobMatcher;
use havre_database::{Connection, now};
use havre_oci::Digest;
use havre_registry_store::{RepositoryName, StoreError, Tag};
use serde::{Deserialize, Serialize};

use super::{Policy, PolicyScope, Rules, immutable, of};
use crate::audit::{Change, note};
use crate::permission::glob;
use crate::{Actor, Hub, HubError, Result};

const DAY: i64 = 24 * 3600 * 1000;
const HOUR: i64 = 3600 * 1000;

/// Which tags go: those that are concerned and that nothing keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Patterns of the tags that are concerned; none means all.
    pub tags: Vec<String>,
    /// Keeps so many of them, the last pushed.
    pub keep_newest: Option<u64>,
    /// Keeps what was pushed in so many days.
    pub keep_days: Option<u64>,
    /// Keeps what matches one of these patterns.
    pub keep_matching: Vec<String>,
    /// Keeps what was pulled in so many days.
    pub keep_pulled_days: Option<u64>,
    /// Runs by itself, every so many hours.
    pub every_hours: Option<u64>,
}

/// A tag that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    pub tag: Tag,
    pub digest: Digest,
    pub why: String,
}

/// A tag that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub tag: Tag,
    pub why: String,
}

/// What goes from a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub repository: RepositoryName,
    /// Whose rules these are.
    pub scope: String,
    pub tags: Vec<Doomed>,
    /// Manifests that nothing names any more then, with why. Their blobs go when nobody needs them.
    pub manifests: Vec<(Digest, String)>,
    pub kept: Vec<Kept>,
}

impl Retention {
    pub(super) fn check(&self) -> Result<()> {
        let keeps = self.keep_newest.is_some_and(|newest| newest > 0)
            || self.keep_days.is_some()
            || self.keep_pulled_days.is_some()
            || !self.keep_matching.is_empty();
        if !keeps {
            return Err(HubError::invalid(
                "retention",
                "say what is kept: nothing would be",
            ));
        }
        if self.every_hours == Some(0) {
            return Err(HubError::invalid("retention", "every 1 hour or more"));
        }
        if self.tags.len() > super::MOST || self.keep_matching.len() > super::MOST {
            return Err(HubError::invalid(
                "retention",
                format!("at most {} patterns of a kind", super::MOST),
            ));
        }
        globs(&self.tags)?;
        globs(&self.keep_matching)?;
        Ok(())
    }
}

fn globs(patterns: &[String]) -> Result<Vec<GlobMatcher>> {
    patterns
        .iter()
        .map(|pattern| glob("retention", pattern))
        .collect()
}

fn days(days: u64) -> i64 {
    i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY)
}

/// `3 days`, `1 day`
fn ago(at: i64) -> String {
    match (now() - at).max(0) / DAY {
        0 => "today".to_owned(),
        1 => "a day ago".to_owned(),
        days => format!("{days} days ago"),
    }
}

struct Tagged {
    tag: Tag,
    digest: Digest,
    updated: i64,
}

/// What would go from a repository by these rules.
fn plan(
    connection: &mut dyn Connection,
    repository: &RepositoryName,
    scope: &str,
    retention: &Retention,
    policies: &[(String, Policy)],
) -> Result<Plan> {
    let which = [repository.as_str().into()];
    let rows = connection.query(
        "SELECT name, digest, updated FROM tags WHERE repository = $1 ORDER BY updated DESC, name DESC",
        &which,
    )?;
    let tags = rows.iter().map(|row| {
        Ok(Tagged {
            tag: row.parsed(0)?,
            digest: row.parsed(1)?,
            updated: row.integer(2)?,
        })
    });
    let tags = tags.collect::<Result<Vec<_>>>()?;
    let rows = connection.query("SELECT digest, pulled FROM pulls WHERE repository = $1", &which)?;
    let pulled = rows.iter().map(|row| Ok((row.parsed(0)?, row.integer(1)?)));
    let pulled = pulled.collect::<Result<BTreeMap<Digest, i64>>>()?;
    let (concerned, matching) = (globs(&retention.tags)?, globs(&retention.keep_matching)?);
    let (mut doomed, mut kept, mut rank) = (Vec::new(), Vec::new(), 0);
    for one in tags {
        let tag = one.tag.as_str();
        if !concerned.is_empty() && !concerned.iter().any(|glob| glob.is_match(tag)) {
            let why = "the rules are not about it".to_owned();
            kept.push(Kept { tag: one.tag, why });
            continue;
        }
        rank += 1;
        let last = pulled.get(&one.digest);
        let young = |limit: u64, at: i64| now() - at < days(limit);
        let keeps = if let Some((scope, rule)) = immutable::rule(policies, tag) {
            Some(format!("it is immutable (rule {rule:?} of {scope})"))
        } else if retention.keep_newest.is_some_and(|newest| rank <= newest) {
            Some(format!("it is number {rank} of the newest"))
        } else if retention.keep_days.is_some_and(|limit| young(limit, one.updated)) {
            Some(format!("it was pushed {}", ago(one.updated)))
        } else if let Some(glob) = matching.iter().find(|glob| glob.is_match(tag)) {
            Some(format!("it matches {}", glob.glob()))
        } else {
            let pulled = retention.keep_pulled_days.zip(last);
            pulled
                .filter(|(limit, at)| young(*limit, **at))
                .map(|(_, at)| format!("it was pulled {}", ago(*at)))
        };
        match keeps {
            Some(why) => kept.push(Kept { tag: one.tag, why }),
            None => {
                let pulled = last.map_or("never pulled".to_owned(), |at| {
                    format!("last pulled {}", ago(*at))
                });
                let why = format!(
                    "number {rank} of the newest, pushed {}, {pulled}",
                    ago(one.updated)
                );
                doomed.push(Doomed {
                    tag: one.tag,
                    digest: one.digest,
                    why,
                });
            }
        }
    }
    if kept.is_empty() && !doomed.is_empty() {
        // The newest comes first.
        let one = doomed.remove(0);
        kept.push(Kept {
            tag: one.tag,
            why: "it is the last tag of the repository".to_owned(),
        });
    }
    let manifests = orphans(connection, repository, &doomed)?;
    Ok(Plan {
        repository: repository.clone(),
        scope: scope.to_owned(),
        tags: doomed,
        manifests,
        kept,
    })
}

/// The manifests that nothing names when these tags are gone: no tag, no index that stays. What is about one of them goes with it.
/// In an order in which they can be deleted.
fn orphans(
    connection: &mut dyn Connection,
    repository: &RepositoryName,
    doomed: &[Doomed],
) -> Result<Vec<(Digest, String)>> {
    if doomed.is_empty() {
        return Ok(Vec::new());
    }
    let which = [repository.as_str().into()];
    let gone: BTreeSet<&str> = doomed.iter().map(|one| one.tag.as_str()).collect();
    let mut tagged = BTreeSet::new();
    for row in connection.query("SELECT name, digest FROM tags WHERE repository = $1", &which)? {
        if !gone.contains(row.text(0)?.as_str()) {
            tagged.insert(row.text(1)?);
        }
    }
    // Which manifests an index names, and which a manifest is about.
    let mut within: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let rows = connection.query(
        "SELECT parts.manifest, parts.digest FROM parts JOIN manifests
             ON manifests.repository = parts.repository AND manifests.digest = parts.digest
         WHERE parts.repository = $1",
        &which,
    )?;
    for row in rows {
        let (outer, inner) = (row.text(0)?, row.text(1)?);
        within.entry(inner.clone()).or_default().insert(outer.clone());
        parts.entry(outer).or_default().push(inner);
    }
    let mut about: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let rows = connection.query(
        "SELECT subject, digest FROM manifests WHERE repository = $1 AND subject IS NOT NULL ORDER BY digest",
        &which,
    )?;
    for row in rows {
        about.entry(row.text(0)?).or_default().push(row.text(1)?);
    }
    let mut orphans: Vec<(String, String)> = Vec::new();
    let mut known = BTreeSet::new();
    let mut open: Vec<(String, String)> = doomed
        .iter()
        .rev()
        .map(|one| {
            (
                one.digest.to_string(),
                format!("no tag but {} stood for it", one.tag),
            )
        })
        .collect();
    while let Some((digest, why)) = open.pop() {
        let held = within
            .get(&digest)
            .is_some_and(|outer| outer.iter().any(|outer| !known.contains(outer)));
        if tagged.contains(&digest) || held || !known.insert(digest.clone()) {
            continue;
        }
        for inner in parts.get(&digest).into_iter().flatten() {
            open.push((inner.clone(), format!("only {digest} named it")));
        }
        for other in about.get(&digest).into_iter().flatten() {
            open.push((other.clone(), format!("it is about {digest}")));
        }
        orphans.push((digest, why));
    }
    let parsed = orphans.into_iter().map(|(digest, why)| {
        let broken = |_| havre_database::DatabaseError::not_a("a digest");
        Ok((digest.parse().map_err(broken)?, why))
    });
    parsed.collect()
}

impl Hub {
    /// The rules of retention that are nearest to a repository; those of `instead` stand for what its scope has.
    fn retention_of(
        &self,
        connection: &mut dyn Connection,
        repository: &RepositoryName,
        instead: Option<(&PolicyScope, &Policy)>,
    ) -> Result<(Rules, Option<(String, Retention)>)> {
        let mut policies = of(connection, repository)?;
        if let Some((scope, policy)) = instead {
            let scope = scope.to_string();
            policies.retain(|(stored, _)| *stored != scope);
            let order = super::scopes_of(repository);
            let place = |one: &str| order.iter().position(|scope| scope == one);
            let mine = place(&scope);
            let at = policies
                .iter()
                .take_while(|(stored, _)| place(stored) < mine)
                .count();
            policies.insert(at, (scope, policy.clone()));
        }
        let found = policies
            .iter()
            .find_map(|(scope, policy)| Some((scope.clone(), policy.retention.clone()?)));
        Ok((policies, found))
    }

    fn plans(&self, scope: &PolicyScope, instead: Option<&Policy>) -> Result<Vec<Plan>> {
        self.reading(|connection| {
            let names: Vec<RepositoryName> = match scope {
                PolicyScope::Repository(name) => vec![name.clone()],
                PolicyScope::Namespace(_) | PolicyScope::Everything => {
                    let pattern = match scope {
                        PolicyScope::Namespace(name) => crate::name::within(name.as_str()),
                        _ => "%".into(),
                    };
                    let rows = connection.query(
                        "SELECT name FROM repositories WHERE name LIKE $1 ESCAPE '!' ORDER BY name",
                        &[pattern],
                    )?;
                    rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?
                }
            };
            let mut plans = Vec::new();
            for name in names {
                let instead = instead.map(|policy| (scope, policy));
                let (policies, found) = self.retention_of(connection, &name, instead)?;
                // What is said nearer counts, and runs by itself.
                if let Some((from, retention)) = found
                    && from == scope.to_string()
                {
                    plans.push(plan(connection, &name, &from, &retention, &policies)?);
                }
            }
            Ok(plans)
        })
    }

    /// What a run would delete now, and why; by the rules of the scope, or by others that are not in force yet.
    pub fn preview(&self, actor: &Actor, scope: &PolicyScope, instead: Option<&Policy>) -> Result<Vec<Plan>> {
        if let Some(policy) = instead {
            policy.check()?;
        }
        self.reading(|connection| self.must_rule(connection, actor, scope))?;
        self.plans(scope, instead)
    }

    /// Deletes what [`Hub::preview`] shows. What was pushed or tagged meanwhile stays, and is not in the answer.
    pub fn run_retention(&self, actor: &Actor, scope: &PolicyScope) -> Result<Vec<Plan>> {
        self.reading(|connection| self.must_rule(connection, actor, scope))?;
        let mut done = Vec::new();
        for plan in self.plans(scope, None)? {
            done.push(self.carry_out(actor, plan)?);
        }
        Ok(done)
    }

    fn carry_out(&self, actor: &Actor, plan: Plan) -> Result<Plan> {
        let (name, store) = (&plan.repository, &self.0.store);
        let mut done = Plan {
            tags: Vec::new(),
            manifests: Vec::new(),
            ..plan.clone()
        };
        let changed = || StoreError::Refused(Box::new(HubError::Conflict("it changed meanwhile".to_owned())));
        for one in plan.tags {
            let gone = store.delete_tag_if(name, &one.tag, &|connection, digest| {
                if *digest != one.digest {
                    return Err(changed());
                }
                self.allow_tag_delete(connection, name, &one.tag)
            });
            if went(gone)? {
                self.note_deleted(actor, name, one.tag.as_str(), &one.why)?;
                done.tags.push(one);
            }
        }
        for (digest, why) in plan.manifests {
            let gone = store.delete_manifest_if(name, &digest, &|connection, digest| {
                let tagged = connection.query_one(
                    "SELECT 1 FROM tags WHERE repository = $1 AND digest = $2 LIMIT 1",
                    &[name.as_str().into(), digest.into()],
                )?;
                tagged.map_or(Ok(()), |_| Err(changed()))
            });
            if went(gone)? {
                self.note_deleted(actor, name, digest.as_str(), &why)?;
                done.manifests.push((digest, why));
            }
        }
        Ok(done)
    }

    fn note_deleted(&self, actor: &Actor, name: &RepositoryName, what: &str, why: &str) -> Result<()> {
        let detail = format!("{what}: {why}");
        self.writing(|connection| {
            note(
                connection,
                actor,
                &Change::of_repository("retention.delete", name).detail(&detail),
            )
        })
    }

    /// Runs what is due. Of several processes one does it.
    pub fn run_due_policies(&self) -> Result<Vec<Plan>> {
        let rows = self.reading(|connection| {
            let rows = connection.query("SELECT scope, policy FROM policies ORDER BY scope", &[])?;
            rows.iter()
                .map(|row| Ok((row.text(0)?, row.text(1)?)))
                .collect::<Result<Vec<_>>>()
        })?;
        let mut done = Vec::new();
        for (scope, text) in rows {
            let policy: Option<Policy> = serde_json::from_str(&text).ok();
            let Some(hours) = policy.and_then(|policy| policy.retention?.every_hours) else {
                continue;
            };
            let before = now().saturating_sub(i64::try_from(hours).unwrap_or(i64::MAX).saturating_mul(HOUR));
            let mine = self.writing(|connection| {
                Ok(connection.execute(
                    "UPDATE policies SET ran = $1 WHERE scope = $2 AND (ran IS NULL OR ran <= $3)",
                    &[now().into(), scope.as_str().into(), before.into()],
                )?)
            })?;
            if mine > 0 {
                done.extend(self.run_retention(&Actor::system(), &scope.parse()?)?);
            }
        }
        Ok(done)
    }
}

/// Whether it is gone; what somebody needs again, or took away already, is not this run's.
fn went(outcome: Result<(), StoreError>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(StoreError::Refused(_) | StoreError::InUse { .. } | StoreError::ManifestUnknown(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
