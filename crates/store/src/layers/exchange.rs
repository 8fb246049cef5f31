//! Other files for the same layer: conversion to the form new layers have, and repair.
//!
//! The new files are made aside and verified, then both directories change places in one step of the file system, then the
//! row follows. A crash between the two steps leaves a directory that says of itself what it is ([`FORM`]); the next start
//! writes the row from it, if every byte is right.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{PoisonError, RwLockReadGuard};

use fs_err as fs;
use havre_oci::Digest;
use havre_sys::mount;
use jiff::Timestamp;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Layer, LayerStore, Staged, mismatch, pipeline, published};
use crate::snapshotter::{FS, Form, IMAGE, LayerFile, MOVED, RECIPE, Unpacked, tree_blocks};
use crate::{ApplyError, LayerForm, Lease, Limits, Result, StoreError, Verify};

/// In a layer's directory that took another's place: its form.
const FORM: &str = "form.json";

/// What became of a layer that was to have another form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converted {
    /// It has that form already.
    Already,
    /// Something that is mounted stands on its files (a container that runs, a build), or they are being read.
    InUse,
    /// It has it now.
    Done,
    /// It has more entries than a file system is made of in bounded memory: it stays a directory.
    Outgrown,
}

/// What [`FORM`] holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "form")]
enum Note {
    Directory,
    Tar(FileNote),
    Aligned(FileNote),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileNote {
    size: u64,
    metadata_offset: u64,
    metadata: Digest,
}

impl Note {
    fn of(form: &Form) -> Self {
        let file = |file: &LayerFile| FileNote {
            size: file.size,
            metadata_offset: file.metadata_offset,
            metadata: file.metadata.clone(),
        };
        match form {
            Form::Directory => Self::Directory,
            Form::Tar(layer) => Self::Tar(file(layer)),
            Form::Aligned(layer) => Self::Aligned(file(layer)),
        }
    }

    fn form(self) -> Form {
        let file = |note: FileNote| LayerFile {
            size: note.size,
            metadata_offset: note.metadata_offset,
            metadata: note.metadata,
        };
        match self {
            Self::Directory => Form::Directory,
            Self::Tar(note) => Form::Tar(file(note)),
            Self::Aligned(note) => Form::Aligned(file(note)),
        }
    }
}

impl LayerStore {
    /// [`LayerStore::convert_to`] the form new layers get.
    pub fn convert(&self, diff_id: &Digest, progress: &mut dyn FnMut(u64)) -> Result<Converted, ApplyError> {
        self.convert_to(diff_id, self.forms.result().form, progress)
    }

    /// Gives a layer another form, which [`Store::allow_form`](crate::Store::allow_form) gave. `progress` is told the bytes of
    /// archive done so far. A layer that nothing needs any more when it is done is removed.
    pub fn convert_to(
        &self,
        diff_id: &Digest,
        to: LayerForm,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Converted, ApplyError> {
        let lease = self.core.leases.lease();
        lease.hold(diff_id);
        let layer = self.get(diff_id)?;
        if self.forms.is_of(to, &layer.form) {
            return Ok(Converted::Already);
        }
        if self.is_outgrown(diff_id) && layer.form == Form::Directory {
            return Ok(Converted::Outgrown);
        }
        if self.is_stacked(&layer)? || self.readers.any(diff_id) {
            return Ok(Converted::InUse);
        }
        let tar = self.tar(diff_id)?;
        let outcome = match self.rewrite(tar, diff_id, to, progress) {
            Ok(layer) if self.forms.is_of(to, &layer.form) => Ok(Converted::Done),
            Ok(_) => Ok(Converted::Outgrown),
            Err(ApplyError::Store(StoreError::LayerMounted { .. })) => Ok(Converted::InUse),
            Err(error) => Err(error),
        };
        drop(lease);
        // Its image may have been removed meanwhile.
        self.remove_unused(std::slice::from_ref(diff_id))?;
        outcome
    }

    /// Writes a layer that exists anew, from its uncompressed archive `tar`, and puts it into the place of the old files.
    /// [`StoreError::LayerMounted`] if the old files are a directory on which something mounted stands.
    pub fn replace(
        &self,
        tar: impl Read + Send,
        diff_id: &Digest,
        progress: &mut dyn FnMut(u64),
        lease: &Lease,
    ) -> Result<Layer, ApplyError> {
        lease.hold(diff_id);
        self.rewrite(tar, diff_id, self.forms.result().form, progress)
    }

    fn rewrite(
        &self,
        tar: impl Read + Send,
        diff_id: &Digest,
        to: LayerForm,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Layer, ApplyError> {
        let layer = self.get(diff_id)?;
        let staged = self.stage()?;
        let (unpacked, actual) = pipeline::run(tar, progress, |tar| {
            self.forms
                .writer_of(to)
                .unpack(tar, &staged.path, &Limits::default())
        })?;
        if actual != *diff_id {
            return Err(mismatch(diff_id, actual));
        }
        let is_outgrown = self.note_outgrown(diff_id, to, &unpacked);
        if is_outgrown && layer.form == Form::Directory && !self.is_damaged(diff_id) {
            return Ok(layer);
        }
        self.protect_new(&staged, diff_id, &unpacked)?;
        Ok(self.exchange(&staged, unpacked.form, layer)?)
    }

    /// Whether a layer that was to be a file became a directory. Remembered until the store is closed: nobody need try again.
    pub(super) fn note_outgrown(&self, diff_id: &Digest, wanted: LayerForm, unpacked: &Unpacked) -> bool {
        let is_outgrown = wanted != LayerForm::Directories && unpacked.form == Form::Directory;
        if is_outgrown {
            let mut outgrown = self.outgrown.lock().unwrap_or_else(PoisonError::into_inner);
            outgrown.insert(diff_id.clone());
        }
        is_outgrown
    }

    fn is_outgrown(&self, diff_id: &Digest) -> bool {
        let outgrown = self.outgrown.lock().unwrap_or_else(PoisonError::into_inner);
        outgrown.contains(diff_id)
    }

    /// Whether a layer can't be converted at the moment: it is a directory that something mounted stands on.
    pub fn is_held_by_mounts(&self, diff_id: &Digest) -> Result<bool> {
        self.is_stacked(&self.get(diff_id)?)
    }

    /// What [`LayerForm::Auto`] stands for here; any other form as it is, if this machine can mount it.
    pub(crate) fn target(&self, to: LayerForm) -> Result<LayerForm> {
        let to = match to {
            LayerForm::Auto => self.forms.result().form,
            other => other,
        };
        if to == LayerForm::Directories && self.verify == Verify::Read {
            return Err(StoreError::Verification {
                reason: "directories can't be".to_owned(),
            });
        }
        match self.forms.why_not(to) {
            None => Ok(to),
            Some(reason) => Err(StoreError::LayerForm {
                form: to,
                reason: reason.to_owned(),
            }),
        }
    }

    /// Bytes a layer takes on the disk: blocks of its files, not what it is mounted as.
    pub fn disk_usage(&self, layer: &Layer) -> Result<u64> {
        let path = self.core.layout.layer(&layer.diff_id);
        let of = |name: &str| fs::symlink_metadata(path.join(name)).map_or(0, |status| status.blocks() * 512);
        let files = of(IMAGE) + of(RECIPE);
        if layer.form != Form::Directory {
            return Ok(files);
        }
        let tree = tree_blocks(&path.join(FS)).and_then(|tree| match tree_blocks(&path.join(MOVED)) {
            Ok(moved) => Ok(tree + moved),
            Err(Errno::NOENT) => Ok(tree),
            Err(errno) => Err(errno),
        });
        match tree {
            Ok(tree) => Ok(files + tree),
            // Removed meanwhile.
            Err(Errno::NOENT) => Ok(files),
            Err(errno) => Err(StoreError::io("measure", &path, errno.into())),
        }
    }

    pub(super) fn exchange(&self, staged: &Staged<'_>, form: Form, layer: Layer) -> Result<Layer> {
        let layer = Layer {
            form,
            created: Timestamp::now(),
            ..layer
        };
        let note = staged.path.join(FORM);
        let text = serde_json::to_vec(&Note::of(&layer.form)).unwrap_or_default();
        fs::write(&note, text).map_err(StoreError::at("write", &note))?;
        let target = self.core.layout.layer(&layer.diff_id);

        // Nothing is mounted and no layer comes or goes until row and directory agree again.
        let _publishing = self.publishing();
        let _mounting = self.mounting.write().unwrap_or_else(PoisonError::into_inner);
        let before = self.get(&layer.diff_id)?;
        if self.is_stacked(&before)? || self.readers.any(&layer.diff_id) {
            return Err(StoreError::LayerMounted {
                diff_id: layer.diff_id,
            });
        }
        let swap = || rustix::fs::renameat_with(CWD, &staged.path, CWD, &target, RenameFlags::EXCHANGE);
        // A layer that lost its directory.
        fs::create_dir_all(&target).map_err(StoreError::at("create", &target))?;
        swap().map_err(|errno| StoreError::io("replace", &target, errno.into()))?;
        if let Err(error) = self.meta.update_layer(&layer) {
            let _ = swap();
            return Err(error);
        }
        // Containers that run keep what they have: an unmounted file stays until its last user goes.
        let _ = mount::unmount(&staged.path.join(FS), true);
        let _ = fs::remove_file(target.join(FORM));
        self.mark(&layer.diff_id, false);
        self.core.sync.soon(published(&layer, target));
        Ok(layer)
    }

    /// Keeps layers from changing places while stacks of them are mounted.
    pub(crate) fn mounting(&self) -> RwLockReadGuard<'_, ()> {
        self.mounting.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something mounted would lose its files with the layer's. A layer that is a file stays readable for who has it.
    fn is_stacked(&self, layer: &Layer) -> Result<bool> {
        if layer.form != Form::Directory {
            return Ok(false);
        }
        let tree = self.core.layout.layer(&layer.diff_id).join(FS);
        let table =
            fs::read("/proc/self/mountinfo").map_err(StoreError::at("read", "/proc/self/mountinfo"))?;
        let tree = tree.as_os_str().as_encoded_bytes();
        if table.windows(tree.len()).any(|window| window == tree) {
            return Ok(true);
        }
        // Where the kernel doesn't tell the directories of an overlay.
        for id in self.meta.snapshot_ids()? {
            let chain = self.meta.find_snapshot(&id)?.unwrap_or_default();
            let merged = self.core.layout.container(&id).join("merged");
            if chain.contains(&layer.diff_id)
                && mount::is_mount_point(&merged).map_err(StoreError::at("query", &merged))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Completes an exchange that a crash interrupted: the row follows the directory, if that is whole. Whether it is.
    pub(super) fn complete_exchange(&self, layer: &Layer) -> Result<bool> {
        let path = self.core.layout.layer(&layer.diff_id);
        let note = fs::read(path.join(FORM))
            .ok()
            .and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        let Some(note) = note else {
            return Ok(false);
        };
        let layer = Layer {
            form: note.form(),
            created: Timestamp::now(),
            ..layer.clone()
        };
        if !has_files(&path, &layer.form) {
            return Ok(false);
        }
        self.meta.update_layer(&layer)?;
        let whole = self.is_intact(&layer);
        if whole {
            let _ = fs::remove_file(path.join(FORM));
        }
        Ok(whole)
    }
}

/// Whether a layer's directory has the files of a form, as far as their names say.
pub(super) fn has_files(path: &Path, form: &Form) -> bool {
    let image = path.join(IMAGE).is_file();
    let recipe = path.join(RECIPE).is_file();
    match form {
        Form::Directory => recipe && !image,
        Form::Tar(_) => image && !recipe,
        Form::Aligned(_) => image && recipe,
    }
}
