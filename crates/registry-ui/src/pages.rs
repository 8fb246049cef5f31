//! The pages, a file each: the query, what the template shows, and the template's name.

mod compare;
mod delete;
mod deleted;
pub(crate) mod error;
mod explore;
mod file;
mod files;
mod image;
mod repository;
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
