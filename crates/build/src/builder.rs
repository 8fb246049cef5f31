//! The builder: one build from request to image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use havre_dockerfile::PROXY_ARGS;
use havre_image::{CreateImage, ImageService};
use havre_oci::{Digest, Platform, Reference};
use havre_store::Store;
use havre_sys::rooted::Root;
use tokio::sync::mpsc;

use crate::context::{IgnoreRules, clean};
use crate::error::{BuildError, excerpt};
use crate::event::BuildEvent;
use crate::executor::Executor;
use crate::expand;
use crate::fetch::Fetcher;
use crate::graph::{self, Graph, GraphError};
use crate::http::HttpFetcher;
use crate::instructions::{self, Kind};
use crate::parser::{self, MAX_BYTES};
use crate::request::{BuildRequest, DockerfileSource};
use crate::solver::{self, Solved};
use crate::state::Globals;

/// Largest ignore file read, in bytes.
const MAX_IGNORE: u64 = 4 << 20;

/// Clients put a Dockerfile from outside of the context into their archive under a name that begins so. It is no part
/// of the context.
const SENT_ALONG: &str = ".dockerfile.";

/// A finished build.
#[derive(Debug, Clone)]
pub struct Built {
    /// Image id (config digest).
    pub id: Digest,
    pub tags: Vec<Reference>,
}

/// Builds images from Dockerfiles. Cheap to share; any number of builds at the same time.
pub struct Builder {
    store: Arc<Store>,
    images: Arc<ImageService>,
    executor: Arc<dyn Executor>,
    fetcher: Arc<dyn Fetcher>,
}

/// A Dockerfile understood.
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) text: Vec<u8>,
    pub(crate) escape: char,
    pub(crate) rules: IgnoreRules,
    pub(crate) globals: Globals,
    pub(crate) graph: Graph,
    pub(crate) warnings: Vec<String>,
    /// Build arguments no `ARG` asks for.
    pub(crate) unused: Vec<String>,
}

impl Builder {
    /// Makes the store's one builder, and removes what builds of an earlier process left half-done. Blocking.
    pub fn new(store: Arc<Store>, images: Arc<ImageService>, executor: Arc<dyn Executor>) -> Self {
        solver::sweep(&store);
        Builder {
            store,
            images,
            executor,
            fetcher: Arc::new(HttpFetcher::default()),
        }
    }

    /// Replaces the built-in HTTP client of `ADD url`.
    #[must_use]
    pub fn with_fetcher(mut self, fetcher: Arc<dyn Fetcher>) -> Self {
        self.fetcher = fetcher;
        self
    }

    /// Carries the request out. Events go to `events` in order; a closed channel does not stop the build.
    ///
    /// Completed steps stay in the build cache when a later one fails; the image and its names appear only when
    /// everything has succeeded. Cancelling the request's token or dropping the future kills the running step and
    /// drops what is half-built.
    pub async fn build(
        &self,
        mut request: BuildRequest,
        events: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildError> {
        let memory = solver::contexts(&self.store);
        let (request, prepared) = tokio::task::spawn_blocking(move || {
            request.context.remember(&memory);
            let prepared = prepare(&request)?;
            Ok::<_, BuildError>((request, prepared))
        })
        .await
        .map_err(|error| BuildError::Io {
            action: "read the Dockerfile",
            source: error.into(),
        })??;
        let tags: Vec<Reference> = request
            .tags
            .iter()
            .cloned()
            .map(Reference::with_default_tag)
            .collect();
        let parts = solver::Parts {
            store: Arc::clone(&self.store),
            images: Arc::clone(&self.images),
            executor: Arc::clone(&self.executor),
            fetcher: Arc::clone(&self.fetcher),
        };
        let squash = request.squash;
        let solved = solver::solve(parts, request, prepared, &events).await?;
        let id = match squash && self.adds_layers(&solved).await? {
            true => self.export_squashed(&solved, &tags).await?,
            false => self.export(&solved, &tags).await?,
        };
        let _ = events.send(BuildEvent::Built { id: id.clone() }).await;
        for tag in &tags {
            let _ = events
                .send(BuildEvent::Tagged {
                    reference: tag.clone(),
                })
                .await;
        }
        Ok(Built { id, tags })
    }

    /// Deletes the directories of `RUN --mount=type=cache`; the bytes of their files. Blocking; only while no build
    /// runs.
    pub fn prune_cache_mounts(&self) -> std::io::Result<u64> {
        let directory = solver::caches(&self.store);
        let mut freed = 0;
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            freed += size(&path)?;
            fs::remove_dir_all(&path)?;
        }
        Ok(freed)
    }

    /// Whether the result has layers that its base hasn't.
    async fn adds_layers(&self, solved: &Solved) -> Result<bool, BuildError> {
        let base = match &solved.state.image {
            Some(base) => self
                .images
                .resolve(base.as_str())
                .await
                .map_err(BuildError::Export)?
                .layers
                .len(),
            None => 0,
        };
        Ok(solved.state.layers.len() > base)
    }

    /// The image with its steps stays without a name, as with Docker.
    async fn export_squashed(&self, solved: &Solved, tags: &[Reference]) -> Result<Digest, BuildError> {
        let id = self.export(solved, &[]).await?;
        let squashed = self
            .images
            .squash_built(&id, solved.state.image.as_ref(), tags.to_vec())
            .await
            .map_err(BuildError::Export)?;
        Ok(squashed.id)
    }

    async fn export(&self, solved: &Solved, tags: &[Reference]) -> Result<Digest, BuildError> {
        let state = &solved.state;
        match &state.image {
            // Nothing was done: the base itself is the result.
            Some(image) if !state.changed => {
                for tag in tags {
                    self.images
                        .tag(image.as_str(), tag)
                        .await
                        .map_err(BuildError::Export)?;
                }
                return Ok(image.clone());
            }
            None if !state.changed => return Err(BuildError::NoImage),
            _ => {}
        }
        let mut config = state.config.clone();
        // What the base's builder noted about itself says nothing about this image.
        for stale in ["container", "container_config", "docker_version", "id", "parent"] {
            config.other.remove(stale);
        }
        let create = CreateImage {
            parent: state.image.clone(),
            layers: state.layers.clone(),
            config,
            tags: tags.to_vec(),
            command: "build".to_owned(),
        };
        let image = self
            .images
            .create_from(create, &solved.lease)
            .await
            .map_err(BuildError::Export)?;
        Ok(image.id)
    }
}

fn size(path: &Path) -> std::io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

fn prepare(request: &BuildRequest) -> Result<Prepared, BuildError> {
    let root = request.context.root().map_err(|source| BuildError::Io {
        action: "open the build context",
        source,
    })?;
    let (name, text) = read_dockerfile(&root, &request.dockerfile)?;
    let mut rules = read_rules(&root, &name)?;
    if name.starts_with(SENT_ALONG) && !name.contains('/') {
        rules.exclude(&name);
    }
    let document = parser::parse(&text).map_err(|source| {
        let excerpt = excerpt(&name, &text, &source.lines);
        BuildError::Parse { source, excerpt }
    })?;
    let instructions = instructions::read(&document).map_err(|source| {
        let excerpt = excerpt(&name, &text, &source.lines);
        BuildError::Instruction { source, excerpt }
    })?;
    let escape = document.directives.escape;

    let given: BTreeMap<String, String> = request
        .build_args
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| (name.clone(), value.clone())))
        .collect();
    let mut asked: BTreeSet<&str> = PROXY_ARGS.into_iter().collect();
    let mut globals = Globals::new(given, &request.platform.clone().unwrap_or_else(Platform::host));
    let mut in_stage = false;
    for instruction in &instructions {
        in_stage |= matches!(instruction.kind, Kind::From(_));
        let Kind::Arg(args) = &instruction.kind else {
            continue;
        };
        for arg in args {
            asked.insert(&arg.name);
            if in_stage {
                continue;
            }
            let default = arg
                .default
                .as_deref()
                .map(|text| expand::word(text, &globals, escape));
            let default = default.transpose().map_err(|source| BuildError::Graph {
                source: GraphError::Expand {
                    text: arg.default.clone().unwrap_or_default(),
                    source,
                },
                excerpt: Some(excerpt(&name, &text, &instruction.lines)),
            })?;
            if let Some(value) = globals.given.get(&arg.name).cloned().or(default) {
                globals.declared.insert(arg.name.clone(), value);
            }
        }
    }
    let unused = request
        .build_args
        .keys()
        .filter(|name| !asked.contains(name.as_str()) && !globals.platform.contains_key(*name))
        .cloned()
        .collect();
    let graph = graph::build(instructions.clone(), &globals, escape, request.target.as_deref()).map_err(
        |(lines, source)| {
            let excerpt = (*lines.start() > 0).then(|| excerpt(&name, &text, &lines));
            BuildError::Graph { source, excerpt }
        },
    )?;
    Ok(Prepared {
        name,
        text,
        escape,
        rules,
        globals,
        graph,
        warnings: document.warnings,
        unused,
    })
}

fn read_dockerfile(root: &Root, source: &DockerfileSource) -> Result<(String, Vec<u8>), BuildError> {
    let written = match source {
        DockerfileSource::Text { name, text } => return Ok((name.clone(), text.clone())),
        DockerfileSource::Path(path) => path,
    };
    let path = clean(written.trim_start_matches('/'));
    if path == ".." || path.starts_with("../") {
        return Err(BuildError::ForbiddenDockerfile(written.clone()));
    }
    let read = |path: &str| root.read(Path::new(path), MAX_BYTES as u64);
    match read(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // As Docker: the default name may be written small.
            let lower = (path == "Dockerfile").then(|| read("dockerfile").ok()).flatten();
            lower
                .map(|text| ("dockerfile".to_owned(), text))
                .ok_or(BuildError::NoDockerfile(path))
        }
        Err(source) => Err(BuildError::ReadDockerfile { path, source }),
    }
}

/// The ignore file of this Dockerfile if there is one, else the context's.
fn read_rules(root: &Root, dockerfile: &str) -> Result<IgnoreRules, BuildError> {
    for name in [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()] {
        match root.read(Path::new(&name), MAX_IGNORE) {
            Ok(text) => {
                return IgnoreRules::parse(&text).map_err(|source| BuildError::Ignore { name, source });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(BuildError::ReadDockerfile { path: name, source }),
        }
    }
    Ok(IgnoreRules::default())
}
