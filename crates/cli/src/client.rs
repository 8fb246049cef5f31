//! The engine's HTTP API as the commands use it: requests, JSON answers, streams, hijacked connections.
//!
//! Paths carry no version: engine and client of one machine come from the same binary, and every engine answers
//! an unversioned path in its newest version. That spares the negotiating request before each command.

mod call;
mod connection;
mod elements;
mod lines;
mod ssh;
pub(crate) mod stdcopy;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

pub(crate) use call::{Body, Call, escape};
pub(crate) use connection::{Client, Hijacked};
pub(crate) use lines::JsonLines;
