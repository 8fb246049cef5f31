//! What refers to a manifest: signatures, SBOMs and the like (OCI distribution specification 1.1, "Listing Referrers"),
//! and the index under a tag that stands in for it at registries that don't list them ("Referrers Tag Schema").

use std::collections::BTreeMap;

use havre_oci::{Descriptor, Digest, Document, Index, MAX_DOCUMENT_SIZE, media_type};
use reqwest::{Method, StatusCode};

use crate::RegistryError;
use crate::client::Repository;
use crate::endpoint::Target;
use crate::search::next_page;

/// No more pages than this are read.
const MAX_PAGES: usize = 100;
/// A tag is no longer than this.
const MAX_TAG: usize = 128;

/// The tag of the index that stands in for a list: `sha256-0123…`.
fn fallback_tag(digest: &Digest) -> String {
    let mut tag = digest.as_str().replacen(':', "-", 1);
    tag.truncate(MAX_TAG);
    tag
}

impl Repository {
    /// Manifests whose subject is `digest`; none when nothing is known about it.
    pub async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        let stall = self.options().stall_timeout;
        let mut call = self
            .call(Method::GET, &format!("referrers/{digest}"))
            .accept(&[media_type::OCI_INDEX]);
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let reply = self.origin().send(&call, &self.options().retry).await?;
            if reply.status() == StatusCode::NOT_FOUND {
                return self.referrers_by_tag(digest).await;
            }
            if !reply.status().is_success() {
                return Err(self.pull_error(reply.failure(stall).await));
            }
            let next = next_page(&reply);
            let page: Index = reply.json(MAX_DOCUMENT_SIZE, stall).await?;
            found.extend(page.manifests);
            match next {
                Some(next) => call.target = Target::Url(next),
                None => break,
            }
        }
        Ok(found)
    }

    async fn referrers_by_tag(&self, digest: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        match self.resolve(&fallback_tag(digest)).await {
            Ok(resolved) => Ok(match resolved.document {
                Document::Index(index) => index.manifests,
                Document::Manifest(_) => Vec::new(),
            }),
            Err(RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Enters a manifest into the index that stands in for the list of its subject's referrers.
    pub(crate) async fn note_referrer(
        &self,
        bytes: &[u8],
        referrer: Descriptor,
    ) -> Result<(), RegistryError> {
        let Ok(document) = Document::parse(bytes, Some(&referrer.media_type)) else {
            return Ok(());
        };
        let (subject, artifact_type, annotations) = described(document);
        let Some(subject) = subject else { return Ok(()) };
        let mut entries = self.referrers_by_tag(&subject.digest).await?;
        if entries.iter().any(|known| known.digest == referrer.digest) {
            return Ok(());
        }
        entries.push(Descriptor {
            artifact_type,
            annotations,
            ..referrer
        });
        let index = Index::oci(entries);
        let tag = fallback_tag(&subject.digest);
        Box::pin(self.push_manifest(&tag, &index.media_type, index.to_bytes())).await?;
        Ok(())
    }
}

/// What a list says of a manifest beside its digest: its subject, artifact type and annotations.
fn described(document: Document) -> (Option<Descriptor>, Option<String>, BTreeMap<String, String>) {
    match document {
        Document::Manifest(manifest) => {
            let kind = manifest.artifact_type.unwrap_or(manifest.config.media_type);
            (manifest.subject, Some(kind), manifest.annotations)
        }
        Document::Index(index) => (index.subject, index.artifact_type, index.annotations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_digest_is_the_specifications() {
        let digest = Digest::sha256_of(b"");
        assert_eq!(fallback_tag(&digest), format!("sha256-{}", digest.hex()));
        let long = Digest::of(havre_oci::Algorithm::Sha512, b"");
        assert_eq!(fallback_tag(&long).len(), 128);
    }
}
