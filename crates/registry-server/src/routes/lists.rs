//! Catalog, tags, referrers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use havre_oci::{Digest, media_type};
use havre_registry_store::{Page, RegistryStore, RepositoryName};
use http::{HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

use super::blocking;
use crate::access::Caller;
use crate::error::ApiError;
use crate::query::Query;

/// Items of a page, unless fewer are asked for.
const MOST: usize = 1000;
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// What means something in a query.
const QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'>')
    .add(b'=');

pub(super) async fn catalog(
    store: &RegistryStore,
    caller: &Caller,
    query: &Query,
) -> Result<Response, ApiError> {
    let (last, limit) = page(query)?;
    let page = match caller.visitor() {
        None => blocking(store, move |store| store.repositories(&last, limit)).await?,
        Some(visitor) => {
            let seen =
                visitor.blocking(move |visitor| visitor.hub().catalog(&visitor.actor()?, &last, limit));
            let (items, more) = seen.await?;
            Page { items, more }
        }
    };
    let body = Json(json!({ "repositories": page.items })).into_response();
    Ok(linked(body, "/v2/_catalog", &page, limit))
}

pub(super) async fn tags(
    store: &RegistryStore,
    name: RepositoryName,
    query: &Query,
) -> Result<Response, ApiError> {
    let (last, limit) = page(query)?;
    let path = format!("/v2/{name}/tags/list");
    let called = name.to_string();
    let page = blocking(store, move |store| store.tags(&name, &last, limit)).await?;
    let body = Json(json!({ "name": called, "tags": page.items })).into_response();
    Ok(linked(body, &path, &page, limit))
}

pub(super) async fn referrers(
    store: &RegistryStore,
    name: RepositoryName,
    digest: Digest,
    query: &Query,
) -> Result<Response, ApiError> {
    let wanted = query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let (filtered, wanted) = (wanted.is_some(), wanted.map(str::to_owned));
    let found = blocking(store, move |store| {
        store.referrers(&name, &digest, wanted.as_deref())
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": found.await?,
    });
    let mut response = ([(header::CONTENT_TYPE, media_type::OCI_INDEX)], index.to_string()).into_response();
    if filtered {
        let applied = HeaderValue::from_static("artifactType");
        response.headers_mut().insert(FILTERS_APPLIED, applied);
    }
    Ok(response)
}

/// Behind which item, and how many.
fn page(query: &Query) -> Result<(String, usize), ApiError> {
    let limit = match query.get("n") {
        None => MOST,
        Some(text) => {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let invalid = || {
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "PAGINATION_NUMBER_INVALID",
                    format!("invalid number of results requested: {text:?}"),
                )
            };
            match digits {
                true => text.parse().unwrap_or(usize::MAX),
                false => return Err(invalid()),
            }
        }
    };
    Ok((query.get("last").unwrap_or_default().to_owned(), limit.min(MOST)))
}

/// With the way to the next page, if there is one (RFC 8288).
fn linked(mut response: Response, path: &str, page: &Page, limit: usize) -> Response {
    if let (true, Some(last)) = (page.more, page.items.last()) {
        let last = utf8_percent_encode(last, QUERY);
        let link = format!("<{path}?last={last}&n={limit}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    response
}
