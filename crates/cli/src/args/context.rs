//! Declarations of the `context` commands, one file each.

pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod show;
pub(crate) mod r#use;
