//! What clients ask Docker Hub for beside images: search (`/v1/search`) and lists of tags (`/v2/repositories/…/tags`). Without
//! accounts everybody sees everything, and only names are known.

use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use havre_hub::SearchQuery;
use havre_registry_store::{Identifier, RepositoryName, StoreError, Tag};
use http::{Method, Request, Uri};
use serde_json::{Value, json};

use super::blocking;
use crate::Server;
use crate::access::{Asked as Admission, Caller};
use crate::error::ApiError;
use crate::path::Place;
use crate::query::Query;

/// Results of a page.
const MOST: usize = 100;
const USUAL: usize = 25;
/// Tags of a page unless fewer are asked for.
const USUAL_TAGS: usize = 10;

/// What is asked for.
pub(super) enum Asked {
    Search,
    /// The tags of a repository.
    Tags(RepositoryName),
    /// One of them.
    Tag(RepositoryName, Tag),
}

impl Asked {
    /// What a path leads to; nothing, if it is not one of these.
    pub(super) fn read(uri: &Uri) -> Option<Self> {
        if uri.path() == "/v1/search" {
            return Some(Self::Search);
        }
        let rest = uri.path().strip_prefix("/v2/repositories/")?;
        let segments: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
        let name = |words: &[&str]| words.join("/").parse::<RepositoryName>().ok();
        match segments.as_slice() {
            // That is how the distribution API lists those of a repository within `repositories/`.
            [.., "tags", "list"] => None,
            [before @ .., "tags"] => Some(Self::Tags(name(before)?)),
            [before @ .., "tags", tag] => Some(Self::Tag(name(before)?, tag.parse().ok()?)),
            _ => None,
        }
    }

    pub(super) async fn answer(
        self,
        server: &Server,
        request: Request<Body>,
        address: IpAddr,
    ) -> Result<Response, ApiError> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Err(ApiError::method("GET, HEAD"));
        }
        // As for what it is about in the distribution API.
        let place = match &self {
            Self::Search => None,
            Self::Tags(name) => Some(Place::Tags(name.clone())),
            Self::Tag(name, tag) => Some(Place::Manifest(name.clone(), Identifier::Tag(tag.clone()))),
        };
        let asked = Admission {
            method: request.method(),
            headers: request.headers(),
            place: place.as_ref(),
            address,
        };
        let caller = server.access.admit(&asked).await?;
        let query = Query::read(request.uri().query());
        match self {
            Self::Search => search(server, &caller, &query).await,
            Self::Tags(name) => tags(server, name, &query).await,
            Self::Tag(name, tag) => {
                let row = blocking(&server.store, move |store| {
                    row(&store, &name, tag.as_str())?
                        .ok_or_else(|| StoreError::ManifestUnknown(tag.to_string()))
                });
                Ok(Json(row.await?).into_response())
            }
        }
    }
}

fn number(query: &Query, name: &str, usual: usize) -> usize {
    let given = query.get(name).and_then(|text| text.parse::<usize>().ok());
    given.filter(|given| *given > 0).unwrap_or(usual)
}

async fn search(server: &Server, caller: &Caller, query: &Query) -> Result<Response, ApiError> {
    let text = query.get("q").unwrap_or_default().to_owned();
    let (size, page) = (number(query, "n", USUAL).min(MOST), number(query, "page", 1));
    let skip = (page - 1).saturating_mul(size);
    // Docker's own, in the place of no namespace.
    let words = text.strip_prefix("library/").unwrap_or(&text).to_owned();
    let (results, total): (Vec<Value>, usize) = match caller.visitor() {
        Some(visitor) => {
            let found = visitor.blocking(move |visitor| {
                let query = SearchQuery {
                    text: words,
                    skip,
                    limit: size,
                    ..SearchQuery::default()
                };
                visitor.hub().search(&visitor.actor()?, &query)
            });
            let found = found.await?;
            let result = |one: &havre_hub::Repository| {
                json!({
                    "name": one.name.as_str(),
                    "description": one.description,
                    "star_count": one.stars,
                    "pull_count": one.pulls,
                    "is_official": one.official,
                    "is_trusted": false,
                    "is_automated": false,
                })
            };
            (found.repositories.iter().map(result).collect(), found.total)
        }
        None => {
            let names = blocking(&server.store, move |store| {
                let (mut found, mut last) = (Vec::new(), String::new());
                loop {
                    let page = store.repositories(&last, 1000)?;
                    last = page.items.last().cloned().unwrap_or_default();
                    found.extend(
                        page.items
                            .into_iter()
                            .filter(|name| name.contains(words.as_str())),
                    );
                    if !page.more {
                        return Ok(found);
                    }
                }
            });
            let mut names = names.await?;
            names.retain(|name| name.parse().is_ok_and(|name| caller.reads(&name)));
            let result = |name: &String| {
                json!({
                    "name": name,
                    "description": "",
                    "star_count": 0,
                    "is_official": false,
                    "is_trusted": false,
                    "is_automated": false,
                })
            };
            (
                names.iter().skip(skip).take(size).map(result).collect(),
                names.len(),
            )
        }
    };
    let answer = json!({
        "query": text,
        "num_results": total,
        "num_pages": total.div_ceil(size),
        "page": page,
        "page_size": size,
        "results": results,
    });
    Ok(Json(answer).into_response())
}

async fn tags(server: &Server, name: RepositoryName, query: &Query) -> Result<Response, ApiError> {
    let (size, page) = (
        number(query, "page_size", USUAL_TAGS).min(MOST),
        number(query, "page", 1),
    );
    let containing = query.get("name").unwrap_or_default().to_owned();
    let called = name.clone();
    let (rows, total) = blocking(&server.store, move |store| {
        let mut names = Vec::new();
        let mut last = String::new();
        loop {
            let page = store.tags(&name, &last, 1000)?;
            last = page.items.last().cloned().unwrap_or_default();
            names.extend(page.items.into_iter().filter(|tag| tag.contains(&containing)));
            if !page.more {
                break;
            }
        }
        let total = names.len();
        let wanted = names.iter().skip((page - 1).saturating_mul(size)).take(size);
        let mut rows = Vec::new();
        for tag in wanted {
            rows.extend(row(&store, &name, tag)?);
        }
        Ok((rows, total))
    })
    .await?;
    let link = |wanted: usize| {
        let last = total.div_ceil(size);
        match (1..=last).contains(&wanted) && wanted != page {
            true => format!("/v2/repositories/{called}/tags?page={wanted}&page_size={size}").into(),
            false => Value::Null,
        }
    };
    let answer = json!({
        "count": total,
        "next": link(page.saturating_add(1)),
        "previous": link(page - 1),
        "results": rows,
    });
    Ok(Json(answer).into_response())
}

/// What Docker Hub says of a tag, as far as it is known; nothing, if it is gone.
fn row(
    store: &havre_registry_store::RegistryStore,
    name: &RepositoryName,
    tag: &str,
) -> Result<Option<Value>, StoreError> {
    let wanted = Identifier::Tag(tag.parse()?);
    let stored = match store.find_manifest(name, &wanted) {
        Ok(stored) => stored,
        Err(StoreError::ManifestUnknown(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let updated = store
        .tag_updated(name, tag)?
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    let updated = updated.map(|at| at.to_string());
    let platforms = super::platforms::of(store, name, &stored)?;
    let full = platforms
        .iter()
        .map(|one| one["size"].as_u64().unwrap_or_default())
        .max();
    Ok(Some(json!({
        "name": tag,
        "digest": stored.digest,
        "media_type": stored.media_type,
        "content_type": "image",
        "tag_status": "active",
        "full_size": full,
        "last_updated": updated,
        "tag_last_pushed": updated,
        "v2": true,
        "images": platforms,
    })))
}
