//! Networks.

use axum::extract::{Path, State};
use havre_engine::Engine;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::undo;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::json::Json;
use crate::model::network::{ConnectBody, CreateBody, DisconnectBody, NetworkView};
use crate::model::non_empty;
use crate::query::Query;

pub(super) async fn list(
    State(engine): State<Engine>,
    query: Query,
) -> Result<Json<Vec<NetworkView>>, ApiError> {
    let networks = engine.networks().list(query.filters()?).await?;
    Ok(Json(networks.into_iter().map(Into::into).collect()))
}

pub(super) async fn inspect(
    State(engine): State<Engine>,
    Path(id): Path<String>,
) -> Result<Json<NetworkView>, ApiError> {
    Ok(Json(engine.networks().inspect(&id).await?.into()))
}

pub(super) async fn remove(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let operation = undo::operation(&engine, &headers, "network rm");
    engine.networks().remove(&id, operation).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn create(
    State(engine): State<Engine>,
    body: JsonBody<CreateBody>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let body = body.required()?;
    let (id, warnings) = engine.networks().create(body.into()).await?;
    let warning = warnings.join("\n");
    Ok((StatusCode::CREATED, Json(Created { id, warning })))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    id: String,
    warning: String,
}

pub(super) async fn connect(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    body: JsonBody<ConnectBody>,
) -> Result<StatusCode, ApiError> {
    let body = body.required()?;
    let endpoint = body.endpoint_config.into();
    engine.networks().connect(&id, &body.container, endpoint).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn disconnect(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    body: JsonBody<DisconnectBody>,
) -> Result<StatusCode, ApiError> {
    let body = body.required()?;
    let networks = engine.networks();
    networks.disconnect(&id, &body.container, body.force).await?;
    Ok(StatusCode::OK)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pruned {
    networks_deleted: Option<Vec<String>>,
}

pub(super) async fn prune(
    State(engine): State<Engine>,
    headers: HeaderMap,
    query: Query,
) -> Result<Json<Pruned>, ApiError> {
    let operation = undo::operation(&engine, &headers, "network prune");
    let pruned = engine.networks().prune(query.filters()?, operation).await?;
    Ok(Json(Pruned {
        networks_deleted: non_empty(pruned),
    }))
}
