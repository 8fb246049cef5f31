//! The life of a container as one table: which [`Status`] may follow which, by which [`Transition`].
//!
//! ```text
//! created ──start──► running ──exit──► exited ──start──► running
//!                     │   ▲  └─exit, will restart──► restarting ──start──► running
//!                  pause unpause                        └─exit (stopped while waiting)──► exited
//!                     ▼   │
//!                     paused ──exit──► exited
//! created, restarting, exited, dead ──remove──► removing ──failed──► dead
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    Paused,
    /// Exited, and about to be started again by its restart policy.
    Restarting,
    Exited,
    Removing,
    /// A removal failed half-way; only another removal is possible.
    Dead,
}

/// What happens to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// Its first process started.
    Start,
    Pause,
    Unpause,
    /// Its first process ended and nothing will restart it, or its waiting restart was called off.
    Exit,
    /// Its first process ended and the restart policy will start it again.
    ExitToRestart,
    /// A removal began.
    Remove,
    /// The removal failed half-way.
    RemoveFailed,
}

/// The transition is not possible from the current status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("container is {from}: {transition:?} is not possible")]
pub struct IllegalTransition {
    pub from: Status,
    pub transition: Transition,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 7] = [
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Restarting,
        Status::Exited,
        Status::Removing,
        Status::Dead,
    ];

    /// As Docker writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
            Status::Removing => "removing",
            Status::Dead => "dead",
        }
    }

    /// Has a live first process.
    pub fn is_live(self) -> bool {
        matches!(self, Status::Running | Status::Paused)
    }

    /// The transition table.
    pub fn after(self, transition: Transition) -> Result<Status, IllegalTransition> {
        use Status::*;
        use Transition as T;
        Ok(match (self, transition) {
            (Created | Exited | Restarting, T::Start) => Running,
            (Running, T::Pause) => Paused,
            (Paused, T::Unpause) => Running,
            (Running | Paused | Restarting, T::Exit) => Exited,
            (Running | Paused, T::ExitToRestart) => Restarting,
            (Created | Exited | Restarting | Dead, T::Remove) => Removing,
            (Removing, T::RemoveFailed) => Dead,
            (from, transition) => return Err(IllegalTransition { from, transition }),
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
