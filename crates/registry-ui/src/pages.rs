//! The pages, a file each: the query, what the template shows, and the template's name.

mod account;
mod admin;
mod audit;
mod compare;
mod delete;
mod deleted;
pub(crate) mod error;
mod explore;
mod file;
mod files;
mod image;
mod organisation;
mod policies;
mod repository;
mod settings;
mod sign_in;
mod sign_up;
mod storage;
mod theme;

use axum::response::Response;
use http::{HeaderValue, header};

use crate::assets;
use crate::cookies;
use crate::error::PageError;
use crate::form;
use crate::place::Place;
use crate::visit::Visit;

/// Answers a visit.
pub(crate) async fn answer(visit: &Visit) -> Result<Response, PageError> {
    let place = Place::read(&visit.path)?;
    let sends = visit.method == http::Method::POST;
    if !visit.looks() && !sends {
        return Err(PageError::Method);
    }
    // Before anything is said of what was asked for.
    if let Some((name, action)) = place.needs(sends) {
        visit.must(name, action).await?;
    }
    let mut response = match place {
        Place::Asset if !sends => return assets::answer(&visit.path),
        Place::Explore if !sends => explore::page(visit).await,
        Place::Storage if !sends => storage::page(visit).await,
        Place::Repository(name) if !sends => repository::page(visit, name).await,
        Place::Image(name, reference) if !sends => image::page(visit, name, reference).await,
        Place::Files(name, reference, path) if !sends => files::page(visit, name, reference, path).await,
        Place::Raw(name, reference, path) if !sends => file::raw(visit, name, reference, path).await,
        Place::Compare(name) if !sends => compare::page(visit, name).await,
        Place::Delete(name) if sends => delete::done(visit, name).await,
        Place::Delete(name) => delete::page(visit, name).await,
        Place::Deleted(name) if sends => deleted::restored(visit, name).await,
        Place::Deleted(name) => deleted::page(visit, name).await,
        Place::Theme if sends => theme::chosen(visit),
        Place::SignIn if sends => sign_in::done(visit).await,
        Place::SignIn => sign_in::page(visit),
        Place::SignOut if sends => sign_in::out(visit).await,
        Place::SignUp if sends => sign_up::done(visit).await,
        Place::SignUp => sign_up::page(visit).await,
        Place::Account if sends => account::changed(visit).await,
        Place::Account => account::page(visit).await,
        Place::Organisation(name) if sends => organisation::changed(visit, name).await,
        Place::Organisation(name) => organisation::page(visit, name).await,
        Place::Policies if sends => policies::changed(visit).await,
        Place::Policies => policies::page(visit).await,
        Place::Audit if !sends => audit::page(visit).await,
        Place::Admin if sends => admin::changed(visit).await,
        Place::Admin => admin::page(visit).await,
        Place::Settings(name) if sends => settings::changed(visit, name).await,
        Place::Settings(name) => settings::page(visit, name).await,
        Place::Star(name) if sends => settings::starred(visit, name).await,
        _ => Err(PageError::Method),
    }?;
    introduce(visit, &mut response);
    Ok(response)
}

/// Gives a new visitor the token that forms must carry.
pub(crate) fn introduce(visit: &Visit, response: &mut Response) {
    if visit.is_new {
        let secure = visit.pages.settings().secure;
        add_cookie(response, cookies::set(form::COOKIE, &visit.token, None, secure));
    }
}

fn add_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
