//! Commands on networks.

pub(crate) mod inspect;
pub(crate) mod ls;
