//! The requirements of the OCI distribution specification 1.1, one a test, in the order of its chapters.
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

mod access;
mod accounts;
mod client;
mod discovery;
mod errors;
mod folder;
mod management;
mod pull;
mod push;
