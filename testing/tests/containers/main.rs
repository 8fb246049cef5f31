//! Containers, end to end, one module per subject. Needs root.

mod confinement;
mod details;
mod files;
mod flags;
mod health;
mod inspection;
mod lifecycle;
mod limits;
mod logs;
mod mounts;
mod pause;
mod restart;
mod run;
mod runtimes;
mod sharing;
mod storage;
mod streams;
mod update;
mod usage;
mod userns;
mod volume_options;
