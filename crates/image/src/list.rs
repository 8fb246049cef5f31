use std::collections::BTreeMap;

use havre_oci::Digest;
use jiff::Timestamp;

use crate::{Filters, ImageError, ImageService};

#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Intermediate images too.
    pub all: bool,
    pub filters: Filters,
    /// Compute `shared_size`.
    pub shared_size: bool,
}

/// One row of `images`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub id: Digest,
    pub parent: Option<Digest>,
    /// "debian:latest", in Docker's familiar form.
    pub repo_tags: Vec<String>,
    /// "debian@sha256:…".
    pub repo_digests: Vec<String>,
    pub created: Option<Timestamp>,
    /// Unpacked size of all layers in bytes.
    pub size: u64,
    /// Bytes in layers other images use as well, when asked for.
    pub shared_size: Option<u64>,
    pub labels: BTreeMap<String, String>,
    pub layers: Vec<Digest>,
}

impl ImageService {
    /// Images, newest first.
    pub async fn list(&self, options: &ListOptions) -> Result<Vec<Summary>, ImageError> {
        let _ = options;
        todo!()
    }
}
