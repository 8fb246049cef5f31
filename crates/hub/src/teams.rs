//! Teams of organisations, and what they, or single accounts, may do in which repositories.

use havre_database::{Connection, now};
use havre_registry_store::RepositoryName;

use crate::accounts::{Kind, find, get, line};
use crate::audit::{Change, note};
use crate::name::namespace_of;
use crate::organisations::must_belong;
use crate::permission::{Action, must, must_administer};
use crate::{AccountName, Actor, Hub, HubError, Result, Role};

/// A team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    pub name: String,
    pub description: String,
    /// People, and robots of the organisation.
    pub members: Vec<AccountName>,
    /// Repositories with what they may do there; `*` is all of the organisation.
    pub grants: Vec<(String, Role)>,
}

fn must_be_there(connection: &mut dyn Connection, organisation: &AccountName, team: &str) -> Result<()> {
    let row = connection.query_one(
        "SELECT 1 FROM teams WHERE organisation = $1 AND name = $2",
        &[organisation.into(), team.into()],
    )?;
    row.map(drop).ok_or_else(|| HubError::unknown("team", team))
}

impl Hub {
    /// Makes a team, or describes it anew.
    pub fn set_team(
        &self,
        actor: &Actor,
        organisation: &AccountName,
        name: &str,
        description: &str,
    ) -> Result<()> {
        // The rules are those of accounts.
        name.parse::<AccountName>()?;
        let description = line("description", description, 200)?;
        self.writing(|connection| {
            must_administer(connection, actor, organisation)?;
            get(connection, organisation, Kind::Organisation)?;
            connection.execute(
                "INSERT INTO teams (organisation, name, description, created) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (organisation, name) DO UPDATE SET description = excluded.description",
                &[
                    organisation.into(),
                    name.into(),
                    description.as_str().into(),
                    now().into(),
                ],
            )?;
            note(
                connection,
                actor,
                &Change::of_account("team.set", organisation).detail(name),
            )
        })
    }

    /// Removes a team and what it granted.
    pub fn delete_team(&self, actor: &Actor, organisation: &AccountName, name: &str) -> Result<()> {
        self.writing(|connection| {
            must_administer(connection, actor, organisation)?;
            must_be_there(connection, organisation, name)?;
            for sql in [
                "DELETE FROM team_members WHERE organisation = $1 AND team = $2",
                "DELETE FROM team_grants WHERE organisation = $1 AND team = $2",
                "DELETE FROM teams WHERE organisation = $1 AND name = $2",
            ] {
                connection.execute(sql, &[organisation.into(), name.into()])?;
            }
            note(
                connection,
                actor,
                &Change::of_account("team.delete", organisation).detail(name),
            )
        })
    }

    /// The teams of an organisation, for those who belong to it.
    pub fn teams(&self, actor: &Actor, organisation: &AccountName) -> Result<Vec<Team>> {
        self.reading(|connection| {
            must_belong(connection, actor, organisation)?;
            let which = [organisation.into()];
            let rows = connection.query(
                "SELECT name, description FROM teams WHERE organisation = $1 ORDER BY name",
                &which,
            )?;
            let mut teams = Vec::new();
            for row in rows {
                let name = row.text(0)?;
                let which = [organisation.into(), name.as_str().into()];
                let members = connection.query(
                    "SELECT account FROM team_members WHERE organisation = $1 AND team = $2 ORDER BY account",
                    &which,
                )?;
                let grants = connection.query(
                    "SELECT repository, role FROM team_grants WHERE organisation = $1 AND team = $2
                     ORDER BY repository",
                    &which,
                )?;
                teams.push(Team {
                    name,
                    description: row.text(1)?,
                    members: members
                        .iter()
                        .map(|row| row.parsed(0))
                        .collect::<Result<_, _>>()?,
                    grants: grants
                        .iter()
                        .map(|row| Ok((row.text(0)?, row.text(1)?.parse()?)))
                        .collect::<Result<_>>()?,
                });
            }
            Ok(teams)
        })
    }

    /// Puts a member of the organisation, or one of its robots, into a team, or takes it out.
    pub fn set_team_member(
        &self,
        actor: &Actor,
        organisation: &AccountName,
        team: &str,
        who: &AccountName,
        member: bool,
    ) -> Result<()> {
        self.writing(|connection| {
            must_administer(connection, actor, organisation)?;
            must_be_there(connection, organisation, team)?;
            let which = [organisation.into(), team.into(), who.into()];
            if member {
                let belongs = match who.is_robot() {
                    true => who.namespace() == organisation.as_str() && find(connection, who)?.is_some(),
                    false => {
                        let row = connection.query_one(
                            "SELECT 1 FROM members WHERE organisation = $1 AND account = $2",
                            &[organisation.into(), who.into()],
                        )?;
                        row.is_some()
                    }
                };
                if !belongs {
                    return Err(HubError::unknown("member", who.as_str()));
                }
                connection.execute(
                    "INSERT INTO team_members (organisation, team, account) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    &which,
                )?;
            } else {
                connection.execute(
                    "DELETE FROM team_members WHERE organisation = $1 AND team = $2 AND account = $3",
                    &which,
                )?;
            }
            let detail = format!("{team} {who} {}", if member { "in" } else { "out" });
            note(
                connection,
                actor,
                &Change::of_account("team.member", organisation).detail(&detail),
            )
        })
    }

    /// Says what a team may do in a repository of the organisation, which need not be there yet, or in all (`*`).
    pub fn set_team_role(
        &self,
        actor: &Actor,
        organisation: &AccountName,
        team: &str,
        repository: &str,
        role: Option<Role>,
    ) -> Result<()> {
        if repository != "*" && namespace_of(&repository.parse()?) != Some(organisation.as_str()) {
            return Err(HubError::invalid(
                "repository",
                format!("one of {organisation}/, or * for all"),
            ));
        }
        self.writing(|connection| {
            must_administer(connection, actor, organisation)?;
            must_be_there(connection, organisation, team)?;
            match role {
                Some(role) => connection.execute(
                    "INSERT INTO team_grants (organisation, team, repository, role) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (organisation, team, repository) DO UPDATE SET role = excluded.role",
                    &[
                        organisation.into(),
                        team.into(),
                        repository.into(),
                        role.as_str().into(),
                    ],
                )?,
                None => connection.execute(
                    "DELETE FROM team_grants WHERE organisation = $1 AND team = $2 AND repository = $3",
                    &[organisation.into(), team.into(), repository.into()],
                )?,
            };
            let detail = format!("{team} {repository} {}", role.map_or("none", Role::as_str));
            note(
                connection,
                actor,
                &Change::of_account("team.role", organisation).detail(&detail),
            )
        })
    }

    /// Says what a person or robot may do in a repository, which need not be there yet.
    pub fn set_collaborator(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        who: &AccountName,
        role: Option<Role>,
    ) -> Result<()> {
        self.writing(|connection| {
            must(connection, actor, repository, Action::Manage)?;
            let found = find(connection, who)?.filter(|found| found.kind != Kind::Organisation);
            if found.is_none() {
                return Err(HubError::unknown("account", who.as_str()));
            }
            match role {
                Some(role) => connection.execute(
                    "INSERT INTO grants (repository, account, role) VALUES ($1, $2, $3)
                     ON CONFLICT (repository, account) DO UPDATE SET role = excluded.role",
                    &[repository.as_str().into(), who.into(), role.as_str().into()],
                )?,
                None => connection.execute(
                    "DELETE FROM grants WHERE repository = $1 AND account = $2",
                    &[repository.as_str().into(), who.into()],
                )?,
            };
            let detail = format!("{who} {}", role.map_or("none", Role::as_str));
            note(
                connection,
                actor,
                &Change::of_repository("repository.collaborator", repository).detail(&detail),
            )
        })
    }

    /// Who besides those it belongs to may do what in a repository.
    pub fn collaborators(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
    ) -> Result<Vec<(AccountName, Role)>> {
        self.reading(|connection| {
            must(connection, actor, repository, Action::Manage)?;
            let rows = connection.query(
                "SELECT account, role FROM grants WHERE repository = $1 ORDER BY account",
                &[repository.as_str().into()],
            )?;
            rows.iter()
                .map(|row| Ok((row.parsed(0)?, row.text(1)?.parse()?)))
                .collect()
        })
    }
}
