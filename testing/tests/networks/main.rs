//! Networks end to end, each test in a small internet of its own; one module per subject. Needs root.

mod access;
mod beside;
mod ipv6;
mod ipv6_only;
mod links;
mod options;
mod ports;
mod shared;
mod world;
