//! Builds, and what they leave in the cache.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use havre_engine::Engine;
use havre_engine::build::context::{BadClaim, Claim, Context, Unseen};
use havre_engine::build::{BuildEvent, BuildRequest, DockerfileSource, Resources, Ulimit};
use havre_engine::image::{Progress, ProgressEvent};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::io::SyncIoBridge;

use super::images::platform;
use super::images::reference;
use crate::body;
use crate::error::ApiError;
use crate::json::Json;
use crate::message::{self, Failure, Lines, Message};
use crate::model::non_empty;
use crate::query::Query;
use crate::registry_auth;
use crate::server::Peer;

/// The header a client on this machine describes its context directory with; the answer to a ping has it, with the
/// version of its contents, to say that it is understood.
pub(super) const LOCAL_CONTEXT: HeaderName = HeaderName::from_static("x-havre-context");
/// A Dockerfile is not larger, in bytes.
const MAX_DOCKERFILE: usize = 16 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UlimitParameter {
    name: String,
    soft: i64,
    hard: i64,
}

/// Everything of a request but the context.
struct Parameters {
    quiet: bool,
    fill: Box<dyn FnOnce(&mut BuildRequest) + Send>,
}

fn parameters(query: &Query, headers: &http::HeaderMap) -> Result<Parameters, ApiError> {
    refuse_unsupported(query)?;
    let mut tags = Vec::new();
    for name in query.all("t").filter(|name| !name.is_empty()) {
        let reference = reference(name)?;
        if reference.digest().is_some() {
            return Err(ApiError::bad_request("build tag cannot contain a digest"));
        }
        tags.push(reference.with_default_tag());
    }
    let build_args: BTreeMap<String, Option<String>> = query.json("buildargs")?;
    let labels: BTreeMap<String, String> = query.json("labels")?;
    let ulimits: Vec<UlimitParameter> = query.json("ulimits")?;
    let ulimits = ulimits.into_iter().map(|ulimit| Ulimit {
        name: ulimit.name,
        soft: ulimit.soft,
        hard: ulimit.hard,
    });
    let number = |key| Ok::<i64, ApiError>(query.number(key)?.unwrap_or(0));
    let resources = Resources {
        memory: number("memory")?,
        memory_swap: number("memswap")?,
        cpu_shares: number("cpushares")?,
        cpu_period: number("cpuperiod")?,
        cpu_quota: number("cpuquota")?,
        cpuset_cpus: query.text("cpusetcpus").to_owned(),
        cpuset_mems: query.text("cpusetmems").to_owned(),
        shm_size: number("shmsize")?,
        ulimits: ulimits.collect(),
        cgroup_parent: query.text("cgroupparent").to_owned(),
        security_opt: query
            .all("securityopt")
            .filter(|option| !option.is_empty())
            .map(str::to_owned)
            .collect(),
    };
    let cache_from: Vec<String> = query.json("cachefrom")?;
    let dockerfile = query
        .given("dockerfile")
        .map(|path| DockerfileSource::Path(path.to_owned()));
    let platform = platform(query)?;
    let target = query.given("target").map(str::to_owned);
    let network = query.text("networkmode").to_owned();
    let extra_hosts = query
        .all("extrahosts")
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect();
    let credentials = registry_auth::all_of(headers)?;
    let (no_cache, pull) = (query.flag("nocache"), query.flag("pull"));
    let squash = query.flag("squash");
    Ok(Parameters {
        quiet: query.flag("q"),
        fill: Box::new(move |request| {
            request.dockerfile = dockerfile.unwrap_or_default();
            request.tags = tags;
            request.build_args = build_args;
            request.target = target;
            request.no_cache = no_cache;
            request.squash = squash;
            request.cache_from = cache_from;
            request.pull = pull;
            request.labels = labels;
            request.network = network;
            request.platform = platform;
            request.resources = resources;
            request.extra_hosts = extra_hosts;
            request.credentials = credentials;
        }),
    })
}

/// What would have no effect is refused instead of ignored.
fn refuse_unsupported(query: &Query) -> Result<(), ApiError> {
    if matches!(query.text("version"), "2") {
        return Err(ApiError::not_implemented(
            "BuildKit is not supported: set DOCKER_BUILDKIT=0",
        ));
    }
    if query.given("remote").is_some() {
        return Err(ApiError::not_implemented(
            "building from a URL is not supported: fetch it and build from the directory or send it as a tar",
        ));
    }
    let isolation = query.text("isolation");
    if !matches!(isolation, "" | "default") {
        return Err(ApiError::bad_request(format!(
            "invalid isolation {isolation:?}: on Linux there is none but default"
        )));
    }
    if query
        .given("outputs")
        .is_some_and(|outputs| !matches!(outputs, "null" | "[]"))
    {
        return Err(ApiError::not_implemented(
            "build outputs other than an image are not supported",
        ));
    }
    Ok(())
}

pub(super) async fn build(
    State(engine): State<Engine>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let parameters = parameters(&query, &parts.headers)?;
    let (context, text) = if let Some(claim) = parts.headers.get(&LOCAL_CONTEXT) {
        let peer = parts.extensions.get::<Peer>().copied();
        let context = match open(claim, peer).await? {
            Ok(context) => {
                tracing::debug!(path = %context.path().display(), "a build context is read in place");
                context
            }
            Err(unseen) => return Err(refuse(&unseen)),
        };
        (context, dockerfile(&parts.headers, body).await?)
    } else {
        let builds = engine.builds().clone();
        let reader = SyncIoBridge::new(body::reader(body));
        let context = tokio::task::spawn_blocking(move || builds.receive(reader)).await;
        let context = context
            .map_err(|error| ApiError::internal(format!("reading the build context failed: {error}")))?
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        (context, None)
    };
    let mut request = BuildRequest::new(context);
    (parameters.fill)(&mut request);
    if let Some(text) = text {
        let name = query.text("dockerfile").to_owned();
        request.dockerfile = DockerfileSource::Text { name, text };
    }
    Ok(message::respond(move |lines| run(engine, request, parameters.quiet, lines)).await)
}

/// Opens the directory a client on this machine names instead of sending it. An inner error tells the client to send its
/// files after all.
async fn open(claim: &HeaderValue, peer: Option<Peer>) -> Result<Result<Context, Unseen>, ApiError> {
    let claim: Claim = claim
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ApiError::bad_request(format!("invalid header {LOCAL_CONTEXT}: {BadClaim}")))?;
    let Some(Peer { pid }) = peer else {
        return Ok(Err(Unseen::Machine));
    };
    let opened = tokio::task::spawn_blocking(move || Context::of_peer(pid, &claim)).await;
    opened.map_err(|error| ApiError::internal(format!("opening the build context failed: {error}")))
}

/// The client knows this status and sends its files.
fn refuse(unseen: &Unseen) -> ApiError {
    tracing::debug!(%unseen, "a local build context is not seen");
    let message = format!("send the build context as a tar: {unseen}");
    ApiError::new(StatusCode::PRECONDITION_FAILED, message)
}

/// With a local context the body is the text of a Dockerfile from elsewhere, if it is said to be one.
async fn dockerfile(headers: &http::HeaderMap, body: Body) -> Result<Option<Vec<u8>>, ApiError> {
    let told = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if told != Some("text/x-dockerfile") {
        return Ok(None);
    }
    let text = axum::body::to_bytes(body, MAX_DOCKERFILE).await;
    let text =
        text.map_err(|error| ApiError::bad_request(format!("failed to read the Dockerfile: {error}")))?;
    Ok(Some(text.to_vec()))
}

/// The most output that a quiet build keeps for the case that it fails, in bytes.
const KEPT: usize = 1 << 20;

async fn run(engine: Engine, request: BuildRequest, quiet: bool, lines: Lines) -> Result<(), Failure> {
    let (sender, mut events) = tokio::sync::mpsc::channel::<BuildEvent>(256);
    let said = AtomicBool::new(false);
    let mut kept = String::new();
    let report = async {
        while let Some(event) = events.recv().await {
            if quiet {
                if let Some(text) = event.classic()
                    && kept.len() + text.len() <= KEPT
                {
                    kept.push_str(&text);
                }
            } else {
                said.store(true, Ordering::Relaxed);
                tell(&event, &lines);
            }
        }
    };
    let (outcome, ()) = tokio::join!(engine.builds().build(request, sender), report);
    match outcome {
        Ok(built) => {
            if quiet {
                lines.send(&Message::stream(format!("{}\n", built.id)));
            }
            Ok(())
        }
        Err(error) => {
            let code = error.exit_code();
            let excerpt = error.excerpt().map(str::to_owned).unwrap_or_default();
            if !kept.is_empty() {
                said.store(true, Ordering::Relaxed);
                lines.send(&Message::stream(kept));
            }
            if said.load(Ordering::Relaxed) {
                if !excerpt.is_empty() {
                    lines.send(&Message::stream(format!("{}\n", excerpt.trim_end())));
                }
                return Err(Failure::with_code(error, code));
            }
            // Nothing was said yet: the answer is a status, and the message all there is.
            let error = ApiError::from(error);
            let message = match excerpt.trim_end() {
                "" => error.to_string(),
                excerpt => format!("{error}\n{excerpt}"),
            };
            Err(Failure::with_code(ApiError::new(error.status(), message), code))
        }
    }
}

/// One event in the classic builder's words.
fn tell(event: &BuildEvent, lines: &Lines) {
    match event {
        BuildEvent::Pull { progress, .. } => lines.emit(progress.clone()),
        BuildEvent::Download {
            url, current, total, ..
        } => {
            lines.emit(ProgressEvent::bytes(
                url.clone(),
                "Downloading",
                *current,
                total.unwrap_or(0),
            ));
        }
        BuildEvent::Built { id } => lines.send(&Message::aux(json!({"ID": id}))),
        _ => {}
    }
    if let Some(text) = event.classic() {
        lines.send(&Message::stream(text));
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pruned {
    caches_deleted: Option<Vec<String>>,
    space_reclaimed: u64,
}

pub(super) async fn prune(State(engine): State<Engine>, query: Query) -> Result<Json<Pruned>, ApiError> {
    // `keep-storage` until API 1.47, `reserved-space` since.
    let mut keep = 0;
    for key in ["keep-storage", "reserved-space"] {
        keep = u64::max(keep, query.number(key)?.unwrap_or(0));
    }
    for key in ["max-used-space", "min-free-space"] {
        if query.number::<i64>(key)?.unwrap_or(0) != 0 {
            return Err(ApiError::not_implemented(format!(
                "parameter {key} is not supported: use reserved-space"
            )));
        }
    }
    let pruned = engine
        .builds()
        .prune_cache(query.flag("all"), keep, query.filters()?)
        .await?;
    Ok(Json(Pruned {
        caches_deleted: non_empty(pruned.ids),
        space_reclaimed: pruned.reclaimed,
    }))
}
