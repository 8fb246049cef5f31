//! What artifacts are made of, in registries: endpoints of Havre's own.
//!
//! | endpoint | does |
//! |---|---|
//! | `HEAD /havre/blobs/REPOSITORY?digest=…` | 200 if the repository has the blob, else 404 |
//! | `GET …?digest=…&size=N` | its bytes; all of them only if they are what the digest says |
//! | `PUT …?digest=…&size=N` | takes them, and tells of the progress |
//! | `POST /havre/manifests/NAME` | puts a manifest, all of whose blobs are there, under the tag, or by its digest alone |

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use havre_engine::Engine;
use havre_oci::Descriptor;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::distribution::{PushedView, access, decoded};
use super::images::reference;
use crate::body::{self, JsonBody};
use crate::error::ApiError;
use crate::json::Json;
use crate::message;
use crate::query::Query;

fn blob(query: &Query) -> Result<Descriptor, ApiError> {
    let digest = query.text("digest").parse();
    let digest = digest.map_err(|error| ApiError::bad_request(format!("parameter digest: {error}")))?;
    let size = query.number("size")?.unwrap_or(0);
    Ok(Descriptor::new("application/octet-stream", digest, size))
}

pub(super) async fn has(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let images = engine.images().service();
    let access = access(&query, &headers)?;
    Ok(
        match images
            .has_remote_blob(&reference(&name)?, &blob(&query)?, &access)
            .await?
        {
            true => StatusCode::OK,
            false => StatusCode::NOT_FOUND,
        },
    )
}

pub(super) async fn get(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let images = engine.images().service();
    let access = access(&query, &headers)?;
    let bytes = images
        .remote_blob(&reference(&name)?, &blob(&query)?, &access)
        .await?;
    Ok((
        [(CONTENT_TYPE, "application/octet-stream")],
        body::sent(bytes).await?,
    )
        .into_response())
}

pub(super) async fn put(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let (repository, blob) = (reference(&name)?, blob(&query)?);
    let access = access(&query, request.headers())?;
    let bytes = body::stream(request.into_body());
    Ok(message::respond(|lines| async move {
        let images = engine.images().service();
        images
            .push_remote_blob(&repository, &blob, bytes, &access, &lines)
            .await?;
        Ok(())
    })
    .await)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ManifestBody {
    media_type: String,
    /// The bytes, in base64.
    raw: String,
}

pub(super) async fn push_manifest(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
    body: JsonBody<ManifestBody>,
) -> Result<Json<PushedView>, ApiError> {
    let body = body.required()?;
    let bytes = decoded(&body.raw)?;
    let images = engine.images().service();
    let access = access(&query, &headers)?;
    let descriptor = images
        .push_remote_manifest(&reference(&name)?, &body.media_type, bytes, &access)
        .await?;
    Ok(Json(PushedView { descriptor }))
}
