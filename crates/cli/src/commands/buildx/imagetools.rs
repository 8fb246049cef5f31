//! `docker buildx imagetools`: what registries have under a name, and new names for it.

pub(crate) mod create;
pub(crate) mod inspect;
