//! The engine as a whole.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bollard_stubs::models::SystemInfo;
use bytes::Bytes;
use futures_util::StreamExt;
use havre_engine::Engine;
use havre_engine::image::ListOptions;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use super::build::LOCAL_CONTEXT;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::json::Json;
use crate::model::disk_usage::{Detail, DiskUsageView, Kinds};
use crate::model::event::EventView;
use crate::model::system::{self, BuilderView, VersionView};
use crate::query::Query;
use crate::server::Peer;
use crate::time;
use crate::version::ApiVersion;

/// Builder 1 is the one behind `POST /build`; 2 would be BuildKit's.
pub(super) async fn ping(method: Method, peer: Option<Extension<Peer>>) -> Response {
    let headers = [
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (PRAGMA, "no-cache"),
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (HeaderName::from_static("builder-version"), "1"),
        (HeaderName::from_static("swarm"), "inactive"),
    ];
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from("OK")
    };
    let mut response = (headers, body).into_response();
    if peer.is_some() {
        let first = HeaderValue::from_static("1");
        response.headers_mut().insert(LOCAL_CONTEXT, first);
    }
    response
}

pub(super) async fn version(State(engine): State<Engine>) -> Json<VersionView> {
    Json(engine.system().version().into())
}

/// What a client that chooses among engines to build on needs to know.
pub(super) async fn builder(State(engine): State<Engine>) -> Result<Json<BuilderView>, ApiError> {
    let system = engine.system();
    Ok(Json(BuilderView {
        version: system.version().version,
        platforms: system.platforms().await?,
    }))
}

pub(super) async fn info(State(engine): State<Engine>) -> Result<Json<SystemInfo>, ApiError> {
    Ok(Json(system::info(engine.system().info().await?)))
}

pub(super) async fn events(State(engine): State<Engine>, query: Query) -> Result<Response, ApiError> {
    let since = time::parse("since", query.text("since"))?;
    let until = time::parse("until", query.text("until"))?;
    let events = engine.events().subscribe(since, until, query.filters()?)?;
    let lines = events.map(move |event| {
        let mut line = serde_json::to_vec(&EventView::new(event)).map_err(std::io::Error::other)?;
        line.push(b'\n');
        Ok::<_, std::io::Error>(Bytes::from(line))
    });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

pub(super) async fn disk_usage(
    State(engine): State<Engine>,
    version: ApiVersion,
    query: Query,
) -> Result<Json<DiskUsageView>, ApiError> {
    let wanted: Vec<&str> = query.all("type").filter(|kind| !kind.is_empty()).collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|kind| !["container", "image", "volume", "build-cache"].contains(kind))
    {
        return Err(ApiError::bad_request(format!("unknown object type: {unknown}")));
    }
    let of = |kind| wanted.is_empty() || wanted.contains(&kind);
    let kinds = Kinds {
        containers: of("container"),
        images: of("image"),
        volumes: of("volume"),
        build_cache: of("build-cache"),
    };
    let detail = match (query.flag("verbose"), query.get("objects")) {
        (true, _) => Detail::Verbose,
        (false, Some("0" | "false")) => Detail::Sums,
        (false, _) => Detail::Objects,
    };
    let usage = engine.system().disk_usage().await?;
    let images = if kinds.images && detail != Detail::Sums {
        let options = ListOptions {
            shared_size: true,
            ..ListOptions::default()
        };
        engine.images().list(&options).await?
    } else {
        Vec::new()
    };
    let view = DiskUsageView::new(usage, images, kinds, detail, version);
    Ok(Json(view.map_err(|error| ApiError::internal(error.to_string()))?))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthBody {
    username: String,
    password: String,
    auth: String,
    serveraddress: String,
    identitytoken: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Authenticated {
    status: String,
    identity_token: String,
}

pub(super) async fn auth(
    State(engine): State<Engine>,
    body: JsonBody<AuthBody>,
) -> Result<Json<Authenticated>, ApiError> {
    let body = body.required()?;
    if !body.identitytoken.is_empty() && body.password.is_empty() {
        return Err(ApiError::not_implemented(
            "an identity token cannot be checked by itself: log in with user name and password",
        ));
    }
    if body.username.is_empty() && !body.auth.is_empty() {
        return Err(ApiError::bad_request(
            "send username and password instead of auth",
        ));
    }
    let client = engine.images().service().client();
    let result = client
        .login(&body.serveraddress, &body.username, &body.password)
        .await?;
    Ok(Json(Authenticated {
        status: result.status,
        identity_token: result.identity_token.unwrap_or_default(),
    }))
}
