//! What a container uses.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use havre_engine::{Engine, StatsMode};
use http::header::CONTENT_TYPE;

use crate::error::ApiError;
use crate::model::stats::StatsBody;
use crate::query::Query;

pub(super) async fn stats(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let (stream, one_shot) = (query.flag_or("stream", true), query.flag("one-shot"));
    let mode = match (stream, one_shot) {
        (true, true) => {
            return Err(ApiError::bad_request("cannot have stream=true and one-shot=true"));
        }
        (true, false) => StatsMode::Stream,
        (false, false) => StatsMode::Pair,
        (false, true) => StatsMode::OneShot,
    };
    let answers = engine.containers().stats(&id, mode).await?;
    let lines = answers.map(|answer| {
        let view = answer.map_err(std::io::Error::other)?;
        let mut line = serde_json::to_vec(&StatsBody::from(view)).map_err(std::io::Error::other)?;
        line.push(b'\n');
        Ok::<_, std::io::Error>(Bytes::from(line))
    });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}
