//! Access tokens, which people and robots use instead of a password: for as much as they say, for as long as they say. And refresh
//! tokens, which clients keep instead of either.

use std::net::IpAddr;
use std::time::Duration;

use havre_database::{Connection, Row, now};

use crate::accounts::{self, Kind, find, get, insert, line};
use crate::audit::{Change, note};
use crate::permission::{Limit, glob, must_administer};
use crate::secret::{hash, id, secret};
use crate::{Account, AccountName, Actor, Hub, HubError, Result, Role};

const ACCESS: &str = "havre_pat_";
const REFRESH: &str = "havre_refresh_";
/// A refresh token that was not used for so long is none.
const REFRESHED: i64 = 90 * 24 * 3600 * 1000;
/// That a token was used is written down so often.
const USED: i64 = 10 * 60 * 1000;
/// Of one account.
const MOST: i64 = 200;

/// An access token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    pub id: String,
    /// What it is for.
    pub title: String,
    /// The most it may do.
    pub role: Role,
    /// Patterns of the repositories it is for; none means all.
    pub repositories: Vec<String>,
    /// Milliseconds since 1970.
    pub created: i64,
    pub expires: Option<i64>,
    pub used: Option<i64>,
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub title: String,
    pub role: Role,
    /// Patterns of repositories, as `acme/*` or `acme/**`; none means all.
    pub repositories: Vec<String>,
    pub lifetime: Option<Duration>,
}

const COLUMNS: &str = "id, title, role, repositories, created, expires, used";

fn read(row: &Row) -> Result<AccessToken> {
    Ok(AccessToken {
        id: row.text(0)?,
        title: row.text(1)?,
        role: row.text(2)?.parse()?,
        repositories: patterns(&row.text(3)?)?,
        created: row.integer(4)?,
        expires: row.integer_or_null(5)?,
        used: row.integer_or_null(6)?,
    })
}

fn patterns(json: &str) -> Result<Vec<String>> {
    let broken = |_| havre_database::DatabaseError::not_a("a list of patterns");
    Ok(serde_json::from_str(json).map_err(broken)?)
}

/// What an access token that is still good is limited to.
pub(crate) fn limit(connection: &mut dyn Connection, token: &str) -> Result<Option<Limit>> {
    let row = connection.query_one(
        "SELECT role, repositories FROM tokens WHERE id = $1 AND kind = 'access' AND (expires IS NULL OR expires > $2)",
        &[token.into(), now().into()],
    )?;
    row.map(|row| {
        Ok(Limit {
            token: token.to_owned(),
            role: row.text(0)?.parse()?,
            repositories: patterns(&row.text(1)?)?,
        })
    })
    .transpose()
}

/// An error unless they may make and take away tokens of this account.
fn must_own(connection: &mut dyn Connection, actor: &Actor, name: &AccountName) -> Result<Account> {
    match name.is_robot() {
        true => must_administer(connection, actor, &name.namespace().parse()?)?,
        false => actor.must_be(name)?,
    }
    find(connection, name)?.ok_or_else(|| HubError::unknown("account", name.as_str()))
}

fn add(
    connection: &mut dyn Connection,
    actor: &Actor,
    name: &AccountName,
    new: &NewToken,
    secret: &str,
) -> Result<AccessToken> {
    let row = connection.query_one(
        "SELECT count(*) FROM tokens WHERE account = $1 AND kind = 'access'",
        &[name.into()],
    )?;
    if row.map(|row| row.integer(0)).transpose()? >= Some(MOST) {
        return Err(HubError::Conflict(format!(
            "{name} has {MOST} tokens: revoke one first"
        )));
    }
    let lifetime = new
        .lifetime
        .map(|lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX));
    let id = id()?;
    connection.execute(
        "INSERT INTO tokens (hash, id, kind, account, title, role, repositories, created, expires)
         VALUES ($1, $2, 'access', $3, $4, $5, $6, $7, $8)",
        &[
            hash(secret).into(),
            id.as_str().into(),
            name.into(),
            new.title.as_str().into(),
            new.role.as_str().into(),
            serde_json::json!(new.repositories).to_string().into(),
            now().into(),
            lifetime.map(|lifetime| now().saturating_add(lifetime)).into(),
        ],
    )?;
    let detail = format!("{}, {}", new.title, new.role);
    note(
        connection,
        actor,
        &Change::of_account("token.create", name).detail(&detail),
    )?;
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE id = $1");
    let row = connection.query_one(&sql, &[id.as_str().into()])?;
    read(&row.ok_or_else(|| HubError::unknown("token", id.as_str()))?)
}

fn checked(new: &NewToken) -> Result<NewToken> {
    let title = line("title", &new.title, 100)?;
    if title.is_empty() {
        return Err(HubError::invalid("title", "say what the token is for"));
    }
    if new.repositories.len() > 20 {
        return Err(HubError::invalid("repositories", "at most 20 patterns"));
    }
    for pattern in &new.repositories {
        glob("repositories", pattern)?;
    }
    if new.lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
        return Err(HubError::invalid("lifetime", "more than nothing"));
    }
    Ok(NewToken { title, ..new.clone() })
}

impl Hub {
    /// Makes an access token; the secret is shown this once.
    pub fn create_token(
        &self,
        actor: &Actor,
        name: &AccountName,
        new: &NewToken,
    ) -> Result<(AccessToken, String)> {
        let (new, secret) = (checked(new)?, secret(ACCESS)?);
        self.writing(|connection| {
            let account = must_own(connection, actor, name)?;
            if account.kind == Kind::Organisation {
                return Err(HubError::invalid(
                    "account",
                    "an organisation has robots, they have tokens",
                ));
            }
            Ok((add(connection, actor, name, &new, &secret)?, secret.clone()))
        })
    }

    /// The access tokens of an account.
    pub fn tokens(&self, actor: &Actor, name: &AccountName) -> Result<Vec<AccessToken>> {
        self.reading(|connection| {
            must_own(connection, actor, name)?;
            let sql = format!(
                "SELECT {COLUMNS} FROM tokens WHERE account = $1 AND kind = 'access' ORDER BY created, id"
            );
            let rows = connection.query(&sql, &[name.into()])?;
            rows.iter().map(read).collect()
        })
    }

    /// Lets a token be none any more, at once. What it was exchanged for goes on for some minutes.
    pub fn revoke_token(&self, actor: &Actor, name: &AccountName, id: &str) -> Result<()> {
        self.writing(|connection| {
            must_own(connection, actor, name)?;
            connection.execute("DELETE FROM tokens WHERE parent = $1", &[id.into()])?;
            let gone = connection.execute(
                "DELETE FROM tokens WHERE id = $1 AND account = $2 AND kind = 'access'",
                &[id.into(), name.into()],
            )?;
            match gone {
                0 => Err(HubError::unknown("token", id)),
                _ => note(
                    connection,
                    actor,
                    &Change::of_account("token.revoke", name).detail(id),
                ),
            }
        })
    }

    /// Makes a robot of a person or an organisation, with its token. It may do what it is granted, nothing else.
    pub fn create_robot(
        &self,
        actor: &Actor,
        owner: &AccountName,
        name: &str,
        token: &NewToken,
    ) -> Result<(AccountName, String)> {
        let (robot, new, secret) = (AccountName::robot(owner, name)?, checked(token)?, secret(ACCESS)?);
        self.writing(|connection| {
            must_administer(connection, actor, owner)?;
            if find(connection, owner)?.is_none() {
                return Err(HubError::unknown("account", owner.as_str()));
            }
            let values = [
                new.title.as_str().into(),
                havre_database::Value::Null,
                havre_database::Value::Null,
                havre_database::Value::Null,
            ];
            insert(connection, actor, &robot, Kind::Robot, values)?;
            note(connection, actor, &Change::of_account("robot.create", &robot))?;
            add(connection, actor, &robot, &new, &secret)?;
            Ok((robot.clone(), secret.clone()))
        })
    }

    /// The robots of a person or an organisation.
    pub fn robots(&self, actor: &Actor, owner: &AccountName) -> Result<Vec<Account>> {
        self.reading(|connection| {
            must_administer(connection, actor, owner)?;
            let rows = connection.query(
                "SELECT name FROM accounts WHERE owner = $1 ORDER BY name",
                &[owner.into()],
            )?;
            rows.iter()
                .map(|row| get(connection, &row.parsed(0)?, Kind::Robot))
                .collect()
        })
    }

    /// Who has this name and password, or this access token in the place of one. A password takes its time.
    pub fn authenticate(&self, name: &str, secret: &str, address: Option<IpAddr>) -> Result<Actor> {
        match secret.starts_with(ACCESS) {
            true => self.by_token(name, secret, address),
            false => {
                let account = self.check_password(name, secret, &Actor::anonymous(address))?;
                Ok(accounts::actor(&account, address))
            }
        }
    }

    /// Whether what is given as a password takes no time to be checked.
    pub fn is_quick(secret: &str) -> bool {
        secret.starts_with(ACCESS) || secret.starts_with(REFRESH)
    }

    fn by_token(&self, name: &str, secret: &str, address: Option<IpAddr>) -> Result<Actor> {
        let (id, used, mut actor) = self.reading(|connection| {
            let row = connection.query_one(
                "SELECT id, account, used FROM tokens
                 WHERE hash = $1 AND kind = 'access' AND (expires IS NULL OR expires > $2)",
                &[hash(secret).into(), now().into()],
            )?;
            let row = row.ok_or(HubError::Credentials)?;
            let account: AccountName = row.parsed(1)?;
            let found = find(connection, &account)?.filter(|found| !found.disabled);
            let (Some(found), true) = (found, name == account.as_str()) else {
                return Err(HubError::Credentials);
            };
            Ok((
                row.text(0)?,
                row.integer_or_null(2)?,
                accounts::actor(&found, address),
            ))
        })?;
        if used.is_none_or(|used| now() - used > USED) {
            self.writing(|connection| {
                connection.execute(
                    "UPDATE tokens SET used = $1 WHERE id = $2",
                    &[now().into(), id.as_str().into()],
                )?;
                Ok(())
            })?;
        }
        let limit = self.reading(|connection| limit(connection, &id))?;
        actor.limit = Some(limit.ok_or(HubError::Credentials)?);
        Ok(actor)
    }

    /// Notes that somebody's client signed in.
    pub fn signed_in(&self, actor: &Actor, client: &str) -> Result<()> {
        let Some(name) = actor.name() else { return Ok(()) };
        let client: String = client.chars().filter(|c| !c.is_control()).take(100).collect();
        self.writing(|connection| {
            self.seen(connection, name)?;
            let change = Change::of_account("login.client", name);
            note(connection, actor, &change.detail(&client))
        })
    }

    /// A token that a client keeps instead of a password, to ask for others.
    pub fn refresh_token(&self, actor: &Actor, client: &str) -> Result<Option<String>> {
        let Some(name) = actor.name() else { return Ok(None) };
        let (secret, id) = (secret(REFRESH)?, id()?);
        let client: String = client.chars().filter(|c| !c.is_control()).take(100).collect();
        self.writing(|connection| {
            connection.execute(
                "INSERT INTO tokens (hash, id, kind, account, parent, title, role, repositories, created, used)
                 VALUES ($1, $2, 'refresh', $3, $4, $5, 'admin', '[]', $6, $7)",
                &[
                    hash(&secret).into(),
                    id.as_str().into(),
                    name.into(),
                    actor.limit.as_ref().map(|limit| limit.token.as_str()).into(),
                    client.as_str().into(),
                    now().into(),
                    now().into(),
                ],
            )?;
            note(
                connection,
                actor,
                &Change::of_account("login.refresh_token", name).detail(&client),
            )
        })?;
        Ok(Some(secret))
    }

    /// Who has this refresh token.
    pub fn refresh(&self, secret: &str, address: Option<IpAddr>) -> Result<Actor> {
        let which = hash(secret);
        let (used, actor) = self.reading(|connection| {
            let row = connection.query_one(
                "SELECT account, parent, used FROM tokens WHERE hash = $1 AND kind = 'refresh' AND used > $2",
                &[which.as_str().into(), (now() - REFRESHED).into()],
            )?;
            let row = row.ok_or(HubError::Credentials)?;
            let found = find(connection, &row.parsed(0)?)?.filter(|found| !found.disabled);
            let mut actor = accounts::actor(&found.ok_or(HubError::Credentials)?, address);
            if let Some(parent) = row.text_or_null(1)? {
                actor.limit = Some(limit(connection, &parent)?.ok_or(HubError::Credentials)?);
            }
            Ok((row.integer(2)?, actor))
        })?;
        if now() - used > USED {
            self.writing(|connection| {
                connection.execute(
                    "UPDATE tokens SET used = $1 WHERE hash = $2",
                    &[now().into(), which.as_str().into()],
                )?;
                Ok(())
            })?;
        }
        Ok(actor)
    }
}
