use crate::{Filters, ImageError, ImageService, ImageUse, Removed};

#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// All images no container uses, not only dangling ones. (`dangling=false` in the filters means the same.)
    pub all: bool,
    /// `until`, `label`, `label!`, `dangling`.
    pub filters: Filters,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    /// Bytes that came back.
    pub space_reclaimed: u64,
}

impl ImageService {
    pub async fn prune(&self, options: &PruneOptions, in_use: &[ImageUse]) -> Result<Pruned, ImageError> {
        let _ = (options, in_use);
        todo!()
    }
}
