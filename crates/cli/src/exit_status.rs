//! The status a process ends with.

use std::process::ExitCode;

/// What the shell sees in `$?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExitStatus(pub(crate) u8);

impl ExitStatus {
    /// All went well.
    pub(crate) const SUCCESS: Self = Self(0);
    /// The command failed.
    pub(crate) const FAILURE: Self = Self(1);
    /// The engine refused, or the command line is wrong.
    pub(crate) const ENGINE: Self = Self(125);
    /// The program in the container cannot be executed.
    pub(crate) const NOT_EXECUTABLE: Self = Self(126);
    /// The program in the container does not exist.
    pub(crate) const NOT_FOUND: Self = Self(127);

    /// The status a container's program ended with; as a shell does, only the low eight bits count.
    pub(crate) fn from_program(code: i64) -> Self {
        Self((code & 0xff) as u8)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.0)
    }
}
