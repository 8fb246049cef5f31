//! What a container wrote.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use havre_engine::{Engine, LogOptions};
use http::header::CONTENT_TYPE;

use crate::error::ApiError;
use crate::hijack;
use crate::query::Query;
use crate::time;
use crate::version::ApiVersion;

pub(super) async fn logs(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::bad_request(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let options = LogOptions {
        stdout,
        stderr,
        follow: query.flag("follow"),
        since: time::parse("since", query.text("since"))?,
        until: time::parse("until", query.text("until"))?,
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
        // `all`, and whatever is no number of lines, is all.
        tail: query.text("tail").parse().ok(),
    };
    let logs = engine.containers().logs(&id, options).await?;
    let media_type = hijack::media_type(logs.tty, version);
    Ok((
        [(CONTENT_TYPE, media_type)],
        hijack::output_body(logs.output, logs.tty),
    )
        .into_response())
}
