//! Removing images: cheaper than a collection, for it looks at nothing but their own content; and several in one transaction.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::MutexGuard;

use havre_oci::{Descriptor, Digest};

use crate::lease::State;
use crate::{Freed, Image, LostName, Operation, Result, Store, StoreError};

/// A removal under way. While it lives nobody begins to use anything that may go.
#[derive(Debug)]
pub struct Removing<'a> {
    store: &'a Store,
    leases: MutexGuard<'a, State>,
    /// What the database has forgotten. The files go when it is certain that it has.
    gone: RefCell<Gone>,
    /// An image went for good: names of it that were removed before cannot come back.
    dropped: Cell<bool>,
}

#[derive(Debug, Default)]
struct Gone {
    layers: Vec<Digest>,
    blobs: HashSet<Digest>,
}

impl Store {
    /// Deletes an image's row with its references and repository digests, and what only it held.
    pub fn remove_image(&self, id: &Digest) -> Result<Freed> {
        self.removing(|removing| removing.remove_image(id, "rmi"))
    }

    /// Removes images, and changes whatever else of the database `work` changes, in one transaction: an error undoes all of
    /// it. `work` may not make leases. The space comes back in the background ([`Store::wait_for_trash`]).
    pub fn removing<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Removing<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let _collection = self.core.leases.collection();
        let _publishing = self.layers().publishing();
        let removing = Removing {
            store: self,
            leases: self.core.leases.state(),
            gone: RefCell::default(),
            dropped: Cell::new(false),
        };
        let value = self.meta().together("remove images", || {
            let value = work(&removing)?;
            if removing.dropped.get() {
                for digest in self.meta().drop_lost_names()? {
                    removing.free_blob(digest, &mut Freed::default())?;
                }
            }
            Ok::<_, E>(value)
        })?;
        removing.discard()?;
        Ok(value)
    }
}

impl Removing<'_> {
    /// As [`Store::remove_image`], as a part of this removal. Nothing is freed of an image that isn't there. `command`: for the
    /// histories of its names.
    pub fn remove_image(&self, id: &Digest, command: &str) -> Result<Freed> {
        let meta = self.store.meta();
        let Some(image) = meta.find_image(id)? else {
            return Ok(Freed::default());
        };
        let blobs = self.roots(&image)?;
        meta.delete_image(id, command)?;
        self.dropped.set(true);

        let mut freed = Freed::default();
        self.free_layers(&image.layers, blobs, &mut freed)?;
        Ok(freed)
    }

    /// Moves an image out of sight, with its references and repository digests: with all it consists of it can be brought
    /// back. Beside what people call it stands the command, for the histories of its names. `lost`: the names it lost before, as a
    /// part of the same command; what people call each name is asked of `familiar`.
    pub fn keep_image(
        &self,
        id: &Digest,
        operation: &Operation,
        (name, command): (&str, &str),
        lost: &[(LostName, String)],
        familiar: impl Fn(&LostName) -> String,
    ) -> Result<()> {
        let meta = self.store.meta();
        let Some(image) = meta.find_image(id)? else {
            return Ok(());
        };
        let blobs = self.roots(&image)?;
        let mut names = lost.to_vec();
        let (of_several, references): (Vec<_>, Vec<_>) =
            (meta.references_to(id)?.into_iter()).partition(|reference| !reference.others.is_empty());
        let references = references.into_iter().map(Box::new).map(LostName::Tag);
        let of_several = of_several.into_iter().chain(meta.references_beside(id)?);
        let of_several = of_several.map(|reference| LostName::Platform(Box::new(reference), id.clone()));
        let digests = meta.repo_digests(id)?.into_iter().map(LostName::Digest);
        names.extend(references.chain(of_several).chain(digests).map(|lost| {
            let name = familiar(&lost);
            (lost, name)
        }));
        for (lost, _) in &names {
            if let LostName::Tag(reference) = lost {
                meta.delete_reference(&reference.name, command)?;
            }
        }
        meta.leave_names(id, command)?;
        meta.take_image(operation, &image, name, &blobs)?;
        self.keep_names(operation, &names)
    }

    /// Lets a name stand for an image again, which is brought back if it was removed and is kept. Whether it was brought back.
    pub fn restore_reference(
        &self,
        name: &str,
        image: &Digest,
        target: Option<&Descriptor>,
        command: &str,
    ) -> Result<bool> {
        let content = self.store.content();
        let target = target.filter(|target| content.contains(&target.digest));
        let (returned, released) = self.store.meta().return_reference(name, image, target, command)?;
        for digest in released {
            self.free_blob(digest, &mut Freed::default())?;
        }
        Ok(returned)
    }

    /// Writes down names that an image lost while it stays, or is kept.
    pub fn keep_names(&self, operation: &Operation, names: &[(LostName, String)]) -> Result<()> {
        match names {
            [] => Ok(()),
            names => self.store.meta().take_names(operation, names),
        }
    }

    /// Forgets a record of the build cache with what only it held; `None` if it isn't there.
    pub fn forget_cached(&self, key: &str) -> Result<Option<Freed>> {
        let meta = self.store.meta();
        let layers = meta.cached_layers(key)?;
        if !meta.cache_delete(key)? {
            return Ok(None);
        }
        let mut freed = Freed::default();
        self.free_layers(&layers, Vec::new(), &mut freed)?;
        Ok(Some(freed))
    }

    /// Forgets what a snapshot stands on: for a rehearsal, since its files stay.
    pub fn forget_snapshot(&self, id: &str) -> Result<()> {
        self.store.meta().delete_snapshot(id).map(drop)
    }

    /// Gives up what a removal keeps of images; its rows go with it.
    pub(crate) fn forget(&self, removal: u64) -> Result<Freed> {
        let meta = self.store.meta();
        let (layers, blobs) = meta.held_by_removed(removal)?;
        meta.delete_removal(removal)?;
        self.dropped.set(true);
        let mut freed = Freed::default();
        self.free_layers(&layers, blobs, &mut freed)?;
        Ok(freed)
    }

    /// Frees layers and blobs that nothing names any more; compressed forms go with their layer.
    fn free_layers(&self, layers: &[Digest], mut blobs: Vec<Digest>, freed: &mut Freed) -> Result<()> {
        for diff_id in layers {
            let forms = self.store.meta().layer_blobs(diff_id)?;
            if self.free_layer(diff_id, freed)? {
                blobs.extend(forms.into_iter().map(|form| form.digest));
            }
        }
        for digest in blobs {
            self.free_blob(digest, freed)?;
        }
        Ok(())
    }

    /// Whether it went.
    fn free_layer(&self, diff_id: &Digest, freed: &mut Freed) -> Result<bool> {
        let meta = self.store.meta();
        if self.leases.protects(diff_id) || !meta.is_unused_layer(diff_id)? {
            return Ok(false);
        }
        let size = meta.find_layer(diff_id)?.map_or(0, |layer| layer.disk_size());
        match meta.delete_layer(diff_id) {
            Ok(_) => {}
            // Somebody began to use it.
            Err(StoreError::LayerInUse { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        freed.bytes += size;
        freed.layers.push(diff_id.clone());
        self.gone.borrow_mut().layers.push(diff_id.clone());
        Ok(true)
    }

    fn free_blob(&self, digest: Digest, freed: &mut Freed) -> Result<()> {
        let mut gone = self.gone.borrow_mut();
        let Some(size) = self.store.content().size(&digest) else {
            return Ok(());
        };
        if gone.blobs.contains(&digest)
            || self.leases.protects(&digest)
            || self.store.meta().names_blob(&digest)?
        {
            return Ok(());
        }
        freed.bytes += size;
        freed.blobs.push(digest.clone());
        gone.blobs.insert(digest);
        Ok(())
    }

    /// The blobs an image's rows name.
    fn roots(&self, image: &Image) -> Result<Vec<Digest>> {
        let meta = self.store.meta();
        let mut roots = vec![image.id.clone()];
        roots.extend(image.manifest.as_ref().map(|manifest| manifest.digest.clone()));
        let mut references = meta.references_to(&image.id)?;
        references.extend(meta.references_beside(&image.id)?);
        let targets = references.into_iter().filter_map(|reference| reference.target);
        roots.extend(targets.map(|target| target.digest));
        roots.extend(meta.image_blobs(&image.id)?);
        roots.extend(meta.repo_digests(&image.id)?.into_iter().map(|row| row.digest));
        Ok(roots)
    }

    /// Takes the files of what is gone out of sight.
    fn discard(&self) -> Result<()> {
        let gone = self.gone.take();
        for diff_id in &gone.layers {
            self.store.layers().discard(diff_id)?;
        }
        for digest in &gone.blobs {
            self.store.content().remove(digest)?;
        }
        Ok(())
    }
}
