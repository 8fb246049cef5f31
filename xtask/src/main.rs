//! Development tasks: crate graph, licences, benchmarks.
fn main() {}
