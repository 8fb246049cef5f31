//! Who may do what. [`role_in`] is the one place that decides it; everything else asks it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use havre_database::{Connection, Row, Value};
use havre_registry_store::RepositoryName;
use serde::{Deserialize, Serialize};

use crate::name::namespace_of;
use crate::{AccountName, Hub, HubError, Result};

/// What somebody may do in a repository. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Pull, and see it.
    Read,
    /// Push.
    Write,
    /// Delete, and change its settings.
    Admin,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "admin" => Ok(Self::Admin),
            _ => Err(HubError::invalid("role", "one of read, write, admin")),
        }
    }
}

/// Something done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Pull,
    Push,
    Delete,
    /// Changing its settings.
    Manage,
}

impl Action {
    /// What it takes.
    pub fn needs(self) -> Role {
        match self {
            Self::Pull => Role::Read,
            Self::Push => Role::Write,
            Self::Delete | Self::Manage => Role::Admin,
        }
    }
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody has said.
    Anonymous,
    /// A person or robot.
    Account { name: AccountName, admin: bool },
    /// The registry itself, and who runs its commands on its machine.
    System,
}

/// Less than the account may do, because a token says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The token's id.
    pub token: String,
    /// No more than this.
    pub role: Role,
    /// Patterns of the repositories it is for; none means all.
    pub repositories: Vec<String>,
}

/// Somebody who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub who: Who,
    pub limit: Option<Limit>,
    /// Where from, for the audit log.
    pub address: Option<IpAddr>,
}

impl Actor {
    pub fn anonymous(address: Option<IpAddr>) -> Self {
        Self::new(Who::Anonymous, address)
    }

    /// The registry itself.
    pub fn system() -> Self {
        Self::new(Who::System, None)
    }

    pub(crate) fn new(who: Who, address: Option<IpAddr>) -> Self {
        Self {
            who,
            limit: None,
            address,
        }
    }

    /// The account, if it is one.
    pub fn name(&self) -> Option<&AccountName> {
        match &self.who {
            Who::Account { name, .. } => Some(name),
            Who::Anonymous | Who::System => None,
        }
    }

    pub fn is_anonymous(&self) -> bool {
        self.who == Who::Anonymous
    }

    /// Whether they run the whole registry.
    pub fn is_admin(&self) -> bool {
        let admin = matches!(self.who, Who::System | Who::Account { admin: true, .. });
        admin && self.is_whole()
    }

    /// Whether nothing holds them back from what their account may do.
    fn is_whole(&self) -> bool {
        self.limit
            .as_ref()
            .is_none_or(|limit| limit.role == Role::Admin && limit.repositories.is_empty())
    }

    /// An error unless they run the whole registry.
    pub(crate) fn must_be_admin(&self) -> Result<()> {
        match self.is_admin() {
            true => Ok(()),
            false => Err(self.refused("this is for administrators of the registry")),
        }
    }

    /// Their account, for what concerns the account itself: tokens that are for less than everything may not touch that.
    pub(crate) fn must_be_somebody(&self) -> Result<&AccountName> {
        match self.name() {
            Some(name) if self.is_whole() => Ok(name),
            _ => Err(self.refused("a token with less than all rights may not do this")),
        }
    }

    /// The account or the administrators.
    pub(crate) fn must_be(&self, name: &AccountName) -> Result<()> {
        match self.is_admin() || self.must_be_somebody()? == name {
            true => Ok(()),
            false => Err(self.refused("this is for the account itself and administrators")),
        }
    }

    /// Why not: somebody unknown may become somebody who may.
    pub(crate) fn refused(&self, reason: &str) -> HubError {
        match self.is_anonymous() {
            true => HubError::SignInFirst,
            false => HubError::denied(reason),
        }
    }

    /// How the audit log calls them.
    pub(crate) fn called(&self) -> &str {
        match &self.who {
            Who::Anonymous => "",
            Who::Account { name, .. } => name.as_str(),
            Who::System => "system",
        }
    }
}

/// A pattern of repositories or tags: `*` does not cross a `/`, `**` does.
pub(crate) fn glob(field: &'static str, pattern: &str) -> Result<GlobMatcher> {
    if pattern.is_empty() || pattern.len() > 256 {
        return Err(HubError::invalid(field, "a pattern has 1 to 256 characters"));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| HubError::invalid(field, error.to_string()))
}

impl Limit {
    fn covers(&self, repository: &RepositoryName) -> bool {
        let matching = |pattern: &String| {
            let glob = glob("repositories", pattern);
            glob.is_ok_and(|glob| glob.is_match(repository.as_str()))
        };
        self.repositories.is_empty() || self.repositories.iter().any(matching)
    }
}

/// What somebody may do in a repository, which need not be there; nothing, if they may not even know of it.
pub(crate) fn role_in(
    connection: &mut dyn Connection,
    actor: &Actor,
    repository: &RepositoryName,
) -> Result<Option<Role>> {
    let row = connection.query_one(
        "SELECT public FROM repository_settings WHERE repository = $1",
        &[repository.as_str().into()],
    )?;
    let public = row
        .map(|row| row.integer(0))
        .transpose()?
        .is_some_and(|public| public != 0);
    Ok(match Reach::of(connection, actor, namespace_of(repository))? {
        Reach::Everything => limited(actor, repository, Some(Role::Admin), public),
        Reach::Some(some) => limited(actor, repository, some.role(repository), public),
    })
}

fn limited(actor: &Actor, repository: &RepositoryName, role: Option<Role>, public: bool) -> Option<Role> {
    let role = match &actor.limit {
        None => role,
        Some(limit) if limit.covers(repository) => role.map(|role| role.min(limit.role)),
        Some(_) => None,
    };
    // What everybody may, anybody may.
    role.max(public.then_some(Role::Read))
}

/// What an account may do where, public repositories aside.
#[derive(Debug)]
enum Reach {
    Everything,
    Some(Granted),
}

#[derive(Debug, Default)]
struct Granted {
    namespaces: BTreeMap<String, Role>,
    repositories: BTreeMap<String, Role>,
}

impl Granted {
    fn role(&self, repository: &RepositoryName) -> Option<Role> {
        let namespace = namespace_of(repository).and_then(|name| self.namespaces.get(name));
        namespace.max(self.repositories.get(repository.as_str())).copied()
    }

    fn add(map: &mut BTreeMap<String, Role>, key: String, role: Role) {
        let entry = map.entry(key).or_insert(role);
        *entry = role.max(*entry);
    }
}

impl Reach {
    /// Of one namespace only, if it is named.
    fn of(connection: &mut dyn Connection, actor: &Actor, namespace: Option<&str>) -> Result<Self> {
        let name = match &actor.who {
            Who::Anonymous => return Ok(Self::Some(Granted::default())),
            Who::System | Who::Account { admin: true, .. } => return Ok(Self::Everything),
            Who::Account { name, .. } => name,
        };
        let mut granted = Granted::default();
        if !name.is_robot() {
            granted.namespaces.insert(name.to_string(), Role::Admin);
        }
        let (only, which) = match namespace {
            // Theirs: everything is said.
            Some(own) if own == name.as_str() => return Ok(Self::Some(granted)),
            Some(other) => (" AND organisation = $2", vec![Value::from(name), other.into()]),
            None => ("", vec![Value::from(name)]),
        };
        let sql = format!(
            "SELECT organisation, members.owner, base FROM members JOIN accounts ON accounts.name = organisation
             WHERE account = $1{only}"
        );
        for row in connection.query(&sql, &which)? {
            let role = match row.integer(1)? {
                0 => row.text_or_null(2)?.map(|base| base.parse()).transpose()?,
                _ => Some(Role::Admin),
            };
            if let Some(role) = role {
                Granted::add(&mut granted.namespaces, row.text(0)?, role);
            }
        }
        let sql = format!(
            "SELECT organisation, repository, role FROM team_grants JOIN team_members USING (organisation, team)
             WHERE account = $1{only}"
        );
        for row in connection.query(&sql, &which)? {
            let (organisation, repository, role) = (row.text(0)?, row.text(1)?, row.text(2)?.parse()?);
            match repository.as_str() {
                "*" => Granted::add(&mut granted.namespaces, organisation, role),
                _ => Granted::add(&mut granted.repositories, repository, role),
            }
        }
        let rows = connection.query(
            "SELECT repository, role FROM grants WHERE account = $1",
            &[name.into()],
        )?;
        for row in rows {
            Granted::add(&mut granted.repositories, row.text(0)?, row.text(1)?.parse()?);
        }
        Ok(Self::Some(granted))
    }
}

/// What somebody may do in any repository, asked once for many.
#[derive(Debug)]
pub(crate) struct Sight {
    reach: Reach,
    actor: Actor,
}

impl Sight {
    pub(crate) fn of(connection: &mut dyn Connection, actor: &Actor) -> Result<Self> {
        Ok(Self {
            reach: Reach::of(connection, actor, None)?,
            actor: actor.clone(),
        })
    }

    pub(crate) fn role(&self, repository: &RepositoryName, public: bool) -> Option<Role> {
        let role = match &self.reach {
            Reach::Everything => Some(Role::Admin),
            Reach::Some(granted) => granted.role(repository),
        };
        limited(&self.actor, repository, role, public)
    }
}

/// An error unless they may change what belongs to a namespace as a whole.
pub(crate) fn must_administer(
    connection: &mut dyn Connection,
    actor: &Actor,
    namespace: &AccountName,
) -> Result<()> {
    if actor.is_admin() {
        return Ok(());
    }
    let name = actor.must_be_somebody()?;
    if name == namespace {
        return Ok(());
    }
    let row = connection.query_one(
        "SELECT owner FROM members WHERE organisation = $1 AND account = $2",
        &[namespace.into(), name.into()],
    )?;
    match row.map(|row| row.integer(0)).transpose()? {
        Some(owner) if owner != 0 => Ok(()),
        Some(_) => Err(HubError::denied(format!("this is for the owners of {namespace}"))),
        None => Err(HubError::unknown("account", namespace.as_str())),
    }
}

/// An error unless they may do it; for who may not even know of the repository it does not exist.
pub(crate) fn must(
    connection: &mut dyn Connection,
    actor: &Actor,
    repository: &RepositoryName,
    action: Action,
) -> Result<Role> {
    match role_in(connection, actor, repository)? {
        Some(role) if role >= action.needs() => Ok(role),
        Some(_) => Err(actor.refused(&format!(
            "{} in {repository} takes the role {}",
            match action {
                Action::Pull => "pulling",
                Action::Push => "pushing",
                Action::Delete => "deleting",
                Action::Manage => "changing settings",
            },
            action.needs()
        ))),
        None if actor.is_anonymous() => Err(HubError::SignInFirst),
        None => Err(HubError::unknown("repository", repository.as_str())),
    }
}

impl Hub {
    /// What somebody may do in a repository, which need not be there; nothing, if they may not even know of it.
    pub fn role(&self, actor: &Actor, repository: &RepositoryName) -> Result<Option<Role>> {
        self.reading(|connection| role_in(connection, actor, repository))
    }

    /// Whether somebody may do that.
    pub fn may(&self, actor: &Actor, repository: &RepositoryName, action: Action) -> Result<bool> {
        Ok(self.role(actor, repository)? >= Some(action.needs()))
    }

    /// The first of these repositories that somebody may pull from.
    pub fn first_readable(
        &self,
        actor: &Actor,
        repositories: &[RepositoryName],
    ) -> Result<Option<RepositoryName>> {
        self.reading(|connection| {
            for repository in repositories {
                if role_in(connection, actor, repository)?.is_some() {
                    return Ok(Some(repository.clone()));
                }
            }
            Ok(None)
        })
    }

    /// The repositories behind `last` that somebody may see, sorted, and whether there are others behind them.
    pub fn catalog(&self, actor: &Actor, last: &str, limit: usize) -> Result<(Vec<String>, bool)> {
        self.reading(|connection| {
            let sight = Sight::of(connection, actor)?;
            let (mut seen, mut last) = (Vec::new(), last.to_owned());
            loop {
                let rows = connection.query(
                    "SELECT name, public FROM repositories LEFT JOIN repository_settings ON repository = name
                     WHERE name > $1 ORDER BY name LIMIT 1000",
                    &[last.as_str().into()],
                )?;
                let Some(end) = rows.last() else {
                    return Ok((seen, false));
                };
                last = end.text(0)?;
                for row in &rows {
                    let name: RepositoryName = row.parsed(0)?;
                    if sight.role(&name, is_set(row, 1)?).is_some() {
                        if seen.len() == limit {
                            return Ok((seen, true));
                        }
                        seen.push(name.to_string());
                    }
                }
            }
        })
    }
}

/// Whether a column that may be null is yes.
pub(crate) fn is_set(row: &Row, column: usize) -> Result<bool> {
    Ok(row.integer_or_null(column)?.is_some_and(|set| set != 0))
}
