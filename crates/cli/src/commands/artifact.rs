//! `artifact`: files in registries (OCI image specification 1.1, "Guidelines for Artifact Usage"), by the conventions of oras.

pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod pull;
pub(crate) mod push;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use havre_oci::{Descriptor, Document, Manifest, Reference};
use serde::Deserialize;

use crate::client::{Call, escape};
use crate::credentials;
use crate::error::CliError;
use crate::session::Session;

/// The name of a file of an artifact.
const TITLE: &str = "org.opencontainers.image.title";

/// A repository, and how it is spoken to.
struct At<'a> {
    session: &'a Session,
    reference: Reference,
    insecure: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    descriptor: Descriptor,
    #[serde(default)]
    raw: String,
}

/// A manifest of a registry.
struct Found {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    document: Document,
}

impl At<'_> {
    fn sign<'c>(&self, call: Call<'c>) -> Result<Call<'c>, CliError> {
        let call = call.query_if("insecure", self.insecure);
        credentials::sign(call, &self.session.settings, &self.reference.repository())
    }

    fn blobs(&self) -> String {
        format!("/havre/blobs/{}", escape(&self.reference.repository()))
    }

    fn manifests(&self) -> String {
        format!("/havre/manifests/{}", escape(&self.reference.canonical()))
    }

    async fn manifest(&self) -> Result<Found, CliError> {
        let call = self.sign(self.session.client()?.get(self.manifests()))?;
        let answer: Answer = call.answer().await?;
        let wrong = |reason: String| CliError::Protocol {
            request: format!("manifest of {}", self.reference.familiar()),
            reason,
        };
        let bytes = STANDARD
            .decode(&answer.raw)
            .map_err(|error| wrong(error.to_string()))?;
        let document = Document::parse(&bytes, Some(&answer.descriptor.media_type))
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Found {
            descriptor: answer.descriptor,
            bytes,
            document,
        })
    }

    /// The manifest of an artifact, not an index.
    async fn artifact(&self) -> Result<Manifest, CliError> {
        match self.manifest().await?.document {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(CliError::Invalid(format!(
                "{} is an index: name one of its manifests by digest, which 'artifact inspect' shows",
                self.reference.familiar()
            ))),
        }
    }
}

fn title(layer: &Descriptor) -> Option<&str> {
    layer.annotations.get(TITLE).map(String::as_str)
}
