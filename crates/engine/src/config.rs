//! `config.toml` and the keys of Docker's `daemon.json` that are understood.

use std::path::Path;

use crate::Result;

/// The daemon's configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFile {}

impl ConfigFile {
    /// Reads a TOML (or, by its `.json` ending, Docker's daemon.json) file. Unknown keys are errors with key and line.
    #[allow(clippy::todo, unused_variables)]
    pub fn read(path: &Path) -> Result<Self> {
        todo!()
    }
}
