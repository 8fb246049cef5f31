//! Dockerfile to image.
//!
//! ```text
//! parser        text → instructions with line spans  ┐
//! instructions  words → typed instructions           ├ of the crate `dockerfile`
//! expand        variables and quotes in words        ┘
//! graph         stages, dependencies, what the target needs (pure)
//! solver        cache keys, order, independent stages at the same time
//! step          one instruction carried out on a stage: FROM, COPY, RUN, metadata
//! builder       the whole: request → events → image
//! ```
//! `RUN` goes through the [`Executor`], `ADD url` through the [`Fetcher`]; layers and snapshots are the store's,
//! pulling and listing the image service's.

pub mod context;

mod builder;
mod copy;
mod error;
mod event;
mod executor;
mod fetch;
mod files;
mod graph;
mod http;
mod key;
mod metadata;
mod report;
mod request;
mod solver;
mod sources;
mod state;
mod step;

pub use builder::{Builder, Built};
pub use context::{Context, ContextError};
pub use copy::CopyError;
pub use error::{BuildError, FailureKind, StepError};
pub use event::{BuildEvent, Step, Stream};
pub use executor::{ExecError, Executor, RunMount, RunMountSource, RunRequest};
pub use fetch::{Download, FetchError, Fetcher};
pub use graph::GraphError;
pub use havre_dockerfile::expand::ExpandError;
pub use havre_dockerfile::{expand, instructions, parser};
pub use http::HttpFetcher;
pub use request::{BuildRequest, DockerfileSource, Resources, Ulimit};
