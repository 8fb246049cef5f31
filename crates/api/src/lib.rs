//! The Docker Engine HTTP API over the engine.
//!
//! ```text
//! listener ─ server ─ version ─ routes ─────────────► engine
//!            accept    /vX.Y/    query, body → domain types
//!                                model  ◄─ domain types → JSON as Docker writes it
//!            hijack, stdcopy, message: attach and exec streams, framing, progress lines
//!            error: the one place where engine errors become HTTP statuses
//! ```
//! Endpoints are served in every version from [`version::MIN`] to [`version::MAX`]; what differs between versions is
//! decided where it differs. The engine never sees anything of this crate.

#![cfg_attr(test, recursion_limit = "256")]

mod body;
mod error;
mod file_mode;
mod hijack;
mod json;
mod leftover;
mod listener;
mod message;
mod model;
mod query;
mod registry_auth;
mod request_json;
mod routes;
mod server;
pub mod stdcopy;
mod time;
pub mod version;

pub use havre_tls::{Identity, IdentityError};
pub use listener::{ListenError, Listener};
pub use server::serve;
