//! Where everything lies. This file owns the on-disk layout; nothing else puts paths together.
//!
//! ```text
//! <root>/                          0700, one process at a time
//!   format.json                    version and feature flags
//!   lock                           flock(2) held by the owner, with its process id
//!   reserve                        6 MiB given up when the disk is full, so that something can be deleted
//!   synced                         boot and time of the last sync: what is newer may not survive a power cut
//!   meta.db                        SQLite, WAL (+ meta.db-wal, meta.db-shm)
//!   content/sha256/ab/<hex>        immutable blobs; sha512 likewise; ab = first two digits
//!   ingest/sha256-<hex>            a blob being written, resumable across restarts
//!   ingest/layer-<random>/         a layer being unpacked; worthless after a crash
//!   ingest/tmp-<random>            a small blob being written; worthless after a crash
//!   layers/<hex>/                  one layer, in one of three forms (column `form` of its row)
//!     directory   fs/                its files in overlay form (whiteouts are 0:0 character devices)
//!                 moved/<n>          files whose path a later entry of the same archive took (rare)
//!                 recipe.zst         how to rebuild the archive byte for byte (see snapshotter/recipe.rs)
//!     tar         layer.erofs        4 KiB with an EROFS superblock, the archive byte for byte, EROFS metadata
//!                 fs/                empty: where the file is mounted while anybody needs the layer
//!     aligned     layer.erofs        the same with contents at 4 KiB bounds in place of the archive
//!                 recipe.zst         as above
//!                 fs/                as above
//!                 verity             both: what fs-verity measured when the file was found right (layers/verity.rs)
//!   containers/<id>/upper|work|merged   one snapshot; its owner may keep files beside them
//!   volumes/<name>/_data         with options: where something else is mounted while a container uses it
//!   removed/<n>                    data of what was removed and can be brought back (removals.rs)
//!   empty/0 empty/1                stacked where the kernel wants more layers than there are
//!   trash/<n>                      being deleted
//! ```
//!
//! **Publication.** A blob exists when its file is in `content/`. A layer exists when the database has its row; the
//! directory is renamed into place before. A snapshot exists when the database has its row; its directory is made before.
//! [`Store::open`](crate::Store::open) removes what has a directory and no row, and the row of what lost its directory; but a
//! layer that is a file and lost it without a power cut keeps its row, cannot be mounted, and can be had again.
//!
//! **Mounts.** A layer that is a file is mounted at its `fs/` when it is first needed, once for all stacks it is in, and only if
//! the file has the size it was made with. The mount stays until the layer is removed, or the store closed with no snapshot
//! mounted; after a crash the next process finds it there.
//!
//! **Durability.** Nobody waits for the disk. A sync in the background follows every burst of publications and stamps `synced`.
//! After a reboot, blobs and layers younger than the stamp are verified against their digests (of a layer that is a file, its
//! metadata too, whose digest its row has) and dropped if they differ, before anything is mounted.

use std::path::{Path, PathBuf};

use havre_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{LayerForm, Result, StoreError};

/// The paths of a store.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout beneath `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directories of containers and their snapshots.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// The directory of one container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// Named and anonymous volumes: `volumes/<name>/_data`.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// What was removed and can be brought back.
    pub(crate) fn removed(&self) -> PathBuf {
        self.root.join("removed")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("format.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    pub(crate) fn synced(&self) -> PathBuf {
        self.root.join("synced")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("meta.db")
    }

    /// What SQLite has committed and not yet moved into the database.
    pub(crate) fn database_log(&self) -> PathBuf {
        self.root.join("meta.db-wal")
    }

    pub(crate) fn content(&self) -> PathBuf {
        self.root.join("content")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.content()
            .join(digest.algorithm().to_string())
            .join(&hex[..2])
            .join(hex)
    }

    pub(crate) fn ingests(&self) -> PathBuf {
        self.root.join("ingest")
    }

    pub(crate) fn ingest(&self, digest: &Digest) -> PathBuf {
        self.ingests()
            .join(format!("{}-{}", digest.algorithm(), digest.hex()))
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Diff IDs are SHA-256 throughout, so the hex alone names a layer.
    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(crate) fn empty(&self) -> PathBuf {
        self.root.join("empty")
    }

    pub(crate) fn directories(&self) -> [PathBuf; 7] {
        [
            self.content(),
            self.ingests(),
            self.layers(),
            self.containers(),
            self.volumes(),
            self.removed(),
            self.trash(),
        ]
    }
}

/// Prefix of layers being unpacked in `ingest/`.
pub(crate) const STAGED_LAYER: &str = "layer-";
/// Prefix of small blobs being written in `ingest/`.
pub(crate) const STAGED_BLOB: &str = "tmp-";

/// `format.json`.
///
/// A feature is a word. Unknown `compatible` ones may be ignored, unknown `read_only_compatible` ones forbid writing (which
/// a store always does), unknown `incompatible` ones forbid opening.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Format {
    version: u32,
    #[serde(default)]
    compatible: Vec<String>,
    #[serde(default)]
    read_only_compatible: Vec<String>,
    #[serde(default)]
    incompatible: Vec<String>,
}

/// Layers are directories in overlay form with a recipe.
const OVERLAY_DIRECTORIES: &str = "overlay-directories";
/// Layers are EROFS images.
const EROFS_FILES: &str = "erofs-files";

impl Default for Format {
    fn default() -> Self {
        Self {
            version: 1,
            compatible: Vec::new(),
            read_only_compatible: Vec::new(),
            incompatible: vec![OVERLAY_DIRECTORIES.to_owned()],
        }
    }
}

impl Format {
    /// Notes, before the first layer of `form` is written, that there may be some.
    pub(crate) fn allow(mut self, form: LayerForm, layout: &Layout) -> Result<()> {
        let feature = match form {
            LayerForm::Directories => OVERLAY_DIRECTORIES,
            _ => EROFS_FILES,
        };
        if self.incompatible.iter().any(|known| known == feature) {
            return Ok(());
        }
        self.incompatible.push(feature.to_owned());
        self.write(layout)
    }

    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        let path = layout.format();
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| StoreError::io("write", &path, error.into()))?;
        havre_sys::atomic::write(&path, &text, 0o600).map_err(StoreError::at("write", &path))
    }

    pub(crate) fn check(&self, layout: &Layout) -> Result<()> {
        let known = [OVERLAY_DIRECTORIES, EROFS_FILES];
        let mut features: Vec<_> = (self.read_only_compatible.iter())
            .chain(&self.incompatible)
            .filter(|feature| !known.contains(&feature.as_str()))
            .cloned()
            .collect();
        if self.version != 1 {
            features.push(format!("format version {}", self.version));
        }
        if features.is_empty() {
            return Ok(());
        }
        Err(StoreError::Incompatible {
            root: layout.root().to_path_buf(),
            features,
        })
    }
}

/// Whether `id` can name a file of the store.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let valid = (1..=128).contains(&id.len()) && id.bytes().all(allowed) && !id.starts_with('.');
    if valid {
        Ok(())
    } else {
        Err(StoreError::InvalidId { id: id.to_owned() })
    }
}
