//! On-disk layout.

use std::path::{Path, PathBuf};

/// The paths of a store.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout beneath `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }
    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Directories of containers and their snapshots.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }
    /// The directory of one container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }
    /// Named and anonymous volumes: `volumes/<name>/_data`.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }
}
