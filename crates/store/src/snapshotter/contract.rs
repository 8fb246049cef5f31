//! What every [`Snapshotter`](super::Snapshotter) must do; see its specification. Mounting needs root.

pub(crate) mod cases;
pub(crate) mod extremes;
pub(crate) mod sparse;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::layer::{Entry, Kind, TarWriter};

use super::{Archive, FS, Form, Snapshotter, Stack, Unpacked, Upper};
use crate::{ApplyError, Limits};

/// Makes the suite's tests for an implementation.
macro_rules! suite {
    ($name:ident, $snapshotter:expr) => {
        mod $name {
            $crate::snapshotter::contract::suite!(@tests $snapshotter, cases;
                every_kind_of_entry_is_mounted_as_written, whiteouts_and_opaque_directories_hide, last_entry_of_a_path_wins,
                links_lead_nowhere_outside, dangling_hard_links_are_refused, archives_come_back_byte_for_byte,
                written_files_become_a_layer, changes_are_found, many_layers_are_stacked, limits_are_kept, set_ids_survive,
                whiteout_and_entry_in_one_layer, a_layer_may_be_there_twice);
            $crate::snapshotter::contract::suite!(@tests $snapshotter, extremes;
                attributes_are_kept, names_and_paths_of_any_length, archives_of_all_ages, files_of_all_sizes,
                parents_come_in_any_order, entries_replace_each_other, five_hundred_layers, threads_attach_a_layer_once,
                a_crowd_of_entries);
            $crate::snapshotter::contract::suite!(@tests $snapshotter, sparse;
                holes_are_zeros, sparse_archives_are_what_they_stand_for, huge_holes_cost_nothing);
            $crate::snapshotter::contract::suite!(@ignored $snapshotter, extremes;
                a_million_entries, four_million_entries, a_file_of_more_than_four_gigabytes);
        }
    };
    (@tests $snapshotter:expr, $module:ident; $($test:ident),*) => {
        $(#[test]
        fn $test() {
            $crate::snapshotter::contract::$module::$test(&$snapshotter);
        })*
    };
    (@ignored $snapshotter:expr, $module:ident; $($test:ident),*) => {
        $(#[test]
        #[ignore = "takes minutes or gigabytes: run by name"]
        fn $test() {
            $crate::snapshotter::contract::$module::$test(&$snapshotter);
        })*
    };
}
pub(crate) use suite;

/// Builds archives.
#[derive(Default)]
pub(crate) struct Tar(Vec<(Entry, Vec<u8>)>);

impl Tar {
    pub(crate) fn add(mut self, path: &str, kind: Kind, change: impl FnOnce(&mut Entry)) -> Self {
        let mode = if kind == Kind::Dir { 0o755 } else { 0o644 };
        let mut entry = Entry {
            path: path.into(),
            kind,
            mode,
            mtime: 1_700_000_000,
            ..Entry::default()
        };
        change(&mut entry);
        self.0.push((entry, Vec::new()));
        self
    }
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        let size = text.len() as u64;
        self = self.add(path, Kind::File, |entry| entry.size = size);
        self.0.last_mut().unwrap().1 = text.into();
        self
    }
    pub(crate) fn dir(self, path: &str) -> Self {
        self.add(path, Kind::Dir, |_| {})
    }
    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.add(path, Kind::Symlink, |entry| entry.target = target.into())
    }
    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.add(path, Kind::Hardlink, |entry| entry.target = target.into())
    }
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, payload) in &self.0 {
            writer.entry(entry, &mut payload.as_slice()).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// A layer that was made.
#[derive(Clone)]
pub(crate) struct Made {
    dir: PathBuf,
    form: Form,
    tar_size: u64,
}

pub(crate) struct Bench<'a> {
    dir: tempfile::TempDir,
    snapshotter: &'a dyn Snapshotter,
    stack: Stack,
    layers: Vec<Made>,
    mounts: Vec<PathBuf>,
}

impl<'a> Bench<'a> {
    fn new(snapshotter: &'a dyn Snapshotter) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("outside"), "untouched").unwrap();
        Self {
            stack: Stack::new(&dir.path().join("empty")).unwrap(),
            dir,
            snapshotter,
            layers: Vec::new(),
            mounts: Vec::new(),
        }
    }
    /// A path nobody has used.
    fn fresh(&self, name: &str) -> PathBuf {
        (0..)
            .map(|n| self.path(&format!("{name}-{n}")))
            .find(|path| !path.exists())
            .unwrap()
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn staged(&self) -> PathBuf {
        let staged = self.path("staged");
        let _ = fs::remove_dir_all(&staged);
        fs::create_dir(&staged).unwrap();
        staged
    }
    fn publish(&mut self, staged: &Path, unpacked: &Unpacked) {
        let dir = self.fresh("layer");
        fs::rename(staged, &dir).unwrap();
        self.layers.push(Made {
            dir,
            form: unpacked.form.clone(),
            tar_size: unpacked.tar_size,
        });
    }
    fn unpack(&mut self, tar: &[u8]) -> Result<Unpacked, ApplyError> {
        self.unpack_limited(tar, &Limits::default())
    }
    fn unpack_limited(&mut self, mut tar: &[u8], limits: &Limits) -> Result<Unpacked, ApplyError> {
        let staged = self.staged();
        let length = tar.len() as u64;
        let unpacked = self.snapshotter.unpack(&mut tar, &staged, limits)?;
        assert!(tar.is_empty(), "the archive is read to its end");
        assert_eq!(unpacked.tar_size, length);
        self.publish(&staged, &unpacked);
        Ok(unpacked)
    }
    fn layer(&mut self, tar: Tar) -> &mut Self {
        self.unpack(&tar.bytes()).unwrap();
        self
    }
    /// The trees of the layers.
    fn attached(&self) -> Vec<PathBuf> {
        let attach = |layer: &Made| match layer.form {
            // In whatever form it was to be.
            Form::Directory => layer.dir.join(FS),
            _ => self.snapshotter.attach(&layer.dir, &layer.form).unwrap(),
        };
        self.layers.iter().map(attach).collect()
    }
    fn view(&mut self) -> PathBuf {
        let target = self.fresh("view");
        fs::create_dir(&target).unwrap();
        self.stack.mount(&self.attached(), Upper::None, &target).unwrap();
        self.mounts.push(target.clone());
        target
    }
    fn writable(&mut self) -> (PathBuf, PathBuf) {
        let [upper, work, target] = ["upper", "work", "merged"].map(|name| self.fresh(name));
        for dir in [&upper, &work, &target] {
            fs::create_dir(dir).unwrap();
        }
        let above = Upper::Writable {
            upper: &upper,
            work: &work,
        };
        self.stack.mount(&self.attached(), above, &target).unwrap();
        self.mounts.push(target.clone());
        (upper, target)
    }
    fn unmount(&mut self) {
        for target in self.mounts.drain(..) {
            havre_sys::mount::unmount(&target, true).unwrap();
        }
    }
    fn tar(&self, layer: usize) -> Vec<u8> {
        let Made { dir, form, tar_size } = &self.layers[layer];
        let mut bytes = Vec::new();
        match self.snapshotter.tar(dir, form, *tar_size).unwrap() {
            Archive::Rebuilt(mut reader) => {
                reader.read_to_end(&mut bytes).unwrap();
            }
            Archive::Range { file, offset, len } => {
                bytes = vec![0; len as usize];
                std::os::unix::fs::FileExt::read_exact_at(file.file(), &mut bytes, offset).unwrap();
            }
        }
        bytes
    }
    fn adopt(&mut self, upper: &Path) -> havre_oci::Digest {
        let staged = self.staged();
        let (digest, unpacked) = self.snapshotter.adopt(upper, &staged).unwrap();
        let _ = fs::remove_dir_all(upper);
        self.publish(&staged, &unpacked);
        let tar = self.tar(self.layers.len() - 1);
        assert_eq!(unpacked.tar_size, tar.len() as u64);
        assert_eq!(havre_oci::Digest::sha256_of(&tar), digest);
        digest
    }
}

/// Unmounts layers that are mounted.
fn detach(layers: &[Made]) {
    for layer in layers {
        havre_sys::mount::unmount(&layer.dir.join(FS), true).unwrap();
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        self.unmount();
        for name in fs::read_dir(self.dir.path()).unwrap() {
            let _ = havre_sys::mount::unmount(&name.unwrap().path().join(FS), true);
        }
        assert_eq!(fs::read_to_string(self.path("outside")).unwrap(), "untouched");
    }
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

/// Everything about a tree, by path.
fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut links: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        let mut names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        for path in names {
            let status = fs::symlink_metadata(&path).unwrap();
            let relative = path.strip_prefix(root).unwrap().to_path_buf();
            let content = if status.is_file() {
                format!("{:?}", fs::read(&path).unwrap())
            } else if status.is_symlink() {
                format!("-> {:?}", fs::read_link(&path).unwrap())
            } else {
                format!("{:?} {}", status.file_type(), status.rdev())
            };
            let first = if status.is_file() {
                links
                    .entry((status.dev(), status.ino()))
                    .or_insert_with(|| relative.clone())
                    .clone()
            } else {
                relative.clone()
            };
            let mut xattrs: Vec<_> = xattr::list(&path)
                .unwrap()
                .map(|name| {
                    let value = xattr::get(&path, &name).unwrap();
                    (name, value)
                })
                .collect();
            xattrs.sort();
            let (mode, uid, gid, mtime) = (status.mode(), status.uid(), status.gid(), status.mtime());
            all.insert(
                relative,
                format!("{mode:o} {uid} {gid} {mtime} {content} {first:?} {xattrs:?}"),
            );
            if status.is_dir() {
                waiting.push(path);
            }
        }
    }
    all
}
