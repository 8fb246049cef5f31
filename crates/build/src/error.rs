//! Everything that ends a build without an image.

use crate::context::ContextError;

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

/// Why a build failed. `Display` is Docker's one-line message; [`excerpt`](BuildError::excerpt) shows the place.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("build cancelled")]
    Cancelled,
    #[error(transparent)]
    Context(#[from] ContextError),
}

impl BuildError {
    pub fn kind(&self) -> FailureKind {
        todo!()
    }

    /// Exit code of the failing `RUN` (Docker's `errorDetail.code`); 1 is what clients use otherwise.
    pub fn exit_code(&self) -> Option<i32> {
        todo!()
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
        todo!()
    }
}
