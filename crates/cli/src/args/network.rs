//! Declarations of the `network` commands, one file each.

pub(crate) mod inspect;
pub(crate) mod ls;
