//! Layers, unpacked once and shared by every image and container.

mod check;
mod exchange;
pub(crate) mod pipeline;
mod reading;
mod tree;
pub(crate) mod verity;

pub use self::check::{Checked, Damage};
pub use self::exchange::Converted;
pub use self::tree::{LayerTree, TreeEntry, TreeFile, TreeKind};

use std::collections::HashSet;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use fs_err as fs;
use havre_oci::Digest;
use jiff::Timestamp;

use self::exchange::has_files;
use self::reading::{Readers, Reading};
use crate::layout::STAGED_LAYER;
use crate::snapshotter::{Archive, Form, Forms, IMAGE, Unpacked, archive, nameless, packing_error};
use crate::store::{Core, mounts_beneath};
use crate::sync::Published;
use crate::{ApplyError, Lease, Meta, Outline, Result, StoreError, Verify};

/// An unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of its uncompressed archive.
    pub diff_id: Digest,
    /// Sum of its regular files' sizes in bytes.
    pub size: u64,
    /// Size of its uncompressed archive in bytes.
    pub tar_size: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// When it was stored.
    pub created: Timestamp,
    /// How it lies on the disk.
    pub form: Form,
}

/// What a layer archive may ask of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of uncompressed archive.
    pub tar_size: u64,
    /// Number of entries.
    pub entries: u64,
}

impl Default for Limits {
    /// 1 TiB and 4 million entries: more than any image has, less than a machine dies of.
    fn default() -> Self {
        Self {
            tar_size: 1 << 40,
            entries: 4_000_000,
        }
    }
}

/// The layers of a store.
#[derive(Debug)]
pub struct LayerStore {
    pub(crate) core: Arc<Core>,
    meta: Arc<Meta>,
    pub(crate) forms: Forms,
    /// Held while a layer's directory and its row come or go, so that they do so together.
    publishing: Mutex<()>,
    /// Held by those who mount stacks, and alone by who exchanges a layer's files.
    mounting: RwLock<()>,
    readers: Readers,
    verify: Verify,
    /// Held while the kernel is made to verify a layer that was there before.
    protecting: Mutex<()>,
    /// Layers found damaged: who brings one again replaces it.
    damaged: Mutex<HashSet<Digest>>,
    /// Layers too large to be files.
    outgrown: Mutex<HashSet<Digest>>,
}

/// A layer being made; thrown away unless it is published.
pub(crate) struct Staged<'a> {
    core: &'a Core,
    pub(crate) path: PathBuf,
    /// Somebody else throws it away.
    pub(crate) kept: bool,
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = self.core.trash.discard(&self.path) {
            tracing::warn!(%error, "cannot remove a half-made layer; trying again at the next start");
        }
    }
}

impl LayerStore {
    pub(crate) fn new(core: Arc<Core>, meta: Arc<Meta>, forms: Forms, verify: Verify) -> Self {
        Self {
            core,
            meta,
            forms,
            publishing: Mutex::new(()),
            mounting: RwLock::new(()),
            readers: Readers::default(),
            verify,
            protecting: Mutex::new(()),
            damaged: Mutex::default(),
            outgrown: Mutex::default(),
        }
    }

    /// The layer, if it is there.
    pub fn find(&self, diff_id: &Digest) -> Result<Option<Layer>> {
        self.meta.find_layer(diff_id)
    }

    /// The layer, or [`StoreError::LayerNotFound`].
    pub fn get(&self, diff_id: &Digest) -> Result<Layer> {
        self.find(diff_id)?.ok_or_else(|| StoreError::LayerNotFound {
            diff_id: diff_id.clone(),
        })
    }

    /// The layer, if it is there and wasn't found damaged.
    pub fn find_sound(&self, diff_id: &Digest) -> Result<Option<Layer>> {
        Ok(self.find(diff_id)?.filter(|_| !self.is_damaged(diff_id)))
    }

    /// All layers, in no order.
    pub fn list(&self) -> Result<Vec<Layer>> {
        self.meta.layers()
    }

    /// Unpacks an uncompressed layer archive, verifies that its digest is `expected` if that is known, and publishes it.
    ///
    /// `tar` is read on a second thread, so decompressing in it runs beside the unpacking. `progress` is told the bytes of
    /// `tar` consumed so far. Idempotent: a layer that exists is read to its end, verified and left as it is, unless it was
    /// found damaged: then it is replaced. Several applies of one layer at the same time are fine. A failure leaves nothing
    /// behind.
    pub fn apply(
        &self,
        tar: impl Read + Send,
        expected: Option<&Digest>,
        limits: &Limits,
        progress: &mut dyn FnMut(u64),
        lease: &Lease,
    ) -> Result<Layer, ApplyError> {
        if let Some(expected) = expected {
            lease.hold(expected);
            if let Some(layer) = self.find_sound(expected)? {
                let (_, actual) = pipeline::run(tar, progress, |tar| drain(tar, limits.tar_size))?;
                return if actual == *expected {
                    Ok(layer)
                } else {
                    Err(mismatch(expected, actual))
                };
            }
        }
        let staged = self.stage()?;
        let (unpacked, actual) = pipeline::run(tar, progress, |tar| {
            self.forms.writer().unpack(tar, &staged.path, limits)
        })?;
        if let Some(expected) = expected.filter(|expected| **expected != actual) {
            return Err(mismatch(expected, actual));
        }
        self.note_outgrown(&actual, self.forms.result().form, &unpacked);
        Ok(self.publish(&staged, actual, unpacked, lease)?)
    }

    /// Makes a layer of an overlay upper directory, which is moved in: `upper` is gone afterwards. It must lie on the store's
    /// file system and no longer be mounted.
    ///
    /// Whatever form other new layers get, this one is a directory. Its files are there already: a copy of them as a file
    /// would cost a build step that much more, and deleting them afterwards slows the next step's files (ext4 then makes them
    /// at a tenth of its pace). Conversion turns it into a file when there is time. Where every read is to be verified it is
    /// a file at once: nobody verifies directories.
    pub fn commit_dir(&self, upper: &Path, lease: &Lease) -> Result<Layer> {
        let staged = self.stage()?;
        let form = match self.verify {
            Verify::Off => self.forms.directory(),
            Verify::Read => self.forms.writer(),
        };
        let (diff_id, unpacked) = form.adopt(upper, &staged.path)?;
        let layer = self.publish(&staged, diff_id, unpacked, lease)?;
        // What was packed into a file is still there.
        self.core.trash.discard(upper)?;
        Ok(layer)
    }

    /// Makes a layer of a copy of an overlay upper directory, which may be in use.
    pub fn commit_dir_copy(&self, upper: &Path, lease: &Lease) -> Result<Layer> {
        let archive = archive(upper)?;
        self.apply(archive, None, &Limits::default(), &mut |_| {}, lease)
            .map_err(|error| packing_error(upper, error))
    }

    /// The layer's uncompressed archive, byte for byte. The layer stays while it is read.
    pub fn tar(&self, diff_id: &Digest) -> Result<LayerTar> {
        let lease = self.core.leases.lease();
        lease.hold(diff_id);
        let (layer, reading) = self.enter(diff_id)?;
        let path = self.core.layout.layer(diff_id);
        let archive = self
            .forms
            .of(&layer.form)
            .tar(&path, &layer.form, layer.tar_size)?;
        Ok(LayerTar {
            archive,
            position: 0,
            size: layer.tar_size,
            _reading: reading,
            _lease: lease,
        })
    }

    /// The layer, and what keeps it where it is if it is a directory.
    fn enter(&self, diff_id: &Digest) -> Result<(Layer, Option<Reading>)> {
        let _mounting = self.mounting();
        let layer = self.get(diff_id)?;
        let reading = (layer.form == Form::Directory).then(|| self.readers.enter(diff_id));
        Ok((layer, reading))
    }

    /// The layer's tree, read without mounting it. The layer stays while it is read.
    pub fn tree(&self, diff_id: &Digest) -> Result<LayerTree> {
        let lease = self.core.leases.lease();
        lease.hold(diff_id);
        let (layer, reading) = self.enter(diff_id)?;
        LayerTree::open(&self.core.layout.layer(diff_id), &layer.form, reading, lease)
    }

    /// The tree of a layer that is not here. It takes space in the store's file system as long as it lives, and has no contents:
    /// see [`LayerTree::address`].
    pub fn outline(&self, outline: Outline) -> Result<LayerTree, ApplyError> {
        outline.tree(&self.core.layout.ingests())
    }

    /// A file without a name beside the layers, for what somebody has to put aside.
    pub fn scratch(&self) -> Result<fs::File> {
        nameless(&self.core.layout.ingests())
    }

    /// The trees of the layers `chain`, as directories to stack; layers that are files get mounted. Whoever asks holds the
    /// layers by a lease or a snapshot.
    pub(crate) fn attach(&self, chain: &[Digest]) -> Result<Vec<PathBuf>> {
        let attach = |diff_id| {
            let layer = self.get(diff_id)?;
            let path = self.core.layout.layer(diff_id);
            self.ensure_protected(&path, &layer)
                .and_then(|()| self.forms.attach(&path, &layer.form))
                .map_err(|error| lost(&path, error))
        };
        chain.iter().map(attach).collect()
    }

    /// Unmounts the layers that are files; they are mounted again when needed.
    pub(crate) fn detach_all(&self) {
        for target in mounts_beneath(&self.core.layout.layers()) {
            if let Err(error) = havre_sys::mount::unmount(&target, true) {
                tracing::warn!(%error, "cannot unmount a layer");
            }
        }
    }

    /// How new layers are written, and why so.
    pub(crate) fn probe(&self) -> &crate::Probe {
        self.forms.result()
    }

    /// Removes a layer; the bytes freed, 0 if it wasn't there. [`StoreError::LayerInUse`] if an image, a snapshot, the build
    /// cache or a lease holds it.
    pub fn remove(&self, diff_id: &Digest) -> Result<u64> {
        let _publishing = self.publishing();
        let Some(layer) = self.find(diff_id)? else {
            return Ok(0);
        };
        // Nobody can begin to hold it while this guard lives.
        let leases = self.core.leases.state();
        if leases.protects(diff_id) {
            return Err(StoreError::LayerInUse {
                diff_id: diff_id.clone(),
            });
        }
        self.meta.delete_layer(diff_id)?;
        self.discard(diff_id)?;
        Ok(layer.size)
    }

    /// Takes the files of a layer out of sight that has no row any more.
    pub(crate) fn discard(&self, diff_id: &Digest) -> Result<()> {
        self.mark(diff_id, false);
        self.core
            .trash
            .discard(&self.core.layout.layer(diff_id))
            .map(drop)
    }

    /// No layer is published or changes its form while this lives.
    pub(crate) fn publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes those of these layers that nothing needs any more.
    pub(crate) fn remove_unused(&self, chain: &[Digest]) -> Result<()> {
        for diff_id in chain {
            if self.meta.is_unused_layer(diff_id)? {
                match self.remove(diff_id) {
                    Ok(_) | Err(StoreError::LayerInUse { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn stage(&self) -> Result<Staged<'_>> {
        let ingests = self.core.layout.ingests();
        let dir = tempfile::Builder::new()
            .prefix(STAGED_LAYER)
            .tempdir_in(&ingests)
            .map_err(StoreError::at("create a directory in", &ingests))?;
        Ok(Staged {
            core: &self.core,
            path: dir.keep(),
            kept: false,
        })
    }

    fn publish(
        &self,
        staged: &Staged<'_>,
        diff_id: Digest,
        unpacked: Unpacked,
        lease: &Lease,
    ) -> Result<Layer> {
        lease.hold(&diff_id);
        if let Some(layer) = self.find_sound(&diff_id)? {
            return Ok(layer);
        }
        self.protect_new(staged, &diff_id, &unpacked)?;
        if self.is_damaged(&diff_id)
            && let Some(layer) = self.find(&diff_id)?
        {
            return self.exchange(staged, unpacked.form, layer);
        }
        let _publishing = self.publishing();
        if let Some(layer) = self.find(&diff_id)? {
            return Ok(layer);
        }
        let target = self.core.layout.layer(&diff_id);
        self.core.trash.discard(&target)?;
        fs::rename(&staged.path, &target).map_err(StoreError::at("publish", &target))?;
        let Unpacked {
            form,
            size,
            tar_size,
            entries,
        } = unpacked;
        let created = Timestamp::now();
        let created = Timestamp::from_nanosecond(created.as_nanosecond()).unwrap_or(created);
        let layer = Layer {
            diff_id,
            size,
            tar_size,
            entries,
            created,
            form,
        };
        if let Err(error) = self.meta.insert_layer(&layer) {
            let _ = self.core.trash.discard(&target);
            return Err(error);
        }
        self.mark(&layer.diff_id, false);
        self.core.sync.soon(published(&layer, target));
        Ok(layer)
    }

    /// Brings rows and directories into line after a crash; after a power cut also verifies what may not have reached the
    /// disk.
    pub(crate) fn sweep(&self, doubtful_since: Option<Timestamp>) -> Result<()> {
        let dir = self.core.layout.layers();
        let at = |error| StoreError::io("read", &dir, error);
        let layers = self.list()?;
        let known: HashSet<&str> = layers.iter().map(|layer| layer.diff_id.hex()).collect();
        for entry in fs::read_dir(&dir).map_err(at)? {
            let entry = entry.map_err(at)?;
            if !entry
                .file_name()
                .to_str()
                .is_some_and(|name| known.contains(name))
            {
                self.core.trash.discard(&entry.path())?;
            }
        }
        for layer in &layers {
            let path = self.core.layout.layer(&layer.diff_id);
            let doubtful = doubtful_since.is_some_and(|since| layer.created >= since);
            let there = has_files(&path, &layer.form);
            if there && (!doubtful || self.is_intact(layer)) {
                continue;
            }
            if !there && self.complete_exchange(layer)? {
                continue;
            }
            if !doubtful && layer.form != Form::Directory {
                // No crash does that, somebody did. It can't be mounted, but it can be had again.
                tracing::warn!(layer = %layer.diff_id, "files of the layer are missing: `system check --repair` fetches it again");
                self.mark(&layer.diff_id, true);
                continue;
            }
            let images = self.meta.forget_layer(&layer.diff_id)?;
            tracing::warn!(layer = %layer.diff_id, ?images, "layer lost; what needs it is gone");
            self.core.trash.discard(&path)?;
        }
        Ok(())
    }
}

/// What is to be synced of a new layer at `path`.
fn published(layer: &Layer, path: PathBuf) -> Published {
    match layer.form {
        Form::Directory => Published::Many,
        _ => Published::Few(path),
    }
}

/// A layer whose file can't be mounted as it is: with the way out.
fn lost(layer: &Path, error: StoreError) -> StoreError {
    let reason = match error {
        StoreError::Corrupt { reason, .. } => reason,
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "it is missing".to_owned()
        }
        error => return error,
    };
    StoreError::Corrupt {
        path: layer.join(IMAGE),
        reason: format!("{reason}; `system check --repair` fetches the layer again"),
    }
}

fn mismatch(expected: &Digest, actual: Digest) -> ApplyError {
    ApplyError::DiffIdMismatch {
        expected: expected.clone(),
        actual,
    }
}

fn drain(tar: &mut dyn BufRead, limit: u64) -> Result<(), ApplyError> {
    let read = io::copy(&mut tar.take(limit.saturating_add(1)), &mut io::sink()).map_err(ApplyError::Read)?;
    if read > limit {
        Err(ApplyError::Limit { what: "bytes", limit })
    } else {
        Ok(())
    }
}

/// A layer's uncompressed archive as a stream.
pub struct LayerTar {
    archive: Archive,
    position: u64,
    size: u64,
    _reading: Option<Reading>,
    _lease: Lease,
}

/// Where an archive lies as it is.
#[derive(Clone, Copy, Debug)]
pub struct TarRange<'a> {
    /// The file, open for reading. Its own position is nobody's: read with offsets.
    pub file: &'a std::fs::File,
    /// Where the archive begins in it, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
}

impl LayerTar {
    /// Bytes the stream has in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The piece of a file that the whole archive is, if there is one: for `sendfile`, `copy_file_range` and readers at several
    /// places at once. The layer stays as long as this value.
    pub fn range(&self) -> Option<TarRange<'_>> {
        match &self.archive {
            Archive::Range { file, offset, len } => Some(TarRange {
                file: file.file(),
                offset: *offset,
                len: *len,
            }),
            Archive::Rebuilt(_) => None,
        }
    }
}

impl std::fmt::Debug for LayerTar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LayerTar")
            .field("size", &self.size)
            .field("range", &self.range())
            .finish_non_exhaustive()
    }
}

impl Read for LayerTar {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (file, offset, len) = match &mut self.archive {
            Archive::Rebuilt(reader) => return reader.read(buf),
            Archive::Range { file, offset, len } => (file, *offset, *len),
        };
        let left = usize::try_from(len - self.position).unwrap_or(usize::MAX);
        let wanted = buf.len().min(left);
        let read = file.file().read_at(&mut buf[..wanted], offset + self.position)?;
        if read == 0 && wanted > 0 {
            let damaged = StoreError::Corrupt {
                path: file.path().to_path_buf(),
                reason: "it is shorter than it was".to_owned(),
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, damaged));
        }
        self.position += read as u64;
        Ok(read)
    }
}
