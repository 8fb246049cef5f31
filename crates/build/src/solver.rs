//! Runs what the target needs: every stage as soon as what it waits for is there, events in the Dockerfile's order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use havre_image::ImageService;
use havre_store::{Lease, Store};
use tokio::sync::{Mutex, mpsc, watch};

use crate::builder::Prepared;
use crate::error::{BuildError, StepError, excerpt};
use crate::event::{BuildEvent, Step};
use crate::executor::Executor;
use crate::fetch::Fetcher;
use crate::parser::Span;
use crate::report::{self, Reporter};
use crate::request::BuildRequest;
use crate::sources::Sources;
use crate::state::State;
use crate::step::{STEP_MARK, Shared, StageRun};

/// What a build works with.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) images: Arc<ImageService>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) fetcher: Arc<dyn Fetcher>,
}

/// The target stage, and what keeps its layers until an image does.
pub(crate) struct Solved {
    pub(crate) state: State,
    pub(crate) lease: Lease,
}

/// Where cache mounts are kept.
pub(crate) fn caches(store: &Store) -> PathBuf {
    store.layout().root().join("build/caches")
}

/// Where digests of the files of context directories are kept.
pub(crate) fn contexts(store: &Store) -> PathBuf {
    store.layout().root().join("build/contexts")
}

pub(crate) async fn solve(
    parts: Parts,
    request: BuildRequest,
    prepared: Prepared,
    events: &mpsc::Sender<BuildEvent>,
) -> Result<Solved, BuildError> {
    let cancel = request.cancel.child_token();
    // Dropping this future ends every step it started.
    let _guard = cancel.clone().drop_guard();
    let scratch = scratch(&parts.store).map_err(|source| BuildError::Io {
        action: "create a scratch directory",
        source,
    })?;
    let caches = caches(&parts.store);
    let Prepared {
        name,
        text,
        escape,
        rules,
        globals,
        graph,
        warnings,
        unused,
    } = prepared;

    let needed = graph.needed.clone();
    let mut total = graph.global.len() + usize::from(!request.labels.is_empty());
    let mut firsts = BTreeMap::new();
    let mut number = graph.global.len() + 1;
    for index in &needed {
        firsts.insert(*index, number);
        number += 1 + graph.stages[*index].instructions.len();
        total += 1 + graph.stages[*index].instructions.len();
    }
    let (mut reporters, receiver) = report::lanes(needed.len() + 2);
    let (epilogue, prologue) = (reporters.pop(), reporters.remove(0));
    for warning in warnings {
        prologue.emit(BuildEvent::Warning {
            message: format!("[Warning] {warning}"),
        });
    }
    for (index, instruction) in graph.global.iter().enumerate() {
        let step = Step {
            stage: None,
            stage_name: None,
            number: index + 1,
            total,
            line: *instruction.lines.start(),
        };
        prologue.emit(BuildEvent::StepStarted {
            step: Arc::new(step),
            text: instruction.original.clone(),
        });
    }
    let sources = sources(&parts, &request, &prologue).await?;
    drop(prologue);

    let (senders, results): (Vec<_>, Vec<_>) = graph.stages.iter().map(|_| watch::channel(None)).unzip();
    let target = graph.target;
    let shared = Arc::new(Shared {
        lease: parts.store.lease(),
        store: parts.store,
        images: parts.images,
        executor: parts.executor,
        fetcher: parts.fetcher,
        context: request.context,
        rules,
        graph,
        globals,
        escape,
        platform: request.platform,
        no_cache: request.no_cache,
        sources,
        pull: request.pull,
        network: request.network,
        extra_hosts: request.extra_hosts,
        resources: request.resources,
        credentials: request.credentials,
        labels: request.labels,
        cancel: cancel.clone(),
        bases: Mutex::new(BTreeMap::new()),
        results,
        scratch: scratch.path().to_path_buf(),
        caches,
        total,
        _scratch: scratch,
    });
    let lease = shared.lease.clone();

    let mut senders: Vec<Option<watch::Sender<_>>> = senders.into_iter().map(Some).collect();
    let mut running = FuturesUnordered::new();
    for (index, reporter) in needed.iter().copied().zip(reporters) {
        let run = StageRun {
            shared: Arc::clone(&shared),
            index,
            reporter,
            first: firsts[&index],
        };
        let sender = senders[index].take();
        running.push(async move {
            let state = run.run().await?;
            if let Some(sender) = sender {
                sender.send_replace(Some(Arc::new(state.clone())));
            }
            Ok::<_, (Span, StepError)>((index, state))
        });
    }
    drop(senders);
    let work = async {
        let mut failure: Option<(Span, StepError)> = None;
        let mut result = None;
        while let Some(done) = running.next().await {
            match done {
                Ok((index, state)) if index == target => result = Some(state),
                Ok(_) => {}
                // Consequences of the failure that is reported.
                Err((_, StepError::Upstream | StepError::Cancelled)) => {}
                Err(error) => {
                    failure.get_or_insert(error);
                    cancel.cancel();
                }
            }
        }
        if failure.is_none() && result.is_some() && !unused.is_empty() {
            let message = format!(
                "[Warning] One or more build-args [{}] were not consumed",
                unused.join(" ")
            );
            if let Some(epilogue) = &epilogue {
                epilogue.emit(BuildEvent::Warning { message });
            }
        }
        drop(epilogue);
        match (failure, result) {
            (Some(failure), _) => Err(Some(failure)),
            (None, Some(state)) => Ok(state),
            (None, None) => Err(None),
        }
    };
    let (result, ()) = tokio::join!(work, report::forward(receiver, events));
    match result {
        Ok(state) => Ok(Solved { state, lease }),
        Err(None) => Err(BuildError::Cancelled),
        Err(Some((lines, source))) => {
            let excerpt = (*lines.start() > 0).then(|| excerpt(&name, &text, &lines));
            Err(BuildError::Step {
                source: Box::new(source),
                lines,
                excerpt,
            })
        }
    }
}

/// The images named as cache sources that are here.
async fn sources(parts: &Parts, request: &BuildRequest, reporter: &Reporter) -> Result<Sources, BuildError> {
    let mut sources = Sources::default();
    if request.no_cache {
        return Ok(sources);
    }
    for name in &request.cache_from {
        let found = match parts.images.resolve(name).await {
            Ok(image) => parts.images.config(&image.id).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(config) => sources.add(config),
            Err(error) => reporter.emit(BuildEvent::Warning {
                message: format!("Could not look up {name} for cache resolution, skipping: {error}"),
            }),
        }
    }
    Ok(sources)
}

/// Where mount points and downloads of running builds are.
fn temporary(store: &Store) -> PathBuf {
    store.layout().root().join("build/tmp")
}

/// A fresh directory on the store's file system.
fn scratch(store: &Store) -> std::io::Result<tempfile::TempDir> {
    let directory = temporary(store);
    fs::create_dir_all(&directory)?;
    fs::create_dir_all(caches(store))?;
    tempfile::Builder::new().prefix("build-").tempdir_in(&directory)
}

/// Removes what builds left that were cut off by the end of their process: snapshots, mounts, downloads. Only before
/// the first build of a process; the store's lock makes sure that there is no other.
pub(crate) fn sweep(store: &Store) {
    for snapshot in store.snapshots().list().unwrap_or_default() {
        if snapshot.dir.join(STEP_MARK).exists()
            && let Err(error) = store.snapshots().remove(&snapshot.id)
        {
            tracing::warn!(id = snapshot.id, %error, "an interrupted build step left its snapshot");
        }
    }
    let directories = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    };
    for build in directories(&temporary(store)) {
        // What is mounted must go before anything in it is touched.
        let mounted = directories(&build).into_iter().filter(|path| {
            havre_sys::mount::is_mount_point(path).unwrap_or(true)
                && havre_sys::mount::unmount(path, true).is_err()
        });
        if mounted.count() > 0 {
            tracing::warn!(path = %build.display(), "an interrupted build left mounts");
            continue;
        }
        if let Err(error) = fs::remove_dir_all(&build) {
            tracing::warn!(%error, "an interrupted build left files");
        }
    }
}
