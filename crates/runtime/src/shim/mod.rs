//! The process beside each container.

use std::ffi::OsString;

/// Role of the process that the daemon starts for each container: call it from `main` before any thread or async
/// runtime exists, for the arguments that follow [`crate::RuntimeConfig::shim_args`] on the command line. Never
/// returns.
pub fn main(_args: impl Iterator<Item = OsString>) -> ! {
    todo!()
}
