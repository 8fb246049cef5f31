//! The store as a whole: opening, and the way to its parts.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use fs_err as fs;
use havre_sys::mount;

use crate::layers::verity;
use crate::layout::{Format, Layout};
use crate::lease::Leases;
use crate::lock::RootLock;
use crate::reserve::Reserve;
use crate::snapshotter::{Forms, Stack};
use crate::sync::{self, Syncer};
use crate::trash::Trash;
use crate::{
    ContentStore, LayerForm, LayerStore, Lease, Meta, Probe, Removals, Result, Snapshots, StoreError,
    StoreOptions, Verify,
};

/// Everything persistent under one root directory. Thread-safe; share it in an `Arc`.
#[derive(Debug)]
pub struct Store {
    pub(crate) core: Arc<Core>,
    content: ContentStore,
    layers: Arc<LayerStore>,
    snapshots: Snapshots,
    meta: Arc<Meta>,
    // Last: everything above is settled before another process may come in.
    _lock: RootLock,
}

/// What the parts share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) layout: Layout,
    pub(crate) leases: Arc<Leases>,
    pub(crate) trash: Trash,
    pub(crate) sync: Syncer,
    /// Whether its file system has project quotas, once somebody asked.
    pub(crate) quotas: OnceLock<bool>,
    /// Held while a project is chosen.
    pub(crate) projects: Mutex<()>,
}

impl Core {
    /// Moves a directory of the store out of sight, though something may be mounted in it.
    pub(crate) fn discard_mounted(&self, path: &Path) -> Result<()> {
        for target in mounts_beneath(path) {
            mount::unmount(&target, true).map_err(|source| StoreError::Mount { target, source })?;
        }
        self.lift_limit(path);
        self.trash.discard(path).map(drop)
    }
}

/// Mount points at or beneath `path`, innermost first.
pub(crate) fn mounts_beneath(path: &Path) -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut targets: Vec<PathBuf> = table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape)
        .filter(|target| target.starts_with(path))
        .collect();
    targets.reverse();
    targets
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..3).filter(|_| *first == b'\\');
        let code = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    std::ffi::OsString::from_vec(bytes).into()
}

impl Store {
    /// [`Store::open_with`] the default options.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, &StoreOptions::default())
    }

    /// Opens the store at `root`, creating it (mode 0700) if there is none; takes the root's lock for as long as the value
    /// lives, and sweeps what a crash left behind. Layers may be mounted while it is open; when it is dropped and no snapshot
    /// is mounted, they are unmounted.
    pub fn open_with(root: &Path, options: &StoreOptions) -> Result<Self> {
        fs::create_dir_all(root).map_err(StoreError::at("create", root))?;
        // Paths of the store are compared with the kernel's, and used from any current directory.
        let root = fs::canonicalize(root).map_err(StoreError::at("resolve", root))?;
        let layout = Layout::new(&root);
        let private = |path: &Path| {
            fs::set_permissions(path, PermissionsExt::from_mode(0o700))
                .map_err(StoreError::at("set the mode of", path))
        };
        private(&root)?;
        let reserve = Reserve::new(layout.reserve());
        reserve.make_room();
        let lock = RootLock::acquire(&layout)?;
        let format = read_format(&layout)?;
        for dir in layout.directories() {
            fs::create_dir_all(&dir).map_err(StoreError::at("create", &dir))?;
        }
        let leases = Arc::<Leases>::default();
        let meta = Arc::new(Meta::open(&layout, leases.clone())?);
        let core = Arc::new(Core {
            trash: Trash::open(&layout)?,
            sync: Syncer::open(&layout)?,
            layout,
            leases,
            quotas: OnceLock::new(),
            projects: Mutex::new(()),
        });
        let forms = Forms::probe(options.layers, &core.layout.ingests())?;
        tracing::debug!(form = %forms.result().form, reason = forms.result().reason, "form of new layers");
        if options.verify == Verify::Read {
            verity::probe(forms.result(), &core.layout)?;
        }
        format.allow(forms.result().form, &core.layout)?;
        let stack = Stack::new(&core.layout.empty())?;
        let layers = Arc::new(LayerStore::new(core.clone(), meta.clone(), forms, options.verify));
        let store = Self {
            content: ContentStore::new(core.clone()),
            snapshots: Snapshots::new(core.clone(), meta.clone(), layers.clone(), stack),
            layers,
            meta,
            core,
            _lock: lock,
        };
        store.sweep()?;
        reserve.fill();
        Ok(store)
    }

    fn sweep(&self) -> Result<()> {
        let now = jiff::Timestamp::now();
        let doubtful_since = sync::doubtful_since(&self.core.layout);
        self.content.sweep()?;
        self.layers.sweep(doubtful_since)?;
        self.snapshots.sweep()?;
        self.removals().settle()?;
        let Some(since) = doubtful_since else {
            return Ok(());
        };
        for (digest, _) in self.content.list()? {
            let path = self.core.layout.blob(&digest);
            let status = fs::symlink_metadata(&path).map_err(StoreError::at("query", &path))?;
            // Renaming sets the change time, so this is when the blob was published.
            let changed = std::os::unix::fs::MetadataExt::ctime(&status);
            if changed >= since.as_second() && !self.content.verify(&digest)? {
                tracing::warn!(%digest, "content lost in a power cut");
                self.content.remove(&digest)?;
            }
        }
        sync::settle(&self.core.layout, now)
    }

    /// Where things are.
    pub fn layout(&self) -> &Layout {
        &self.core.layout
    }

    /// Blobs.
    pub fn content(&self) -> &ContentStore {
        &self.content
    }

    /// Unpacked layers.
    pub fn layers(&self) -> &LayerStore {
        &self.layers
    }

    /// Writable file systems of containers and build steps.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// What was removed and can be brought back.
    pub fn removals(&self) -> Removals<'_> {
        Removals::new(self, &self.core)
    }

    /// How new layers are written and mounted, and why so.
    pub fn layer_form(&self) -> &Probe {
        self.layers.probe()
    }

    /// When layers are verified.
    pub fn verify(&self) -> Verify {
        self.layers.verify()
    }

    /// Notes that layers of the form `to` are going to be written, which the machine must be able to mount. What
    /// [`LayerForm::Auto`] stands for here, anything else as it is.
    pub fn allow_form(&self, to: LayerForm) -> Result<LayerForm> {
        let to = self.layers.target(to)?;
        read_format(&self.core.layout)?.allow(to, &self.core.layout)?;
        Ok(to)
    }

    /// The database.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// A new, empty lease.
    pub fn lease(&self) -> Lease {
        self.core.leases.lease()
    }

    /// Moves a file or directory of the store (a volume, say) out of sight at once and deletes it in the background. Mounts
    /// in it are undone first. No error if it isn't there.
    pub fn discard(&self, path: &Path) -> Result<()> {
        self.core.discard_mounted(path)
    }

    /// Waits until everything removed so far is deleted and its space free.
    pub fn wait_for_trash(&self) {
        self.core.trash.wait();
    }

    /// Makes everything published so far survive a power cut. Done in the background soon after each publication; call it
    /// before an orderly end.
    pub fn sync(&self) -> Result<()> {
        self.core.sync.now()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Layers that were removed a moment ago: the next process deletes what is left of them.
        for target in mounts_beneath(&self.core.layout.trash()) {
            if let Err(error) = mount::unmount(&target, true) {
                tracing::warn!(%error, "cannot unmount a removed layer");
            }
        }
        // Whatever runs on keeps its layers mounted: the next process shares them with it.
        if mounts_beneath(&self.core.layout.containers()).is_empty() {
            self.layers.detach_all();
        }
    }
}

/// The store's `format.json`, made if there is none.
fn read_format(layout: &Layout) -> Result<Format> {
    let path = layout.format();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let format = Format::default();
            format.write(layout)?;
            return Ok(format);
        }
        Err(error) => return Err(StoreError::io("read", &path, error)),
    };
    let format: Format = serde_json::from_slice(&text).map_err(|error| StoreError::Corrupt {
        path,
        reason: error.to_string(),
    })?;
    format.check(layout)?;
    Ok(format)
}
