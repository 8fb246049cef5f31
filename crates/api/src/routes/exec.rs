//! Commands run in a container.

use axum::extract::{FromRequest, Path, Request, State};
use axum::response::{IntoResponse, Response};
use havre_engine::{DetachKeys, Engine, ExecConfig, ExecStart};
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use serde::Serialize;

use super::containers::terminal_size;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::hijack;
use crate::json::Json;
use crate::model::exec::{ExecCreateBody, ExecInspect, ExecStartBody};
use crate::query::Query;
use crate::version::ApiVersion;

#[derive(Serialize)]
pub(super) struct Created {
    #[serde(rename = "Id")]
    id: String,
}

pub(super) async fn create(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    body: JsonBody<ExecCreateBody>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let body = body.required()?;
    if body.cmd.is_empty() {
        return Err(ApiError::bad_request("No exec command specified"));
    }
    let config = ExecConfig {
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        tty: body.tty,
        console_size: body.console_size.filter(|size| *size != [0, 0]),
        detach_keys: Some(DetachKeys::parse(&body.detach_keys)?),
        env: body.env,
        cmd: body.cmd,
        privileged: body.privileged,
        user: body.user,
        working_dir: body.working_dir,
    };
    let id = engine.containers().exec_create(&id, config).await?;
    Ok((StatusCode::CREATED, Json(Created { id })))
}

pub(super) async fn start(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    version: ApiVersion,
    mut request: Request,
) -> Result<Response, ApiError> {
    // The body is JSON, the connection behind it the streams: the upgrade has to survive reading the body.
    let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let mut bare = Request::new(axum::body::Body::empty());
    for name in [CONTENT_TYPE, UPGRADE, CONNECTION] {
        if let Some(value) = request.headers().get(&name) {
            bare.headers_mut().insert(name, value.clone());
        }
    }
    if let Some(upgrade) = upgrade {
        bare.extensions_mut().insert(upgrade);
    }
    let body = JsonBody::<ExecStartBody>::from_request(request, &()).await?;
    let body = body.0.unwrap_or_default();
    let exec = engine.containers().exec_inspect(&id).await?;
    let start = ExecStart {
        detach: body.detach,
        console_size: body.console_size.filter(|size| *size != [0, 0]),
    };
    if body.detach {
        engine.containers().exec_start(&id, start).await?;
        return Ok(StatusCode::OK.into_response());
    }
    let tty = exec.config.tty || body.tty;
    let open = async move {
        match engine.containers().exec_start(&id, start).await {
            Ok(Some(attachment)) => Ok(attachment),
            Ok(None) => Err("the command gave no streams".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    };
    Ok(hijack::answer(bare, tty, version, open))
}

pub(super) async fn resize(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let (height, width) = terminal_size(&query)?;
    engine.containers().exec_resize(&id, height, width).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn inspect(
    State(engine): State<Engine>,
    Path(id): Path<String>,
) -> Result<Json<ExecInspect>, ApiError> {
    Ok(Json(engine.containers().exec_inspect(&id).await?.into()))
}
