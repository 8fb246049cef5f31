//! Attaching to a container, and waiting for it.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use havre_engine::{AttachOptions, DetachKeys, Engine, WaitCondition};
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::error::ApiError;
use crate::hijack;
use crate::query::Query;
use crate::version::ApiVersion;

pub(super) async fn attach(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let detach_keys = query.given("detachKeys").map(DetachKeys::parse).transpose()?;
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        stream: query.flag("stream"),
        logs: query.flag("logs"),
        detach_keys: Some(detach_keys.unwrap_or_default()),
    };
    // Attached before the answer: what the container writes after the client has it is not missed.
    let attachment = engine.containers().attach(&id, options).await?;
    let tty = attachment.tty;
    Ok(hijack::answer(
        request,
        tty,
        version,
        async move { Ok(attachment) },
    ))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Waited {
    status_code: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<WaitFailure>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WaitFailure {
    message: String,
}

/// Answers at once, with a body that comes when the condition holds: clients wait for the answer's head to know that
/// nothing will be missed.
pub(super) async fn wait(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let condition = match query.text("condition") {
        // Conditions came with API 1.30.
        _ if version < ApiVersion::new(30) => WaitCondition::NotRunning,
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(ApiError::bad_request(format!("invalid condition: {other:?}"))),
    };
    let waiter = engine.containers().wait(&id, condition).await?;
    let body = futures_util::stream::once(async move {
        let waited = match waiter.outcome().await {
            Ok(outcome) => Waited {
                status_code: outcome.exit_code,
                error: outcome.error.map(|message| WaitFailure { message }),
            },
            Err(error) => Waited {
                status_code: -1,
                error: Some(WaitFailure {
                    message: error.to_string(),
                }),
            },
        };
        serde_json::to_vec(&waited)
            .map(Bytes::from)
            .map_err(std::io::Error::other)
    });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}
