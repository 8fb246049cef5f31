//! Containers: life, lists, looks.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use havre_engine::{
    CommitOptions, CreateContainer, Engine, ListOptions, RemoveOptions, StopOptions, Timings,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::undo;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::json::Json;
use crate::model::container::{ChangeView, InspectView, Summaries};
use crate::model::create::{ConfigBody, CreateBody, UpdateBody};
use crate::model::non_empty;
use crate::query::Query;
use crate::request_json::Both;
use crate::version::ApiVersion;

type Answer<T> = Result<Json<T>, ApiError>;
type Done = Result<StatusCode, ApiError>;

pub(super) async fn list(
    State(engine): State<Engine>,
    version: ApiVersion,
    query: Query,
) -> Answer<Summaries> {
    // A limit of 0 or less is none.
    let limit = query
        .number::<i64>("limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0);
    let options = ListOptions {
        all: query.flag("all"),
        limit,
        size: query.flag("size"),
        filters: query.filters()?,
    };
    Ok(Json(Summaries {
        containers: engine.containers().list(options).await?,
        health: version >= ApiVersion::new(52),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    id: String,
    warnings: Vec<String>,
}

pub(super) async fn create(
    State(engine): State<Engine>,
    version: ApiVersion,
    query: Query,
    body: JsonBody<CreateBody>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let Some(Both(config, body)) = body.0 else {
        return Err(ApiError::bad_request(
            "config cannot be empty in order to create a container",
        ));
    };
    let mut config = havre_engine::Config::try_from(config)?;
    if let Some(check) = config.healthcheck.as_mut().filter(|_| version < START_INTERVAL) {
        check.start_interval = 0;
    }
    let request = CreateContainer {
        name: query.given("name").map(Into::into),
        config,
        host_config: body.host_config.try_into()?,
        networks: body.networking_config.into(),
        platform: query.given("platform").map(Into::into),
    };
    let created = engine.containers().create(request).await?;
    Ok((
        StatusCode::CREATED,
        Json(Created {
            id: created.id,
            warnings: created.warnings,
        }),
    ))
}

/// The first version in which the start interval of a health check is a field.
const START_INTERVAL: ApiVersion = ApiVersion::new(44);

pub(super) async fn inspect(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    query: Query,
) -> Answer<InspectView> {
    Ok(Json(
        engine.containers().inspect(&id, query.flag("size")).await?.into(),
    ))
}

pub(super) async fn start(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if query.given("checkpoint").is_some() {
        return Err(ApiError::not_implemented("checkpoints are not supported"));
    }
    if !headers.contains_key(TIMINGS) {
        engine.containers().start(&id).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let timings = Timings::on();
    engine.containers().start_timed(&id, timings.clone()).await?;
    let told = [(SERVER_TIMING, server_timing(&timings))];
    Ok((StatusCode::NO_CONTENT, told).into_response())
}

/// A request with this header is answered with [`SERVER_TIMING`].
const TIMINGS: &str = "x-havre-timings";
/// The stages of the work, as the Server Timing recommendation of the W3C writes them: `s0;dur=1.5;desc="…"`, milliseconds;
/// and with a parameter of our own, `after`, for their beginning.
const SERVER_TIMING: &str = "server-timing";

fn server_timing(timings: &Timings) -> String {
    let milliseconds = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    let stages = timings.stages();
    let metrics: Vec<String> = stages
        .iter()
        .enumerate()
        .map(|(number, stage)| {
            let (after, took) = (milliseconds(stage.after), milliseconds(stage.took));
            format!("s{number};dur={took:.3};after={after:.3};desc=\"{}\"", stage.name)
        })
        .collect();
    metrics.join(", ")
}

fn stop_options(query: &Query) -> Result<StopOptions, ApiError> {
    Ok(StopOptions {
        signal: query.given("signal").map(Into::into),
        timeout: query.number("t")?,
    })
}

pub(super) async fn stop(State(engine): State<Engine>, Path(id): Path<String>, query: Query) -> Done {
    engine.containers().stop(&id, stop_options(&query)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn restart(State(engine): State<Engine>, Path(id): Path<String>, query: Query) -> Done {
    engine.containers().restart(&id, stop_options(&query)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn kill(State(engine): State<Engine>, Path(id): Path<String>, query: Query) -> Done {
    engine.containers().kill(&id, query.given("signal")).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(State(engine): State<Engine>, Path(id): Path<String>) -> Done {
    engine.containers().pause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unpause(State(engine): State<Engine>, Path(id): Path<String>) -> Done {
    engine.containers().unpause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn rename(State(engine): State<Engine>, Path(id): Path<String>, query: Query) -> Done {
    let name = query.text("name");
    if name.is_empty() {
        return Err(ApiError::bad_request("new name cannot be empty"));
    }
    engine.containers().rename(&id, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Updated {
    warnings: Option<Vec<String>>,
}

pub(super) async fn update(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    body: JsonBody<UpdateBody>,
) -> Answer<Updated> {
    let body = body.required()?;
    let warnings = engine.containers().update(&id, body.try_into()?).await?;
    Ok(Json(Updated {
        warnings: non_empty(warnings),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Top {
    titles: Vec<String>,
    processes: Vec<Vec<String>>,
}

pub(super) async fn top(State(engine): State<Engine>, Path(id): Path<String>, query: Query) -> Answer<Top> {
    let top = engine.containers().top(&id, query.text("ps_args")).await?;
    Ok(Json(Top {
        titles: top.titles,
        processes: top.processes,
    }))
}

/// `null` if nothing changed, as Go writes an empty list there.
pub(super) async fn changes(
    State(engine): State<Engine>,
    Path(id): Path<String>,
) -> Answer<Option<Vec<ChangeView>>> {
    let changes = engine.containers().changes(&id).await?;
    Ok(Json(non_empty(changes.into_iter().map(Into::into).collect())))
}

/// Height and width of a terminal.
pub(super) fn terminal_size(query: &Query) -> Result<(u16, u16), ApiError> {
    let side = |key| {
        query
            .number(key)?
            .ok_or_else(|| ApiError::bad_request(format!("parameter {key} is missing")))
    };
    Ok((side("h")?, side("w")?))
}

pub(super) async fn resize(State(engine): State<Engine>, Path(id): Path<String>, query: Query) -> Done {
    let (height, width) = terminal_size(&query)?;
    engine.containers().resize(&id, height, width).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn remove(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: Query,
) -> Done {
    let options = RemoveOptions {
        operation: undo::operation(&engine, &headers, "container rm"),
        force: query.flag("force"),
        volumes: query.flag("v"),
        link: query.flag("link"),
    };
    engine.containers().remove(&id, options).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `owner/alias` is no container but a link of one.
pub(super) async fn remove_link(
    State(engine): State<Engine>,
    Path((owner, alias)): Path<(String, String)>,
    query: Query,
) -> Done {
    let name = format!("{owner}/{alias}");
    if !query.flag("link") {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            format!("No such container: {name}"),
        ));
    }
    let options = RemoveOptions {
        link: true,
        ..RemoveOptions::default()
    };
    engine.containers().remove(&name, options).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pruned {
    containers_deleted: Option<Vec<String>>,
    space_reclaimed: u64,
}

pub(super) async fn prune(State(engine): State<Engine>, headers: HeaderMap, query: Query) -> Answer<Pruned> {
    let operation = undo::operation(&engine, &headers, "container prune");
    let pruned = engine.containers().prune(query.filters()?, operation).await?;
    Ok(Json(Pruned {
        containers_deleted: non_empty(pruned.ids),
        space_reclaimed: pruned.reclaimed,
    }))
}

#[derive(Serialize)]
struct Committed {
    #[serde(rename = "Id")]
    id: String,
}

pub(super) async fn commit(
    State(engine): State<Engine>,
    version: ApiVersion,
    query: Query,
    body: JsonBody<ConfigBody>,
) -> Result<Response, ApiError> {
    let Some(container) = query.given("container") else {
        return Err(ApiError::bad_request("parameter container is missing"));
    };
    let _ = version;
    let reference = query.given("repo").map(|repository| match query.given("tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    });
    let options = CommitOptions {
        reference,
        author: query.text("author").to_owned(),
        message: query.text("comment").to_owned(),
        pause: query.flag_or("pause", true),
        // Sent once per change by new clients, in one piece with newlines by others.
        changes: query
            .all("changes")
            .flat_map(str::lines)
            .map(str::to_owned)
            .collect(),
        config: body.0.map(havre_engine::Config::try_from).transpose()?,
    };
    let committed = engine.containers().commit(container, options).await?;
    Ok((
        StatusCode::CREATED,
        Json(Committed {
            id: committed.image.to_string(),
        }),
    )
        .into_response())
}
