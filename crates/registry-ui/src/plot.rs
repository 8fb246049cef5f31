//! Pictures of numbers, as SVG that a template writes.

pub(crate) mod treemap;
