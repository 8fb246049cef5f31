//! Clients that others made, unchanged, from their registries: Python's and Node's libraries, a Rust one, both Composes,
//! testcontainers with a real database, development containers. Needs root; the first run installs them into the user's
//! cache (see `havre_testing::installed`).

mod bollard;
mod compose;
mod containers;
mod explorer;
mod libraries;
