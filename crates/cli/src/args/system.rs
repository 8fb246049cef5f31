//! Declarations of the `system` commands, one file each.

pub(crate) mod check;
pub(crate) mod df;
pub(crate) mod dial_stdio;
pub(crate) mod events;
pub(crate) mod info;
pub(crate) mod migrate;
pub(crate) mod prune;
