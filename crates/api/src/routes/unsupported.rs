//! Parts of Docker's API that Havre does not have: each says so instead of "page not found".

use axum::Router;
use axum::routing::{any, get};
use havre_engine::Engine;
use http::StatusCode;

use crate::error::ApiError;
use crate::json::Json;

pub(super) fn routes() -> Router<Engine> {
    let mut router = Router::new()
        .route("/plugins", get(|| async { Json([(); 0]) }))
        .route(
            "/plugins/{*rest}",
            any(|| async { refuse("plugins are not supported") }),
        )
        .route(
            "/session",
            any(|| async { refuse("BuildKit sessions are not supported: set DOCKER_BUILDKIT=0") }),
        )
        .route(
            "/grpc",
            any(|| async { refuse("BuildKit sessions are not supported: set DOCKER_BUILDKIT=0") }),
        )
        .route(
            "/containers/{id}/attach/ws",
            get(|| async { refuse("attaching by WebSocket is not supported") }),
        )
        .route(
            "/containers/{id}/checkpoints",
            any(|| async { refuse("checkpoints are not supported") }),
        );
    for path in ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"] {
        router = router
            .route(path, any(no_swarm))
            .route(&format!("{path}/{{*rest}}"), any(no_swarm));
    }
    router
}

fn refuse(message: &str) -> ApiError {
    ApiError::not_implemented(message)
}

/// What a daemon says that belongs to no swarm.
async fn no_swarm() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Havre has no swarm mode.",
    )
}
