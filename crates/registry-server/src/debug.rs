//! The listener for administrators and monitors: `/debug/health`, and the metrics. It has no authentication, and belongs where
//! only they reach it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{Server, metrics};

/// Serves until it is dropped.
pub(crate) async fn serve(server: Arc<Server>, listener: TcpListener) {
    let mut router = Router::new().route("/debug/health", get(health));
    if let Some(path) = &server.metrics_path {
        router = router.route(path, get(figures));
    }
    if let Err(error) = axum::serve(listener, router.with_state(server)).await {
        tracing::error!(%error, "administrators and monitors are not answered any more");
    }
}

/// As the reference registry says it: an object of what is wrong.
async fn health(State(server): State<Arc<Server>>) -> Response {
    match server.health.problem() {
        None => axum::Json(json!({})).into_response(),
        Some(reason) => {
            let body = axum::Json(json!({ "storagedriver": reason }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

async fn figures(State(server): State<Arc<Server>>) -> Response {
    let store = server.store.clone();
    match tokio::task::spawn_blocking(move || store.stored()).await {
        Ok(Ok(stored)) => {
            let text = server.metrics.text(stored);
            ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
        }
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
