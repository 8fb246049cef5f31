//! Declarations of the `image` commands, one file each.

pub(crate) mod bootstrap;
pub(crate) mod build;
pub(crate) mod cat;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod extract;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod ls;
pub(crate) mod outdated;
pub(crate) mod prune;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod referrers;
pub(crate) mod remote;
pub(crate) mod restore;
pub(crate) mod retag;
pub(crate) mod rm;
pub(crate) mod save;
pub(crate) mod squash;
pub(crate) mod tag;
pub(crate) mod tags;
