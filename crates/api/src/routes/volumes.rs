//! Volumes.

use axum::extract::{Path, State};
use havre_engine::Engine;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::undo;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::json::Json;
use crate::model::non_empty;
use crate::model::volume::{CreateBody, VolumeView};
use crate::query::Query;
use crate::version::ApiVersion;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List {
    volumes: Vec<VolumeView>,
    warnings: Option<()>,
}

pub(super) async fn list(State(engine): State<Engine>, query: Query) -> Result<Json<List>, ApiError> {
    let volumes = engine.volumes().list(query.filters()?).await?;
    Ok(Json(List {
        volumes: volumes.into_iter().map(Into::into).collect(),
        warnings: None,
    }))
}

pub(super) async fn create(
    State(engine): State<Engine>,
    body: JsonBody<CreateBody>,
) -> Result<(StatusCode, Json<VolumeView>), ApiError> {
    let body = body.required()?;
    let volume = engine.volumes().create(body.into()).await?;
    Ok((StatusCode::CREATED, Json(volume.into())))
}

pub(super) async fn inspect(
    State(engine): State<Engine>,
    Path(name): Path<String>,
) -> Result<Json<VolumeView>, ApiError> {
    Ok(Json(engine.volumes().inspect(&name).await?.into()))
}

pub(super) async fn remove(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    headers: HeaderMap,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let operation = undo::operation(&engine, &headers, "volume rm");
    let volumes = engine.volumes();
    volumes.remove(&name, query.flag("force"), operation).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pruned {
    volumes_deleted: Option<Vec<String>>,
    space_reclaimed: u64,
}

pub(super) async fn prune(
    State(engine): State<Engine>,
    version: ApiVersion,
    headers: HeaderMap,
    query: Query,
) -> Result<Json<Pruned>, ApiError> {
    let mut filters = query.filters()?;
    // Until API 1.41 named volumes went as well.
    if version < ApiVersion::new(42) && !filters.contains("all") {
        filters.add("all", "true");
    }
    let pruned = engine
        .volumes()
        .prune(filters, undo::operation(&engine, &headers, "volume prune"))
        .await?;
    Ok(Json(Pruned {
        volumes_deleted: non_empty(pruned.names),
        space_reclaimed: pruned.reclaimed,
    }))
}
