//! Manifests.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use havre_registry_cache::Cache;
use havre_registry_store::{Identifier, MAX_MANIFEST, RegistryStore, RepositoryName};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{DIGEST, blocking, cached, is_known, labels, text};
use crate::Server;
use crate::access::{Caller, limits};
use crate::error::ApiError;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get(
    server: &Server,
    cache: Option<&Arc<Cache>>,
    caller: &Caller,
    name: RepositoryName,
    wanted: Identifier,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let is_head = *method == Method::HEAD;
    let called = name.clone();
    let allowance = match caller.visitor() {
        Some(visitor) if !is_head => visitor.allowance()?,
        _ => None,
    };
    // For those only who may pull now.
    let freshness = cached::manifest(&server.metrics, cache, &name, &wanted).await?;
    let (stored, bytes) = blocking(&server.store, move |store| match is_head {
        true => Ok((store.find_manifest(&name, &wanted)?, Vec::new())),
        false => store.manifest(&name, &wanted),
    })
    .await?;
    let told = [
        (header::CONTENT_TYPE, stored.media_type.clone()),
        (header::CONTENT_LENGTH, stored.size.to_string()),
        (header::ETAG, format!("\"{}\"", stored.digest)),
        (DIGEST, stored.digest.to_string()),
    ];
    if is_known(headers, &stored.digest) {
        let [_, _, tag, digest] = told;
        return Ok((StatusCode::NOT_MODIFIED, [tag, digest]).into_response());
    }
    if let (Some(visitor), false) = (caller.visitor(), is_head) {
        visitor.pulled(&called, &stored.digest);
    }
    let mut response = (told, Bytes::from(bytes)).into_response();
    for (name, value) in allowance.iter().flat_map(limits) {
        response
            .headers_mut()
            .extend(value.parse().map(|value| (name, value)));
    }
    Ok(cached::marked(response, freshness))
}

pub(super) async fn put(
    store: &RegistryStore,
    caller: &Caller,
    name: RepositoryName,
    wanted: Identifier,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let media_type = text(headers, header::CONTENT_TYPE).map(str::to_owned);
    let body = Limited::new(body, MAX_MANIFEST as usize).collect().await;
    let bytes = body
        .map_err(|error| match error.is::<LengthLimitError>() {
            true => ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "MANIFEST_INVALID",
                format!("a manifest has at most {MAX_MANIFEST} bytes"),
            ),
            false => ApiError::new(
                StatusCode::BAD_REQUEST,
                "MANIFEST_INVALID",
                "the manifest did not come to its end",
            ),
        })?
        .to_bytes();
    let place = format!("/v2/{name}/manifests/");
    let (called, tag) = (name.clone(), wanted.to_string());
    let hub = caller.visitor().map(|visitor| visitor.hub().clone());
    let labelled = bytes.clone();
    let put = blocking(store, move |store| {
        let tag = match &wanted {
            Identifier::Tag(tag) => Some(tag),
            Identifier::Digest(_) => None,
        };
        let Some(hub) = hub else {
            return store.put_manifest(&name, &wanted, media_type.as_deref(), &bytes);
        };
        let size = bytes.len() as u64;
        store.put_manifest_if(
            &name,
            &wanted,
            media_type.as_deref(),
            &bytes,
            &|connection, digest| hub.allow_push(connection, &name, tag, digest, size),
        )
    })
    .await?;
    if let Some(visitor) = caller.visitor() {
        let (digest, store) = (put.digest.clone(), store.clone());
        let noted = visitor.blocking(move |visitor| {
            let labels = labels::read(&store, &called, &labelled);
            visitor
                .hub()
                .pushed(&visitor.name(), &called, &tag, &digest, &labels)
        });
        noted.await?;
    }
    let mut response = (
        StatusCode::CREATED,
        [
            (header::LOCATION, format!("{place}{}", put.digest)),
            (DIGEST, put.digest.to_string()),
        ],
    )
        .into_response();
    if let Some(subject) = put.subject
        && let Ok(subject) = subject.as_str().parse()
    {
        response.headers_mut().insert(SUBJECT, subject);
    }
    Ok(response)
}

pub(super) async fn delete(
    store: &RegistryStore,
    caller: &Caller,
    name: RepositoryName,
    wanted: Identifier,
) -> Result<Response, ApiError> {
    let (called, what) = (name.clone(), wanted.to_string());
    let hub = caller.visitor().map(|visitor| visitor.hub().clone());
    blocking(store, move |store| match (wanted, hub) {
        (Identifier::Tag(tag), None) => store.delete_tag(&name, &tag),
        (Identifier::Tag(tag), Some(hub)) => store.delete_tag_if(&name, &tag, &|connection, _| {
            hub.allow_tag_delete(connection, &name, &tag)
        }),
        (Identifier::Digest(digest), None) => store.delete_manifest(&name, &digest),
        (Identifier::Digest(digest), Some(hub)) => {
            store.delete_manifest_if(&name, &digest, &|connection, digest| {
                hub.allow_manifest_delete(connection, &name, digest)
            })
        }
    })
    .await?;
    caller.deleted(&called, what).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
