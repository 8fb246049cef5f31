//! Having an account: for whoever comes, or with an invitation.

use askama::Template;
use axum::response::Response;
use havre_hub::{NewAccount, Signup};

use crate::error::PageError;
use crate::frame::Frame;
use crate::pages::sign_in;
use crate::respond;
use crate::show;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "sign_up.html")]
struct Page<'a> {
    frame: Frame<'a>,
    invitation: String,
    /// What the invitation is for.
    offered: Option<String>,
    /// Whether it takes an invitation.
    must_be_invited: bool,
}

pub(crate) async fn page(visit: &Visit) -> Result<Response, PageError> {
    let invitation = visit.query.text("invitation").to_owned();
    let asked = invitation.clone();
    let (open, offered) = visit
        .people(move |hub, _| {
            let open = hub.settings().signup == Signup::Open;
            match asked.is_empty() {
                true => Ok((open, None)),
                false => Ok((open, Some(hub.invitation(&asked)?))),
            }
        })
        .await?;
    let offered = offered.map(|offered| match (&offered.organisation, offered.admin) {
        (_, true) => "It is for an administrator of this registry.".to_owned(),
        (Some(name), false) => format!("It is for a member of {name}."),
        (None, false) => "It is for an account.".to_owned(),
    });
    respond::html(&Page {
        frame: Frame::new(visit, "Make an account"),
        invitation: show::line(&invitation),
        offered,
        must_be_invited: !open,
    })
}

/// Makes the account, and signs it in.
pub(crate) async fn done(visit: &Visit) -> Result<Response, PageError> {
    let form = &visit.form;
    let password = form.get("password").unwrap_or_default().to_owned();
    if password != form.get("again").unwrap_or_default() {
        return Err(PageError::Bad("the two passwords are not the same".to_owned()));
    }
    let new = NewAccount {
        name: form.text("name").to_owned(),
        email: Some(form.text("email").to_owned()).filter(|email| !email.is_empty()),
        title: form.text("title").to_owned(),
        password: password.clone(),
        admin: false,
    };
    let invitation = Some(form.text("invitation").to_owned()).filter(|secret| !secret.is_empty());
    let name = new.name.clone();
    visit
        .with_password(move |hub, actor| hub.sign_up(&new, invitation.as_deref(), actor))
        .await?;
    let secret = sign_in::begin(visit, name, password).await?;
    let mut response = respond::to("/account");
    sign_in::keep(visit, &mut response, &secret);
    Ok(response)
}
