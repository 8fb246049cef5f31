//! `artifact`: what may be typed.

pub(crate) mod attach;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod pull;
pub(crate) mod push;
