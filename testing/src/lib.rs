//! Test harness: engines, registries with faults, images made on the spot.
//!
//! - [`TestEngine`]: a daemon with its own root, socket, bridge and firewall table, and the command lines that talk to it.
//! - [`SmallDisk`]: the same on a file system that can be filled.
//! - [`Registry`]: a registry in this process, which misbehaves on request; [`DockerRegistry`]: one that behaves;
//!   [`HavreRegistry`]: our own.
//! - [`PostgresServer`], [`S3Server`]: what registries of several processes share.
//! - [`TokenServer`], [`TokenIssuer`]: who else issues tokens for registries.
//! - [`Authority`], [`Pair`]: certificates for registries and their clients.
//! - [`Layer`], [`Image`]: archives built byte by byte, honest and hostile.
//! - [`installed`]: programs of others, made once and kept.
//! - [`http`]: as much HTTP as the above need, in the raw.
//!
//! The end-to-end suite in `tests/` needs root and the built binary (`HAVRE_BIN`, or beside the test's own target
//! directory). With `HAVRE_TEST_DOCKER_HOST=unix:///…` the same suite runs on a real dockerd, one test at a time, **removing
//! every container, image and volume it finds there**: that proves the expectations themselves.

mod archive;
mod certificate;
mod cli;
mod connection;
mod disk;
mod distribution;
mod engine;
pub mod http;
mod image;
pub mod installed;
mod own_registry;
mod postgres;
mod registry;
mod s3;
mod stored;
mod sweep;
mod token;

pub use archive::{Entry, Layer, noise};
pub use certificate::{Authority, Pair, Validity};
pub use cli::{Args, Invocation, Output, Program, Running, havre_binary};
pub use disk::SmallDisk;
pub use distribution::DockerRegistry;
pub use engine::{Surroundings, TestEngine};
pub use image::{Compression, Image};
pub use own_registry::HavreRegistry;
pub use postgres::PostgresServer;
pub use registry::{Action, Auth, Registry, two_architectures};
pub use s3::S3Server;
pub use stored::StoredLayer;
pub use token::{TokenIssuer, TokenServer};

use std::time::{Duration, Instant};

/// Lower-case hexadecimal SHA-256 with its prefix, as digests are written.
pub fn digest_of(bytes: &[u8]) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Waits until `condition` holds.
///
/// # Panics
/// After half a minute, naming what was waited for.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < patience, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `inside` on a thread in the network namespace of a process: what busybox cannot do, a test does in its place.
pub fn in_network_of<T: Send>(pid: u64, inside: impl FnOnce() -> T + Send) -> T {
    let namespace = fs_err::File::open(format!("/proc/{pid}/ns/net")).expect("a process");
    std::thread::scope(|scope| {
        let helper = scope.spawn(|| {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind)
                .expect("root");
            inside()
        });
        helper.join().expect("no panic inside")
    })
}
