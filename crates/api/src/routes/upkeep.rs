//! Checks, repairs and conversions of the store: endpoints of Havre's own. They answer in lines, the result is in the last.

use axum::extract::State;
use axum::response::Response;
use havre_engine::Engine;
use havre_engine::image::Object;
use havre_engine::store::LayerForm;
use havre_oci::Digest;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::body::JsonBody;
use crate::error::ApiError;
use crate::message::{self, Lines, Message};
use crate::model::upkeep::{MendedView, MigratedView, ReportView};
use crate::registry_auth;

pub(super) async fn check(State(engine): State<Engine>) -> Response {
    message::respond(|lines| async move {
        let report = engine.images().check(&lines).await?;
        result(&lines, "Report", &ReportView::from(report))
    })
    .await
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RepairBody {
    objects: Vec<Damaged>,
}

#[derive(Deserialize)]
struct Damaged {
    kind: String,
    digest: String,
}

pub(super) async fn repair(
    State(engine): State<Engine>,
    headers: HeaderMap,
    body: JsonBody<RepairBody>,
) -> Result<Response, ApiError> {
    let body = body.required()?;
    let damaged = body.objects.iter().map(|one| {
        let object = Object::named(&one.kind)
            .ok_or_else(|| ApiError::bad_request(format!("unknown kind of object: {:?}", one.kind)))?;
        let digest = one
            .digest
            .parse::<Digest>()
            .map_err(|error| ApiError::bad_request(format!("{:?}: {error}", one.digest)))?;
        Ok((object, digest))
    });
    let damaged = damaged.collect::<Result<Vec<_>, ApiError>>()?;
    let credentials = registry_auth::all_of(&headers)?;
    Ok(message::respond(|lines| async move {
        let mended = engine.images().repair(&damaged, &credentials, &lines).await?;
        let mended: Vec<MendedView> = mended.into_iter().map(MendedView::from).collect();
        result(&lines, "Repaired", &mended)
    })
    .await)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MigrateBody {
    to: String,
    dry_run: bool,
}

pub(super) async fn migrate(
    State(engine): State<Engine>,
    body: JsonBody<MigrateBody>,
) -> Result<Response, ApiError> {
    let body = body.required()?;
    let to = match body.to.as_str() {
        "" => LayerForm::Auto,
        name => name
            .parse()
            .map_err(|error| ApiError::bad_request(format!("{error}")))?,
    };
    Ok(message::respond(|lines| async move {
        let migrated = engine.images().migrate(to, body.dry_run, &lines).await?;
        result(&lines, "Migrated", &MigratedView::from(migrated))
    })
    .await)
}

/// The last line.
fn result(lines: &Lines, name: &str, value: &impl Serialize) -> Result<(), message::Failure> {
    let value = serde_json::to_value(value).map_err(|error| ApiError::internal(error.to_string()))?;
    lines.send(&Message::aux(json!({name: value})));
    Ok(())
}
