//! `verify = "read"`: the kernel verifies every block of a layer's file as it comes from the disk (fs-verity).
//!
//! The kernel builds its tree of digests from what the file holds when it is asked to, right or wrong. So a layer is protected
//! in three steps: the kernel is asked; everything is read once more, now verified by the kernel, and compared with the diff ID
//! and the digest of the metadata; then the kernel's measurement is noted beside the file ([`NOTE`]). A file without the note
//! whose measurement it has isn't mounted.
//!
//! Such a file cannot be written to. Nothing in the store wants to: layers are made aside, closed, protected, and then only
//! renamed, mounted, read and deleted.

use std::path::Path;
use std::sync::PoisonError;

use fs_err as fs;
use havre_oci::Digest;
use havre_sys::{mount, verity};
use rustix::io::Errno;

use super::check::Subject;
use super::{Layer, LayerStore, Staged};
use crate::layout::{Layout, STAGED_LAYER};
use crate::snapshotter::{FS, Form, IMAGE, Unpacked};
use crate::{LayerForm, Probe, Result, StoreError, Verify};

/// In the directory of a layer that is a file: what the kernel measured when it was found right.
const NOTE: &str = "verity";

/// Whether the kernel verifies a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    /// As it is noted.
    Whole,
    /// It never did.
    None,
    /// It doesn't any more, or against something else than is noted.
    Lost,
}

/// Finds out whether layers of a store can be verified at every read, by doing it.
pub(crate) fn probe(forms: &Probe, layout: &Layout) -> Result<()> {
    if forms.form == LayerForm::Directories {
        return Err(StoreError::Verification {
            reason: format!(
                "only layers that are files can be, and new layers are directories ({})",
                forms.reason
            ),
        });
    }
    let scratch = layout.ingests();
    let dir = tempfile::Builder::new()
        .prefix(STAGED_LAYER)
        .tempdir_in(&scratch)
        .map_err(StoreError::at("create a directory in", &scratch))?;
    let file = dir.path().join(IMAGE);
    fs::write(&file, [1; 10_000]).map_err(StoreError::at("write", &file))?;
    verity::enable(&file).map_err(|errno| impossible(layout.root(), errno))?;
    match verity::measure(&file) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(impossible(layout.root(), Errno::OPNOTSUPP)),
        Err(errno) => Err(impossible(layout.root(), errno)),
    }
}

/// Why the kernel doesn't, and what can be done.
fn impossible(root: &Path, errno: Errno) -> StoreError {
    const EXT4: i64 = 0xef53;
    let root_shown = root.display();
    let unsupported = matches!(errno, Errno::OPNOTSUPP | Errno::NOTTY);
    let is_ext4 = rustix::fs::statfs(root).is_ok_and(|status| status.f_type == EXT4);
    let reason = if unsupported && is_ext4 && !Path::new("/sys/fs/ext4/features/verity").exists() {
        "this kernel was built without fs-verity (CONFIG_FS_VERITY)".to_owned()
    } else if unsupported && is_ext4 {
        format!(
            "the file system of {root_shown} lacks the feature verity: `tune2fs -O verity DEVICE` adds it, or put the root of the engine on one that has it"
        )
    } else if unsupported {
        format!(
            "the file system of {root_shown} has no fs-verity: ext4 with the feature verity, f2fs and btrfs have, on a kernel with CONFIG_FS_VERITY"
        )
    } else {
        format!(
            "fs-verity cannot be switched on for a file in {root_shown}: {}",
            std::io::Error::from(errno)
        )
    };
    StoreError::Verification { reason }
}

impl LayerStore {
    /// When layers are verified.
    pub(crate) fn verify(&self) -> Verify {
        self.verify
    }

    /// Protects the files of a layer that is about to be published, where that is wanted.
    pub(super) fn protect_new(
        &self,
        staged: &Staged<'_>,
        diff_id: &Digest,
        unpacked: &Unpacked,
    ) -> Result<()> {
        match self.verify {
            Verify::Off => Ok(()),
            Verify::Read => self.protect(Subject {
                path: &staged.path,
                diff_id,
                form: &unpacked.form,
                tar_size: unpacked.tar_size,
            }),
        }
    }

    /// Before a layer is mounted: makes sure that the kernel verifies it, where that is wanted. One that was made when it
    /// wasn't gets protected now, which takes as long as reading it does.
    pub(super) fn ensure_protected(&self, path: &Path, layer: &Layer) -> Result<()> {
        if self.verify == Verify::Off {
            return Ok(());
        }
        let unverified = |reason: &str| StoreError::Unverified {
            diff_id: layer.diff_id.clone(),
            reason: reason.to_owned(),
        };
        if layer.form == Form::Directory {
            return Err(unverified(
                "it is a directory, `system migrate` makes a file of it",
            ));
        }
        if protection(path) == Protection::Whole {
            return Ok(());
        }
        let _protecting = self.protecting.lock().unwrap_or_else(PoisonError::into_inner);
        match protection(path) {
            Protection::Whole => return Ok(()),
            Protection::None => {
                tracing::info!(layer = %layer.diff_id, "from now on every read of the layer is verified");
            }
            Protection::Lost => {
                tracing::warn!(layer = %layer.diff_id, "the layer's file is not the one that was verified");
            }
        }
        let subject = Subject {
            path,
            diff_id: &layer.diff_id,
            form: &layer.form,
            tar_size: layer.tar_size,
        };
        match self.protect(subject) {
            Err(StoreError::Corrupt { reason, .. }) => {
                self.mark(&layer.diff_id, true);
                let reason = format!("{reason}; `system check --repair` fetches it again");
                Err(unverified(&reason))
            }
            other => other,
        }
    }

    /// Makes the kernel verify a layer that it doesn't verify any more, if its contents are right.
    pub fn protect_again(&self, diff_id: &Digest) -> Result<()> {
        let layer = self.get(diff_id)?;
        let _mounting = self.mounting();
        self.ensure_protected(&self.core.layout.layer(diff_id), &layer)
    }

    /// Whether the kernel verified this layer and doesn't any more.
    pub(super) fn has_lost_protection(&self, path: &Path, form: &Form) -> bool {
        self.verify == Verify::Read && *form != Form::Directory && protection(path) == Protection::Lost
    }

    /// The three steps. [`StoreError::Corrupt`] if the contents are wrong.
    fn protect(&self, subject: Subject<'_>) -> Result<()> {
        let image = subject.path.join(IMAGE);
        let failed = |action| {
            let image = image.clone();
            move |errno: Errno| StoreError::io(action, image, errno.into())
        };
        verity::enable(&image).map_err(failed("switch on fs-verity for"))?;
        if let Some(damage) = self.damage_of(subject)? {
            return Err(StoreError::Corrupt {
                path: image,
                reason: damage.to_string(),
            });
        }
        let measured = verity::measure(&image).map_err(failed("measure"))?;
        let Some(measured) = measured else {
            return Err(failed("measure")(Errno::NODATA));
        };
        // What an earlier mount has in its cache was perhaps read before: whoever uses it keeps it, nobody else gets it.
        let target = subject.path.join(FS);
        if mount::is_mount_point(&target).map_err(StoreError::at("query", &target))? {
            mount::unmount(&target, true).map_err(|source| StoreError::Mount { target, source })?;
        }
        let note = subject.path.join(NOTE);
        havre_sys::atomic::write(&note, measured.as_bytes(), 0o600).map_err(StoreError::at("write", &note))
    }
}

fn protection(path: &Path) -> Protection {
    let noted = fs::read_to_string(path.join(NOTE)).ok();
    let measured = verity::measure(&path.join(IMAGE)).ok().flatten();
    match (noted, measured) {
        (Some(noted), Some(measured)) if noted == measured => Protection::Whole,
        (None, _) => Protection::None,
        (Some(_), _) => Protection::Lost,
    }
}
