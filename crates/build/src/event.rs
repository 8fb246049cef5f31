//! What a build reports while it runs.

use std::sync::Arc;

use bytes::Bytes;
use havre_image::ProgressEvent;
use havre_oci::{Digest, Reference};

/// Which of a container's outputs bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The step an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Index of the stage in the Dockerfile, from 0; `None` for `ARG` before the first `FROM`.
    pub stage: Option<usize>,
    /// The stage's name (`AS name`), if it has one.
    pub stage_name: Option<String>,
    /// From 1 to `total`, counting only what this build needs.
    pub number: usize,
    pub total: usize,
    /// First line of the instruction in the Dockerfile, from 1; 0 when the step comes from an option (`--label`).
    pub line: usize,
}

/// One report. Events of one step arrive together and steps arrive in order, also when stages run at the same
/// time.
#[derive(Debug, Clone)]
pub enum BuildEvent {
    /// A step begins; `text` is the instruction as Docker shows it (`RUN apt-get update`).
    StepStarted {
        step: Arc<Step>,
        text: String,
    },
    /// The step's result was in the build cache.
    Cached {
        step: Arc<Step>,
    },
    /// The base image brought triggers (`ONBUILD`), which run now as part of this step.
    Triggers {
        step: Arc<Step>,
        count: usize,
    },
    /// A container carries out the step; `container` is its 64-digit id.
    Running {
        step: Arc<Step>,
        container: String,
    },
    /// Bytes a `RUN` wrote.
    Output {
        step: Arc<Step>,
        stream: Stream,
        data: Bytes,
    },
    /// Progress of pulling an image the step needs.
    Pull {
        step: Arc<Step>,
        progress: ProgressEvent,
    },
    /// Bytes of a download (`ADD url`): so far and, if known, in total.
    Download {
        step: Arc<Step>,
        url: String,
        current: u64,
        total: Option<u64>,
    },
    /// The `RUN` container is gone.
    ContainerRemoved {
        step: Arc<Step>,
        container: String,
    },
    /// The step ended well. `id` identifies its result: an image id for `FROM` and the last step, the step's
    /// cache key otherwise.
    StepFinished {
        step: Arc<Step>,
        id: Digest,
    },
    /// Something the author should know; one line, without a newline.
    Warning {
        message: String,
    },
    /// The image is complete and listed.
    Built {
        id: Digest,
    },
    Tagged {
        reference: Reference,
    },
}

impl BuildEvent {
    /// The event as the text Docker's classic builder sends in `{"stream": …}`; `None` for events that have
    /// another form there (pull progress, downloads) or none at all.
    pub fn classic(&self) -> Option<String> {
        Some(match self {
            BuildEvent::StepStarted { step, text } => {
                format!("Step {}/{} : {text}\n", step.number, step.total)
            }
            BuildEvent::Triggers { count, .. } => {
                format!(
                    "# Executing {count} build trigger{}\n",
                    if *count == 1 { "" } else { "s" }
                )
            }
            BuildEvent::Cached { .. } => " ---> Using cache\n".to_owned(),
            BuildEvent::Running { container, .. } => format!(" ---> Running in {}\n", short(container)),
            BuildEvent::Output {
                stream: Stream::Stdout,
                data,
                ..
            } => String::from_utf8_lossy(data).into_owned(),
            BuildEvent::Output {
                stream: Stream::Stderr,
                data,
                ..
            } => {
                format!("\u{1b}[91m{}\u{1b}[0m", String::from_utf8_lossy(data))
            }
            BuildEvent::ContainerRemoved { container, .. } => {
                format!(" ---> Removed intermediate container {}\n", short(container))
            }
            BuildEvent::StepFinished { id, .. } => format!(" ---> {}\n", id.short()),
            BuildEvent::Warning { message } => format!("{message}\n"),
            BuildEvent::Built { id } => format!("Successfully built {}\n", id.short()),
            BuildEvent::Tagged { reference } => format!("Successfully tagged {}\n", reference.familiar()),
            BuildEvent::Pull { .. } | BuildEvent::Download { .. } => return None,
        })
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
