//! An organisation: members, teams and what they may do, invitations.

use std::time::Duration;

use askama::Template;
use axum::response::Response;
use havre_hub::{AccountName, NewInvitation};

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::pages::account::{make_repository, name as account_name, role};
use crate::respond;
use crate::show::{self, Moment, Size};
use crate::visit::Visit;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Template)]
#[template(path = "organisation.html")]
struct Page<'a> {
    frame: Frame<'a>,
    name: String,
    here: String,
    policies: String,
    audit: String,
    title: String,
    owned: bool,
    base: &'static str,
    members: Vec<Member>,
    teams: Vec<Team>,
    invitations: Vec<Invited>,
    /// The secret of an invitation that was just made: shown this once.
    made: Option<String>,
    bytes: Option<Size>,
}

struct Member {
    name: String,
    title: String,
    owner: bool,
    added: Moment,
}

struct Team {
    name: String,
    description: String,
    members: Vec<String>,
    grants: Vec<(String, &'static str)>,
}

pub(super) struct Invited {
    pub(super) id: String,
    pub(super) note: String,
    pub(super) admin: bool,
    pub(super) expires: Moment,
}

impl Invited {
    pub(super) fn of(invitation: &havre_hub::Invitation) -> Self {
        Self {
            id: invitation.id.clone(),
            note: show::line(&invitation.note),
            admin: invitation.admin,
            expires: Moment::of_millis(invitation.expires),
        }
    }
}

pub(crate) async fn page(visit: &Visit, name: AccountName) -> Result<Response, PageError> {
    show_with(visit, name, None).await
}

async fn show_with(visit: &Visit, name: AccountName, made: Option<String>) -> Result<Response, PageError> {
    let asked = name.clone();
    let (organisation, members, teams, invitations, usage) = visit
        .people(move |hub, actor| {
            let organisation = hub.organisation(actor, &asked)?;
            let invitations = match organisation.owned {
                true => hub.invitations(actor, Some(&asked))?,
                false => Vec::new(),
            };
            Ok((
                organisation,
                hub.members(actor, &asked)?,
                hub.teams(actor, &asked)?,
                invitations,
                hub.usage(actor, &asked).ok(),
            ))
        })
        .await?;
    respond::html(&Page {
        frame: Frame::new(visit, name.as_str()).below("Your account", "/account"),
        here: format!("/o/{name}"),
        policies: format!("/policies?scope={}", link::value(&format!("{name}/"))),
        audit: format!("/audit?namespace={name}"),
        title: show::line(&organisation.account.title),
        owned: organisation.owned,
        base: organisation.base.map_or("", |role| role.as_str()),
        members: members
            .iter()
            .map(|member| Member {
                name: member.account.to_string(),
                title: show::line(&member.title),
                owner: member.owner,
                added: Moment::of_millis(member.added),
            })
            .collect(),
        teams: teams
            .iter()
            .map(|team| Team {
                name: show::line(&team.name),
                description: show::line(&team.description),
                members: team.members.iter().map(ToString::to_string).collect(),
                grants: team
                    .grants
                    .iter()
                    .map(|(repository, role)| (repository.clone(), role.as_str()))
                    .collect(),
            })
            .collect(),
        invitations: invitations.iter().map(Invited::of).collect(),
        made: made.map(|secret| format!("/sign-up?invitation={}", link::value(&secret))),
        bytes: usage.map(|usage| Size(usage.bytes)),
        name: name.to_string(),
    })
}

/// Does what a form of the page asks for.
pub(crate) async fn changed(visit: &Visit, name: AccountName) -> Result<Response, PageError> {
    let form = &visit.form;
    let here = format!("/o/{name}");
    let text = |field: &str| form.text(field).to_owned();
    match form.text("do") {
        "base" => {
            let base = match form.text("role") {
                "" => None,
                text => Some(role(text)?),
            };
            visit
                .people(move |hub, actor| hub.set_base_role(actor, &name, base))
                .await?;
        }
        "member" => {
            let (who, owner) = (account_name(form.text("name"))?, form.text("owner") == "yes");
            visit
                .people(move |hub, actor| hub.set_member(actor, &name, &who, owner))
                .await?;
        }
        "leave" => {
            let who = account_name(form.text("name"))?;
            visit
                .people(move |hub, actor| hub.remove_member(actor, &name, &who))
                .await?;
        }
        "team" => {
            let (team, description) = (text("team"), text("description"));
            visit
                .people(move |hub, actor| hub.set_team(actor, &name, &team, &description))
                .await?;
        }
        "disband" => {
            let team = text("team");
            visit
                .people(move |hub, actor| hub.delete_team(actor, &name, &team))
                .await?;
        }
        "join" | "part" => {
            let (team, who) = (text("team"), account_name(form.text("name"))?);
            let joins = form.text("do") == "join";
            visit
                .people(move |hub, actor| hub.set_team_member(actor, &name, &team, &who, joins))
                .await?;
        }
        "grant" => {
            let (team, repository) = (text("team"), text("repository"));
            let role = match form.text("role") {
                "" => None,
                text => Some(role(text)?),
            };
            visit
                .people(move |hub, actor| hub.set_team_role(actor, &name, &team, &repository, role))
                .await?;
        }
        "repository" => return make_repository(visit, &name).await,
        "invite" => {
            let new = NewInvitation {
                note: text("note"),
                admin: false,
                organisation: Some(name.clone()),
                lifetime: WEEK,
            };
            let (_, secret) = visit.people(move |hub, actor| hub.invite(actor, &new)).await?;
            return show_with(visit, name, Some(secret)).await;
        }
        "revoke" => {
            let id = text("id");
            visit
                .people(move |hub, actor| hub.revoke_invitation(actor, &id))
                .await?;
        }
        _ => {
            return Err(PageError::Bad(
                "the form asks for nothing that is known".to_owned(),
            ));
        }
    }
    Ok(respond::to(&here))
}
