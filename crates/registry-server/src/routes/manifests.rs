//! Manifests.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use havre_registry_store::{Identifier, MAX_MANIFEST, RegistryStore, RepositoryName};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{DIGEST, blocking, is_known, text};
use crate::error::ApiError;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get(
    store: &RegistryStore,
    name: RepositoryName,
    wanted: Identifier,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let is_head = *method == Method::HEAD;
    let (stored, bytes) = blocking(store, move |store| match is_head {
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
    Ok((told, Bytes::from(bytes)).into_response())
}

pub(super) async fn put(
    store: &RegistryStore,
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
    let put = blocking(store, move |store| {
        store.put_manifest(&name, &wanted, media_type.as_deref(), &bytes)
    })
    .await?;
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
    name: RepositoryName,
    wanted: Identifier,
) -> Result<Response, ApiError> {
    blocking(store, move |store| match wanted {
        Identifier::Tag(tag) => store.delete_tag(&name, &tag),
        Identifier::Digest(digest) => store.delete_manifest(&name, &digest),
    })
    .await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
