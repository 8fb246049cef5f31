//! Whether a layer's files still are what was written.
//!
//! Nothing is held while a layer is read: it may be removed or replaced meanwhile, and what was found counts only if it
//! wasn't. What the kernel has cached of the file is given up first, so that it is the disk that is asked.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::PoisonError;

use fs_err as fs;
use havre_oci::{Digest, Digester};
use rustix::fs::Advice;

use super::{Layer, LayerStore, LayerTar};
use crate::snapshotter::{Archive, Form, IMAGE};
use crate::{Result, StoreError};

/// Bytes between two looks whether the layer is still there, and between two times that what was read is given up again.
const STRIDE: u64 = 16 << 20;

/// What is wrong with a layer or a blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Files are missing, cut off or unreadable.
    #[error("{0}")]
    Unreadable(String),
    /// Its contents are not those its digest stands for.
    #[error("its contents changed (their digest is {})", .0.short())]
    Contents(Digest),
    /// What the kernel reads beside the contents changed: names, attributes, places.
    #[error("its metadata changed")]
    Metadata,
    /// The kernel was to verify every read of it and doesn't (any more).
    #[error("the kernel does not verify it, though it did: its file was replaced")]
    Unprotected,
}

/// What came of looking at a layer or a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Every byte is right.
    Intact,
    Damaged(Damage),
    /// It was removed meanwhile, or before.
    Gone,
    /// Whoever watched wanted no more.
    Stopped,
}

/// Why reading went no further.
enum Stop {
    Damage(Damage),
    Gone,
    Watcher,
    Failed(StoreError),
}

impl From<Damage> for Stop {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// Errors of the layer's own files are findings; a database that fails is an error.
impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io { source, path, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                Self::Damage(Damage::Unreadable(format!("{name} is missing")))
            }
            StoreError::Io { source, .. } => Self::Damage(unreadable(&source)),
            StoreError::Corrupt { path, reason } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                Self::Damage(Damage::Unreadable(format!("{name}: {reason}")))
            }
            error => Self::Failed(error),
        }
    }
}

fn unreadable(error: &std::io::Error) -> Damage {
    Damage::Unreadable(format!("cannot be read: {error}"))
}

/// The directory of a layer, and what its row says.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) path: &'a Path,
    pub(super) diff_id: &'a Digest,
    pub(super) form: &'a Form,
    pub(super) tar_size: u64,
}

impl LayerStore {
    /// Reads every byte of a layer: hashes its archive against the diff ID, and the metadata it is mounted with against what
    /// was noted when they were written. Of a directory, that is what the archive is put together from: contents, not owners
    /// and modes. `watch` is told the bytes of archive read so far and may end it.
    ///
    /// The layer is not held: removing it is not hindered, and [`Checked::Gone`] says so. A damaged one is remembered until it
    /// is replaced: [`LayerStore::find_sound`].
    pub fn examine(
        &self,
        diff_id: &Digest,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Checked> {
        loop {
            let Some(layer) = self.find(diff_id)? else {
                return Ok(Checked::Gone);
            };
            let path = self.core.layout.layer(diff_id);
            let subject = Subject {
                path: &path,
                diff_id,
                form: &layer.form,
                tar_size: layer.tar_size,
            };
            let found = self.read_whole(subject, watch).and_then(|()| {
                if self.has_lost_protection(&path, &layer.form) {
                    return Err(Damage::Unprotected.into());
                }
                Ok(())
            });
            let damage = match found {
                Ok(()) => {
                    self.mark(diff_id, false);
                    return Ok(Checked::Intact);
                }
                Err(Stop::Watcher) => return Ok(Checked::Stopped),
                Err(Stop::Gone) => return Ok(Checked::Gone),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Damage(damage)) => damage,
            };
            // With row and directory in step: was it this layer that was read?
            let _publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
            match self.find(diff_id)? {
                None => return Ok(Checked::Gone),
                Some(now) if now == layer => {
                    self.mark(diff_id, true);
                    return Ok(Checked::Damaged(damage));
                }
                Some(_) => {}
            }
        }
    }

    /// [`LayerStore::examine`] to the end. `None`: nothing is wrong. A layer that isn't there is an error.
    pub fn check(&self, diff_id: &Digest, progress: &mut dyn FnMut(u64)) -> Result<Option<Damage>> {
        let mut watch = |done| {
            progress(done);
            ControlFlow::Continue(())
        };
        match self.examine(diff_id, &mut watch)? {
            Checked::Intact | Checked::Stopped => Ok(None),
            Checked::Damaged(damage) => Ok(Some(damage)),
            Checked::Gone => Err(StoreError::LayerNotFound {
                diff_id: diff_id.clone(),
            }),
        }
    }

    /// What is wrong with the files of a layer, published or not.
    pub(super) fn damage_of(&self, subject: Subject<'_>) -> Result<Option<Damage>> {
        match self.read_whole(subject, &mut |_| ControlFlow::Continue(())) {
            Err(Stop::Damage(damage)) => Ok(Some(damage)),
            Err(Stop::Failed(error)) => Err(error),
            Ok(()) | Err(Stop::Gone | Stop::Watcher) => Ok(None),
        }
    }

    /// Whether the layer was found damaged and not replaced since.
    pub(super) fn is_damaged(&self, diff_id: &Digest) -> bool {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.contains(diff_id)
    }

    pub(super) fn mark(&self, diff_id: &Digest, is_damaged: bool) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if is_damaged {
            damaged.insert(diff_id.clone());
        } else {
            damaged.remove(diff_id);
        }
    }

    fn read_whole(
        &self,
        subject: Subject<'_>,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let Subject {
            path,
            diff_id,
            form,
            tar_size,
        } = subject;
        if *form != Form::Directory {
            give_up_cache(&path.join(IMAGE), 0, 0);
        }
        let snapshotter = self.forms.of(form);
        if !snapshotter.is_sound(path, form)? {
            return Err(Damage::Metadata.into());
        }
        let archive = snapshotter.tar(path, form, tar_size)?;
        let cached = matches!(archive, Archive::Range { .. }).then(|| path.join(IMAGE));
        let mut tar = LayerTar {
            archive,
            position: 0,
            size: tar_size,
            _reading: None,
            _lease: self.core.leases.lease(),
        };
        let mut digester = Digester::sha256();
        let mut buffer = vec![0; 256 << 10];
        let (mut done, mut looked) = (0, 0);
        loop {
            match tar.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    digester.update(&buffer[..read]);
                    done += read as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(&error).into()),
            }
            if watch(done).is_break() {
                return Err(Stop::Watcher);
            }
            if done - looked >= STRIDE {
                if let Some(image) = &cached {
                    give_up_cache(image, looked, done - looked);
                }
                looked = done;
                // A removed layer's space comes back when its file is closed.
                if path.starts_with(self.core.layout.layers()) && self.find(diff_id)?.is_none() {
                    return Err(Stop::Gone);
                }
            }
        }
        let actual = digester.finish();
        if actual == *diff_id {
            Ok(())
        } else {
            Err(Damage::Contents(actual).into())
        }
    }

    /// Whether every byte of the layer is as it was written.
    pub(super) fn is_intact(&self, layer: &Layer) -> bool {
        matches!(self.check(&layer.diff_id, &mut |_| {}), Ok(None))
    }
}

/// Gives up what is cached of a file, so that it is read from the disk; `len` 0 is to its end. Only what isn't written yet
/// stays. The kernel may not want to: then what is cached is what is checked.
fn give_up_cache(path: &Path, offset: u64, len: u64) {
    if let Ok(file) = fs::File::open(path) {
        let _ = rustix::fs::fadvise(
            file.file(),
            offset,
            std::num::NonZeroU64::new(len),
            Advice::DontNeed,
        );
    }
}
