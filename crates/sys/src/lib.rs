//! Linux beneath Havre: mounts, rooted paths, processes, terminals; the home of unsafe.

// The one crate where the workspace allows it; every block says why it is sound.
#![allow(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]

pub mod activation;
pub mod atomic;
pub mod cgroup_device;
pub mod erofs;
pub mod handed;
mod loop_device;
pub mod mount;
pub mod netns;
pub mod process;
pub mod quota;
pub mod rooted;
pub mod seal;
pub mod socket;
pub mod tty;
pub mod userns;
pub mod verity;
