//! The distribution API (OCI distribution specification 1.1, and what Docker's registry has beside it) over a
//! [`RegistryStore`](havre_registry_store::RegistryStore).
//!
//! Requests are read and answered here, asynchronously; everything that touches the store runs on threads that may block.

mod error;
mod path;
mod query;
mod range;
mod routes;
mod serve;

pub use serve::serve;
