//! Images on the move: pull, push, import, load, save.

use std::fs::File;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use havre_engine::Engine;
use havre_engine::image::{
    ImportOptions, Packing, Progress, ProgressEvent, PullOptions, PushOptions, SaveOptions, Silent,
};
use havre_oci::{Compression, Platform};
use havre_sys::handed::{BadHanded, Handed};
use http::HeaderMap;
use http::HeaderName;
use http::header::CONTENT_TYPE;
use serde_json::json;

use super::images::{one_platform, platform, reference};
use crate::error::ApiError;
use crate::message::{self, Message};
use crate::query::Query;
use crate::server::Peer;
use crate::{body, registry_auth};

/// A file of a client on this machine that the answer is to be written to.
const OUTPUT: HeaderName = HeaderName::from_static("x-havre-output");

/// `POST /images/create`: a pull with `fromImage`, an import with `fromSrc`.
pub(super) async fn create(
    State(engine): State<Engine>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    if query.given("fromImage").is_some() {
        return pull(engine, &query, request.headers()).await;
    }
    match query.given("fromSrc") {
        Some(_) => import(engine, &query, request).await,
        None => Err(ApiError::bad_request(
            "one of the parameters fromImage and fromSrc is needed",
        )),
    }
}

async fn pull(engine: Engine, query: &Query, headers: &HeaderMap) -> Result<Response, ApiError> {
    let mut name = query.text("fromImage").trim().to_owned();
    // The tag comes apart from the name, and may be a digest.
    if let Some(tag) = query.given("tag") {
        name.push(if tag.contains(':') { '@' } else { ':' });
        name.push_str(tag);
    }
    let reference = reference(&name)?;
    // Clients that want one image say which; without tag and digest every tag is meant.
    let all_tags = reference.is_name_only();
    let options = PullOptions {
        platform: platform(query)?,
        all_tags,
        credentials: registry_auth::of(headers)?,
    };
    Ok(message::respond(|lines| async move {
        engine.images().pull(&reference, &options, &lines).await?;
        Ok(())
    })
    .await)
}

async fn import(engine: Engine, query: &Query, request: Request) -> Result<Response, ApiError> {
    let source = query.text("fromSrc").to_owned();
    if source != "-" {
        return Err(ApiError::not_implemented(
            "importing from a URL is not supported: fetch it and send it (fromSrc=-), as in `curl URL | docker import - NAME`",
        ));
    }
    let name = match query.given("repo") {
        None => None,
        Some(repository) => {
            let repository = reference(repository)?;
            Some(match query.given("tag") {
                Some(tag) => repository
                    .with_tag(tag)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?,
                None => repository.with_default_tag(),
            })
        }
    };
    let options = ImportOptions {
        reference: name,
        changes: query
            .all("changes")
            .flat_map(str::lines)
            .map(str::to_owned)
            .collect(),
        message: query.text("message").to_owned(),
        source,
        platform: platform(query)?,
    };
    let reader = body::reader(request.into_body());
    Ok(message::respond(|lines| async move {
        let id = engine.images().import(reader, options, &Silent).await?;
        lines.emit(ProgressEvent::line(id.to_string()));
        Ok(())
    })
    .await)
}

pub(super) async fn push(
    engine: Engine,
    name: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let mut reference = reference(name)?;
    if reference.digest().is_some() {
        return Err(ApiError::bad_request("cannot push a digest reference"));
    }
    if let Some(tag) = query.given("tag") {
        reference = reference
            .with_tag(tag)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
    }
    let options = PushOptions {
        all_tags: reference.is_name_only(),
        platform: platform(query)?,
        credentials: registry_auth::of(headers)?,
    };
    Ok(message::respond(|lines| async move {
        for pushed in engine.images().push(&reference, &options, &lines).await? {
            let aux = json!({"Tag": pushed.tag, "Digest": pushed.digest, "Size": pushed.size});
            lines.send(&Message::aux(aux));
        }
        Ok(())
    })
    .await)
}

/// `quiet` asks for no progress; the result is said anyway.
pub(super) async fn load(State(engine): State<Engine>, query: Query, request: Request) -> Response {
    let quiet = query.flag_or("quiet", true);
    let platforms: Result<Vec<Platform>, ApiError> = query.all("platform").map(one_platform).collect();
    let platforms = match platforms {
        Ok(platforms) => platforms,
        Err(error) => return error.into_response(),
    };
    let reader = body::reader(request.into_body());
    message::respond(|lines| async move {
        let loaded = if quiet {
            engine.images().load(reader, platforms, &Silent).await?
        } else {
            engine.images().load(reader, platforms, &lines).await?
        };
        for image in loaded {
            lines.send(&Message::stream(format!("{}\n", image.line())));
        }
        Ok(())
    })
    .await
}

pub(super) async fn save(
    State(engine): State<Engine>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let names: Vec<String> = query
        .all("names")
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(ApiError::bad_request("parameter names is missing"));
    }
    archive(&engine, &names, &save_options(&query)?, handed(&request)?).await
}

/// Beside Docker's parameter `platform`, of Havre's own: `since` names images whose layers are left out, `compress` the format of
/// the archive as a whole, `gzip` or `zstd`.
pub(super) fn save_options(query: &Query) -> Result<SaveOptions, ApiError> {
    let packing = match query.given("compress") {
        None => None,
        Some("gzip") => Some(Packing::of(Compression::Gzip)),
        Some("zstd") => Some(Packing::of(Compression::Zstd)),
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "invalid compression {other:?}: use gzip or zstd"
            )));
        }
    };
    Ok(SaveOptions {
        platform: platform(query)?,
        since: query.all("since").map(str::to_owned).collect(),
        packing,
    })
}

/// The archive of the named images: as the answer, or in the file that a client on this machine hands over, which the answer's
/// header then says.
pub(super) async fn archive(
    engine: &Engine,
    names: &[String],
    options: &SaveOptions,
    handed: Option<File>,
) -> Result<Response, ApiError> {
    if let Some(file) = handed {
        engine.images().save_to(names, options, file).await?;
        return Ok([(OUTPUT, "written")].into_response());
    }
    let archive = engine.images().save(names, options).await?;
    Ok(([(CONTENT_TYPE, "application/x-tar")], body::sent(archive).await?).into_response())
}

/// The client's file, if there is one and it is seen from here.
pub(super) fn handed(request: &Request) -> Result<Option<File>, ApiError> {
    let (Some(text), Some(Peer { pid })) = (
        request.headers().get(&OUTPUT),
        request.extensions().get::<Peer>().copied(),
    ) else {
        return Ok(None);
    };
    let handed: Handed = text
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ApiError::bad_request(format!("invalid header {OUTPUT}: {BadHanded}")))?;
    let file = handed.open(pid);
    if let Err(reason) = &file {
        tracing::debug!(%reason, "a client's file is not written in place");
    }
    Ok(file.ok())
}
