//! Removals that are planned: found out by rehearsal, and carried out as far as nothing changed since.

use havre_oci::{Digest, Reference};
use havre_store::{Removing, StoreError};

use super::{ImageUse, Keep, Removal, RemoveOptions, Removed, RemovedImage};
use crate::lookup::Found;
use crate::select::{Selector, Wanted};
use crate::{Filters, ImageError, ImageService};

/// An image of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub image: Digest,
    /// The names it may go with, as users write them.
    pub names: Vec<String>,
    /// The image goes; else these names of it alone.
    pub deleted: bool,
}

impl ImageService {
    /// What [`ImageService::remove`] would do now, found out by doing it within a transaction that is called off. The first name
    /// that can't be removed is the error.
    pub async fn plan_removal(
        &self,
        names: &[String],
        options: RemoveOptions,
        in_use: &[ImageUse],
    ) -> Result<Vec<RemovedImage>, ImageError> {
        let (names, in_use) = (names.to_vec(), in_use.to_vec());
        self.blocking(move |service| {
            service.rehearse(|store| {
                let mut removal = Removal::new(store, None, "rmi");
                for name in &names {
                    match service.remove_blocking(name, &options, &in_use, &mut removal) {
                        Err(ImageError::NotFound(_)) if options.force => {}
                        removed => removed?,
                    }
                }
                Ok(removal.images)
            })
        })
        .await
    }

    /// What the removal of the images that filters mean would do now, each with the names that are meant; found out as by
    /// [`ImageService::plan_removal`]. Images that containers use stay; with `force`, those that running containers do.
    pub async fn plan_filtered_removal(
        &self,
        filters: &Filters,
        options: RemoveOptions,
        in_use: &[ImageUse],
    ) -> Result<Vec<RemovedImage>, ImageError> {
        let (filters, in_use) = (filters.clone(), in_use.to_vec());
        self.blocking(move |service| {
            let selector = Selector::new(service, &filters)?;
            let chosen = service.choose(&selector, Wanted::default(), &in_use)?;
            service.rehearse(|store| {
                let mut removal = Removal::new(store, None, "rmi");
                for image in &chosen {
                    let id = &image.row.id;
                    let mut users = in_use.iter().filter(|user| user.image == *id);
                    if !image.otherwise_named && users.any(|user| user.running || !options.force) {
                        continue;
                    }
                    let Some(row) = service.store.meta().find_image(id)? else {
                        continue;
                    };
                    // The digests of a repository go with its last tag.
                    let names = match image.tags.is_empty() {
                        true => &image.digests,
                        false => &image.tags,
                    };
                    match names.is_empty() {
                        true => service.delete(
                            row,
                            options.force,
                            !options.no_prune,
                            true,
                            &in_use,
                            &mut removal,
                        )?,
                        false => {
                            let only = RemoveOptions {
                                platforms: image.beside.then(|| row.platform.clone()).into_iter().collect(),
                                ..options.clone()
                            };
                            for name in names {
                                match image.beside {
                                    true => service.remove_platforms(
                                        &name.familiar(),
                                        &only,
                                        &in_use,
                                        &mut removal,
                                    )?,
                                    false => service.remove_name(
                                        row.clone(),
                                        name,
                                        &options,
                                        &in_use,
                                        &mut removal,
                                    )?,
                                }
                            }
                        }
                    }
                    removal.explain(id, selector.why(image));
                }
                Ok(removal.images)
            })
        })
        .await
    }

    /// Removes just these images of a plan, all in one transaction, each if it is still called by no other names than the planned
    /// and nothing has begun to use it; else the reason why it stays. Names alone go if they still stand for the image.
    /// `force`: stopped containers do not keep an image. `command` is for the histories of names.
    pub async fn remove_planned(
        &self,
        planned: &[Planned],
        (command, force): (&'static str, bool),
        in_use: &[ImageUse],
        keep: Option<Keep>,
    ) -> Result<Vec<Result<(Vec<Removed>, u64), ImageError>>, ImageError> {
        let (planned, in_use) = (planned.to_vec(), in_use.to_vec());
        self.blocking(move |service| {
            service.store.removing(|store| {
                let remove = |planned: &Planned| {
                    let mut removal = Removal::new(store, keep.as_ref(), command);
                    let removed = match planned.deleted {
                        true => service.remove_if_as_planned(planned, force, &in_use, &mut removal),
                        false => service.untag_if_as_planned(planned, &mut removal),
                    };
                    removal.keep_names()?;
                    removed.map(|()| (removal.removed, removal.freed))
                };
                // Of a name with several images the one it stands for by itself goes last: it would stand for another.
                let meta = service.store.meta();
                let mut order = Vec::with_capacity(planned.len());
                for (place, one) in planned.iter().enumerate() {
                    order.push((!meta.references_to(&one.image)?.is_empty(), place));
                }
                order.sort_unstable();
                let mut outcomes: Vec<_> = order
                    .into_iter()
                    .map(|(_, place)| (place, remove(&planned[place])))
                    .collect();
                outcomes.sort_by_key(|(place, _)| *place);
                Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
            })
        })
        .await
    }

    fn remove_if_as_planned(
        &self,
        Planned { image: id, names, .. }: &Planned,
        force: bool,
        in_use: &[ImageUse],
        removal: &mut Removal<'_>,
    ) -> Result<(), ImageError> {
        let Some(image) = self.store.meta().find_image(id)? else {
            return Err(ImageError::NotFound(id.to_string()));
        };
        let mut called = self.tags_of(id)?;
        called.extend(self.digests_of(id)?);
        let changed = |reason: String| {
            Err(ImageError::InUse {
                image: id.short().to_owned(),
                hard: true,
                reason,
            })
        };
        if let Some(new) = called
            .iter()
            .map(Reference::familiar)
            .find(|name| !names.contains(name))
        {
            return changed(format!("it came to be called {new}"));
        }
        let mut users = in_use.iter().filter(|user| user.image == *id);
        if let Some(user) = users.find(|user| user.running || !force) {
            return changed(format!("container {} uses it", user.short()));
        }
        self.delete(image, true, false, false, in_use, removal)
    }

    fn untag_if_as_planned(&self, planned: &Planned, removal: &mut Removal<'_>) -> Result<(), ImageError> {
        let found: Vec<Found> =
            (planned.names.iter().map(|name| self.find(name))).collect::<Result<_, _>>()?;
        if let Some((name, found)) =
            (planned.names.iter().zip(&found)).find(|(_, found)| found.image.id != planned.image)
        {
            return Err(ImageError::InUse {
                image: planned.image.short().to_owned(),
                hard: true,
                reason: format!("{name} came to stand for {}", found.image.id.short()),
            });
        }
        for Found { image, reference } in found {
            let reference = reference.ok_or_else(|| ImageError::NotFound(planned.names.join(", ")))?;
            self.untag(&image, &reference, removal)?;
        }
        Ok(())
    }

    /// Does `work` and undoes it.
    pub(crate) fn rehearse<T>(
        &self,
        work: impl FnOnce(&Removing<'_>) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        enum Called<T> {
            Off(T),
            Failed(ImageError),
        }
        impl<T> From<StoreError> for Called<T> {
            fn from(error: StoreError) -> Self {
                Self::Failed(error.into())
            }
        }
        let result = self.store.removing(|store| match work(store) {
            Ok(value) => Err::<std::convert::Infallible, _>(Called::Off(value)),
            Err(error) => Err(Called::Failed(error)),
        });
        match result {
            Ok(never) => match never {},
            Err(Called::Off(value)) => Ok(value),
            Err(Called::Failed(error)) => Err(error),
        }
    }
}
