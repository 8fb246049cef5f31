//! What registries have.

use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use havre_engine::Engine;
use havre_engine::image::{Access, NewIndex, Silent};
use havre_oci::{Descriptor, Platform};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::images::reference;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::json::Json;
use crate::query::Query;
use crate::registry_auth;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct View {
    descriptor: Descriptor,
    platforms: Vec<Platform>,
}

/// `GET /distribution/NAME/json`, where the name may hold slashes.
pub(super) async fn inspect(
    State(engine): State<Engine>,
    Path(rest): Path<String>,
    headers: HeaderMap,
) -> Result<Json<View>, ApiError> {
    let name = rest.strip_suffix("/json").ok_or_else(ApiError::page_not_found)?;
    let found = engine
        .images()
        .service()
        .distribution(&reference(name)?, &registry_auth::of(&headers)?)
        .await?;
    Ok(Json(View {
        descriptor: found.descriptor,
        platforms: found.platforms,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ManifestView {
    descriptor: Descriptor,
    /// The bytes, in base64.
    raw: String,
}

/// `GET /havre/manifests/NAME`: a manifest or index, byte for byte.
pub(super) async fn manifest(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Json<ManifestView>, ApiError> {
    let found = engine
        .images()
        .service()
        .remote_manifest(&reference(&name)?, &access(&query, &headers)?)
        .await?;
    Ok(Json(ManifestView {
        descriptor: found.descriptor,
        raw: STANDARD.encode(found.bytes),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IndexBody {
    media_type: String,
    /// The bytes, in base64.
    raw: String,
    /// Names in the same registry.
    #[serde(default)]
    sources: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PushedView {
    descriptor: Descriptor,
}

/// `PUT /havre/manifests/NAME`: an index, after what it names.
pub(super) async fn push(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
    body: JsonBody<IndexBody>,
) -> Result<Json<PushedView>, ApiError> {
    let body = body.required()?;
    let bytes = STANDARD
        .decode(&body.raw)
        .map_err(|error| ApiError::bad_request(format!("invalid Raw: {error}")))?;
    let sources = body.sources.iter().map(|name| reference(name));
    let index = NewIndex {
        media_type: body.media_type,
        bytes,
        sources: sources.collect::<Result<_, _>>()?,
    };
    let access = access(&query, &headers)?;
    let descriptor = engine
        .images()
        .service()
        .push_index(&reference(&name)?, &index, &access, &Silent)
        .await?;
    Ok(Json(PushedView { descriptor }))
}

fn access(query: &Query, headers: &HeaderMap) -> Result<Access, ApiError> {
    Ok(Access {
        credentials: registry_auth::of(headers)?,
        insecure: query.flag("insecure"),
    })
}
