//! What registries have.

use axum::extract::{Path, State};
use havre_engine::Engine;
use havre_oci::{Descriptor, Platform};
use http::HeaderMap;
use serde::Serialize;

use super::images::reference;
use crate::error::ApiError;
use crate::json::Json;
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
