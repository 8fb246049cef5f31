//! Declarations of the `builder` commands, one file each.

pub(crate) mod prune;
