//! What registries have.

use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use havre_engine::Engine;
use havre_engine::image::{
    Access, CopyOptions, Freshness, NewManifest, Outdated, PlannedLayer, Progress as _, ProgressEvent,
    PullOptions, RemoteTag, Silent, Source, TagQuery,
};
use havre_oci::{Descriptor, Digest, Platform, Reference};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::images::{platform, reference};
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::json::Json;
use crate::message;
use crate::query::Query;
use crate::registry_auth;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct View {
    descriptor: Descriptor,
    platforms: Vec<Platform>,
}

/// `GET /distribution/NAME/json`, where the name may hold slashes.
pub(super) async fn inspect(
    State(engine): State<Engine>,
    Path(rest): Path<String>,
    headers: HeaderMap,
) -> Result<Json<View>, ApiError> {
    let name = rest.strip_suffix("/json").ok_or_else(ApiError::page_not_found)?;
    let found = engine
        .images()
        .service()
        .distribution(&reference(name)?, &registry_auth::of(&headers)?)
        .await?;
    Ok(Json(View {
        descriptor: found.descriptor,
        platforms: found.platforms,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ManifestView {
    descriptor: Descriptor,
    /// The bytes, in base64.
    raw: String,
}

/// `GET /havre/manifests/NAME`: a manifest or index, byte for byte.
pub(super) async fn manifest(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Json<ManifestView>, ApiError> {
    let found = engine
        .images()
        .service()
        .remote_manifest(&reference(&name)?, &access(&query, &headers)?)
        .await?;
    Ok(Json(ManifestView {
        descriptor: found.descriptor,
        raw: STANDARD.encode(found.bytes),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ManifestBody {
    media_type: String,
    /// The bytes, in base64.
    raw: String,
    /// Names whose repositories have what the target's lacks.
    #[serde(default)]
    sources: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PushedView {
    pub(super) descriptor: Descriptor,
}

/// The bytes of a document in a request.
pub(super) fn decoded(raw: &str) -> Result<Vec<u8>, ApiError> {
    STANDARD
        .decode(raw)
        .map_err(|error| ApiError::bad_request(format!("invalid Raw: {error}")))
}

/// `PUT /havre/manifests/NAME`: a manifest or index, after what it names. `X-Registry-Auth` is for the target,
/// `X-Registry-Config` for the sources.
pub(super) async fn push(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
    body: JsonBody<ManifestBody>,
) -> Result<Json<PushedView>, ApiError> {
    let body = body.required()?;
    let bytes = decoded(&body.raw)?;
    let target = reference(&name)?;
    let access = access(&query, &headers)?;
    let others = registry_auth::all_of(&headers)?;
    let source = |name: &String| {
        let reference = reference(name)?;
        let mut access = access.clone();
        if reference.domain() != target.domain() {
            access.credentials = others.of(&reference);
        }
        Ok(Source { reference, access })
    };
    let new = NewManifest {
        media_type: body.media_type,
        bytes,
        sources: body.sources.iter().map(source).collect::<Result<_, ApiError>>()?,
    };
    let descriptor = engine
        .images()
        .service()
        .push_document(&target, &new, &access, &Silent)
        .await?;
    Ok(Json(PushedView { descriptor }))
}

pub(super) fn access(query: &Query, headers: &HeaderMap) -> Result<Access, ApiError> {
    Ok(Access {
        credentials: registry_auth::of(headers)?,
        insecure: query.flag("insecure"),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagsView {
    total: usize,
    tags: Vec<TagView>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagView {
    tag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<jiff::Timestamp>,
    platforms: Vec<Platform>,
}

/// `GET /havre/tags/NAME?pattern=…&skip=N&limit=N&details=1`: tags of a repository, newest version first.
pub(super) async fn tags(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Json<TagsView>, ApiError> {
    let wanted = TagQuery {
        patterns: query.all("pattern").map(str::to_owned).collect(),
        skip: query.number("skip")?.unwrap_or(0),
        limit: query.number("limit")?,
        details: query.flag("details"),
    };
    let found = engine
        .images()
        .service()
        .remote_tags(&reference(&name)?, &access(&query, &headers)?, &wanted)
        .await?;
    let view = |tag: RemoteTag| TagView {
        tag: tag.tag,
        digest: tag.digest,
        size: tag.size,
        created: tag.created,
        platforms: tag.platforms,
    };
    Ok(Json(TagsView {
        total: found.total,
        tags: found.tags.into_iter().map(view).collect(),
    }))
}

/// `POST /havre/copy?from=NAME&to=NAME&platform=…&referrers=1`: from registry to registry, with progress. Both registries'
/// credentials are those of `X-Registry-Config`.
pub(super) async fn copy(
    State(engine): State<Engine>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let others = registry_auth::all_of(&headers)?;
    let insecure = query.flag("insecure");
    let access = |reference: &Reference| Access {
        credentials: others.of(reference),
        insecure,
    };
    let from = reference(query.text("from"))?.with_default_tag();
    let to = reference(query.text("to"))?.with_default_tag();
    let source = Source {
        access: access(&from),
        reference: from,
    };
    let target = access(&to);
    let options = CopyOptions {
        platform: platform(&query)?,
        referrers: query.flag("referrers"),
    };
    Ok(message::respond(|lines| async move {
        let copied = engine
            .images()
            .service()
            .copy(&source, &to, &target, &options, &lines)
            .await?;
        lines.emit(ProgressEvent::line(format!("Digest: {}", copied.digest)));
        Ok(())
    })
    .await)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OutdatedView {
    name: String,
    image: Digest,
    pulled: Digest,
    /// `current`, `moved`, `gone` or `unknown`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// `GET /havre/outdated?name=…`: local tags, and what their registries have under them.
pub(super) async fn outdated(
    State(engine): State<Engine>,
    query: Query,
    headers: HeaderMap,
) -> Result<Json<Vec<OutdatedView>>, ApiError> {
    let names = query.all("name").map(reference).collect::<Result<Vec<_>, _>>()?;
    let found = engine
        .images()
        .service()
        .outdated(&names, &registry_auth::all_of(&headers)?)
        .await?;
    let view = |one: Outdated| {
        let (state, remote, error) = match one.freshness {
            Freshness::Current => ("current", Some(one.pulled.clone()), None),
            Freshness::Moved(digest) => ("moved", Some(digest), None),
            Freshness::Gone => ("gone", None, None),
            Freshness::Unknown(error) => ("unknown", None, Some(error)),
        };
        OutdatedView {
            name: one.reference.familiar(),
            image: one.image,
            pulled: one.pulled,
            state,
            remote,
            error,
        }
    };
    Ok(Json(found.into_iter().map(view).collect()))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReferrersView {
    subject: Digest,
    referrers: Vec<Descriptor>,
}

/// `GET /havre/referrers/NAME`: what refers to a manifest or index.
pub(super) async fn referrers(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Json<ReferrersView>, ApiError> {
    let (subject, referrers) = engine
        .images()
        .service()
        .remote_referrers(&reference(&name)?, &access(&query, &headers)?)
        .await?;
    Ok(Json(ReferrersView { subject, referrers }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PullPlanView {
    digest: Digest,
    platform: Platform,
    up_to_date: bool,
    /// Bytes to be downloaded.
    download: u64,
    layers: Vec<PlannedLayerView>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PlannedLayerView {
    digest: Digest,
    size: u64,
    present: bool,
}

/// `GET /havre/pull/NAME?platform=…`: what a pull would download.
pub(super) async fn pull_plan(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Json<PullPlanView>, ApiError> {
    let options = PullOptions {
        platform: platform(&query)?,
        all_tags: false,
        credentials: registry_auth::of(&headers)?,
    };
    let plan = engine
        .images()
        .service()
        .pull_plan(&reference(&name)?, &options)
        .await?;
    let view = |layer: PlannedLayer| PlannedLayerView {
        digest: layer.digest,
        size: layer.size,
        present: layer.present,
    };
    Ok(Json(PullPlanView {
        digest: plan.digest,
        platform: plan.platform,
        up_to_date: plan.up_to_date,
        download: plan.download,
        layers: plan.layers.into_iter().map(view).collect(),
    }))
}
