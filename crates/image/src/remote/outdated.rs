//! Local tags whose registries have something else under the name by now.

use futures_util::StreamExt as _;
use havre_oci::{Digest, Reference};
use havre_registry_client::{Accounts, RegistryError};

use super::{Access, selector};
use crate::{ImageError, ImageService};

/// So many names are asked about at a time.
const AT_ONCE: usize = 8;

/// What a registry says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// The same as here.
    Current,
    /// Something else.
    Moved(Digest),
    /// Nothing any more.
    Gone,
    /// It could not be asked.
    Unknown(String),
}

/// A local name that came from a registry.
#[derive(Debug, Clone)]
pub struct Outdated {
    pub reference: Reference,
    /// Of the image here.
    pub image: Digest,
    /// What the registry had under the name when it was pulled.
    pub pulled: Digest,
    pub freshness: Freshness,
}

impl ImageService {
    /// Asks the registries of all local tags that were pulled, or of those named. Costs a HEAD each, which does not count
    /// as a pull.
    pub async fn outdated(
        &self,
        names: &[Reference],
        accounts: &Accounts,
    ) -> Result<Vec<Outdated>, ImageError> {
        let wanted: Vec<Reference> = names.iter().map(|name| name.clone().with_default_tag()).collect();
        let pulled = self
            .blocking(move |service| {
                let mut found = Vec::new();
                for row in service.store.meta().references()? {
                    let Some(target) = row.target else { continue };
                    let reference = Reference::parse(&row.name)?;
                    // A tag of what another repository serves was not pulled.
                    let meta = service.store.meta();
                    if meta
                        .find_repo_digest(&reference.repository(), &target.digest)?
                        .is_empty()
                    {
                        continue;
                    }
                    if wanted.is_empty() || wanted.contains(&reference) {
                        found.push((reference, row.image, target.digest));
                    }
                }
                for name in wanted {
                    if !found.iter().any(|(reference, ..)| *reference == name) {
                        return Err(ImageError::NotPulled(name.familiar()));
                    }
                }
                Ok(found)
            })
            .await?;
        let asked = pulled.into_iter().map(async |(reference, image, digest)| {
            let access = Access {
                credentials: accounts.of(&reference),
                insecure: false,
            };
            let answer = self
                .repository(&reference, &access)
                .head_manifest(&selector(&reference))
                .await;
            let freshness = match answer {
                Ok(Some(found)) if found.digest == digest => Freshness::Current,
                Ok(Some(found)) => Freshness::Moved(found.digest),
                Ok(None) => Freshness::Gone,
                Err(RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }) => {
                    Freshness::Gone
                }
                Err(error) => Freshness::Unknown(error.to_string()),
            };
            Outdated {
                reference,
                image,
                pulled: digest,
                freshness,
            }
        });
        let asked: Vec<_> = asked.collect();
        Ok(futures_util::stream::iter(asked)
            .buffered(AT_ONCE)
            .collect()
            .await)
    }
}
