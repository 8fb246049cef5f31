//! Linux beneath Havre: mounts, rooted paths, processes, terminals; the home of unsafe.

pub mod atomic;
pub mod cgroup_device;
pub mod mount;
pub mod netns;
pub mod process;
pub mod rooted;
pub mod seal;
pub mod tty;
