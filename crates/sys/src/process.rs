//! Processes: pidfd, signals, re-execution.
