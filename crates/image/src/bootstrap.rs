use havre_oci::{Digest, Reference};

use crate::{ImageError, ImageService, Progress};

/// A base image made from what the host has, without a registry.
#[derive(Debug, Clone)]
pub struct BootstrapRequest {
    /// "debian", "debian:SUITE" or "busybox".
    pub source: String,
    /// Name of the image; "debian:SUITE" (and "debian:latest" for plain "debian") or "busybox:latest" when `None`.
    pub reference: Option<Reference>,
    /// Include the host's CA bundle; by default when the host has CAs of its own in /usr/local/share/ca-certificates.
    pub with_host_ca: Option<bool>,
    /// Debian mirror; mmdebstrap's default when `None`.
    pub mirror: Option<String>,
}

impl ImageService {
    /// Makes the image; lines of the tools are emitted as progress.
    pub async fn bootstrap(
        &self,
        request: &BootstrapRequest,
        progress: &dyn Progress,
    ) -> Result<Digest, ImageError> {
        let _ = (request, progress);
        todo!()
    }
}
