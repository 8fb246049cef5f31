//! Endpoints: what they are called and who answers. One file per kind of thing.

mod archive;
mod artifacts;
mod bootstrap;
mod build;
mod containers;
mod distribution;
mod exec;
mod files;
mod images;
mod logs;
mod networks;
mod stats;
mod streams;
mod system;
mod transfer;
mod undo;
mod unsupported;
mod upkeep;
mod volumes;

use axum::Router;
use axum::routing::{any, delete, get, post};
use havre_engine::Engine;

use crate::error::ApiError;

/// Every endpoint, without the version in front.
pub(crate) fn router(engine: Engine) -> Router {
    // Reading and writing a file tree have bodies of any size; JSON bodies are bounded where they are read.
    Router::new()
        .merge(container_routes())
        .merge(image_routes())
        .merge(system_routes())
        .merge(unsupported::routes())
        .fallback(page_not_found)
        .method_not_allowed_fallback(page_not_found)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(engine)
}

async fn page_not_found() -> ApiError {
    ApiError::page_not_found()
}

fn container_routes() -> Router<Engine> {
    Router::new()
        .route("/containers/json", get(containers::list))
        .route("/containers/create", post(containers::create))
        .route("/containers/prune", post(containers::prune))
        .route("/containers/{id}", delete(containers::remove))
        .route("/containers/{id}/{alias}", delete(containers::remove_link))
        .route("/containers/{id}/json", get(containers::inspect))
        .route("/containers/{id}/start", post(containers::start))
        .route("/containers/{id}/stop", post(containers::stop))
        .route("/containers/{id}/restart", post(containers::restart))
        .route("/containers/{id}/kill", post(containers::kill))
        .route("/containers/{id}/pause", post(containers::pause))
        .route("/containers/{id}/unpause", post(containers::unpause))
        .route("/containers/{id}/rename", post(containers::rename))
        .route("/containers/{id}/update", post(containers::update))
        .route("/containers/{id}/stats", get(stats::stats))
        .route("/containers/{id}/top", get(containers::top))
        .route("/containers/{id}/changes", get(containers::changes))
        .route("/containers/{id}/resize", post(containers::resize))
        .route("/containers/{id}/wait", post(streams::wait))
        .route("/containers/{id}/attach", post(streams::attach))
        .route("/containers/{id}/logs", get(logs::logs))
        .route("/containers/{id}/export", get(archive::export))
        .route(
            "/containers/{id}/archive",
            get(archive::get).head(archive::head).put(archive::put),
        )
        .route("/containers/{id}/exec", post(exec::create))
        .route("/exec/{id}/start", post(exec::start))
        .route("/exec/{id}/resize", post(exec::resize))
        .route("/exec/{id}/json", get(exec::inspect))
        .route("/commit", post(containers::commit))
        .route("/volumes", get(volumes::list))
        .route("/volumes/create", post(volumes::create))
        .route("/volumes/prune", post(volumes::prune))
        .route("/volumes/{name}", get(volumes::inspect).delete(volumes::remove))
        .route("/networks", get(networks::list))
        .route("/networks/", get(networks::list))
        .route("/networks/create", post(networks::create))
        .route("/networks/prune", post(networks::prune))
        .route("/networks/{id}", get(networks::inspect).delete(networks::remove))
        .route("/networks/{id}/connect", post(networks::connect))
        .route("/networks/{id}/disconnect", post(networks::disconnect))
}

fn image_routes() -> Router<Engine> {
    Router::new()
        .route("/images/json", get(images::list))
        .route("/images/create", post(transfer::create))
        .route("/images/search", get(images::search))
        .route("/images/prune", post(images::prune))
        .route("/images/load", post(transfer::load))
        .route("/images/get", get(transfer::save))
        // Names of images hold slashes; what is asked of them comes last.
        .route("/images/{*rest}", any(images::dispatch))
        .route("/distribution/{*rest}", get(distribution::inspect))
        .route("/build", post(build::build))
        .route("/build/prune", post(build::prune))
        .route(
            "/havre/manifests/{*name}",
            get(distribution::manifest)
                .put(distribution::push)
                .post(artifacts::push_manifest),
        )
        .route(
            "/havre/blobs/{*name}",
            get(artifacts::get).head(artifacts::has).put(artifacts::put),
        )
        .route("/havre/tags/{*name}", get(distribution::tags))
        .route("/havre/referrers/{*name}", get(distribution::referrers))
        .route("/havre/pull/{*name}", get(distribution::pull_plan))
        .route("/havre/copy", post(distribution::copy))
        .route("/havre/outdated", get(distribution::outdated))
        .route("/havre/images/bootstrap", post(bootstrap::bootstrap))
        .route("/havre/images/remove", post(images::remove_several))
        .route("/havre/images/join", post(images::join))
        .route("/havre/images/get", get(transfer::save))
        .route("/havre/images/log", get(images::log))
        .route("/havre/images/squash", post(images::squash))
        .route("/havre/images/restore", post(images::restore))
        .route("/havre/images/{*rest}", get(files::dispatch))
}

fn system_routes() -> Router<Engine> {
    Router::new()
        .route("/_ping", get(system::ping).head(system::ping))
        .route("/version", get(system::version))
        .route("/info", get(system::info))
        .route("/events", get(system::events))
        .route("/system/df", get(system::disk_usage))
        .route("/auth", post(system::auth))
        .route("/havre/builder", get(system::builder))
        .route("/havre/plan", post(undo::plan))
        .route("/havre/plan/apply", post(undo::apply))
        .route(
            "/havre/undo",
            get(undo::list).post(undo::undo).delete(undo::forget),
        )
        .route("/havre/system/check", post(upkeep::check))
        .route("/havre/system/repair", post(upkeep::repair))
        .route("/havre/system/migrate", post(upkeep::migrate))
}
