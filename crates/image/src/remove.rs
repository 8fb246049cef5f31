//! Removing names and images, with the rules and words of Docker.

use havre_oci::{Digest, Reference, chain_ids};
use havre_store::{Freed, Image, Removing};

use crate::{ImageError, ImageService};

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    pub image: Digest,
    /// The reference the container was created with, as the user wrote it.
    pub reference: String,
    /// Container ID (64 hex characters).
    pub container: String,
    pub running: bool,
}

impl ImageUse {
    fn short(&self) -> &str {
        self.container.get(..12).unwrap_or(&self.container)
    }
}

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
}

/// One line of `rmi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// "debian:latest" or "debian@sha256:…".
    Untagged(String),
    /// Image ID, or chain ID of a layer nothing needed any more.
    Deleted(Digest),
}

/// One removal, and what it did so far.
pub(crate) struct Removal<'a> {
    store: &'a Removing<'a>,
    pub(crate) removed: Vec<Removed>,
    pub(crate) freed: u64,
}

impl<'a> Removal<'a> {
    pub(crate) fn new(store: &'a Removing<'a>) -> Self {
        Self {
            store,
            removed: Vec::new(),
            freed: 0,
        }
    }
}

/// Which conflicts stop a deletion.
#[derive(Clone, Copy)]
struct Heed {
    /// A stopped container uses the image.
    stopped: bool,
    /// Something else names the image.
    named: bool,
}

impl ImageService {
    /// Removes references one after the other, and each image when it was its last, with Docker's rules. `in_use`: all
    /// containers. One name that can't be removed doesn't stop the others; all that can be go in one transaction.
    pub async fn remove(
        &self,
        names: &[String],
        options: RemoveOptions,
        in_use: &[ImageUse],
    ) -> Result<Vec<Result<Vec<Removed>, ImageError>>, ImageError> {
        let (names, in_use) = (names.to_vec(), in_use.to_vec());
        self.blocking(move |service| {
            service.store.removing(|store| {
                let remove = |name: &String| {
                    let mut removal = Removal::new(store);
                    service.remove_blocking(name, options, &in_use, &mut removal)?;
                    Ok(removal.removed)
                };
                Ok(names.iter().map(remove).collect())
            })
        })
        .await
    }

    fn remove_blocking(
        &self,
        name: &str,
        options: RemoveOptions,
        in_use: &[ImageUse],
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        let found = self.find(name)?;
        let image = found.image;
        let tags = self.tags_of(&image.id)?;
        let digests = self.digests_of(&image.id)?;
        let prune = !options.no_prune;
        let Some(reference) = found.reference else {
            if is_single(&tags, &digests) {
                self.check(
                    &image,
                    Heed {
                        stopped: !options.force,
                        named: false,
                    },
                    in_use,
                )?;
                for reference in tags.iter().chain(&digests) {
                    self.untag(&image, reference, removal)?;
                }
            }
            return self.delete(image, options.force, prune, false, in_use, removal);
        };
        if !options.force
            && is_single(&tags, &digests)
            && let Some(user) = in_use.iter().find(|user| user.image == image.id)
        {
            return Err(ImageError::ReferenceInUse {
                reference: name.to_owned(),
                container: user.short().to_owned(),
                image: image.id.short().to_owned(),
            });
        }
        self.untag(&image, &reference, removal)?;
        if reference.digest().is_none() {
            // The last tag of a repository takes the repository's digests with it.
            let same = |other: &Reference| other.repository() == reference.repository();
            if !self.tags_of(&image.id)?.iter().any(same) {
                for digest in self.digests_of(&image.id)?.iter().filter(|digest| same(digest)) {
                    self.untag(&image, digest, removal)?;
                }
            }
        }
        if !self.tags_of(&image.id)?.is_empty() || !self.digests_of(&image.id)?.is_empty() {
            return Ok(());
        }
        self.delete(image, options.force, prune, true, in_use, removal)
    }

    fn untag(
        &self,
        image: &Image,
        reference: &Reference,
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        let meta = self.store.meta();
        match reference.digest() {
            Some(digest) => {
                meta.delete_repo_digest(&reference.repository(), digest)?;
            }
            None => {
                meta.delete_reference(&reference.canonical(), "rmi")?;
            }
        }
        tracing::debug!(image = %image.id, reference = %reference, "untagged");
        removal.removed.push(Removed::Untagged(reference.familiar()));
        Ok(())
    }

    /// The first reason not to delete, hard ones first.
    fn check(&self, image: &Image, heed: Heed, in_use: &[ImageUse]) -> Result<(), ImageError> {
        let conflict = |hard, reason: String| {
            Err(ImageError::InUse {
                image: image.id.short().to_owned(),
                hard,
                reason,
            })
        };
        if self.store.meta().has_children(&image.id)? {
            return conflict(true, "image has dependent child images".to_owned());
        }
        let mut users = in_use.iter().filter(|user| user.image == image.id);
        if let Some(user) = users.clone().find(|user| user.running) {
            return conflict(
                true,
                format!("image is being used by running container {}", user.short()),
            );
        }
        let named = || -> Result<bool, ImageError> {
            Ok(!self.tags_of(&image.id)?.is_empty() || !self.digests_of(&image.id)?.is_empty())
        };
        if heed.named && named()? {
            return conflict(false, "image is referenced in multiple repositories".to_owned());
        }
        if let Some(user) = users.next().filter(|_| heed.stopped) {
            return conflict(
                false,
                format!("image is being used by stopped container {}", user.short()),
            );
        }
        Ok(())
    }

    /// Deletes an image and then, with `prune`, the unnamed ones it was built on. `quiet`: conflicts end it without an
    /// error, as the name that was asked for is gone already.
    pub(crate) fn delete(
        &self,
        image: Image,
        force: bool,
        prune: bool,
        quiet: bool,
        in_use: &[ImageUse],
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        let (mut next, mut force, mut quiet) = (Some(image), force, quiet);
        while let Some(image) = next.take() {
            match self.check(
                &image,
                Heed {
                    stopped: !force,
                    named: !force,
                },
                in_use,
            ) {
                Ok(()) => {}
                Err(ImageError::InUse { .. }) if quiet => return Ok(()),
                Err(error) => return Err(error),
            }
            for reference in self
                .tags_of(&image.id)?
                .iter()
                .chain(&self.digests_of(&image.id)?)
            {
                removal.removed.push(Removed::Untagged(reference.familiar()));
            }
            let freed = removal.store.remove_image(&image.id)?;
            removal.freed += freed.bytes;
            removal.removed.push(Removed::Deleted(image.id.clone()));
            removal
                .removed
                .extend(deleted_layers(&image, &freed).map(Removed::Deleted));
            if prune && let Some(parent) = &image.parent {
                next = self.store.meta().find_image(parent)?;
            }
            (force, quiet) = (false, true);
        }
        Ok(())
    }
}

/// Chain IDs of the layers that went with an image, top first, as Docker lists them.
fn deleted_layers(image: &Image, freed: &Freed) -> impl Iterator<Item = Digest> {
    let chains = chain_ids(&image.layers);
    let gone = image
        .layers
        .iter()
        .zip(chains)
        .filter(|(diff_id, _)| freed.layers.contains(diff_id));
    gone.map(|(_, chain)| chain).collect::<Vec<_>>().into_iter().rev()
}

/// Whether all names lie in one repository with at most one tag.
fn is_single(tags: &[Reference], digests: &[Reference]) -> bool {
    let Some(first) = tags.first().or(digests.first()) else {
        return true;
    };
    tags.len() <= 1
        && digests
            .iter()
            .all(|digest| digest.repository() == first.repository())
}
