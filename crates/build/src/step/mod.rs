//! One stage carried out, step by step.

mod base;
mod cache;
mod copy;
mod download;
mod mounts;
mod run;
mod workdir;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use havre_image::Accounts;
use havre_image::ImageService;
use havre_oci::{Digest, Platform};
use havre_store::{Lease, Store};
use havre_sys::rooted::Root;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, Hashes, IgnoreRules};
use crate::copy::CopyError;
use crate::error::StepError;
use crate::event::{BuildEvent, Step};
use crate::executor::Executor;
use crate::fetch::Fetcher;
use crate::graph::{Graph, Stage};
use crate::instructions::{Instruction, Kind};
use crate::key::Key;
use crate::metadata;
use crate::parser::Span;
use crate::report::Reporter;
use crate::request::Resources;
use crate::sources::Sources;
use crate::state::{Globals, State};

pub(crate) use cache::STEP_MARK;

/// Everything the stages of one build share.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) images: Arc<ImageService>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) fetcher: Arc<dyn Fetcher>,
    pub(crate) context: Context,
    pub(crate) rules: IgnoreRules,
    pub(crate) graph: Graph,
    pub(crate) globals: Globals,
    pub(crate) escape: char,
    /// Asked for; the host's otherwise.
    pub(crate) platform: Option<Platform>,
    pub(crate) no_cache: bool,
    /// Images whose steps need not be done again.
    pub(crate) sources: Sources,
    pub(crate) pull: bool,
    pub(crate) network: String,
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) resources: Resources,
    pub(crate) credentials: Accounts,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) lease: Lease,
    pub(crate) cancel: CancellationToken,
    /// Images named so far, so that every name means one image throughout a build.
    pub(crate) bases: Mutex<BTreeMap<(String, Option<String>), Digest>>,
    pub(crate) results: Vec<watch::Receiver<Option<Arc<State>>>>,
    /// For mount points and downloads, on the store's file system; removed with the build.
    pub(crate) scratch: PathBuf,
    /// Directories of `RUN --mount=type=cache`.
    pub(crate) caches: PathBuf,
    pub(crate) total: usize,
    pub(crate) _scratch: tempfile::TempDir,
}

/// What a layer step left.
pub(crate) struct Outcome {
    pub(crate) created_by: String,
    /// The key of what was done, the state before not included.
    pub(crate) key: Digest,
    /// The layers after the step.
    pub(crate) layers: Vec<Digest>,
    pub(crate) created: jiff::Timestamp,
}

pub(crate) struct StageRun {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
    pub(crate) reporter: Arc<Reporter>,
    /// Number of the stage's `FROM`.
    pub(crate) first: usize,
}

impl StageRun {
    fn stage(&self) -> &Stage {
        &self.shared.graph.stages[self.index]
    }

    fn step(&self, number: usize, line: usize) -> Arc<Step> {
        Arc::new(Step {
            stage: Some(self.index),
            stage_name: self.stage().name.clone(),
            number,
            total: self.shared.total,
            line,
        })
    }

    /// Carries the whole stage out.
    pub(crate) async fn run(self) -> Result<State, (Span, StepError)> {
        let stage = self.stage();
        let lines = stage.from.lines.clone();
        let step = self.step(self.first, *lines.start());
        self.reporter.emit(BuildEvent::StepStarted {
            step: Arc::clone(&step),
            text: stage.from.original.clone(),
        });
        let mut state = self.begin(&step).await.map_err(|error| (lines.clone(), error))?;
        let id = state
            .image
            .clone()
            .filter(|_| !state.changed)
            .unwrap_or_else(|| state.key.clone());
        self.reporter.emit(BuildEvent::StepFinished {
            step: Arc::clone(&step),
            id,
        });
        self.triggers(&step, &mut state)
            .await
            .map_err(|error| (lines, error))?;
        let mut number = self.first;
        for instruction in &stage.instructions {
            number += 1;
            let lines = instruction.lines.clone();
            let step = self.step(number, *lines.start());
            let text = instruction.original.clone();
            self.reporter.emit(BuildEvent::StepStarted {
                step: Arc::clone(&step),
                text,
            });
            self.instruction(&step, &mut state, instruction)
                .await
                .map_err(|error| (lines, error))?;
        }
        if self.index == self.shared.graph.target && !self.shared.labels.is_empty() {
            self.labels(number + 1, &mut state)
                .await
                .map_err(|error| (0..=0, error))?;
        }
        Ok(state)
    }

    /// `--label`, as one more step.
    async fn labels(&self, number: usize, state: &mut State) -> Result<(), StepError> {
        let step = self.step(number, 0);
        let pairs: Vec<String> = self
            .shared
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let text = format!("LABEL {}", pairs.join(" "));
        self.reporter.emit(BuildEvent::StepStarted {
            step: Arc::clone(&step),
            text: text.clone(),
        });
        let labels = &mut state.config.config.labels;
        labels.extend(
            self.shared
                .labels
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        let created_by = state.nop(&text);
        self.note(&step, state, created_by).await
    }

    async fn instruction(
        &self,
        step: &Arc<Step>,
        state: &mut State,
        instruction: &Instruction,
    ) -> Result<(), StepError> {
        if self.shared.cancel.is_cancelled() {
            return Err(StepError::Cancelled);
        }
        let shared = &self.shared;
        let outcome = match &instruction.kind {
            Kind::Run(run) => self.run_step(step, state, run).await?,
            Kind::Copy(copy) => self.copy_step(step, state, copy).await?,
            Kind::Workdir(text) => {
                let path = metadata::workdir(text, state, shared.escape)?;
                state.config.config.working_dir = path;
                self.workdir_step(step, state).await?
            }
            kind => {
                let Some(created_by) = metadata::apply(kind, state, &shared.globals, shared.escape)? else {
                    return Ok(());
                };
                return self.note(step, state, created_by).await;
            }
        };
        let mut key = Key::new("step");
        key.text(state.key.as_str())
            .text(outcome.key.as_str())
            .texts(&outcome.layers);
        state.key = key.finish();
        let empty = outcome.layers.len() == state.layers.len();
        state.layers = outcome.layers;
        state.record(outcome.created, outcome.created_by, empty);
        self.reporter.emit(BuildEvent::StepFinished {
            step: Arc::clone(step),
            id: state.key.clone(),
        });
        Ok(())
    }

    /// Records a step without files. Its time comes from the cache, so that the same build gives the same image.
    async fn note(&self, step: &Arc<Step>, state: &mut State, created_by: String) -> Result<(), StepError> {
        let mut key = Key::new("note");
        key.text(state.key.as_str()).text(&created_by);
        key.bytes(&serde_json::to_vec(&state.config.config).unwrap_or_default());
        state.key = key.finish();
        let (shared, key) = (Arc::clone(&self.shared), state.key.clone());
        let done = self.shared.sources.find(state, &created_by);
        let (created, hit) = match done {
            Some(done) => (done.created, true),
            None => blocking(move || cache::note(&shared, &key)).await?,
        };
        if hit {
            self.reporter.emit(BuildEvent::Cached {
                step: Arc::clone(step),
            });
        }
        state.record(created, created_by, true);
        self.reporter.emit(BuildEvent::StepFinished {
            step: Arc::clone(step),
            id: state.key.clone(),
        });
        Ok(())
    }

    /// The finished stage `index`.
    async fn finished(&self, index: usize) -> Result<Arc<State>, StepError> {
        let mut receiver = self
            .shared
            .results
            .get(index)
            .cloned()
            .ok_or(StepError::Upstream)?;
        let state = receiver
            .wait_for(Option::is_some)
            .await
            .map_err(|_| StepError::Upstream)?;
        state.clone().ok_or(StepError::Upstream)
    }
}

/// A file system other than the step's own, opened for reading.
pub(crate) struct Files {
    pub(crate) root: Root,
    pub(crate) from_context: bool,
    _view: Option<(havre_store::View, tempfile::TempDir)>,
}

impl Files {
    pub(crate) fn context(shared: &Shared) -> Result<Files, StepError> {
        Ok(Files {
            root: shared.context.root().map_err(io("open the context"))?,
            from_context: true,
            _view: None,
        })
    }

    /// Mounts a stack of layers read-only.
    pub(crate) fn layers(shared: &Shared, layers: &[Digest]) -> Result<Files, StepError> {
        let target = tempfile::tempdir_in(&shared.scratch).map_err(io("create a mount point"))?;
        if layers.is_empty() {
            let root = Root::open(target.path()).map_err(io("open an empty stage"))?;
            // The directory may go: the descriptor keeps an empty tree.
            return Ok(Files {
                root,
                from_context: false,
                _view: None,
            });
        }
        let view = shared.store.snapshots().view(layers, target.path())?;
        let root = Root::open(view.path()).map_err(io("open a stage"))?;
        Ok(Files {
            root,
            from_context: false,
            _view: Some((view, target)),
        })
    }

    /// What earlier builds know of the context's files.
    pub(crate) fn hashes<'a>(&self, shared: &'a Shared) -> Option<&'a Hashes> {
        self.from_context.then(|| shared.context.hashes())
    }

    pub(crate) fn rules<'a>(&self, shared: &'a Shared) -> Option<&'a IgnoreRules> {
        self.from_context.then_some(&shared.rules)
    }
}

pub(crate) fn io(action: &str) -> impl FnOnce(std::io::Error) -> StepError + use<'_> {
    move |source| StepError::Io {
        action: action.to_owned(),
        source,
    }
}

/// How long to wait after each reading of files that changed meanwhile, in milliseconds; after the last one fails, the
/// step does.
const PAUSES: [u64; 5] = [10, 30, 60, 120, 250];

/// Does `work`, again if a file changed while it was read.
pub(crate) fn patiently<T>(
    shared: &Shared,
    mut work: impl FnMut() -> Result<T, StepError>,
) -> Result<T, StepError> {
    for pause in PAUSES {
        match work() {
            Err(StepError::Copy(CopyError::Changed { path })) => {
                tracing::debug!(path, "changed while it was read");
            }
            other => return other,
        }
        if shared.cancel.is_cancelled() {
            return Err(StepError::Cancelled);
        }
        std::thread::sleep(std::time::Duration::from_millis(pause));
    }
    work()
}

/// Runs blocking work off the asynchronous threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(StepError::Worker))
}
