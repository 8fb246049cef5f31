//! Plans of removals, and removals that come back: endpoints of Havre's own.

use axum::extract::State;
use havre_engine::image::Keep;
use havre_engine::store::Operation;
use havre_engine::{Applied, Apply, Engine, Filters, Plan, PlanItem, PlanRequest, Undoable};
use havre_oci::Platform;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::body::JsonBody;
use crate::error::ApiError;
use crate::json::Json;
use crate::model::image::RemovedView;
use crate::query::Query;

/// Ties the requests of one command together: what they remove comes back together.
const OPERATION: &str = "x-havre-operation";
/// What the user called, when it is more than the endpoint says.
const COMMAND: &str = "x-havre-command";

/// What is to be kept beside what always is: `images`.
const KEEP: &str = "x-havre-keep";

/// What a removal by this request is part of.
pub(super) fn operation(engine: &Engine, headers: &HeaderMap, command: &str) -> Option<Operation> {
    let (token, command) = named(headers, command);
    engine.undo().operation(token, command)
}

/// The same for what removes images, and whether those are kept.
pub(super) fn keep(engine: &Engine, headers: &HeaderMap, command: &str) -> Result<Option<Keep>, ApiError> {
    let (token, command) = named(headers, command);
    let images = match headers.get(KEEP).map(|value| value.as_bytes()) {
        None => false,
        Some(b"images") => true,
        Some(_) => {
            return Err(ApiError::bad_request(format!(
                "invalid {KEEP} header: only images can be kept"
            )));
        }
    };
    Ok(engine.undo().keep(token, command, images)?)
}

/// The token of a request's command, and what it is called.
fn named<'a>(headers: &'a HeaderMap, command: &'a str) -> (Option<&'a str>, &'a str) {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let known = |command: &&str| {
        command.len() <= 40
            && command
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b' ')
    };
    let command = text(COMMAND).filter(known).unwrap_or(command);
    (text(OPERATION), command)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PlanBody {
    /// `container rm`, `volume prune` …
    command: String,
    names: Vec<String>,
    force: bool,
    volumes: bool,
    all: bool,
    no_prune: bool,
    keep_storage: u64,
    platforms: Vec<Platform>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PlanView {
    items: Vec<PlannedView>,
    size: u64,
    /// Seconds for which it can be undone.
    undo_window: i64,
    /// Images, too, without being asked to.
    images_kept: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PlannedView {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "ID")]
    id: String,
    name: String,
    /// Of an image: what it is called by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<String>,
    /// Of an image: diff IDs of the layers that go with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<String>,
    size: u64,
    reason: String,
}

/// The filters are a parameter, as those of the prunes.
pub(super) async fn plan(
    State(engine): State<Engine>,
    query: Query,
    body: JsonBody<PlanBody>,
) -> Result<Json<PlanView>, ApiError> {
    let body = body.required()?;
    let filters = || -> Result<Filters, ApiError> { query.filters() };
    let PlanBody {
        command,
        names,
        force,
        volumes,
        all,
        no_prune,
        keep_storage,
        platforms,
    } = body;
    let request = match command.as_str() {
        "container rm" => PlanRequest::Containers {
            names,
            force,
            volumes,
        },
        "volume rm" => PlanRequest::Volumes { names, force },
        "image rm" => PlanRequest::Images {
            names,
            filters: filters()?,
            force,
            no_prune,
            platforms: platforms.into_iter().map(Platform::normalized).collect(),
        },
        "image prune" => PlanRequest::ImagePrune {
            filters: filters()?,
            all,
        },
        "builder prune" => PlanRequest::BuilderPrune {
            filters: filters()?,
            all,
            keep_storage,
        },
        "network rm" => PlanRequest::Networks { names, force },
        "container prune" => PlanRequest::ContainerPrune(filters()?),
        "volume prune" => PlanRequest::VolumePrune(filters()?),
        "network prune" => PlanRequest::NetworkPrune(filters()?),
        "system prune" => PlanRequest::SystemPrune {
            filters: filters()?,
            all,
            volumes,
        },
        other => {
            return Err(ApiError::bad_request(format!(
                "there is no plan for the command {other:?}"
            )));
        }
    };
    let plan = engine.plans().plan(request).await?;
    let size = plan.size();
    let Plan { items } = plan;
    Ok(Json(PlanView {
        size,
        items: items
            .into_iter()
            .map(|item| PlannedView {
                kind: item.kind,
                id: item.id,
                name: item.name,
                references: item.references,
                layers: item.layers.iter().map(ToString::to_string).collect(),
                size: item.size,
                reason: item.reason,
            })
            .collect(),
        images_kept: engine.undo().keeps_images(),
        undo_window: engine.undo().window().as_secs(),
    }))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ApplyBody {
    command: String,
    force: bool,
    items: Vec<Item>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "ID")]
    id: String,
    /// What an image may be called by.
    #[serde(default, skip_serializing)]
    references: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AppliedView {
    removed: Vec<Item>,
    /// What changed after the plan was made.
    skipped: Vec<Item>,
    images_deleted: Vec<RemovedView>,
    space_reclaimed: u64,
}

pub(super) async fn apply(
    State(engine): State<Engine>,
    headers: HeaderMap,
    body: JsonBody<ApplyBody>,
) -> Result<Json<AppliedView>, ApiError> {
    let body = body.required()?;
    let keep = keep(&engine, &headers, &body.command)?;
    let how = Apply {
        command: &body.command,
        force: body.force,
    };
    let items = body.items.into_iter().map(|item| PlanItem {
        kind: item.kind,
        id: item.id,
        references: item.references,
    });
    let Applied {
        removed,
        skipped,
        images,
        reclaimed,
    } = engine
        .plans()
        .apply(&items.collect::<Vec<_>>(), how, keep)
        .await?;
    let item = |kind, id, reason| Item {
        kind,
        id,
        references: Vec::new(),
        reason,
    };
    Ok(Json(AppliedView {
        images_deleted: images.into_iter().map(RemovedView::from).collect(),
        removed: removed
            .into_iter()
            .map(|(kind, id)| item(kind, id, String::new()))
            .collect(),
        skipped: skipped
            .into_iter()
            .map(|(kind, id, reason)| item(kind, id, reason))
            .collect(),
        space_reclaimed: reclaimed,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UndoableView {
    #[serde(rename = "ID")]
    id: u64,
    at: String,
    expires: String,
    command: String,
    size: u64,
    items: Vec<KeptView>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeptView {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "ID")]
    id: String,
    name: String,
    size: u64,
}

impl From<Undoable> for UndoableView {
    fn from(undoable: Undoable) -> Self {
        Self {
            id: undoable.id,
            at: undoable.at.to_string(),
            expires: undoable.expires.to_string(),
            size: undoable.size(),
            command: undoable.command,
            items: undoable
                .items
                .into_iter()
                .map(|item| KeptView {
                    kind: item.kind,
                    id: item.id,
                    name: item.name,
                    size: item.size,
                })
                .collect(),
        }
    }
}

pub(super) async fn list(State(engine): State<Engine>) -> Result<Json<Vec<UndoableView>>, ApiError> {
    let removals = engine.undo().list().await?;
    Ok(Json(removals.into_iter().map(UndoableView::from).collect()))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UndoneView {
    removal: UndoableView,
    warnings: Vec<String>,
}

pub(super) async fn undo(State(engine): State<Engine>, query: Query) -> Result<Json<UndoneView>, ApiError> {
    let undone = engine.undo().undo(query.number("id")?).await?;
    Ok(Json(UndoneView {
        removal: undone.removal.into(),
        warnings: undone.warnings,
    }))
}

pub(super) async fn forget(
    State(engine): State<Engine>,
    query: Query,
) -> Result<Json<Vec<UndoableView>>, ApiError> {
    let id = query.number("id")?;
    if id.is_none() && !query.flag("all") {
        return Err(ApiError::bad_request("say which removal by id, or all"));
    }
    let forgotten = engine.undo().forget(id).await?;
    Ok(Json(forgotten.into_iter().map(UndoableView::from).collect()))
}
