//! Base images without a registry: an endpoint of Havre's own.

use axum::extract::State;
use axum::response::Response;
use havre_engine::Engine;
use havre_engine::image::BootstrapRequest;
use serde::Deserialize;
use serde_json::json;

use super::images::reference;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::message::{self, Message};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BootstrapBody {
    source: String,
    reference: Option<String>,
    with_host_ca: Option<bool>,
    mirror: Option<String>,
}

pub(super) async fn bootstrap(
    State(engine): State<Engine>,
    body: JsonBody<BootstrapBody>,
) -> Result<Response, ApiError> {
    let body = body.required()?;
    let name = body.reference.filter(|name| !name.is_empty());
    let request = BootstrapRequest {
        source: body.source,
        reference: name
            .map(|name| reference(&name).map(havre_oci::Reference::with_default_tag))
            .transpose()?,
        with_host_ca: body.with_host_ca,
        mirror: body.mirror.filter(|mirror| !mirror.is_empty()),
    };
    Ok(message::respond(|lines| async move {
        let id = engine.images().bootstrap(&request, &lines).await?;
        lines.send(&Message::aux(json!({"ID": id})));
        Ok(())
    })
    .await)
}
