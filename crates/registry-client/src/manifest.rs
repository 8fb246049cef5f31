//! Manifests and indexes: getting, asking for, putting.

use bytes::Bytes;
use havre_oci::{Descriptor, Digest, Document, MAX_DOCUMENT_SIZE, media_type};
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Method, StatusCode};

use crate::auth::BodyError;
use crate::client::Repository;
use crate::endpoint::{Endpoint, Reply};
use crate::error::read_limited;
use crate::transport::shown;
use crate::{RegistryError, RetryPolicy};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// Whether a manifest refers to another; few do, and the others need not be read.
fn has_subject(bytes: &[u8]) -> bool {
    bytes.windows(9).any(|part| part == b"\"subject\"")
}

/// A manifest or index as a registry gave it: verified bytes, their descriptor, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Media type, digest and size of `bytes`.
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    pub document: Document,
}

impl Repository {
    /// Gets the manifest or index under a tag or a digest, verified when it is a digest. Schema 1 manifests are refused.
    pub async fn resolve(&self, tag_or_digest: &str) -> Result<Resolved, RegistryError> {
        self.check_selector(tag_or_digest)?;
        let (origin, mirrors) = self
            .endpoints()
            .split_last()
            .expect("a repository has its registry");
        for mirror in mirrors {
            match self
                .resolve_from(mirror, tag_or_digest, &self.options().retry.at_most(2))
                .await
            {
                Ok(resolved) => return Ok(resolved),
                Err(error) => tracing::debug!(%error, "mirror cannot serve the manifest"),
            }
        }
        self.resolve_from(origin, tag_or_digest, &self.options().retry)
            .await
    }

    async fn resolve_from(
        &self,
        endpoint: &Endpoint,
        selector: &str,
        policy: &RetryPolicy,
    ) -> Result<Resolved, RegistryError> {
        let call = self
            .call(Method::GET, &format!("manifests/{selector}"))
            .accept(media_type::ACCEPTED_DOCUMENTS);
        let mut failed = 0;
        loop {
            let reply = endpoint.send(&call, policy).await?;
            if !reply.status().is_success() {
                return Err(self.manifest_error(selector, reply).await);
            }
            match self.read_document(selector, reply).await {
                Err(error) if error.is_transient() => {
                    failed += 1;
                    let Some(pause) = policy.pause(failed, None) else {
                        return Err(error);
                    };
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn read_document(&self, selector: &str, reply: Reply) -> Result<Resolved, RegistryError> {
        let reference = self.shown(selector);
        let content_type = reply.header(CONTENT_TYPE).map(str::to_owned);
        let announced = reply
            .header(CONTENT_DIGEST)
            .and_then(|text| text.parse::<Digest>().ok());
        let Reply {
            response,
            url,
            method,
        } = reply;
        let bytes = match read_limited(response, MAX_DOCUMENT_SIZE, self.options().stall_timeout).await {
            Ok(bytes) => bytes,
            Err(BodyError::TooLarge) => {
                return Err(RegistryError::ManifestTooLarge {
                    reference,
                    limit: MAX_DOCUMENT_SIZE,
                });
            }
            Err(error) => return Err(error.into_registry_error(&method, &url)),
        };
        // What was asked for counts; what the registry announces is checked, but proves nothing.
        let wanted = selector.parse::<Digest>().ok().or(announced);
        let digest = match wanted {
            Some(expected) => {
                let actual = Digest::of(expected.algorithm(), &bytes);
                if actual != expected {
                    return Err(RegistryError::ManifestMismatch { expected, actual });
                }
                actual
            }
            None => Digest::sha256_of(&bytes),
        };
        let document = Document::parse(&bytes, content_type.as_deref())
            .map_err(|source| RegistryError::InvalidManifest { reference, source })?;
        let descriptor = Descriptor::new(document.media_type(), digest, bytes.len() as u64);
        Ok(Resolved {
            descriptor,
            bytes,
            document,
        })
    }

    /// The descriptor only (HEAD); `None` when it does not exist, or when the registry doesn't say the digest.
    pub async fn head_manifest(&self, tag_or_digest: &str) -> Result<Option<Descriptor>, RegistryError> {
        self.check_selector(tag_or_digest)?;
        let call = self
            .call(Method::HEAD, &format!("manifests/{tag_or_digest}"))
            .accept(media_type::ACCEPTED_DOCUMENTS);
        let reply = self.read(&call).await?;
        if reply.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !reply.status().is_success() {
            return Err(self.manifest_error(tag_or_digest, reply).await);
        }
        let Some(digest) = reply
            .header(CONTENT_DIGEST)
            .and_then(|text| text.parse::<Digest>().ok())
        else {
            return Ok(None);
        };
        let media_type = reply
            .header(CONTENT_TYPE)
            .map(media_type::essence)
            .unwrap_or_default()
            .to_owned();
        let size = reply.response.headers().get(reqwest::header::CONTENT_LENGTH);
        let size = size
            .and_then(|size| size.to_str().ok()?.parse().ok())
            .unwrap_or(0);
        Ok(Some(Descriptor::new(media_type, digest, size)))
    }

    async fn manifest_error(&self, selector: &str, reply: Reply) -> RegistryError {
        let failure = reply.failure(self.options().stall_timeout).await;
        if failure.status == StatusCode::NOT_FOUND && failure.code.as_deref() != Some("NAME_UNKNOWN") {
            let message = failure.message.unwrap_or_else(|| "manifest unknown".to_owned());
            return RegistryError::ManifestUnknown {
                reference: self.shown(selector),
                message,
            };
        }
        self.pull_error(failure)
    }

    /// Puts a manifest under a tag or digest. The digest of the bytes; a registry that stored something else is an error.
    /// One with a subject is listed among that one's referrers, also where the registry keeps no such lists.
    pub async fn push_manifest(
        &self,
        tag_or_digest: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Digest, RegistryError> {
        self.check_selector(tag_or_digest)?;
        let digest = Digest::sha256_of(&bytes);
        let bytes = Bytes::from(bytes);
        let body = || Ok(reqwest::Body::from(bytes.clone()));
        let call = self
            .call(Method::PUT, &format!("manifests/{tag_or_digest}"))
            .header(CONTENT_TYPE, media_type)
            .body(&body);
        let reply = self.origin().send(&call, &self.options().retry).await?;
        if !reply.status().is_success() {
            return Err(reply.failure(self.options().stall_timeout).await.into_error());
        }
        match reply
            .header(CONTENT_DIGEST)
            .and_then(|text| text.parse::<Digest>().ok())
        {
            Some(stored) if stored.algorithm() == digest.algorithm() && stored != digest => {
                Err(RegistryError::Protocol {
                    url: shown(&reply.url),
                    reason: format!("the registry stored the manifest {digest} as {stored}"),
                })
            }
            _ => {
                // The header says that the registry keeps the list itself.
                if reply.header(OCI_SUBJECT).is_none() && has_subject(&bytes) {
                    let referrer = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
                    self.note_referrer(&bytes, referrer).await?;
                }
                Ok(digest)
            }
        }
    }

    fn check_selector(&self, selector: &str) -> Result<(), RegistryError> {
        let is_tag = selector.len() <= 128
            && !selector.starts_with(['.', '-'])
            && !selector.is_empty()
            && selector
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if is_tag || selector.parse::<Digest>().is_ok() {
            return Ok(());
        }
        Err(RegistryError::ManifestUnknown {
            reference: self.shown(selector),
            message: "neither a tag nor a digest".to_owned(),
        })
    }

    fn shown(&self, selector: &str) -> String {
        let separator = if selector.contains(':') { '@' } else { ':' };
        format!("{}{separator}{selector}", self.familiar_name())
    }
}
