//! For who runs the registry: accounts and invitations.

use std::time::Duration;

use askama::Template;
use axum::response::Response;
use havre_hub::NewInvitation;

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::pages::account::name as account_name;
use crate::pages::organisation::Invited;
use crate::respond;
use crate::show::{self, Moment};
use crate::visit::Visit;

/// Accounts of a page.
const ROWS: usize = 50;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Template)]
#[template(path = "admin.html")]
struct Page<'a> {
    frame: Frame<'a>,
    text: String,
    rows: Vec<Row>,
    next: Option<String>,
    invitations: Vec<Invited>,
    /// Where an invitation that was just made leads: shown this once.
    made: Option<String>,
}

struct Row {
    name: String,
    title: String,
    kind: &'static str,
    admin: bool,
    disabled: bool,
    is_person: bool,
    is_self: bool,
    seen: Option<Moment>,
}

pub(crate) async fn page(visit: &Visit) -> Result<Response, PageError> {
    show_with(visit, None).await
}

async fn show_with(visit: &Visit, made: Option<String>) -> Result<Response, PageError> {
    visit.must_be_somebody()?;
    let (text, after) = (
        visit.query.text("q").to_owned(),
        visit.query.text("after").to_owned(),
    );
    let asked = text.clone();
    let (mut accounts, invitations) = visit
        .people(move |hub, actor| {
            let accounts = hub.accounts(actor, &asked, &after, ROWS + 1)?;
            Ok((accounts, hub.invitations(actor, None)?))
        })
        .await?;
    let more = accounts.len() > ROWS;
    accounts.truncate(ROWS);
    let next = accounts.last().filter(|_| more).map(|last| {
        format!(
            "/admin?q={}&after={}",
            link::value(&text),
            link::value(last.name.as_str())
        )
    });
    let own = visit.actor.as_ref().and_then(|actor| actor.name());
    let rows = accounts.iter().map(|account| Row {
        name: account.name.to_string(),
        title: show::line(&account.title),
        kind: account.kind.as_str(),
        admin: account.admin,
        disabled: account.disabled,
        is_person: account.kind == havre_hub::Kind::Person,
        is_self: own == Some(&account.name),
        seen: account.seen.map(Moment::of_millis),
    });
    respond::html(&Page {
        rows: rows.collect(),
        frame: Frame::new(visit, "Administration"),
        text: show::line(&text),
        next,
        invitations: invitations.iter().map(Invited::of).collect(),
        made: made.map(|secret| format!("/sign-up?invitation={}", link::value(&secret))),
    })
}

/// Does what a form of the page asks for.
pub(crate) async fn changed(visit: &Visit) -> Result<Response, PageError> {
    visit.must_be_somebody()?;
    let form = &visit.form;
    match form.text("do") {
        "admin" => {
            let (who, admin) = (account_name(form.text("name"))?, form.text("value") == "yes");
            visit
                .people(move |hub, actor| hub.set_admin(actor, &who, admin))
                .await?;
        }
        "disable" => {
            let (who, disabled) = (account_name(form.text("name"))?, form.text("value") == "yes");
            visit
                .people(move |hub, actor| hub.set_disabled(actor, &who, disabled))
                .await?;
        }
        "invite" => {
            let new = NewInvitation {
                note: form.text("note").to_owned(),
                admin: form.text("admin") == "yes",
                organisation: None,
                lifetime: WEEK,
            };
            let (_, secret) = visit.people(move |hub, actor| hub.invite(actor, &new)).await?;
            return show_with(visit, Some(secret)).await;
        }
        "revoke" => {
            let id = form.text("id").to_owned();
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
    Ok(respond::to("/admin"))
}
