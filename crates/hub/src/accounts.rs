//! Accounts: of people, of organisations, and of robots, which belong to either.

use havre_database::{Connection, Row, Value, now};

use crate::audit::{Change, note};
use crate::invitations::take_invitation;
use crate::name::within;
use crate::permission::{Who, is_set};
use crate::secret::{hash, secret};
use crate::{AccountName, Actor, Hub, HubError, Result, Signup, passwords};

/// What an account stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Person,
    Organisation,
    Robot,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Organisation => "organisation",
            Self::Robot => "robot",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "organisation" => Self::Organisation,
            "robot" => Self::Robot,
            _ => Self::Person,
        }
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: AccountName,
    pub kind: Kind,
    /// For the account itself and administrators only.
    pub email: Option<String>,
    /// A longer name, or what a robot is for.
    pub title: String,
    /// Whether it runs the whole registry.
    pub admin: bool,
    /// Whether it may do nothing at present.
    pub disabled: bool,
    /// Milliseconds since 1970.
    pub created: i64,
    /// When it last signed in.
    pub seen: Option<i64>,
}

/// Somebody who is to have an account.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    pub name: String,
    pub email: Option<String>,
    pub title: String,
    pub password: String,
    /// Only administrators make others.
    pub admin: bool,
}

const COLUMNS: &str = "name, kind, email, title, admin, disabled, created, seen";

fn account(row: &Row) -> Result<Account> {
    Ok(Account {
        name: row.parsed(0)?,
        kind: Kind::read(&row.text(1)?),
        email: row.text_or_null(2)?,
        title: row.text(3)?,
        admin: is_set(row, 4)?,
        disabled: is_set(row, 5)?,
        created: row.integer(6)?,
        seen: row.integer_or_null(7)?,
    })
}

pub(crate) fn find(connection: &mut dyn Connection, name: &AccountName) -> Result<Option<Account>> {
    let sql = format!("SELECT {COLUMNS} FROM accounts WHERE name = $1");
    let row = connection.query_one(&sql, &[name.into()])?;
    row.as_ref().map(account).transpose()
}

/// An account of that kind that is there.
pub(crate) fn get(connection: &mut dyn Connection, name: &AccountName, kind: Kind) -> Result<Account> {
    let found = find(connection, name)?.filter(|found| found.kind == kind);
    found.ok_or_else(|| HubError::unknown(kind.as_str(), name.as_str()))
}

/// Who somebody is now that they were found to be it.
pub(crate) fn actor(account: &Account, address: Option<std::net::IpAddr>) -> Actor {
    let who = Who::Account {
        name: account.name.clone(),
        admin: account.admin,
    };
    Actor::new(who, address)
}

/// One line of text, or an error.
pub(crate) fn line(field: &'static str, text: &str, longest: usize) -> Result<String> {
    let text = text.trim();
    match text.chars().count() <= longest && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(HubError::invalid(
            field,
            format!("one line of at most {longest} characters"),
        )),
    }
}

fn email(text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let text = line("email", text, 254)?;
    match text.split_once('@') {
        Some((user, host)) if !user.is_empty() && host.len() > 2 && !text.contains([' ', ',', '<', '>']) => {
            Ok(Some(text))
        }
        _ => Err(HubError::invalid("email", "NAME@HOST")),
    }
}

/// Adds an account whose name is free. Repositories that are there already go with the name, so unless an administrator says so
/// nobody gets one that has some.
pub(crate) fn insert(
    connection: &mut dyn Connection,
    actor: &Actor,
    name: &AccountName,
    kind: Kind,
    values: [Value; 4],
) -> Result<()> {
    if name.is_reserved() {
        return Err(HubError::invalid("name", "this name is reserved: choose another"));
    }
    if !actor.is_admin() && kind != Kind::Robot {
        let owned = connection.query_one(
            "SELECT 1 FROM repositories WHERE name LIKE $1 ESCAPE '!' LIMIT 1",
            &[within(name.as_str())],
        )?;
        if owned.is_some() {
            return Err(HubError::exists("namespace", name.as_str()));
        }
    }
    let [title, email, password, base] = values;
    let owner = (kind == Kind::Robot).then(|| name.namespace());
    let added = connection.execute(
        "INSERT INTO accounts (name, kind, owner, email, title, password, admin, disabled, base, created)
         VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $8) ON CONFLICT DO NOTHING",
        &[
            name.into(),
            kind.as_str().into(),
            owner.into(),
            email,
            title,
            password,
            base,
            now().into(),
        ],
    )?;
    match added {
        0 => Err(HubError::exists("account", name.as_str())),
        _ => Ok(()),
    }
}

impl Hub {
    /// Makes an account for who comes, if that is open, or with the secret of an invitation.
    pub fn sign_up(&self, who: &NewAccount, invitation: Option<&str>, actor: &Actor) -> Result<Account> {
        let open = self.settings().signup == Signup::Open;
        if invitation.is_none() && !open {
            return Err(HubError::denied(
                "accounts are by invitation: ask an administrator for one",
            ));
        }
        let name: AccountName = who.name.parse()?;
        // Before a processor is kept busy for nothing.
        if let Some(invitation) = invitation {
            self.invitation(invitation)?;
        }
        self.add(actor, &name, who, |connection| {
            let Some(secret) = invitation else {
                return Ok(false);
            };
            take_invitation(connection, secret, &name)
        })
    }

    /// Makes an account for somebody. For administrators.
    pub fn create_account(&self, actor: &Actor, who: &NewAccount) -> Result<Account> {
        actor.must_be_admin()?;
        self.add(actor, &who.name.parse()?, who, |_| Ok(who.admin))
    }

    /// `admit` says whether it becomes an administrator, once the account is there.
    fn add(
        &self,
        actor: &Actor,
        name: &AccountName,
        who: &NewAccount,
        mut admit: impl FnMut(&mut dyn Connection) -> Result<bool>,
    ) -> Result<Account> {
        if name.is_robot() {
            return Err(HubError::invalid("name", "a + is for robots"));
        }
        passwords::check(&who.password, name.as_str())?;
        let (title, email) = (line("title", &who.title, 100)?, email(who.email.as_deref())?);
        let password = passwords::hashed(&who.password)?;
        self.writing(|connection| {
            let values = [
                title.as_str().into(),
                email.as_deref().into(),
                password.as_str().into(),
                Value::Null,
            ];
            insert(connection, actor, name, Kind::Person, values)?;
            let admin = admit(connection)?;
            connection.execute(
                "UPDATE accounts SET admin = $1 WHERE name = $2",
                &[i64::from(admin).into(), name.into()],
            )?;
            note(connection, actor, &Change::of_account("account.create", name))?;
            get(connection, name, Kind::Person)
        })
    }

    /// While nobody has an account: the secret of an invitation for the first administrator. The one before counts no more.
    pub fn first_run(&self) -> Result<Option<String>> {
        let invitation = secret("havre_setup_")?;
        self.writing(|connection| {
            let somebody = "SELECT 1 FROM accounts WHERE kind = 'person' LIMIT 1";
            connection.execute("DELETE FROM invitations WHERE id = 'setup'", &[])?;
            if connection.query_one(somebody, &[])?.is_some() {
                return Ok(None);
            }
            connection.execute(
                "INSERT INTO invitations (hash, id, note, admin, created, expires) VALUES ($1, 'setup', '', 1, $2, $3)",
                &[hash(&invitation).into(), now().into(), i64::MAX.into()],
            )?;
            Ok(Some(invitation.clone()))
        })
    }

    /// An account, as somebody may see it.
    pub fn account(&self, actor: &Actor, name: &AccountName) -> Result<Account> {
        let found = self.reading(|connection| find(connection, name))?;
        let mut found = found.ok_or_else(|| HubError::unknown("account", name.as_str()))?;
        if actor.must_be(name).is_err() {
            found.email = None;
            found.seen = None;
        }
        Ok(found)
    }

    /// The accounts behind `last` whose names contain a text, sorted. For administrators.
    pub fn accounts(
        &self,
        actor: &Actor,
        containing: &str,
        last: &str,
        limit: usize,
    ) -> Result<Vec<Account>> {
        actor.must_be_admin()?;
        let limit = i64::try_from(limit.clamp(1, 1000)).unwrap_or(1000);
        self.reading(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM accounts WHERE name > $1 AND name LIKE $2 ESCAPE '!' ORDER BY name LIMIT $3"
            );
            let pattern = format!("%{}%", crate::name::escaped(&containing.to_lowercase()));
            let rows = connection.query(&sql, &[last.into(), pattern.into(), limit.into()])?;
            rows.iter().map(account).collect()
        })
    }

    /// Changes a password. Who changes their own says the old one; all their sessions and refresh tokens end.
    pub fn set_password(
        &self,
        actor: &Actor,
        name: &AccountName,
        old: Option<&str>,
        new: &str,
    ) -> Result<()> {
        actor.must_be(name)?;
        passwords::check(new, name.as_str())?;
        if actor.name() == Some(name) {
            self.check_password(name.as_str(), old.unwrap_or_default(), actor)?;
        }
        let password = passwords::hashed(new)?;
        self.writing(|connection| {
            let changed = connection.execute(
                "UPDATE accounts SET password = $1 WHERE name = $2 AND kind = 'person'",
                &[password.as_str().into(), name.into()],
            )?;
            if changed == 0 {
                return Err(HubError::unknown("person", name.as_str()));
            }
            end_everything(connection, name, false)?;
            self.forget_failures(connection, name.as_str())?;
            note(connection, actor, &Change::of_account("account.password", name))
        })
    }

    /// Changes what is said of an account.
    pub fn set_profile(
        &self,
        actor: &Actor,
        name: &AccountName,
        title: &str,
        address: Option<&str>,
    ) -> Result<()> {
        let (title, address) = (line("title", title, 100)?, email(address)?);
        self.writing(|connection| {
            crate::permission::must_administer(connection, actor, &name.namespace().parse()?)?;
            let changed = connection.execute(
                "UPDATE accounts SET title = $1, email = $2 WHERE name = $3",
                &[title.as_str().into(), address.as_deref().into(), name.into()],
            )?;
            if changed == 0 {
                return Err(HubError::unknown("account", name.as_str()));
            }
            note(connection, actor, &Change::of_account("account.profile", name))
        })
    }

    /// Makes somebody an administrator, or one no more. There is always one left.
    pub fn set_admin(&self, actor: &Actor, name: &AccountName, admin: bool) -> Result<()> {
        actor.must_be_admin()?;
        self.writing(|connection| {
            get(connection, name, Kind::Person)?;
            connection.execute(
                "UPDATE accounts SET admin = $1 WHERE name = $2",
                &[i64::from(admin).into(), name.into()],
            )?;
            one_admin_is_left(connection)?;
            let change = Change::of_account("account.admin", name);
            note(
                connection,
                actor,
                &change.detail(if admin { "yes" } else { "no" }),
            )
        })
    }

    /// Lets an account do nothing until it is enabled again. Its sessions end; tokens are refused at once, and what they were
    /// exchanged for within minutes.
    pub fn set_disabled(&self, actor: &Actor, name: &AccountName, disabled: bool) -> Result<()> {
        self.writing(|connection| {
            match name.is_robot() {
                true => crate::permission::must_administer(connection, actor, &name.namespace().parse()?)?,
                false => actor.must_be_admin()?,
            }
            let found = find(connection, name)?;
            if found.is_none_or(|found| found.kind == Kind::Organisation) {
                return Err(HubError::unknown("account", name.as_str()));
            }
            connection.execute(
                "UPDATE accounts SET disabled = $1 WHERE name = $2",
                &[i64::from(disabled).into(), name.into()],
            )?;
            one_admin_is_left(connection)?;
            if disabled {
                end_everything(connection, name, false)?;
            }
            let change = Change::of_account("account.disabled", name);
            note(
                connection,
                actor,
                &change.detail(if disabled { "yes" } else { "no" }),
            )
        })
    }

    /// Removes an account, with its tokens, robots and memberships. Its repositories go first.
    pub fn delete_account(&self, actor: &Actor, name: &AccountName) -> Result<()> {
        self.writing(|connection| {
            crate::permission::must_administer(connection, actor, &name.namespace().parse()?)?;
            if find(connection, name)?.is_none() {
                return Err(HubError::unknown("account", name.as_str()));
            }
            let held = "SELECT name FROM repositories WHERE name LIKE $1 ESCAPE '!' ORDER BY name LIMIT 1";
            if !name.is_robot()
                && let Some(row) = connection.query_one(held, &[within(name.as_str())])?
            {
                return Err(HubError::Conflict(format!(
                    "{name} has repositories, {} for one: delete them first",
                    row.text(0)?
                )));
            }
            let robots = connection.query("SELECT name FROM accounts WHERE owner = $1", &[name.into()])?;
            let robots = robots.iter().map(|row| row.parsed(0));
            let robots = robots.collect::<Result<Vec<AccountName>, _>>()?;
            for gone in robots.iter().chain([name]) {
                delete_row(connection, gone)?;
            }
            one_admin_is_left(connection)?;
            note(connection, actor, &Change::of_account("account.delete", name))
        })
    }
}

fn delete_row(connection: &mut dyn Connection, name: &AccountName) -> Result<()> {
    end_everything(connection, name, true)?;
    for sql in [
        "DELETE FROM grants WHERE account = $1",
        "DELETE FROM stars WHERE account = $1",
        "DELETE FROM team_members WHERE account = $1 OR organisation = $1",
        "DELETE FROM team_grants WHERE organisation = $1",
        "DELETE FROM teams WHERE organisation = $1",
        "DELETE FROM members WHERE account = $1 OR organisation = $1",
        "DELETE FROM quotas WHERE namespace = $1",
        "DELETE FROM accounts WHERE name = $1",
    ] {
        connection.execute(sql, &[name.into()])?;
    }
    let scope = crate::PolicyScope::Namespace(name.clone()).to_string();
    connection.execute("DELETE FROM policies WHERE scope = $1", &[scope.into()])?;
    // An organisation is nobody's without owners.
    let orphan = connection.query_one(
        "SELECT name FROM accounts WHERE kind = 'organisation' AND NOT EXISTS
             (SELECT 1 FROM members WHERE organisation = name AND members.owner = 1) LIMIT 1",
        &[],
    )?;
    match orphan {
        None => Ok(()),
        Some(row) => Err(HubError::Conflict(format!(
            "{name} is the only owner of {}: name another first",
            row.text(0)?
        ))),
    }
}

/// Ends sessions and refresh tokens; with `access` the tokens that were made by hand, too.
fn end_everything(connection: &mut dyn Connection, name: &AccountName, access: bool) -> Result<()> {
    connection.execute("DELETE FROM sessions WHERE account = $1", &[name.into()])?;
    let tokens = match access {
        true => "DELETE FROM tokens WHERE account = $1",
        false => "DELETE FROM tokens WHERE account = $1 AND kind = 'refresh'",
    };
    connection.execute(tokens, &[name.into()])?;
    Ok(())
}

fn one_admin_is_left(connection: &mut dyn Connection) -> Result<()> {
    // Two transactions beside each other could take away one each.
    connection.lock("hub.admins")?;
    let left = "SELECT 1 FROM accounts WHERE admin = 1 AND disabled = 0 LIMIT 1";
    let (left, people) = (
        connection.query_one(left, &[])?,
        connection.query_one("SELECT 1 FROM accounts WHERE kind = 'person' LIMIT 1", &[])?,
    );
    match left.is_none() && people.is_some() {
        true => Err(HubError::Conflict(
            "this is the only administrator: name another first".to_owned(),
        )),
        false => Ok(()),
    }
}
