//! Invitations: whoever has the secret of one may make an account once.

use std::time::Duration;

use havre_database::{Connection, Row, now};

use crate::accounts::{Kind, get, line};
use crate::audit::{Change, note};
use crate::permission::{is_set, must_administer};
use crate::secret::{hash, id, secret};
use crate::{AccountName, Actor, Hub, HubError, Result};

/// An invitation that was not used yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    pub id: String,
    /// Whom it is for, in words.
    pub note: String,
    /// Whether who takes it becomes an administrator.
    pub admin: bool,
    /// Of which they become a member.
    pub organisation: Option<AccountName>,
    /// Who invited; nobody for the first account of all.
    pub inviter: Option<String>,
    /// Milliseconds since 1970.
    pub expires: i64,
}

/// What is offered.
#[derive(Clone, Debug)]
pub struct NewInvitation {
    pub note: String,
    /// Only administrators offer this.
    pub admin: bool,
    /// Its owners offer this; nothing else only administrators.
    pub organisation: Option<AccountName>,
    pub lifetime: Duration,
}

const COLUMNS: &str = "id, note, admin, organisation, inviter, expires";

fn invitation(row: &Row) -> Result<Invitation> {
    let organisation = row.text_or_null(3)?;
    Ok(Invitation {
        id: row.text(0)?,
        note: row.text(1)?,
        admin: is_set(row, 2)?,
        organisation: organisation.map(|name| name.parse()).transpose()?,
        inviter: row.text_or_null(4)?,
        expires: row.integer(5)?,
    })
}

fn find(connection: &mut dyn Connection, secret: &str) -> Result<Invitation> {
    let sql = format!("SELECT {COLUMNS} FROM invitations WHERE hash = $1 AND expires > $2");
    let row = connection.query_one(&sql, &[hash(secret).into(), now().into()])?;
    let gone = || HubError::denied("this invitation is used, expired or was taken back: ask for another");
    invitation(&row.ok_or_else(gone)?)
}

/// Uses an invitation up for an account that was made by it; whether that becomes an administrator.
pub(crate) fn take_invitation(
    connection: &mut dyn Connection,
    secret: &str,
    name: &AccountName,
) -> Result<bool> {
    let found = find(connection, secret)?;
    let taken = connection.execute("DELETE FROM invitations WHERE hash = $1", &[hash(secret).into()])?;
    if taken == 0 {
        return Err(HubError::Conflict("this invitation was just used".to_owned()));
    }
    if let Some(organisation) = &found.organisation {
        connection.execute(
            "INSERT INTO members (organisation, account, owner, added) VALUES ($1, $2, 0, $3)",
            &[organisation.into(), name.into(), now().into()],
        )?;
    }
    Ok(found.admin)
}

impl Hub {
    /// Invites somebody; the secret is shown this once.
    pub fn invite(&self, actor: &Actor, new: &NewInvitation) -> Result<(Invitation, String)> {
        let (secret, id, note_) = (secret("havre_inv_")?, id()?, line("note", &new.note, 200)?);
        let lifetime = i64::try_from(new.lifetime.as_millis()).unwrap_or(i64::MAX);
        self.writing(|connection| {
            match &new.organisation {
                Some(organisation) if !new.admin => must_administer(connection, actor, organisation)?,
                _ => actor.must_be_admin()?,
            }
            if let Some(organisation) = &new.organisation {
                get(connection, organisation, Kind::Organisation)?;
            }
            connection.execute(
                "INSERT INTO invitations (hash, id, note, admin, organisation, inviter, created, expires)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                &[
                    hash(&secret).into(),
                    id.as_str().into(),
                    note_.as_str().into(),
                    i64::from(new.admin).into(),
                    new.organisation.as_ref().map(AccountName::as_str).into(),
                    actor.called().into(),
                    now().into(),
                    now().saturating_add(lifetime).into(),
                ],
            )?;
            let change = Change {
                namespace: new.organisation.as_ref().map(AccountName::as_str),
                ..Change::of_registry("invitation.create", &id)
            };
            note(connection, actor, &change.detail(&note_))?;
            Ok((find(connection, &secret)?, secret.clone()))
        })
    }

    /// What an invitation offers, by its secret.
    pub fn invitation(&self, secret: &str) -> Result<Invitation> {
        self.reading(|connection| find(connection, secret))
    }

    /// Invitations that nobody has used yet: of an organisation for its owners, all of them for administrators.
    pub fn invitations(&self, actor: &Actor, organisation: Option<&AccountName>) -> Result<Vec<Invitation>> {
        self.reading(|connection| {
            match organisation {
                Some(organisation) => must_administer(connection, actor, organisation)?,
                None => actor.must_be_admin()?,
            }
            let sql = format!(
                "SELECT {COLUMNS} FROM invitations WHERE expires > $1 AND id <> 'setup' ORDER BY created"
            );
            let rows = connection.query(&sql, &[now().into()])?;
            let all = rows.iter().map(invitation).collect::<Result<Vec<_>>>()?;
            let wanted =
                |one: &Invitation| organisation.is_none() || one.organisation.as_ref() == organisation;
            Ok(all.into_iter().filter(wanted).collect())
        })
    }

    /// Takes an invitation back.
    pub fn revoke_invitation(&self, actor: &Actor, id: &str) -> Result<()> {
        self.writing(|connection| {
            let unknown = || HubError::unknown("invitation", id);
            let sql = format!("SELECT {COLUMNS} FROM invitations WHERE id = $1 AND id <> 'setup'");
            let row = connection.query_one(&sql, &[id.into()])?;
            let found = invitation(&row.ok_or_else(unknown)?)?;
            match &found.organisation {
                Some(organisation) if !actor.is_admin() => {
                    must_administer(connection, actor, organisation).map_err(|_| unknown())?;
                }
                _ => actor.must_be_admin()?,
            }
            connection.execute("DELETE FROM invitations WHERE id = $1", &[id.into()])?;
            note(connection, actor, &Change::of_registry("invitation.revoke", id))
        })
    }
}
