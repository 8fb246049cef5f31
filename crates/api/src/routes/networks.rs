//! Networks: the predefined ones.

use axum::extract::{Path, State};
use havre_engine::Engine;
use http::StatusCode;
use serde::Serialize;

use crate::error::ApiError;
use crate::json::Json;
use crate::model::network::NetworkView;
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
) -> Result<StatusCode, ApiError> {
    engine.networks().remove(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn create() -> ApiError {
    ApiError::not_implemented(
        "networks of one's own are not supported yet: use the networks \"bridge\", \"host\" and \"none\"",
    )
}

pub(super) async fn connect() -> ApiError {
    ApiError::not_implemented("a container's network is chosen when it is created, with --network")
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pruned {
    networks_deleted: Option<Vec<String>>,
}

/// Predefined networks are never pruned, and there are no others.
pub(super) async fn prune(query: Query) -> Result<Json<Pruned>, ApiError> {
    query.filters()?.only(&["label", "label!", "until"])?;
    Ok(Json(Pruned {
        networks_deleted: None,
    }))
}
