//! Catalog, tags, referrers.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use havre_oci::{Digest, media_type};
use havre_registry_cache::Cache;
use havre_registry_store::{Page, RegistryStore, RepositoryName};
use http::{HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;

use super::blocking;
use super::rendered::{List, Rendered};
use crate::access::Caller;
use crate::aside::aside;
use crate::error::ApiError;
use crate::query::Query;

/// Repositories of a page, unless fewer are asked for.
const REPOSITORIES: usize = 1000;
/// Tags of a page: lists of them are kept as they are sent.
const TAGS: usize = 10_000;
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
    let (last, limit) = page(query, REPOSITORIES)?;
    let page = match caller.visitor() {
        None => blocking(store, move |store| store.repositories(&last, limit)).await?,
        Some(visitor) => {
            let seen =
                visitor.blocking(move |visitor| visitor.hub().catalog(&visitor.actor()?, &last, limit));
            let (items, more) = seen.await?;
            Page { items, more }
        }
    };
    let list = List {
        body: json!({ "repositories": page.items }).to_string().into(),
        next: next("/v2/_catalog", &page, limit),
    };
    Ok(list.into())
}

/// As the specification has it.
#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: &'a [String],
}

pub(super) async fn tags(
    store: &RegistryStore,
    rendered: &Rendered,
    cache: Option<&Arc<Cache>>,
    name: RepositoryName,
    query: &Query,
) -> Result<Response, ApiError> {
    let (last, limit) = page(query, TAGS)?;
    if let Some(cache) = cache
        && let Some(page) = cache.tags(&name, &last, limit).await?
    {
        return Ok(render(&name, &page, limit)?.into());
    }
    let key = (name.clone(), last.clone(), limit);
    let kept = rendered.get(&key);
    let known = kept.as_ref().map(|(version, _)| *version);
    let store = store.clone();
    let read = aside(move || {
        let read = store.tags_unless(&name, &last, limit, known)?;
        let render = |(version, page)| Ok::<_, ApiError>((version, render(&name, &page, limit)?));
        read.map(render).transpose()
    });
    let list = match (read.await?, kept) {
        (Some((version, list)), _) => rendered.keep(key, version, list),
        (None, Some((_, list))) => list,
        (None, None) => return Err(ApiError::internal()),
    };
    Ok(list.into())
}

fn render(name: &RepositoryName, page: &Page, limit: usize) -> Result<List, ApiError> {
    let list = Tags {
        name: name.as_str(),
        tags: &page.items,
    };
    let body = serde_json::to_vec(&list).map_err(|_| ApiError::internal())?;
    Ok(List {
        body: body.into(),
        next: next(&format!("/v2/{name}/tags/list"), page, limit),
    })
}

pub(super) async fn referrers(
    store: &RegistryStore,
    cache: Option<&Arc<Cache>>,
    name: RepositoryName,
    digest: Digest,
    query: &Query,
) -> Result<Response, ApiError> {
    let wanted = query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let (filtered, wanted) = (wanted.is_some(), wanted.map(str::to_owned));
    let upstream = match cache {
        Some(cache) => cache.referrers(&name, &digest).await?,
        None => None,
    };
    let found = match upstream {
        Some(mut found) => {
            if let Some(wanted) = &wanted {
                found.retain(|one| one.artifact_type.as_ref() == Some(wanted));
            }
            json!(found)
        }
        None => {
            let found = blocking(store, move |store| {
                store.referrers(&name, &digest, wanted.as_deref())
            });
            json!(found.await?)
        }
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": found,
    });
    let mut response = ([(header::CONTENT_TYPE, media_type::OCI_INDEX)], index.to_string()).into_response();
    if filtered {
        let applied = HeaderValue::from_static("artifactType");
        response.headers_mut().insert(FILTERS_APPLIED, applied);
    }
    Ok(response)
}

/// Behind which item, and how many.
fn page(query: &Query, most: usize) -> Result<(String, usize), ApiError> {
    let limit = match query.get("n") {
        None => most,
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
    Ok((query.get("last").unwrap_or_default().to_owned(), limit.min(most)))
}

/// The way to the next page, if there is one (RFC 8288).
fn next(path: &str, page: &Page, limit: usize) -> Option<HeaderValue> {
    let last = page.items.last().filter(|_| page.more)?;
    let last = utf8_percent_encode(last, QUERY);
    HeaderValue::from_str(&format!("<{path}?last={last}&n={limit}>; rel=\"next\"")).ok()
}
