//! Organisations: namespaces that belong to several people. Owners may do everything in it, members what is the base for all of
//! them and what their teams may.

use havre_database::{Connection, Value, now};

use crate::accounts::{Kind, find, get, insert, line};
use crate::audit::{Change, note};
use crate::permission::{is_set, must_administer};
use crate::{Account, AccountName, Actor, Hub, HubError, Result, Role};

/// An organisation as its members see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    pub account: Account,
    /// What members may do in all of its repositories.
    pub base: Option<Role>,
    /// Whether who asks may change it.
    pub owned: bool,
}

/// Somebody of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub account: AccountName,
    pub title: String,
    pub owner: bool,
    /// Since when, in milliseconds since 1970.
    pub added: i64,
}

/// An error unless they belong to it; for others it has no inside.
pub(crate) fn must_belong(
    connection: &mut dyn Connection,
    actor: &Actor,
    organisation: &AccountName,
) -> Result<()> {
    if actor.is_admin() {
        return Ok(());
    }
    let name = actor.must_be_somebody()?;
    let row = connection.query_one(
        "SELECT 1 FROM members WHERE organisation = $1 AND account = $2",
        &[organisation.into(), name.into()],
    )?;
    match row {
        Some(_) => Ok(()),
        None => Err(HubError::unknown("organisation", organisation.as_str())),
    }
}

/// There is always an owner left.
fn one_owner_is_left(connection: &mut dyn Connection, organisation: &AccountName) -> Result<()> {
    connection.lock(&format!("hub.owners {organisation}"))?;
    let row = connection.query_one(
        "SELECT 1 FROM members WHERE organisation = $1 AND owner = 1 LIMIT 1",
        &[organisation.into()],
    )?;
    match row {
        Some(_) => Ok(()),
        None => Err(HubError::Conflict(format!(
            "this is the only owner of {organisation}: name another first"
        ))),
    }
}

impl Hub {
    /// Makes an organisation, which who asks owns.
    pub fn create_organisation(
        &self,
        actor: &Actor,
        name: &AccountName,
        title: &str,
    ) -> Result<Organisation> {
        let title = line("title", title, 100)?;
        let creator = actor.must_be_somebody()?.clone();
        if name.is_robot() || creator.is_robot() {
            return Err(HubError::invalid(
                "name",
                "robots neither have nor are organisations",
            ));
        }
        self.writing(|connection| {
            let base = Value::from(Role::Read.as_str());
            let values = [title.as_str().into(), Value::Null, Value::Null, base];
            insert(connection, actor, name, Kind::Organisation, values)?;
            connection.execute(
                "INSERT INTO members (organisation, account, owner, added) VALUES ($1, $2, 1, $3)",
                &[name.into(), (&creator).into(), now().into()],
            )?;
            note(
                connection,
                actor,
                &Change::of_account("organisation.create", name),
            )
        })?;
        self.organisation(actor, name)
    }

    /// An organisation somebody belongs to.
    pub fn organisation(&self, actor: &Actor, name: &AccountName) -> Result<Organisation> {
        self.reading(|connection| {
            must_belong(connection, actor, name)?;
            let account = get(connection, name, Kind::Organisation)?;
            let row = connection.query_one("SELECT base FROM accounts WHERE name = $1", &[name.into()])?;
            let base = row.map(|row| row.text_or_null(0)).transpose()?.flatten();
            Ok(Organisation {
                account,
                base: base.map(|base| base.parse()).transpose()?,
                owned: must_administer(connection, actor, name).is_ok(),
            })
        })
    }

    /// The organisations of who asks.
    pub fn organisations(&self, actor: &Actor) -> Result<Vec<Organisation>> {
        let name = actor.must_be_somebody()?;
        let names = self.reading(|connection| {
            let rows = connection.query(
                "SELECT organisation FROM members WHERE account = $1 ORDER BY organisation",
                &[name.into()],
            )?;
            Ok(rows
                .iter()
                .map(|row| row.parsed(0))
                .collect::<Result<Vec<AccountName>, _>>()?)
        })?;
        names.iter().map(|name| self.organisation(actor, name)).collect()
    }

    /// Sets what members may do in all of its repositories; nothing: only what their teams may.
    pub fn set_base_role(&self, actor: &Actor, name: &AccountName, base: Option<Role>) -> Result<()> {
        self.writing(|connection| {
            must_administer(connection, actor, name)?;
            get(connection, name, Kind::Organisation)?;
            connection.execute(
                "UPDATE accounts SET base = $1 WHERE name = $2",
                &[base.map(Role::as_str).into(), name.into()],
            )?;
            let change = Change::of_account("organisation.base", name);
            note(
                connection,
                actor,
                &change.detail(base.map_or("none", Role::as_str)),
            )
        })
    }

    /// The people of an organisation, for those who belong to it.
    pub fn members(&self, actor: &Actor, organisation: &AccountName) -> Result<Vec<Member>> {
        self.reading(|connection| {
            must_belong(connection, actor, organisation)?;
            let rows = connection.query(
                "SELECT account, title, members.owner, added FROM members JOIN accounts ON accounts.name = account
                 WHERE organisation = $1 ORDER BY account",
                &[organisation.into()],
            )?;
            rows.iter()
                .map(|row| {
                    Ok(Member {
                        account: row.parsed(0)?,
                        title: row.text(1)?,
                        owner: is_set(row, 2)?,
                        added: row.integer(3)?,
                    })
                })
                .collect()
        })
    }

    /// Takes a person in, or changes whether they own it.
    pub fn set_member(
        &self,
        actor: &Actor,
        organisation: &AccountName,
        who: &AccountName,
        owner: bool,
    ) -> Result<()> {
        self.writing(|connection| {
            must_administer(connection, actor, organisation)?;
            get(connection, organisation, Kind::Organisation)?;
            get(connection, who, Kind::Person)?;
            connection.execute(
                "INSERT INTO members (organisation, account, owner, added) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (organisation, account) DO UPDATE SET owner = excluded.owner",
                &[
                    organisation.into(),
                    who.into(),
                    i64::from(owner).into(),
                    now().into(),
                ],
            )?;
            one_owner_is_left(connection, organisation)?;
            let detail = format!("{who} {}", if owner { "owner" } else { "member" });
            let change = Change::of_account("organisation.member", organisation);
            note(connection, actor, &change.detail(&detail))
        })
    }

    /// Lets somebody go, or oneself, from the organisation and its teams.
    pub fn remove_member(&self, actor: &Actor, organisation: &AccountName, who: &AccountName) -> Result<()> {
        self.writing(|connection| {
            if actor.must_be_somebody().ok() != Some(who) {
                must_administer(connection, actor, organisation)?;
            }
            let gone = connection.execute(
                "DELETE FROM members WHERE organisation = $1 AND account = $2",
                &[organisation.into(), who.into()],
            )?;
            if gone == 0 {
                return Err(HubError::unknown("member", who.as_str()));
            }
            connection.execute(
                "DELETE FROM team_members WHERE organisation = $1 AND account = $2",
                &[organisation.into(), who.into()],
            )?;
            one_owner_is_left(connection, organisation)?;
            let detail = format!("{who} gone");
            let change = Change::of_account("organisation.member", organisation);
            note(connection, actor, &change.detail(&detail))
        })
    }

    /// Whether there is an account of that name, and what it is.
    pub fn kind(&self, name: &AccountName) -> Result<Option<Kind>> {
        Ok(self
            .reading(|connection| find(connection, name))?
            .map(|found| found.kind))
    }
}
