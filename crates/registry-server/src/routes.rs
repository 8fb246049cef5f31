//! Requests to what they are about.

mod blobs;
mod cached;
mod hub;
mod labels;
mod lists;
mod manifests;
mod platforms;
mod rendered;
mod uploads;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use havre_registry_store::{RegistryStore, StoreError};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use serde_json::json;

use crate::Server;
use crate::access::{Asked, Caller};
use crate::aside::aside;
use crate::error::ApiError;
use crate::notifications::Happened;
use crate::path::{self, Place};
use crate::query::Query;
pub(crate) use rendered::Rendered;

pub(crate) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Answers a request, whatever it is.
pub(crate) async fn answer(server: Arc<Server>, address: IpAddr, request: Request<Body>) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (_in_flight, begun) = (server.metrics.begins(), Instant::now());
    let place = path::is_api(&path).then(|| Place::read(&path));
    let kind = match &place {
        Some(Ok(place)) => place.kind(),
        Some(Err(_)) => "other",
        None => "page",
    };
    let mut response = match place {
        Some(place) => dispatch(&server, address, place, request)
            .await
            .unwrap_or_else(IntoResponse::into_response),
        // Where there are accounts, the pages know whom they show what.
        None => match server.access.admit_to_pages(request.headers()).await {
            Ok(()) => server.pages.answer(request, address).await,
            Err(error) => error.into_response(),
        },
    };
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.extend(server.headers.iter().cloned());
    let status = response.status().as_u16();
    server.metrics.answered(kind, &method, status, begun.elapsed());
    tracing::debug!(%method, path, status, "answered");
    response
}

/// `place`: where the path leads, if anywhere.
async fn dispatch(
    server: &Server,
    address: IpAddr,
    place: Result<Place, ApiError>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    if let (Some(accounts), "/token") = (server.access.accounts(), request.uri().path()) {
        return accounts.token(request, address).await;
    }
    if let Some(asked) = hub::Asked::read(request.uri()) {
        return asked.answer(server, request, address).await;
    }
    // Before anything is said of what was asked for.
    let asked = Asked {
        method: request.method(),
        headers: request.headers(),
        place: place.as_ref().ok(),
        address,
    };
    let caller = &server.access.admit(&asked).await?;
    let place = place?;
    let query = Query::read(request.uri().query());
    let (head, body) = request.into_parts();
    let (method, headers) = (head.method, head.headers);
    let noted = server
        .notifications
        .are_wanted()
        .then(|| (place.clone(), headers.clone()));
    let answered = respond(server, caller, place, &method, &headers, &query, body).await?;
    if let Some((place, headers)) = noted {
        let happened = Happened {
            method: &method,
            place: &place,
            query: &query,
            headers: &headers,
            status: answered.status(),
            answer: answered.headers(),
            secure: server.identity.is_some(),
        };
        server.notifications.note(&happened, caller.name(), address).await;
    }
    Ok(answered)
}

async fn respond(
    server: &Server,
    caller: &Caller,
    place: Place,
    method: &Method,
    headers: &HeaderMap,
    query: &Query,
    body: Body,
) -> Result<Response, ApiError> {
    let store = &server.store;
    let cache = place.repository().and_then(|name| server.caches.of(name));
    let reads = *method == Method::GET || *method == Method::HEAD;
    if *method == Method::DELETE && !server.deletes && matches!(place, Place::Manifest(..) | Place::Blob(..))
    {
        return Err(ApiError::method("GET, HEAD"));
    }
    if let Some(cache) = cache
        && !reads
        && *method != Method::DELETE
    {
        return Err(cached::refuse(cache));
    }
    match place {
        Place::Base if reads => Ok(Json(json!({})).into_response()),
        Place::Catalog if reads => lists::catalog(store, caller, query).await,
        Place::Tags(name) if reads => lists::tags(store, &server.rendered, cache, name, query).await,
        Place::Referrers(name, digest) if reads => lists::referrers(store, cache, name, digest, query).await,
        Place::Base | Place::Catalog | Place::Tags(_) | Place::Referrers(..) => {
            Err(ApiError::method("GET, HEAD"))
        }
        Place::Manifest(name, wanted) => match *method {
            Method::GET | Method::HEAD => {
                manifests::get(server, cache, caller, name, wanted, method, headers).await
            }
            Method::PUT => manifests::put(store, caller, name, wanted, headers, body).await,
            Method::DELETE => manifests::delete(store, caller, name, wanted).await,
            _ => Err(ApiError::method("GET, HEAD, PUT, DELETE")),
        },
        Place::Blob(name, digest) => match *method {
            Method::GET | Method::HEAD => blobs::get(server, cache, name, digest, method, headers).await,
            Method::DELETE => blobs::delete(store, caller, name, digest).await,
            _ => Err(ApiError::method("GET, HEAD, DELETE")),
        },
        Place::Uploads(name) => match *method {
            Method::POST => uploads::begin(store, caller, name, query, headers, body).await,
            _ => Err(ApiError::method("POST")),
        },
        Place::Upload(name, id) => match *method {
            Method::GET | Method::HEAD => uploads::status(store, name, id).await,
            Method::PATCH => uploads::append(store, caller, name, id, headers, body).await,
            Method::PUT => uploads::finish(store, caller, name, id, query, headers, body).await,
            Method::DELETE => uploads::cancel(store, name, id).await,
            _ => Err(ApiError::method("GET, HEAD, PATCH, PUT, DELETE")),
        },
    }
}

/// Does something with the store on a thread that may block.
async fn blocking<T: Send + 'static>(
    store: &RegistryStore,
    work: impl FnOnce(RegistryStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = store.clone();
    aside(move || work(store)).await
}

/// A header as text.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Whether the client has just this already.
fn is_known(headers: &HeaderMap, digest: &havre_oci::Digest) -> bool {
    text(headers, header::IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',')
            .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
            .any(|tag| tag == digest.as_str() || tag == "*")
    })
}
