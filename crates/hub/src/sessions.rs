//! Who is who: passwords are checked, and for people in front of a browser sessions are kept.

use std::net::IpAddr;
use std::time::Duration;

use havre_database::{Connection, now};

use crate::accounts::{self, Kind, line};
use crate::audit::{Change, note};
use crate::secret::{hash, id, same, secret};
use crate::{Account, AccountName, Actor, Hub, HubError, Result};

/// A session ends when nothing was heard for so long,
const IDLE: Duration = Duration::from_secs(14 * 24 * 3600);
/// and in any case after so long.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 3600);
/// That something was heard is written down so often.
const HEARD: i64 = 10 * 60 * 1000;

/// Somebody who has just signed in.
#[derive(Debug)]
pub struct SignedIn {
    pub account: Account,
    /// What the browser keeps, in a cookie.
    pub secret: String,
}

/// A session under way.
#[derive(Clone, Debug)]
pub struct Session {
    /// Names it in lists; it is not the secret.
    pub id: String,
    /// Who they are, as of now.
    pub actor: Actor,
    /// Every form has it. Compare by [`Session::is_csrf`].
    pub csrf: String,
    /// Where it began.
    pub address: Option<String>,
    /// What the browser called itself then.
    pub agent: String,
    /// Milliseconds since 1970.
    pub created: i64,
    pub seen: i64,
}

impl Session {
    /// Whether a form came from a page of this session.
    pub fn is_csrf(&self, given: &str) -> bool {
        // One of a list has none.
        !self.csrf.is_empty() && same(&self.csrf, given)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Hub {
    /// Who has this password. Wrong ones are counted and lock the account for a while. Takes its time.
    pub(crate) fn check_password(&self, name: &str, password: &str, from: &Actor) -> Result<Account> {
        let address = from.address;
        let failed = self.must_not_be_locked(name, address)?;
        let name = name.parse::<AccountName>().map_err(|_| HubError::Credentials);
        let found = self.reading(|connection| {
            let Ok(name) = &name else { return Ok(None) };
            let row = connection.query_one(
                "SELECT password FROM accounts WHERE name = $1 AND kind = 'person' AND disabled = 0",
                &[name.into()],
            )?;
            let password = row.map(|row| row.text_or_null(0)).transpose()?.flatten();
            Ok(password.zip(accounts::find(connection, name)?))
        })?;
        let hash = found.as_ref().map(|(hash, _)| hash.as_str());
        if !self.0.passwords.is_right(hash, password) {
            let name = name?;
            self.writing(|connection| {
                self.count_failure(connection, name.as_str(), address)?;
                let who = Actor::anonymous(address);
                note(connection, &who, &Change::of_account("login.failed", &name))
            })?;
            return Err(HubError::Credentials);
        }
        let (_, account) = found.ok_or(HubError::Credentials)?;
        if failed {
            self.writing(|connection| self.forget_failures(connection, account.name.as_str()))?;
        }
        Ok(account)
    }

    /// Begins a session of somebody with this name and password. Takes its time.
    pub fn sign_in(
        &self,
        name: &str,
        password: &str,
        address: Option<IpAddr>,
        agent: &str,
    ) -> Result<SignedIn> {
        let account = self.check_password(name, password, &Actor::anonymous(address))?;
        let agent: String = agent.chars().filter(|c| !c.is_control()).take(200).collect();
        let (secret, csrf, id) = (secret("havre_ses_")?, secret("")?, id()?);
        let agent = line("agent", &agent, 200)?;
        self.writing(|connection| {
            connection.execute(
                "INSERT INTO sessions (hash, id, account, csrf, address, agent, created, seen, expires)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                &[
                    hash(&secret).into(),
                    id.as_str().into(),
                    (&account.name).into(),
                    csrf.as_str().into(),
                    address.map(|address| address.to_string()).into(),
                    agent.as_str().into(),
                    now().into(),
                    now().into(),
                    now().saturating_add(millis(LONGEST)).into(),
                ],
            )?;
            self.seen(connection, &account.name)?;
            let actor = accounts::actor(&account, address);
            note(
                connection,
                &actor,
                &Change::of_account("login.session", &account.name),
            )
        })?;
        Ok(SignedIn { account, secret })
    }

    pub(crate) fn seen(&self, connection: &mut dyn Connection, name: &AccountName) -> Result<()> {
        connection.execute(
            "UPDATE accounts SET seen = $1 WHERE name = $2",
            &[now().into(), name.into()],
        )?;
        Ok(())
    }

    /// The session of a secret, if it is one that has not ended.
    pub fn session(&self, secret: &str, address: Option<IpAddr>) -> Result<Option<Session>> {
        let which = hash(secret);
        let found = self.reading(|connection| {
            let row = connection.query_one(
                "SELECT id, account, csrf, address, agent, created, seen FROM sessions
                 WHERE hash = $1 AND expires > $2 AND seen > $3",
                &[
                    which.as_str().into(),
                    now().into(),
                    now().saturating_sub(millis(IDLE)).into(),
                ],
            )?;
            let Some(row) = row else { return Ok(None) };
            let account = accounts::get(connection, &row.parsed(1)?, Kind::Person)?;
            if account.disabled {
                return Ok(None);
            }
            Ok(Some(Session {
                id: row.text(0)?,
                actor: accounts::actor(&account, address),
                csrf: row.text(2)?,
                address: row.text_or_null(3)?,
                agent: row.text(4)?,
                created: row.integer(5)?,
                seen: row.integer(6)?,
            }))
        })?;
        if found.as_ref().is_some_and(|found| now() - found.seen > HEARD) {
            self.writing(|connection| {
                connection.execute(
                    "UPDATE sessions SET seen = $1 WHERE hash = $2",
                    &[now().into(), which.as_str().into()],
                )?;
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Ends the session of a secret.
    pub fn sign_out(&self, secret: &str) -> Result<()> {
        self.writing(|connection| {
            connection.execute("DELETE FROM sessions WHERE hash = $1", &[hash(secret).into()])?;
            Ok(())
        })
    }

    /// The sessions of who asks.
    pub fn sessions(&self, actor: &Actor) -> Result<Vec<Session>> {
        let name = actor.must_be_somebody()?;
        self.reading(|connection| {
            let rows = connection.query(
                "SELECT id, address, agent, created, seen FROM sessions
                 WHERE account = $1 AND expires > $2 ORDER BY seen DESC",
                &[name.into(), now().into()],
            )?;
            rows.iter()
                .map(|row| {
                    Ok(Session {
                        id: row.text(0)?,
                        actor: actor.clone(),
                        csrf: String::new(),
                        address: row.text_or_null(1)?,
                        agent: row.text(2)?,
                        created: row.integer(3)?,
                        seen: row.integer(4)?,
                    })
                })
                .collect()
        })
    }

    /// Ends one of the sessions of who asks.
    pub fn end_session(&self, actor: &Actor, id: &str) -> Result<()> {
        let name = actor.must_be_somebody()?;
        self.writing(|connection| {
            let ended = connection.execute(
                "DELETE FROM sessions WHERE account = $1 AND id = $2",
                &[name.into(), id.into()],
            )?;
            match ended {
                0 => Err(HubError::unknown("session", id)),
                _ => note(connection, actor, &Change::of_account("session.end", name)),
            }
        })
    }
}
