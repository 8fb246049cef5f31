//! Running containers: OCI runtime spec, shim, standard streams, exec, cgroups.
//!
//! One **shim** process per container owns its standard streams, its log file and its exit status, so that the daemon
//! can die and come back. [`Runtime`] starts shims and finds them again; [`Shim`] is the daemon's handle on one, a
//! socket path and nothing more; [`shim::main`] is the process itself. Everything here blocks: call it from threads
//! that may.
//!
//! ```text
//! <state dir>/<container id>/     0700, made by create, removed by delete
//!   sock                          control socket of the shim
//!   exit.json                     exit status, written once and whole, when the container has ended
//!   bundle/config.json            the OCI runtime specification the container was made from
//!   bundle/seccomp.bpf            its seccomp filter, compiled
//!   state/<container id>/         libcontainer's own state, or that of a runtime of the host
//!   runtime.json, runtime.log     which runtime of the host, and what it said last
//!   shim.err                      what the shim said, if ever
//! ```

mod anticipation;
mod cgroup;
pub mod error;
mod external;
pub mod logs;
mod protocol;
mod runtime;
pub mod shim;
mod shim_client;
pub mod spec;
pub mod stats;
mod timings;

pub use cgroup::Abilities;
pub use error::{RuntimeError, StartError};
pub use external::ExternalRuntime;
pub use protocol::RelayedPort;
pub use runtime::{Reattached, Runtime, RuntimeConfig};
pub use shim_client::{AttachRequest, Exec, ExitStatus, Shim, ShimState};
pub use spec::{ContainerSpec, ExecSpec};
pub use stats::{BlockCount, HostCpu, InterfaceStats, Stats, interfaces};
pub use timings::{Stage, Timings};
