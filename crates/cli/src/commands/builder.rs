//! Commands on the build cache.

pub(crate) mod prune;
