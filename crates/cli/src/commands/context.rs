//! Commands on contexts.

pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod show;
pub(crate) mod r#use;
