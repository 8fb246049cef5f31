//! One's own account: tokens, sessions, password, organisations.

use std::time::Duration;

use askama::Template;
use axum::response::Response;
use havre_hub::{AccountName, Actor, Hub, HubError, NewToken, Role};
use havre_registry_store::RepositoryName;

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::respond;
use crate::show::{self, Moment};
use crate::visit::Visit;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Template)]
#[template(path = "account.html")]
struct Page<'a> {
    frame: Frame<'a>,
    name: String,
    title: String,
    email: String,
    admin: bool,
    /// A token that was just made: shown this once.
    made: Option<String>,
    tokens: Vec<Token>,
    sessions: Vec<Open>,
    organisations: Vec<Belongs>,
}

struct Token {
    id: String,
    title: String,
    role: &'static str,
    repositories: String,
    expires: Option<Moment>,
    used: Option<Moment>,
}

struct Open {
    id: String,
    agent: String,
    address: String,
    seen: Moment,
    is_this: bool,
}

struct Belongs {
    name: String,
    title: String,
    owned: bool,
}

/// What was sent as a role.
pub(super) fn role(text: &str) -> Result<Role, PageError> {
    text.parse::<Role>()
        .map_err(|_| PageError::Bad("there is no such role: read, write or admin".to_owned()))
}

/// What was sent as the name of an account.
pub(super) fn name(text: &str) -> Result<AccountName, PageError> {
    Ok(text.parse::<AccountName>()?)
}

/// The words of a text, as patterns are written.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Makes the repository that a form names within a namespace, and leads there.
pub(super) async fn make_repository(visit: &Visit, namespace: &AccountName) -> Result<Response, PageError> {
    let form = &visit.form;
    let (name, public) = (
        format!("{namespace}/{}", form.text("repository")),
        form.text("public") == "yes",
    );
    let name: RepositoryName = name.parse().map_err(HubError::from)?;
    let there = link::repository(&name);
    visit
        .people(move |hub, actor| hub.create_repository(actor, &name, public))
        .await?;
    Ok(respond::to(&there))
}

/// Their own name.
fn own(actor: &Actor) -> Result<AccountName, HubError> {
    actor.name().cloned().ok_or(HubError::SignInFirst)
}

pub(crate) async fn page(visit: &Visit) -> Result<Response, PageError> {
    show_with(visit, None).await
}

async fn show_with(visit: &Visit, made: Option<String>) -> Result<Response, PageError> {
    let (account, tokens, sessions, organisations) = visit
        .people(|hub, actor| {
            let name = own(actor)?;
            Ok((
                hub.account(actor, &name)?,
                hub.tokens(actor, &name)?,
                hub.sessions(actor)?,
                hub.organisations(actor)?,
            ))
        })
        .await?;
    let this = visit.session().map(|session| session.id.clone());
    respond::html(&Page {
        frame: Frame::new(visit, "Your account"),
        name: account.name.to_string(),
        title: show::line(&account.title),
        email: show::line(&account.email.unwrap_or_default()),
        admin: account.admin,
        made,
        tokens: tokens
            .iter()
            .map(|token| Token {
                id: token.id.clone(),
                title: show::line(&token.title),
                role: token.role.as_str(),
                repositories: match token.repositories.is_empty() {
                    true => "all".to_owned(),
                    false => show::line(&token.repositories.join(" ")),
                },
                expires: token.expires.map(Moment::of_millis),
                used: token.used.map(Moment::of_millis),
            })
            .collect(),
        sessions: sessions
            .iter()
            .map(|session| Open {
                id: session.id.clone(),
                agent: show::line(&session.agent),
                address: show::line(session.address.as_deref().unwrap_or("unknown")),
                seen: Moment::of_millis(session.seen),
                is_this: this.as_ref() == Some(&session.id),
            })
            .collect(),
        organisations: organisations
            .iter()
            .map(|one| Belongs {
                name: one.account.name.to_string(),
                title: show::line(&one.account.title),
                owned: one.owned,
            })
            .collect(),
    })
}

/// Does what a form of the page asks for.
pub(crate) async fn changed(visit: &Visit) -> Result<Response, PageError> {
    let form = &visit.form;
    match form.text("do") {
        "token" => {
            let days = form.text("days");
            let lifetime = match days {
                "" => None,
                days => Some(
                    days.parse::<u32>()
                        .map_err(|_| PageError::Bad("expires: a number of days, or nothing".to_owned()))?,
                ),
            };
            let new = NewToken {
                title: form.text("title").to_owned(),
                role: role(form.text("role"))?,
                repositories: words(form.text("repositories")),
                lifetime: lifetime.map(|days| DAY * days),
            };
            let (_, secret) = visit
                .people(move |hub, actor| hub.create_token(actor, &own(actor)?, &new))
                .await?;
            return show_with(visit, Some(secret)).await;
        }
        "revoke" => {
            let id = form.text("id").to_owned();
            visit
                .people(move |hub, actor| hub.revoke_token(actor, &own(actor)?, &id))
                .await?;
        }
        "end" => {
            let id = form.text("id").to_owned();
            visit
                .people(move |hub, actor| hub.end_session(actor, &id))
                .await?;
        }
        "profile" => {
            let (title, email) = (form.text("title").to_owned(), form.text("email").to_owned());
            visit
                .people(move |hub, actor| {
                    let email = Some(email.as_str()).filter(|email| !email.is_empty());
                    hub.set_profile(actor, &own(actor)?, &title, email)
                })
                .await?;
        }
        "password" => {
            let (old, new) = (
                form.get("old").unwrap_or_default(),
                form.get("new").unwrap_or_default(),
            );
            if Some(new) != form.get("again") {
                return Err(PageError::Bad("the two passwords are not the same".to_owned()));
            }
            let (old, new) = (old.to_owned(), new.to_owned());
            let work =
                move |hub: &Hub, actor: &Actor| hub.set_password(actor, &own(actor)?, Some(&old), &new);
            visit.with_password(work).await?;
            // All sessions have ended, this one as well.
            return Ok(respond::to("/sign-in"));
        }
        "repository" => {
            let own = visit.people(|_, actor| own(actor)).await?;
            return make_repository(visit, &own).await;
        }
        "organisation" => {
            let (name, title) = (name(form.text("name"))?, form.text("title").to_owned());
            let link = format!("/o/{name}");
            visit
                .people(move |hub, actor| hub.create_organisation(actor, &name, &title))
                .await?;
            return Ok(respond::to(&link));
        }
        _ => {
            return Err(PageError::Bad(
                "the form asks for nothing that is known".to_owned(),
            ));
        }
    }
    Ok(respond::to("/account"))
}
