//! Signing in and out.

use askama::Template;
use axum::response::Response;
use http::{StatusCode, header};

use crate::cookies;
use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::pages::{add_cookie, theme};
use crate::respond;
use crate::visit::{SESSION, Visit};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page<'a> {
    frame: Frame<'a>,
    name: String,
    back: String,
    /// Why it did not work.
    refused: Option<String>,
    /// Whether whoever comes may have an account, or by an invitation.
    sign_up: bool,
}

fn show(visit: &Visit, name: &str, back: &str, refused: Option<String>) -> Result<Response, PageError> {
    let Some(hub) = &visit.pages.0.hub else {
        return Err(PageError::NotFound);
    };
    respond::html(&Page {
        frame: Frame::new(visit, "Sign in"),
        name: crate::show::line(name),
        back: back.to_owned(),
        refused,
        sign_up: hub.settings().signup != havre_hub::Signup::Closed,
    })
}

/// Where one goes afterwards.
fn back(text: &str) -> &str {
    if theme::is_here(text) { text } else { "/" }
}

pub(crate) fn page(visit: &Visit) -> Result<Response, PageError> {
    show(visit, "", back(visit.query.text("back")), None)
}

/// Begins a session.
pub(crate) async fn done(visit: &Visit) -> Result<Response, PageError> {
    let form = &visit.form;
    let (name, back) = (form.text("name").to_owned(), back(form.text("back")));
    let password = form.get("password").unwrap_or_default().to_owned();
    match begin(visit, name.clone(), password).await {
        Ok(secret) => {
            let mut response = respond::to(back);
            keep(visit, &mut response, &secret);
            Ok(response)
        }
        Err(PageError::Refused(why)) => {
            let mut response = show(visit, &name, back, Some(why))?;
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            Ok(response)
        }
        Err(error) => Err(error),
    }
}

/// A session of somebody with this password; its secret.
pub(super) async fn begin(visit: &Visit, name: String, password: String) -> Result<String, PageError> {
    let agent: String = visit.header(header::USER_AGENT).chars().take(200).collect();
    let from = visit.from;
    let signed = visit
        .with_password(move |hub, _| hub.sign_in(&name, &password, Some(from), &agent))
        .await?;
    Ok(signed.secret)
}

/// Lets a browser keep a session.
pub(super) fn keep(visit: &Visit, response: &mut Response, secret: &str) {
    let secure = visit.pages.settings().secure;
    add_cookie(
        response,
        cookies::set(SESSION, &link::value(secret), None, secure),
    );
}

/// Ends the session.
pub(crate) async fn out(visit: &Visit) -> Result<Response, PageError> {
    if let Some(secret) = visit.secret() {
        let secret = secret.to_owned();
        visit.people(move |hub, _| hub.sign_out(&secret)).await?;
    }
    let mut response = respond::to("/");
    let secure = visit.pages.settings().secure;
    add_cookie(&mut response, cookies::set(SESSION, "", Some(0), secure));
    Ok(response)
}
