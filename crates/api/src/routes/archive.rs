//! Files of a container, as tar archives.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use havre_engine::{ArchivePut, Engine, PathStat};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::error::ApiError;
use crate::query::Query;
use crate::{body, file_mode};

pub(super) const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatView {
    name: String,
    size: u64,
    mode: u32,
    mtime: String,
    link_target: String,
}

pub(super) fn stat_header(stat: PathStat) -> Result<HeaderValue, ApiError> {
    let view = StatView {
        name: stat.name,
        size: stat.size,
        mode: file_mode::from_unix(stat.mode),
        mtime: stat.mtime.to_string(),
        link_target: stat.link_target,
    };
    let json = serde_json::to_vec(&view).map_err(|error| ApiError::internal(error.to_string()))?;
    HeaderValue::from_str(&STANDARD.encode(json)).map_err(|error| ApiError::internal(error.to_string()))
}

fn path(query: &Query) -> Result<&str, ApiError> {
    query
        .given("path")
        .ok_or_else(|| ApiError::bad_request("bad parameter: path cannot be empty"))
}

pub(super) async fn head(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let stat = engine.containers().archive_stat(&id, path(&query)?).await?;
    Ok(([(STAT, stat_header(stat)?)], Body::empty()).into_response())
}

pub(super) async fn get(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let (stat, tar) = engine.containers().archive_get(&id, path(&query)?).await?;
    let headers = [
        (STAT, stat_header(stat)?),
        (CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
    ];
    Ok((headers, body::sent(tar).await?).into_response())
}

pub(super) async fn put(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    query: Query,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let options = ArchivePut {
        no_overwrite_dir_non_dir: query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: query.flag("copyUIDGID"),
    };
    let tar = body::stream(request.into_body());
    engine
        .containers()
        .archive_put(&id, path(&query)?, tar, options)
        .await?;
    Ok(StatusCode::OK)
}

pub(super) async fn export(
    State(engine): State<Engine>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let tar = engine.containers().export(&id).await?;
    Ok((
        [(CONTENT_TYPE, "application/octet-stream")],
        body::sent(tar).await?,
    )
        .into_response())
}
