//! Removing images: cheaper than a collection, for it looks at nothing but their own content; and several in one transaction.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::MutexGuard;

use havre_oci::Digest;

use crate::lease::State;
use crate::{Freed, Image, Result, Store, StoreError};

/// A removal under way. While it lives nobody begins to use anything that may go.
#[derive(Debug)]
pub struct Removing<'a> {
    store: &'a Store,
    leases: MutexGuard<'a, State>,
    /// What the database has forgotten. The files go when it is certain that it has.
    gone: RefCell<Gone>,
}

#[derive(Debug, Default)]
struct Gone {
    layers: Vec<Digest>,
    blobs: HashSet<Digest>,
}

impl Store {
    /// Deletes an image's row with its references and repository digests, and what only it held.
    pub fn remove_image(&self, id: &Digest) -> Result<Freed> {
        self.removing(|removing| removing.remove_image(id))
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
        };
        let value = self.meta().together("remove images", || work(&removing))?;
        removing.discard()?;
        Ok(value)
    }
}

impl Removing<'_> {
    /// As [`Store::remove_image`], as a part of this removal. Nothing is freed of an image that isn't there.
    pub fn remove_image(&self, id: &Digest) -> Result<Freed> {
        let meta = self.store.meta();
        let Some(image) = meta.find_image(id)? else {
            return Ok(Freed::default());
        };
        let mut blobs = self.roots(&image)?;
        let mut of_layers = Vec::new();
        for diff_id in &image.layers {
            let forms = meta.layer_blobs(diff_id)?;
            of_layers.extend(forms.into_iter().map(|blob| (diff_id, blob.digest)));
        }
        meta.delete_image(id, "rmi")?;

        let mut freed = Freed::default();
        for diff_id in &image.layers {
            self.free_layer(diff_id, &mut freed)?;
        }
        // Compressed forms go with their layer.
        for (diff_id, blob) in of_layers {
            if freed.layers.contains(diff_id) {
                blobs.push(blob);
            }
        }
        for digest in blobs {
            self.free_blob(digest, &mut freed)?;
        }
        Ok(freed)
    }

    fn free_layer(&self, diff_id: &Digest, freed: &mut Freed) -> Result<()> {
        let meta = self.store.meta();
        if self.leases.protects(diff_id) || !meta.is_unused_layer(diff_id)? {
            return Ok(());
        }
        let size = meta.find_layer(diff_id)?.map_or(0, |layer| layer.size);
        match meta.delete_layer(diff_id) {
            Ok(_) => {}
            // Somebody began to use it.
            Err(StoreError::LayerInUse { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        freed.bytes += size;
        freed.layers.push(diff_id.clone());
        self.gone.borrow_mut().layers.push(diff_id.clone());
        Ok(())
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
        let references = meta.references_to(&image.id)?;
        let targets = references.into_iter().filter_map(|reference| reference.target);
        roots.extend(targets.map(|target| target.digest));
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
