//! Removing names and images, with the rules and words of Docker.

mod planned;

pub use self::planned::Planned;

use havre_oci::{Digest, Platform, Reference, chain_ids};
use havre_store::{Freed, Image, LostName, Operation, Removing, RepoDigest};

use crate::log::{self, HistoryError};
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
#[derive(Debug, Clone, Default)]
pub struct RemoveOptions {
    pub force: bool,
    /// Of names that stand for several images just those of these platforms; all if there are none.
    pub platforms: Vec<Platform>,
    /// Keep untagged parents.
    pub no_prune: bool,
}

/// What of a removal can be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// What it is part of.
    pub operation: Operation,
    /// Images as well, with their space; else names of images that stay.
    pub images: bool,
}

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedImage {
    pub image: Digest,
    /// What it was called by, as users write it.
    pub names: Vec<String>,
    /// The image itself went, not only names of it.
    pub deleted: bool,
    /// Diff IDs of the layers that only it had.
    pub layers: Vec<Digest>,
    /// Bytes on the disk that come back with it.
    pub size: u64,
    /// What the filters say of it by which it was found.
    pub why: String,
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
    keep: Option<&'a Keep>,
    /// For the histories of names.
    command: &'static str,
    pub(crate) removed: Vec<Removed>,
    pub(crate) images: Vec<RemovedImage>,
    pub(crate) freed: u64,
    /// Names that went, of images that may stay or be kept.
    lost: Vec<(LostName, String)>,
}

impl<'a> Removal<'a> {
    pub(crate) fn new(store: &'a Removing<'a>, keep: Option<&'a Keep>, command: &'static str) -> Self {
        Self {
            store,
            keep,
            command,
            removed: Vec::new(),
            images: Vec::new(),
            freed: 0,
            lost: Vec::new(),
        }
    }

    fn of(&mut self, image: &Digest) -> &mut RemovedImage {
        let known = self.images.iter().rposition(|known| known.image == *image);
        let at = known.unwrap_or_else(|| {
            self.images.push(RemovedImage {
                image: image.clone(),
                names: Vec::new(),
                deleted: false,
                layers: Vec::new(),
                size: 0,
                why: String::new(),
            });
            self.images.len() - 1
        });
        &mut self.images[at]
    }

    /// Notes what filters say of an image, if something went of it.
    pub(crate) fn explain(&mut self, image: &Digest, why: String) {
        if let Some(known) = self.images.iter_mut().find(|known| known.image == *image) {
            known.why = why;
        }
    }

    fn untagged(&mut self, image: &Digest, name: String) {
        self.of(image).names.push(name.clone());
        self.removed.push(Removed::Untagged(name));
    }

    /// Deletes an image, or keeps it; what it frees.
    fn delete(&mut self, image: &Image) -> Result<(), ImageError> {
        let (lost, others): (Vec<_>, Vec<_>) =
            (self.lost.drain(..)).partition(|(lost, _)| *lost.image() == image.id);
        self.lost = others;
        let freed = match self.keep.filter(|keep| keep.images) {
            Some(keep) => {
                let words = (image.id.short(), self.command);
                self.store
                    .keep_image(&image.id, &keep.operation, words, &lost, familiar)?;
                Freed::default()
            }
            None => self.store.remove_image(&image.id, self.command)?,
        };
        self.freed += freed.bytes;
        self.removed.push(Removed::Deleted(image.id.clone()));
        let layers = deleted_layers(image, &freed).map(Removed::Deleted);
        self.removed.extend(layers);
        let known = self.of(&image.id);
        (known.deleted, known.layers, known.size) = (true, freed.layers, freed.bytes);
        Ok(())
    }

    /// Names that went of images that stay can be had again.
    fn keep_names(&mut self) -> Result<(), ImageError> {
        let lost = std::mem::take(&mut self.lost);
        if let Some(keep) = self.keep {
            self.store.keep_names(&keep.operation, &lost)?;
        }
        Ok(())
    }
}

/// What people call a name that was lost.
fn familiar(lost: &LostName) -> String {
    let (text, digest) = match lost {
        LostName::Tag(reference) | LostName::Platform(reference, _) => (&reference.name, None),
        LostName::Digest(served) => (&served.repository, Some(served.digest.clone())),
    };
    match (Reference::parse(text), digest) {
        (Ok(reference), None) => reference.familiar(),
        (Ok(reference), Some(digest)) => reference.with_digest(digest).familiar(),
        (Err(_), _) => text.clone(),
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
        keep: Option<Keep>,
    ) -> Result<Vec<Result<Vec<Removed>, ImageError>>, ImageError> {
        let (names, in_use) = (names.to_vec(), in_use.to_vec());
        self.blocking(move |service| {
            service.store.removing(|store| {
                let remove = |name: &String| {
                    let mut removal = Removal::new(store, keep.as_ref(), "rmi");
                    let removed = service.remove_blocking(name, &options, &in_use, &mut removal);
                    removal.keep_names()?;
                    removed.map(|()| removal.removed)
                };
                Ok(names.iter().map(remove).collect())
            })
        })
        .await
    }

    fn remove_blocking(
        &self,
        name: &str,
        options: &RemoveOptions,
        in_use: &[ImageUse],
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        if !options.platforms.is_empty() {
            return self.remove_platforms(name, options, in_use, removal);
        }
        if log::is_entry(name) {
            let image = self.find(name)?.image.id.short().to_owned();
            let entry = name.to_owned();
            return Err(HistoryError::NotRemovable { entry, image }.into());
        }
        let found = self.find(name)?;
        let image = found.image;
        let tags = self.tags_of(&image.id)?;
        let digests = self.digests_of(&image.id)?;
        let Some(reference) = found.reference else {
            return self.remove_by_id(image, (&tags, &digests), options, in_use, removal);
        };
        let group = self.images_of(&reference)?;
        let is_of_group = |user: &&ImageUse| group.iter().any(|image| image.id == user.image);
        if !options.force
            && is_single(&tags, &digests)
            && let Some(user) = in_use.iter().find(is_of_group)
        {
            return Err(ImageError::ReferenceInUse {
                reference: name.to_owned(),
                container: user.short().to_owned(),
                image: user.image.short().to_owned(),
            });
        }
        self.remove_name(image, &reference, options, in_use, removal)
    }

    /// Deletes an image with its names, if they lie in one repository, and with what these stand for on other platforms.
    fn remove_by_id(
        &self,
        image: Image,
        (tags, digests): (&[Reference], &[Reference]),
        options: &RemoveOptions,
        in_use: &[ImageUse],
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        let prune = !options.no_prune;
        if !is_single(tags, digests) {
            return self.delete(image, options.force, prune, false, in_use, removal);
        }
        let mut others = Vec::new();
        for tag in tags {
            let group = self.images_of(tag)?.into_iter().skip(1);
            others.extend(group.map(|other| (other, tag)));
        }
        for image in others.iter().map(|(other, _)| other).chain([&image]) {
            let heed = Heed {
                stopped: !options.force,
                named: false,
            };
            self.check(image, heed, in_use)?;
        }
        for reference in tags.iter().chain(digests) {
            self.untag(&image, reference, removal)?;
        }
        self.delete(image, options.force, prune, false, in_use, removal)?;
        for (other, tag) in others {
            self.forsake(other, tag, options, in_use, removal)?;
        }
        Ok(())
    }

    /// Takes a name from an image, and from those it stands for on other platforms, and deletes those whose last it was.
    fn remove_name(
        &self,
        image: Image,
        reference: &Reference,
        options: &RemoveOptions,
        in_use: &[ImageUse],
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        let group = self.images_of(reference)?;
        self.untag(&image, reference, removal)?;
        let others = group.into_iter().filter(|other| other.id != image.id);
        let others: Vec<Image> = others.collect();
        self.forsake(image, reference, options, in_use, removal)?;
        for other in others {
            if reference.digest().is_some() {
                self.untag(&other, reference, removal)?;
            }
            self.forsake(other, reference, options, in_use, removal)?;
        }
        Ok(())
    }

    /// What becomes of an image that lost a name.
    fn forsake(
        &self,
        image: Image,
        reference: &Reference,
        options: &RemoveOptions,
        in_use: &[ImageUse],
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        if reference.digest().is_none() {
            // The last tag of a repository takes the repository's digests with it.
            let same = |other: &Reference| other.repository() == reference.repository();
            if !self.tags_on_any_platform(&image.id)?.iter().any(same) {
                for digest in self.digests_of(&image.id)?.iter().filter(|digest| same(digest)) {
                    self.untag(&image, digest, removal)?;
                }
            }
        }
        if !self.tags_on_any_platform(&image.id)?.is_empty() || !self.digests_of(&image.id)?.is_empty() {
            return Ok(());
        }
        self.delete(image, options.force, !options.no_prune, true, in_use, removal)
    }

    /// Takes the images of some platforms out of a name, which goes when it stood for no others.
    fn remove_platforms(
        &self,
        name: &str,
        options: &RemoveOptions,
        in_use: &[ImageUse],
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        let mut chosen: Vec<Image> = Vec::new();
        let mut reference = None;
        for platform in &options.platforms {
            let found = self.find_on(name, Some(platform))?;
            reference = found.reference;
            if !chosen.iter().any(|image| image.id == found.image.id) {
                chosen.push(found.image);
            }
        }
        let whole = RemoveOptions {
            platforms: Vec::new(),
            ..options.clone()
        };
        let Some(reference) = reference.filter(|reference| reference.digest().is_none()) else {
            return self.remove_blocking(name, &whole, in_use, removal);
        };
        if chosen.len() == self.images_of(&reference)?.len() {
            return self.remove_blocking(name, &whole, in_use, removal);
        }
        for image in &chosen {
            let heed = Heed {
                stopped: !options.force,
                named: false,
            };
            self.check(image, heed, in_use)?;
        }
        let meta = self.store.meta();
        for image in chosen {
            if let Some(left) = meta.leave_name(&reference.canonical(), &image.id, removal.command)? {
                let name = reference.familiar();
                let lost = LostName::Platform(Box::new(left), image.id.clone());
                removal.lost.push((lost, name.clone()));
                removal.untagged(&image.id, format!("{name} ({})", image.platform));
            }
            self.forsake(image, &reference, &whole, in_use, removal)?;
        }
        Ok(())
    }

    fn untag(
        &self,
        image: &Image,
        reference: &Reference,
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        let meta = self.store.meta();
        let lost = match reference.digest() {
            Some(digest) => {
                let served = RepoDigest {
                    repository: reference.repository(),
                    digest: digest.clone(),
                    image: image.id.clone(),
                };
                meta.delete_repo_digest(&served)?;
                Some(LostName::Digest(served))
            }
            None => meta
                .delete_reference(&reference.canonical(), removal.command)?
                .map(|reference| LostName::Tag(Box::new(reference))),
        };
        tracing::debug!(image = %image.id, reference = %reference, "untagged");
        let name = reference.familiar();
        removal.lost.extend(lost.map(|lost| (lost, name.clone())));
        removal.untagged(&image.id, name);
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
                removal.untagged(&image.id, reference.familiar());
            }
            removal.delete(&image)?;
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
