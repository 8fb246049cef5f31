//! Declarations of the `buildx imagetools` commands, one file each.

pub(crate) mod create;
pub(crate) mod inspect;
