//! Trees in, images out: compared with a plain model, with the kernel and with erofs-utils.
#![allow(clippy::unwrap_used, reason = "tests")]

mod kernel;
mod meaning;
mod model;
mod properties;
mod scale;
mod tools;
