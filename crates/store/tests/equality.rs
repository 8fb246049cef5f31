//! Layers as EROFS files and layers as directories are the same: random trees by GNU tar and by our own writer, and random
//! archives, entry by entry and byte by byte. The bounded reader reads all of them; a part is mounted by the kernel and
//! extracted by GNU tar as well. Needs root.
//!
//! `HAVRE_RANDOM_TREES` says how many (`make trees`: 10,000).

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use havre_oci::layer::{Entry, TarWriter};
use havre_store::{ApplyError, Layer, LayerForm, Limits, Store, TreeEntry, TreeKind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use support::{entries, open_at, trees};

const FEW: u32 = 120;
/// One of so many is mounted and extracted too.
const SHARE: u64 = 10;

fn cases() -> u32 {
    std::env::var("HAVRE_RANDOM_TREES").map_or(FEW, |count| count.parse().unwrap())
}

/// Two stores, of one form each, and a place for trees.
struct Bench {
    erofs: Store,
    directories: Store,
    /// On a file system in memory, which makes and deletes files faster than any disk.
    memory: Memory,
    count: std::cell::Cell<u64>,
}

struct Memory {
    image: tempfile::TempDir,
    at: tempfile::TempDir,
}

impl Drop for Memory {
    fn drop(&mut self) {
        havre_sys::mount::unmount(self.at.path(), true).unwrap();
    }
}

impl Bench {
    fn new() -> Self {
        let image = tempfile::tempdir().unwrap();
        let at = tempfile::tempdir().unwrap();
        havre_sys::mount::tmpfs(at.path(), "size=2g,mode=755").unwrap();
        let memory = Memory { image, at };
        Self {
            erofs: open_at(memory.image.path(), LayerForm::Auto),
            directories: open_at(&memory.at.path().join("store"), LayerForm::Directories),
            memory,
            count: std::cell::Cell::new(0),
        }
    }

    /// An empty directory.
    fn fresh(&self, name: &str) -> PathBuf {
        let path = self.memory.at.path().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    /// What the kernel shows of an archive's EROFS layer.
    fn mounted(&self, tar: &[u8], says: Says) -> Tree {
        let lease = self.erofs.lease();
        let layer = support::apply(&self.erofs, tar, &lease);
        let chain = std::slice::from_ref(&layer.diff_id);
        let view = self.erofs.snapshots().view(chain, &self.fresh("view")).unwrap();
        let tree = shown(view.path(), says);
        drop((view, lease));
        self.erofs.layers().remove(&layer.diff_id).unwrap();
        tree
    }

    /// Whether it is the turn of what takes time.
    fn turn(&self) -> bool {
        self.count.set(self.count.get() + 1);
        self.count.get() % SHARE == 1
    }

    /// Holds the layers of an archive in both forms to each other. The tree, if
    /// the archive is no layer's, is none.
    fn compare(&self, tar: &[u8], says: Says, thorough: bool) -> Result<Option<Tree>, TestCaseError> {
        let (lease, other_lease) = (self.erofs.lease(), self.directories.lease());
        let apply = |store: &Store, lease| {
            store
                .layers()
                .apply(tar, None, &Limits::default(), &mut |_| {}, lease)
        };
        let (file, directory) = match (apply(&self.erofs, &lease), apply(&self.directories, &other_lease)) {
            (Ok(file), Ok(directory)) => (file, directory),
            (Err(one), Err(other)) => {
                let known = |error: &ApplyError| {
                    matches!(
                        error,
                        ApplyError::Entry { .. }
                            | ApplyError::DanglingHardLink { .. }
                            | ApplyError::Invalid { .. }
                    )
                };
                prop_assert!(known(&one) && known(&other), "{one:?} {other:?}");
                return Ok(None);
            }
            (one, other) => return Err(TestCaseError::fail(format!("{one:?}\n{other:?}"))),
        };
        prop_assert_eq!(&file.diff_id, &directory.diff_id);
        prop_assert_eq!((file.size, file.entries), (directory.size, directory.entries));
        let trees = (
            tree(&self.erofs, &file, says),
            tree(&self.directories, &directory, says),
        );
        same(&trees.0, &trees.1)?;
        for (store, layer) in [(&self.erofs, &file), (&self.directories, &directory)] {
            let mut again = Vec::new();
            store
                .layers()
                .tar(&layer.diff_id)
                .unwrap()
                .read_to_end(&mut again)
                .unwrap();
            prop_assert!(again == tar, "another archive comes back");
        }
        if thorough {
            let [one, other] = [
                (&self.erofs, &file, "one"),
                (&self.directories, &directory, "other"),
            ]
            .map(|(store, layer, name)| {
                let chain = std::slice::from_ref(&layer.diff_id);
                let view = store.snapshots().view(chain, &self.fresh(name)).unwrap();
                shown(view.path(), says)
            });
            same(&one, &other)?;
        }
        drop((lease, other_lease));
        self.erofs.layers().remove(&file.diff_id).unwrap();
        self.directories.layers().remove(&directory.diff_id).unwrap();
        Ok(Some(trees.0))
    }
}

/// What an archive decides, so that it must be the same.
#[derive(Clone, Copy)]
struct Says {
    /// Times of all directories.
    times: bool,
    /// Numbers of links: not where an entry takes the name of another that has several. A layer that is a directory keeps that
    /// aside for its archive, and it still counts.
    links: bool,
}

const ALL: Says = Says {
    times: true,
    links: true,
};

/// Everything about a tree, and its contents.
type Tree = BTreeMap<Vec<u8>, (String, Vec<u8>)>;

fn same(one: &Tree, other: &Tree) -> Result<(), TestCaseError> {
    for (path, entry) in one {
        let shown = String::from_utf8_lossy(path);
        let Some(there) = other.get(path) else {
            return Err(TestCaseError::fail(format!("{shown:?} is in one only")));
        };
        prop_assert_eq!(&entry.0, &there.0, "{:?}", shown);
        prop_assert!(entry.1 == there.1, "contents of {shown:?}");
    }
    prop_assert_eq!(
        one.len(),
        other.len(),
        "{:?}",
        other.keys().filter(|path| !one.contains_key(*path)).count()
    );
    Ok(())
}

/// As the store reads it.
fn tree(store: &Store, layer: &Layer, says: Says) -> Tree {
    let tree = store.layers().tree(&layer.diff_id).unwrap();
    let mut all = Vec::new();
    tree.walk::<havre_store::StoreError>(&mut |entry: TreeEntry| {
        all.push(entry);
        Ok(())
    })
    .unwrap();
    let mut first = BTreeMap::new();
    all.into_iter()
        .map(|mut entry| {
            // Numbers of inodes only say which names are one file; of directories nobody counts the links.
            let place = first.len() as u64;
            entry.inode = *first.entry(entry.inode).or_insert(place);
            let is_dir = matches!(entry.kind, TreeKind::Directory { .. });
            if is_dir || !says.links {
                entry.links = 0;
            }
            if entry.kind == TreeKind::Whiteout {
                // Nobody ever sees whose it is.
                (entry.uid, entry.gid, entry.mode) = (0, 0, 0);
            }
            if entry.kind == TreeKind::Whiteout
                || (entry.path.is_empty() && !says.times)
                || (is_dir && !says.times)
            {
                // The archive needn't say anything of their times.
                (entry.mtime, entry.mtime_nanos) = (0, 0);
            }
            let mut contents = Vec::new();
            if let Some(mut file) = tree.open_file(&entry.path).unwrap() {
                file.read_to_end(&mut contents).unwrap();
            }
            (entry.path.clone(), (format!("{entry:?}"), contents))
        })
        .collect()
}

/// As any program sees it.
fn shown(root: &Path, says: Says) -> Tree {
    let mut all = Tree::new();
    let mut first: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let relative = path.strip_prefix(root).unwrap().to_path_buf();
        let status = match fs::symlink_metadata(&path) {
            // An overlay lists the whiteouts of a directory it has in one layer only, but does not find them.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            status => status.unwrap(),
        };
        let (mut contents, mut named, mut time, mut size) = (Vec::new(), None, None, None);
        if status.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path)
                .unwrap()
                .map(|name| name.unwrap().path())
                .collect();
            names.sort_unstable_by(|a, b| b.cmp(a));
            waiting.extend(names);
        } else {
            let place = first.entry(status.ino()).or_insert_with(|| relative.clone());
            named = Some((place.clone(), says.links.then_some(status.nlink())));
            size = Some(status.size());
        }
        if says.times || !status.is_dir() {
            time = Some((status.mtime(), status.mtime_nsec()));
        }
        if status.is_file() {
            contents = fs::read(&path).unwrap();
        } else if status.is_symlink() {
            contents =
                std::os::unix::ffi::OsStringExt::into_vec(fs::read_link(&path).unwrap().into_os_string());
        }
        let mut xattrs: BTreeMap<_, _> = xattr::list(&path)
            .unwrap()
            .map(|name| (name.clone(), xattr::get(&path, name).unwrap()))
            .collect();
        xattrs.retain(|name, _| !name.to_string_lossy().starts_with("security.selinux"));
        let (mode, owner, device) = (status.mode(), (status.uid(), status.gid()), status.rdev());
        let text = format!("{mode:o} {owner:?} {device} {size:?} {time:?} {named:?} {xattrs:?}");
        let path = std::os::unix::ffi::OsStringExt::into_vec(relative.into_os_string());
        all.insert(path, (text, contents));
    }
    all
}

/// A description as of [`shown`] without access control lists and the permissions of groups, which a list says too.
fn without_lists(text: &str) -> String {
    let (mode, rest) = text.split_once(' ').unwrap();
    let mode = u32::from_str_radix(mode, 8).unwrap() & !0o70;
    let kept = rest
        .split("\"system.posix_acl_")
        .enumerate()
        .map(|(n, piece)| match n {
            0 => piece,
            _ => piece.split_once("])").map_or("", |(_, rest)| rest),
        });
    let kept: String = kept.collect();
    format!("{mode:o} {}", kept.replace(", ", "").replace("{}", ""))
}

/// An archive of the tree by GNU tar; `None` if the format has no room for something in it.
fn gnu_tar(root: &Path, options: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("tar")
        .env("LC_ALL", "C")
        .args(options)
        .args(["--numeric-owner", "-cf", "-", "-C"])
        .arg(root)
        .arg(".")
        .output()
        .unwrap();
    output.status.success().then_some(output.stdout)
}

const FORMATS: [&[&str]; 10] = [
    &["--format=posix", "--xattrs", "--xattrs-include=*"],
    &[
        "--format=posix",
        "--xattrs",
        "--xattrs-include=*",
        "--sparse",
        "--hole-detection=raw",
    ],
    &["--format=posix", "--sparse", "--sparse-version=0.0"],
    &[
        "--format=posix",
        "--sparse",
        "--sparse-version=0.1",
        "--sort=inode",
    ],
    &["--format=gnu", "--sort=name"],
    &["--format=gnu", "--sparse", "--hole-detection=raw"],
    &["--format=oldgnu", "--sparse"],
    &["--format=ustar"],
    &["--format=v7"],
    &["--format=posix", "-b1", "--pax-option=delete=atime,delete=ctime"],
];

fn run<S: Strategy>(strategy: &S, test: impl Fn(&Bench, S::Value) -> Result<(), TestCaseError>) {
    let bench = Bench::new();
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::with_cases(cases())
    });
    let done = runner.run(strategy, |value| test(&bench, value));
    match done {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => panic!("{reason}\n{value:?}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn trees_of_gnu_tar() {
    let formats = proptest::sample::select(FORMATS.to_vec());
    let strategy = (proptest::collection::vec(trees::node(), 0..40), formats);
    run(&strategy, |bench, (nodes, options)| {
        let source = bench.fresh("source");
        trees::make(&source, &nodes);
        let tar = gnu_tar(&source, options)
            .or_else(|| gnu_tar(&source, &["--format=gnu"]))
            .unwrap();
        let turn = bench.turn();
        let tree = bench.compare(&tar, ALL, turn)?;
        prop_assert!(tree.is_some(), "refused");
        if turn {
            // GNU tar's own idea of its archive is that of the layer.
            let extracted = bench.fresh("extracted");
            let archive = bench.memory.at.path().join("archive");
            fs::write(&archive, &tar).unwrap();
            let done = Command::new("tar")
                .args([
                    "--numeric-owner",
                    "--xattrs",
                    "--xattrs-include=*",
                    "--acls",
                    "-xpf",
                ])
                .arg(&archive)
                .arg("-C")
                .arg(&extracted)
                .output()
                .unwrap();
            prop_assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            let mut extracted = shown(&extracted, ALL);
            let mut mounted = bench.mounted(&tar, ALL);
            for tree in [&mut mounted, &mut extracted] {
                for (text, _) in tree.values_mut() {
                    // GNU tar sets lists before modes, and leaves out what it does not know.
                    *text = without_lists(text);
                }
            }
            same(&mounted, &extracted)?;
        }
        Ok(())
    });
}

/// The root is only in it if there is something to say of it.
const OURS: Says = Says {
    times: false,
    links: true,
};

#[test]
fn trees_of_our_own_writer() {
    let strategy = proptest::collection::vec(trees::node(), 0..40);
    run(&strategy, |bench, nodes| {
        let source = bench.fresh("source");
        trees::make(&source, &nodes);
        let lease = bench.directories.lease();
        let packed = bench
            .directories
            .layers()
            .commit_dir_copy(&source, &lease)
            .unwrap();
        let mut tar = Vec::new();
        bench
            .directories
            .layers()
            .tar(&packed.diff_id)
            .unwrap()
            .read_to_end(&mut tar)
            .unwrap();
        drop(lease);
        let turn = bench.turn();
        let tree = bench.compare(&tar, OURS, turn)?;
        prop_assert!(tree.is_some(), "refused");
        if turn {
            let (mut mounted, mut source) = (bench.mounted(&tar, OURS), shown(&source, OURS));
            for tree in [&mut mounted, &mut source] {
                for (text, _) in tree.values_mut() {
                    // Layers have times of whole seconds.
                    if let Some((start, (seconds, end))) = text
                        .split_once("Some((")
                        .and_then(|(start, rest)| Some((start.to_owned(), rest.split_once(", ")?)))
                    {
                        let end = end.split_once(')').map_or("", |(_, end)| end);
                        *text = format!("{start}{seconds}{end}");
                    }
                }
            }
            same(&mounted, &source)?;
        }
        Ok(())
    });
}

const SOME: Says = Says {
    times: false,
    links: false,
};

/// Names that meet as files, directories and links of one another, whiteouts and opaque directories: whatever it means, it means
/// the same.
#[test]
fn archives_of_random_entries() {
    let strategy = proptest::collection::vec(entries::entry(), 1..25);
    run(&strategy, |bench, entries: Vec<(Entry, Vec<u8>)>| {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, payload) in &entries {
            writer.entry(entry, &mut payload.as_slice()).unwrap();
        }
        bench
            .compare(&writer.finish().unwrap(), SOME, bench.turn())
            .map(drop)
    });
}
