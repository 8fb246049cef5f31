//! Everything that ends a build without an image.

use havre_image::ImageError;
use havre_store::{ApplyError, StoreError};

use crate::context::{ContextError, IgnoreError};
use crate::copy::CopyError;
use crate::executor::ExecError;
use crate::expand::ExpandError;
use crate::graph::GraphError;
use crate::instructions::{InstructionError, LocatedError};
use crate::parser::{ParseError, Span};

/// What class a failure belongs to, for HTTP status and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The Dockerfile, the context or an option is wrong: the author's to mend.
    Invalid,
    /// An image, stage or file named does not exist.
    NotFound,
    /// A step ran and failed.
    Step,
    Cancelled,
    /// The machine's fault: disk, runtime, registry.
    System,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    #[error("The command '{command}' returned a non-zero code: {code}")]
    Run { command: String, code: i32 },
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Layer(#[from] ApplyError),
    #[error("failed to process {text:?}: {source}")]
    Expand { text: String, source: ExpandError },
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("WORKDIR can not be an empty string")]
    EmptyWorkdir,
    #[error("invalid containerPort: {0}")]
    Port(String),
    #[error("invalid proto: {0}")]
    Protocol(String),
    #[error("invalid signal: {0}")]
    Signal(String),
    #[error("invalid platform {text:?}")]
    Platform {
        text: String,
        source: havre_oci::PlatformError,
    },
    #[error("the base image's trigger {trigger:?}: {source}")]
    Trigger {
        trigger: String,
        source: InstructionError,
    },
    #[error("the base image's trigger {trigger:?} needs the stage {stage}, which a trigger can't")]
    TriggerStage { trigger: String, stage: String },
    #[error("{0}")]
    Ignore(#[from] IgnoreError),
    #[error("{action}: {source}")]
    Io { action: String, source: std::io::Error },
    #[error("a worker of the build ended early")]
    Worker,
    #[error("build cancelled")]
    Cancelled,
    /// Another stage failed first; its error is the one to report.
    #[error("a stage this one needs failed")]
    Upstream,
}

/// Why a build failed. `Display` is Docker's one-line message; [`excerpt`](BuildError::excerpt) shows the place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    #[error("build cancelled")]
    Cancelled,
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("Cannot locate specified Dockerfile: {0}")]
    NoDockerfile(String),
    #[error("Forbidden path outside the build context: {0} ()")]
    ForbiddenDockerfile(String),
    #[error("failed to read {path}: {source}")]
    ReadDockerfile { path: String, source: std::io::Error },
    #[error("{source}")]
    Parse { source: ParseError, excerpt: String },
    #[error("{source}")]
    Instruction { source: LocatedError, excerpt: String },
    #[error("{source}")]
    Graph {
        source: GraphError,
        excerpt: Option<String>,
    },
    #[error("{name}: {source}")]
    Ignore { name: String, source: IgnoreError },
    #[error("{source}")]
    Step {
        source: Box<StepError>,
        lines: Span,
        excerpt: Option<String>,
    },
    #[error("No image was generated. Is your Dockerfile empty?")]
    NoImage,
    #[error("failed to export the image: {0}")]
    Export(#[source] ImageError),
    #[error("{action}: {source}")]
    Io {
        action: &'static str,
        source: std::io::Error,
    },
}

impl BuildError {
    pub fn kind(&self) -> FailureKind {
        match self {
            BuildError::Cancelled => FailureKind::Cancelled,
            BuildError::Context(ContextError::Io(_)) | BuildError::Export(_) | BuildError::Io { .. } => {
                FailureKind::System
            }
            BuildError::NoDockerfile(_) => FailureKind::NotFound,
            BuildError::Step { source, .. } => step_kind(source),
            _ => FailureKind::Invalid,
        }
    }

    /// Exit code of the program of the failing `RUN` (Docker's `errorDetail.code`). A program that could not be started has
    /// none; clients end with 1 then.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            BuildError::Step { source, .. } => match source.as_ref() {
                StepError::Run { code, .. } => Some(*code),
                _ => None,
            },
            _ => None,
        }
    }

    /// The failing instruction with its neighbours, if a line of the Dockerfile is to blame:
    /// ```text
    /// Dockerfile:3
    /// --------------------
    ///    1 |     FROM debian
    ///    2 |
    ///    3 | >>> RUN false
    /// --------------------
    /// ```
    pub fn excerpt(&self) -> Option<&str> {
        match self {
            BuildError::Parse { excerpt, .. } | BuildError::Instruction { excerpt, .. } => Some(excerpt),
            BuildError::Graph { excerpt, .. } | BuildError::Step { excerpt, .. } => excerpt.as_deref(),
            _ => None,
        }
    }
}

fn step_kind(error: &StepError) -> FailureKind {
    match error {
        StepError::Run { .. } | StepError::Exec(ExecError::Start { .. }) => FailureKind::Step,
        StepError::Cancelled | StepError::Exec(ExecError::Cancelled) => FailureKind::Cancelled,
        StepError::Copy(CopyError::NotFound { .. } | CopyError::NotInContext { .. }) => FailureKind::NotFound,
        StepError::Image(error) if error.kind() == havre_image::ErrorKind::NotFound => FailureKind::NotFound,
        StepError::Copy(CopyError::Io(_) | CopyError::Fetch(_))
        | StepError::Image(_)
        | StepError::Store(_)
        | StepError::Layer(_)
        | StepError::Exec(_)
        | StepError::Io { .. }
        | StepError::Worker
        | StepError::Upstream => FailureKind::System,
        _ => FailureKind::Invalid,
    }
}

/// Lines of the Dockerfile around `lines`, those marked.
pub(crate) fn excerpt(name: &str, text: &[u8], lines: &Span) -> String {
    const AROUND: usize = 2;
    /// A heredoc of a thousand lines needs no thousand lines of excerpt.
    const LONGEST: usize = 40;
    let text = String::from_utf8_lossy(text);
    let (start, end) = (*lines.start(), (*lines.end()).min(lines.start() + LONGEST));
    let rule = "-".repeat(20);
    let mut result = match start == end {
        true => format!("{name}:{start}\n{rule}\n"),
        false => format!("{name}:{start}-{end}\n{rule}\n"),
    };
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if number + AROUND < start || number > end + AROUND {
            continue;
        }
        let mark = if (start..=end).contains(&number) {
            ">>>"
        } else {
            "   "
        };
        let row = format!("{number:>4} | {mark} {}", line.trim_end());
        result.push_str(row.trim_end());
        result.push('\n');
    }
    result.push_str(&rule);
    result.push('\n');
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_mark_the_lines() {
        let text = b"FROM a\n\nRUN x \\\n  y\nCMD z\nUSER u\nUSER v\n";
        assert_eq!(
            excerpt("Dockerfile", text, &(3..=4)),
            "Dockerfile:3-4\n--------------------\n   1 |     FROM a\n   2 |\n   3 | >>> RUN x \\\n   4 | >>>   y\n   \
             5 |     CMD z\n   6 |     USER u\n--------------------\n"
        );
    }
}
