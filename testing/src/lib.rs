//! Test harness: engines, registries with faults, images made on the spot.
