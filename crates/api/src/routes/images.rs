//! Images: lists, looks, names.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use havre_engine::Engine;
use havre_engine::image::{Filters, ListOptions, PruneOptions, RemoveOptions, SquashFrom};
use havre_engine::registry::SearchResult;
use havre_oci::{Digest, Platform, Reference};
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::{transfer, undo};
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::json::Json;
use crate::model::image::{
    HistoryView, InspectView, LogEntryView, OutcomeView, RemovedView, RestoredView, SummaryView,
};
use crate::model::non_empty;
use crate::query::Query;
use crate::registry_auth;
use crate::version::ApiVersion;

pub(super) async fn list(
    State(engine): State<Engine>,
    version: ApiVersion,
    query: Query,
) -> Result<Json<Vec<SummaryView>>, ApiError> {
    let mut filters = query.filter_map()?;
    // A parameter of its own until API 1.40.
    if version < ApiVersion::new(41)
        && let Some(reference) = query.given("filter")
    {
        filters
            .entry("reference".to_owned())
            .or_default()
            .push(reference.to_owned());
    }
    let options = ListOptions {
        all: query.flag("all"),
        filters: Filters::new(filters),
        shared_size: query.flag("shared-size"),
        last_used: query.flag("last-used"),
        platforms: version >= ApiVersion::new(47) && query.flag("manifests"),
    };
    let images = engine.images().list(&options).await?;
    Ok(Json(
        images
            .into_iter()
            .map(|image| SummaryView::new(image, version))
            .collect(),
    ))
}

/// What is asked of one image, whose name may hold slashes: `GET localhost:5000/team/app/json`.
pub(super) async fn dispatch(
    State(engine): State<Engine>,
    Path(rest): Path<String>,
    method: Method,
    version: ApiVersion,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    if method == Method::DELETE {
        return remove(&engine, &rest, &query, request.headers()).await;
    }
    let (name, action) = rest.rsplit_once('/').ok_or_else(ApiError::page_not_found)?;
    match (&method, action) {
        (&Method::GET, "json") => {
            let platform = platform(&query)?;
            let image = engine.images().service().inspect(name, platform.as_ref()).await?;
            Ok(Json(InspectView::new(image, version)).into_response())
        }
        (&Method::GET, "history") => {
            let platform = platform(&query)?;
            let history = engine.images().service().history(name, platform.as_ref()).await?;
            let rows: Vec<HistoryView> = history.into_iter().map(Into::into).collect();
            Ok(Json(rows).into_response())
        }
        (&Method::GET, "get") => {
            let (options, handed) = (transfer::save_options(&query)?, transfer::handed(&request)?);
            transfer::archive(&engine, &[name.to_owned()], &options, handed).await
        }
        (&Method::POST, "push") => transfer::push(engine, name, &query, request.headers()).await,
        (&Method::POST, "tag") => tag(&engine, name, &query).await,
        _ => Err(ApiError::page_not_found()),
    }
}

async fn tag(engine: &Engine, source: &str, query: &Query) -> Result<Response, ApiError> {
    let repository = reference(query.text("repo"))?;
    let target = match query.given("tag") {
        Some(tag) => repository
            .with_tag(tag)
            .map_err(|error| ApiError::bad_request(error.to_string()))?,
        None => repository.with_default_tag(),
    };
    engine.images().tag(source, &target).await?;
    Ok(StatusCode::CREATED.into_response())
}

async fn remove(
    engine: &Engine,
    name: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let options = RemoveOptions {
        force: query.flag("force"),
        no_prune: query.flag("noprune"),
        platforms: query
            .all("platforms")
            .map(one_platform)
            .collect::<Result<_, _>>()?,
    };
    let keep = undo::keep(engine, headers, "image rm")?;
    let outcomes = engine.images().remove(&[name.to_owned()], options, keep).await?;
    let removed = outcomes.into_iter().next().unwrap_or(Ok(Vec::new()))?;
    let lines: Vec<RemovedView> = removed.into_iter().map(Into::into).collect();
    Ok(Json(lines).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemoveBody {
    names: Vec<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    no_prune: bool,
    #[serde(default)]
    platforms: Vec<Platform>,
}

/// Several images in one request: an endpoint of Havre's own.
pub(super) async fn remove_several(
    State(engine): State<Engine>,
    headers: HeaderMap,
    body: JsonBody<RemoveBody>,
) -> Result<Json<Vec<OutcomeView>>, ApiError> {
    let body = body.required()?;
    let options = RemoveOptions {
        force: body.force,
        no_prune: body.no_prune,
        platforms: body.platforms.into_iter().map(Platform::normalized).collect(),
    };
    let keep = undo::keep(&engine, &headers, "image rm")?;
    let outcomes = engine.images().remove(&body.names, options, keep).await?;
    Ok(Json(outcomes.into_iter().map(OutcomeView::from).collect()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct JoinBody {
    names: Vec<String>,
    /// IDs.
    images: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Joined {
    id: Digest,
}

/// Lets names stand for images of different platforms: an endpoint of Havre's own.
pub(super) async fn join(
    State(engine): State<Engine>,
    body: JsonBody<JoinBody>,
) -> Result<Json<Joined>, ApiError> {
    let body = body.required()?;
    let names = body.names.iter().map(|name| reference(name));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let id = engine.images().join(&names, &body.images).await?;
    Ok(Json(Joined { id }))
}

/// The history of the tag `name`: an endpoint of Havre's own.
pub(super) async fn log(
    State(engine): State<Engine>,
    query: Query,
) -> Result<Json<Vec<LogEntryView>>, ApiError> {
    let log = engine.images().service().log(query.text("name")).await?;
    Ok(Json(log.into_iter().map(Into::into).collect()))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SquashedView {
    id: String,
    layers_before: usize,
    layers: usize,
    size_before: u64,
    size: u64,
}

/// Makes the layers of the image `name` one, from the layer or the image `from` on, under the names `t`: an endpoint of Havre's
/// own.
pub(super) async fn squash(
    State(engine): State<Engine>,
    query: Query,
) -> Result<(StatusCode, Json<SquashedView>), ApiError> {
    let from = match query.given("from") {
        None => SquashFrom::Bottom,
        Some(from) => match from.parse() {
            Ok(layer) => SquashFrom::Layer(layer),
            Err(_) => SquashFrom::Image(from.to_owned()),
        },
    };
    let tags = query.all("t").map(reference).collect::<Result<_, _>>()?;
    let squashed = engine.images().squash(query.text("name"), from, tags).await?;
    let view = SquashedView {
        id: squashed.id.to_string(),
        layers_before: squashed.before.layers,
        layers: squashed.after.layers,
        size_before: squashed.before.bytes,
        size: squashed.after.bytes,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Puts a tag back to an entry of its history, the parameter `entry`: an endpoint of Havre's own.
pub(super) async fn restore(
    State(engine): State<Engine>,
    query: Query,
) -> Result<Json<RestoredView>, ApiError> {
    let restored = engine.images().restore(query.text("entry")).await?;
    Ok(Json(restored.into()))
}

/// The platform that is asked for: words, or JSON, as Docker's client sends it.
pub(super) fn platform(query: &Query) -> Result<Option<Platform>, ApiError> {
    query.given("platform").map(one_platform).transpose()
}

pub(super) fn one_platform(text: &str) -> Result<Platform, ApiError> {
    if text.trim_start().starts_with('{') {
        return match serde_json::from_str::<Platform>(text) {
            Ok(platform) if !platform.os.is_empty() && !platform.architecture.is_empty() => {
                Ok(platform.normalized())
            }
            Ok(_) => Err(ApiError::bad_request("both OS and Architecture must be provided")),
            Err(error) => Err(ApiError::bad_request(format!("invalid platform: {error}"))),
        };
    }
    Platform::parse(text).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// Reads a name as a client wrote it.
pub(super) fn reference(text: &str) -> Result<Reference, ApiError> {
    Reference::parse(text).map_err(|error| ApiError::bad_request(error.to_string()))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pruned {
    images_deleted: Option<Vec<RemovedView>>,
    space_reclaimed: u64,
}

pub(super) async fn prune(
    State(engine): State<Engine>,
    query: Query,
    headers: HeaderMap,
) -> Result<Json<Pruned>, ApiError> {
    let options = PruneOptions {
        all: false,
        filters: Filters::new(query.filter_map()?),
    };
    let keep = undo::keep(&engine, &headers, "image prune")?;
    let pruned = engine.images().prune(&options, keep).await?;
    Ok(Json(Pruned {
        images_deleted: non_empty(pruned.removed.into_iter().map(Into::into).collect()),
        space_reclaimed: pruned.space_reclaimed,
    }))
}

/// Rows that Docker Hub would leave out are left out here: filters `is-official`, `is-automated` and `stars`.
pub(super) async fn search(
    State(engine): State<Engine>,
    query: Query,
    headers: HeaderMap,
) -> Result<Json<Vec<SearchResult>>, ApiError> {
    let Some(term) = query.given("term") else {
        return Err(ApiError::bad_request("parameter term is missing"));
    };
    let limit = query
        .number::<usize>("limit")?
        .filter(|limit| *limit > 0)
        .unwrap_or(25);
    if limit > 100 {
        return Err(ApiError::bad_request(format!(
            "limit {limit} is outside the range of [1, 100]"
        )));
    }
    let filters = query.filters()?;
    filters.only(&["is-automated", "is-official", "stars"])?;
    let official = filters.boolean("is-official")?;
    let automated = filters.boolean("is-automated")?;
    let mut stars = 0;
    for value in filters.values("stars") {
        let wanted = value
            .parse()
            .map_err(|_| ApiError::bad_request(format!("invalid filter 'stars={value}'")))?;
        stars = u64::max(stars, wanted);
    }
    let credentials = registry_auth::of(&headers)?;
    let mut found = engine
        .images()
        .service()
        .client()
        .search(term, limit, &credentials)
        .await?;
    found.retain(|row| {
        row.star_count >= stars
            && official.is_none_or(|wanted| row.is_official == wanted)
            && automated.is_none_or(|wanted| row.is_automated == wanted)
    });
    Ok(Json(found))
}
