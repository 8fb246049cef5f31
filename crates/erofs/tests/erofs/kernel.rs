//! What the kernel shows of an image is what was put into it. These mount: they need root.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::model::{DATA_END, apply, directory, op};
use fs_err as fs;
use havre_erofs::read::{Content, Entry, Image, Limits, ReadError};
use havre_erofs::{BlockSize, DATA_START, DeviceKind, Layout, Metadata, Node, Options, Tree};
use havre_oci::layer;
use havre_sys::erofs::Backing;
use havre_sys::mount::unmount;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::fs::{AtFlags, Mode, OFlags};

const BACKINGS: [Backing; 3] = [
    Backing::File { direct: false },
    Backing::File { direct: true },
    Backing::Loop,
];
const BLOCKS: [BlockSize; 2] = [BlockSize::B512, BlockSize::B4096];

/// A mount that goes with its directory.
struct Mounted {
    at: PathBuf,
    root: OwnedFd,
}

impl Mounted {
    fn new(image: &Path, at: &Path, backing: Backing) -> Self {
        fs::create_dir_all(at).unwrap();
        havre_sys::erofs::mount(image, at, backing).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Self {
            at: at.to_path_buf(),
            root: rustix::fs::open(at, flags, Mode::empty()).unwrap(),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let null = rustix::fs::open("/", OFlags::PATH, Mode::empty()).unwrap();
        drop(std::mem::replace(&mut self.root, null));
        unmount(&self.at, false).unwrap();
    }
}

/// Bytes that differ from block to block.
fn noise(len: u64) -> Vec<u8> {
    (0..len)
        .map(|at| (at / 512 + at * 7 + at / 65_536) as u8)
        .collect()
}

/// The image of a tree whose data are `noise`, as a file.
fn write_image(path: &Path, tree: Tree, data_end: u64) {
    let layout = Layout::new(tree, data_end).unwrap();
    let mut bytes = noise(layout.offset());
    bytes[data_end as usize..].fill(0);
    layout.write_metadata(&mut bytes).unwrap();
    bytes[..4096].copy_from_slice(&layout.superblock([3; 16]));
    assert_eq!(bytes.len() as u64, layout.size());
    fs::write(path, bytes).unwrap();
}

/// Everything the reader says of an image.
fn entries(image: &Path) -> Vec<Entry> {
    let file = fs::File::open(image).unwrap();
    let size = file.metadata().unwrap().len();
    let mut entries = Vec::new();
    Image::open(file.file(), size, Limits::default())
        .unwrap()
        .walk(|entry| {
            entries.push(entry.clone());
            Ok::<(), ReadError>(())
        })
        .unwrap();
    entries
}

fn xattrs(object: &OwnedFd) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
    let path = format!("/proc/self/fd/{}", object.as_raw_fd());
    let mut list = vec![0; 65_536];
    let len = rustix::fs::listxattr(&path, list.as_mut_slice()).unwrap();
    let names = list[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65_536];
            let len = rustix::fs::getxattr(&path, name, value.as_mut_slice()).unwrap();
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect()
}

/// Compares a mount with what the reader says.
fn kernel_agrees(image: &Path, backing: Backing, entries: &[Entry]) {
    let bytes = fs::File::open(image).unwrap();
    let mounted = Mounted::new(image, &image.with_extension("mount"), backing);
    let mut listed: BTreeSet<Vec<u8>> = entries.iter().map(|entry| entry.path.clone()).collect();
    for entry in entries {
        let shown = String::from_utf8_lossy(&entry.path).into_owned();
        let path = if entry.path.is_empty() {
            b"."
        } else {
            entry.path.as_slice()
        };
        let stat = rustix::fs::statat(&mounted.root, path, AtFlags::SYMLINK_NOFOLLOW)
            .unwrap_or_else(|errno| panic!("{shown}: {errno}"));
        let metadata = &entry.metadata;
        let (kind, device, size) = match &entry.content {
            Content::Directory => (0o040_000, None, None),
            Content::File { size, .. } => (0o100_000, None, Some(*size)),
            Content::Symlink(target) => (0o120_000, None, Some(target.len() as u64)),
            Content::Device {
                kind: DeviceKind::Char,
                major,
                minor,
            } => (0o020_000, Some((*major, *minor)), None),
            Content::Device {
                kind: DeviceKind::Block,
                major,
                minor,
            } => (0o060_000, Some((*major, *minor)), None),
            Content::Fifo => (0o010_000, None, None),
            Content::Socket => (0o140_000, None, None),
        };
        assert_eq!(stat.st_mode, kind | metadata.mode, "{shown}");
        assert_eq!(
            (stat.st_uid, stat.st_gid),
            (metadata.uid, metadata.gid),
            "{shown}"
        );
        assert_eq!(stat.st_mtime, metadata.mtime, "{shown}");
        assert_eq!(stat.st_mtime_nsec as u32, metadata.mtime_nanos, "{shown}");
        assert_eq!(stat.st_nlink as u32, entry.links, "{shown}");
        assert_eq!(stat.st_ino, entry.nid, "{shown}");
        if let Some((major, minor)) = device {
            assert_eq!(stat.st_rdev, rustix::fs::makedev(major, minor), "{shown}");
        }
        if let Some(size) = size {
            assert_eq!(stat.st_size as u64, size, "{shown}");
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let object = rustix::fs::openat(&mounted.root, path, flags, Mode::empty()).unwrap();
        assert_eq!(xattrs(&object), entry.xattrs.iter().cloned().collect(), "{shown}");
        match &entry.content {
            Content::Symlink(target) => {
                let read = rustix::fs::readlinkat(&mounted.root, path, Vec::new()).unwrap();
                assert_eq!(read.as_bytes(), target, "{shown}");
            }
            Content::File { size, extents } if *size < 64 << 20 => {
                let opened = rustix::fs::openat(&mounted.root, path, OFlags::RDONLY, Mode::empty()).unwrap();
                let mut read = Vec::new();
                std::io::Read::read_to_end(&mut std::fs::File::from(opened), &mut read).unwrap();
                let mut expected = Vec::new();
                for extent in extents {
                    let mut piece = vec![0; extent.len as usize];
                    if let Some(offset) = extent.offset {
                        std::os::unix::fs::FileExt::read_exact_at(bytes.file(), &mut piece, offset).unwrap();
                    }
                    expected.extend_from_slice(&piece);
                }
                assert!(read == expected, "contents of {shown}");
            }
            Content::Directory => {
                let opened = rustix::fs::openat(&mounted.root, path, OFlags::RDONLY, Mode::empty()).unwrap();
                for found in rustix::fs::Dir::read_from(&opened).unwrap() {
                    let found = found.unwrap();
                    let name = found.file_name().to_bytes();
                    if name == b"." || name == b".." {
                        continue;
                    }
                    let whole = if entry.path.is_empty() {
                        name.to_vec()
                    } else {
                        [&entry.path, name].join(&b'/')
                    };
                    assert!(
                        listed.remove(&whole),
                        "{:?} is listed",
                        String::from_utf8_lossy(&whole)
                    );
                }
                let missing = [path, b"no such name"].join(&b'/');
                let found = rustix::fs::statat(&mounted.root, missing, AtFlags::SYMLINK_NOFOLLOW);
                assert_eq!(found.unwrap_err(), rustix::io::Errno::NOENT, "{shown}");
            }
            _ => {}
        }
    }
    assert_eq!(listed.len(), 1, "all but the root are listed once");
}

fn tree(block: BlockSize) -> Tree {
    Tree::new(Options {
        block,
        ..Options::default()
    })
}

const PLAIN: Metadata = Metadata {
    mode: 0o644,
    uid: 1000,
    gid: 100,
    mtime: 1_700_000_000,
    mtime_nanos: 0,
};

/// `user.`, ACLs, capabilities; values across blocks.
fn many_xattrs() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut capability = vec![0; 20];
    (capability[0], capability[3], capability[5]) = (1, 2, 4);
    let acl = [
        [2, 0, 0, 0].as_slice(),
        &[1, 0, 6, 0, 255, 255, 255, 255],
        &[2, 0, 7, 0, 232, 3, 0, 0],
        &[4, 0, 4, 0, 255, 255, 255, 255],
        &[16, 0, 4, 0, 255, 255, 255, 255],
        &[32, 0, 4, 0, 255, 255, 255, 255],
    ]
    .concat();
    vec![
        (b"user.empty".to_vec(), Vec::new()),
        (b"user.long".to_vec(), noise(65_535)),
        (b"user.medium".to_vec(), noise(700)),
        (
            [b"user.".as_slice(), &[b'n'; 250]].concat(),
            b"longest name".to_vec(),
        ),
        (b"security.capability".to_vec(), capability),
        (b"system.posix_acl_access".to_vec(), acl),
        (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
    ]
}

#[test]
fn everything_there_can_be() {
    let dir = tempfile::tempdir().unwrap();
    for block in BLOCKS {
        let mut tree = tree(block);
        let file = |offset, size| Node::File { offset, size };
        tree.add(
            b"",
            Node::Directory,
            &Metadata {
                mode: 0o1777,
                ..PLAIN
            },
            &[],
        )
        .unwrap();
        for size in [0, 1, 511, 512, 513, 4095, 4096, 4097, 300_000] {
            let path = format!("files/{size}");
            tree.add(path.as_bytes(), file(DATA_START + 8192, size), &PLAIN, &[])
                .unwrap();
        }
        tree.add(b"xattrs/file", file(DATA_START, 5000), &PLAIN, &many_xattrs())
            .unwrap();
        let mut acl = many_xattrs();
        acl.push((b"system.posix_acl_default".to_vec(), acl[5].1.clone()));
        tree.add(b"xattrs/dir", Node::Directory, &PLAIN, &acl).unwrap();
        tree.add(b"xattrs/dir/child", Node::Fifo, &PLAIN, &[]).unwrap();
        let trusted = [(b"trusted.x".to_vec(), noise(300))];
        tree.add(b"xattrs/link", Node::Symlink(b"target"), &PLAIN, &trusted)
            .unwrap();
        tree.add(b"xattrs/pipe", Node::Fifo, &PLAIN, &trusted).unwrap();
        for len in [1, 59, 60, 400, 447, 448, 449, 511, 512, 4032, 4033, 4095] {
            let target = "t".repeat(len);
            let path = format!("links/{len}");
            tree.add(path.as_bytes(), Node::Symlink(target.as_bytes()), &PLAIN, &[])
                .unwrap();
        }
        for (n, name) in ["!", "-", ".-", ".\u{1}", "...", "..x", ".a", "a", "\u{7f}", "ü"]
            .iter()
            .enumerate()
        {
            let path = format!("names/{name}");
            let size = n as u64;
            tree.add(path.as_bytes(), file(DATA_START, size), &PLAIN, &[])
                .unwrap();
            tree.add(
                format!("names/{}{n}", "l".repeat(254)).as_bytes(),
                Node::Socket,
                &PLAIN,
                &[],
            )
            .unwrap();
        }
        for (n, mtime) in [0, -1, i64::from(i32::MIN) - 5, 1 << 32, 1 << 33]
            .into_iter()
            .enumerate()
        {
            let metadata = Metadata {
                mtime,
                mtime_nanos: 999_999_999,
                uid: 70_000 + n as u32,
                ..PLAIN
            };
            tree.add(format!("times/{n}").as_bytes(), Node::Fifo, &metadata, &[])
                .unwrap();
        }
        for (n, (major, minor)) in [(1, 3), (259, 65_793), (4095, 1_048_575)].into_iter().enumerate() {
            for kind in [DeviceKind::Char, DeviceKind::Block] {
                let device = Node::Device { kind, major, minor };
                tree.add(format!("dev/{kind:?}{n}").as_bytes(), device, &PLAIN, &[])
                    .unwrap();
            }
        }
        tree.whiteout(b"dev/gone").unwrap();
        tree.opaque(b"opaque").unwrap();
        let set_id = Metadata {
            mode: 0o6755,
            ..PLAIN
        };
        tree.add(b"links/a", file(DATA_START + 512 * 8, 600), &set_id, &[])
            .unwrap();
        tree.link(b"links/b", b"links/a").unwrap();
        tree.link(b"a-first-name", b"links/a").unwrap();
        tree.link(b"links/symlink too", b"links/4095").unwrap();
        let deep = ["d".repeat(255).as_str(); 15].join("/");
        let deep = format!("{deep}/{}", "e".repeat(4095 - deep.len() - 1));
        tree.add(deep.as_bytes(), file(DATA_START, 10), &PLAIN, &[])
            .unwrap();
        let holes = [
            Node::HOLE,
            DATA_START,
            Node::HOLE,
            DATA_START + 65_536,
            DATA_START + 4096,
        ];
        let sparse = Node::Sparse {
            size: 4 * 65_536 + 100,
            chunk: 65_536,
            map: &holes,
        };
        tree.add(b"sparse/small", sparse, &PLAIN, &many_xattrs()[..3])
            .unwrap();
        let holes = vec![Node::HOLE; 5000];
        let sparse = Node::Sparse {
            size: 5000 << 20,
            chunk: 1 << 20,
            map: &holes,
        };
        tree.add(b"sparse/nothing but holes", sparse, &PLAIN, &[])
            .unwrap();

        let image = dir.path().join(format!("{block:?}"));
        write_image(&image, tree, DATA_END);
        let entries = entries(&image);
        assert!(entries.iter().any(|entry| entry.path.len() == 4095));
        for backing in BACKINGS {
            kernel_agrees(&image, backing, &entries);
        }
    }
}

#[test]
fn random_trees() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let mut runner = TestRunner::new(Config::with_cases(60));
    let backing = prop_oneof![
        Just(Backing::File { direct: false }),
        Just(Backing::File { direct: true }),
        Just(Backing::Loop)
    ];
    let block = prop_oneof![Just(BlockSize::B512), Just(BlockSize::B4096)];
    let strategy = (prop::collection::vec(op(), 0..80), block, backing);
    runner
        .run(&strategy, |(ops, block, backing)| {
            let (root, mut tree) = (directory(), tree(block));
            for op in &ops {
                apply(&root, &mut tree, op)?;
            }
            write_image(&image, tree, DATA_END);
            kernel_agrees(&image, backing, &entries(&image));
            Ok(())
        })
        .unwrap();
}

/// A file of more than 4 GiB, most of it a hole of the image's own file; and data behind 4 GiB.
#[test]
fn huge_files() {
    use fs_err::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    for block in BLOCKS {
        let image = dir.path().join(format!("{block:?}"));
        let mut tree = tree(block);
        let size = (5_u64 << 30) + 77;
        let behind = DATA_START + (5 << 30) + 8192;
        tree.add(
            b"huge",
            Node::File {
                offset: DATA_START,
                size,
            },
            &PLAIN,
            &[],
        )
        .unwrap();
        tree.add(
            b"behind",
            Node::File {
                offset: behind,
                size: 100,
            },
            &PLAIN,
            &[],
        )
        .unwrap();
        let layout = Layout::new(tree, behind + 100).unwrap();
        let mut metadata = Vec::new();
        layout.write_metadata(&mut metadata).unwrap();
        let file = fs::File::create(&image).unwrap();
        file.set_len(layout.size()).unwrap();
        file.write_all_at(&metadata, layout.offset()).unwrap();
        file.write_all_at(b"the end", DATA_START + size - 7).unwrap();
        file.write_all_at(&[7; 100], behind).unwrap();
        file.write_all_at(&layout.superblock([0; 16]), 0).unwrap();
        for backing in BACKINGS {
            let mounted = Mounted::new(&image, &dir.path().join("mount"), backing);
            let huge = fs::File::open(mounted.at.join("huge")).unwrap();
            assert_eq!(huge.metadata().unwrap().len(), size);
            let mut end = [0; 10];
            huge.read_exact_at(&mut end, size - 10).unwrap();
            assert_eq!(&end, b"\0\0\0the end");
            assert_eq!(huge.read_at(&mut end, size).unwrap(), 0);
            assert_eq!(fs::read(mounted.at.join("behind")).unwrap(), [7; 100]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
}

/// What mkfs.erofs makes (compact inodes, shared attributes, contents inline and in chunks) is read as the kernel reads it.
#[test]
fn images_of_mkfs_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        set -e
        mkdir -p tree/sub/dir; cd tree
        for n in 0 1 100 4095 4096 4097 9000 100000; do head -c $n /dev/urandom > sub/$n; done
        truncate -s 1M sub/hole; echo end >> sub/hole
        ln sub/100 sub/dir/hard; ln -s sub/100 soft; mkfifo pipe; mknod null c 1 3
        for n in $(seq 300); do echo $n > sub/dir/a-name-of-some-length-$n; done
        chown 70000:70001 sub/1
    "#;
    let shell = Command::new("bash")
        .current_dir(dir.path())
        .args(["-c", script])
        .output()
        .unwrap();
    assert!(shell.status.success(), "{shell:?}");
    let tree = dir.path().join("tree");
    for (path, value) in [("sub/1", "shared"), ("sub/100", "shared"), ("sub/4096", "alone")] {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(tree.join(path), "user.value", value.as_bytes(), flags).unwrap();
    }
    let image = dir.path().join("image");
    for options in [["-x1", "-T1234567890"].as_slice(), &["--chunksize=4096"]] {
        let made = Command::new("mkfs.erofs")
            .args(options)
            .args([&image, &tree])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let entries = entries(&image);
        assert_eq!(entries.len(), 316);
        kernel_agrees(&image, Backing::Loop, &entries);
    }
}

/// A tar made by GNU tar is a file system as it is: the same as what GNU tar extracts from it.
#[test]
fn a_tar_is_a_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        set -e
        mkdir -p tree/a/b/c tree/empty "tree/with space"; cd tree
        for n in 0 1 2 3 4 5 6 7 8 9; do head -c $((n * 999)) /dev/urandom > a/file$n; done
        head -c 5000000 /dev/urandom > a/b/large
        ln a/file3 a/b/hard; ln -s ../file4 a/b/soft; ln -s /nowhere dangling
        ln -s "$(printf 'x%.0s' $(seq 300))" a/long-link
        touch "$(printf 'n%.0s' $(seq 255))"
        long=$(printf 'd%.0s' $(seq 100)); mkdir -p $long/$long/$long; echo deep > $long/$long/$long/file
        mkfifo pipe; mknod null c 1 3; mknod disk b 259 70000
        chmod 4755 a/file1; chmod 1777 empty; chmod 000 a/file2; chown 1234:5678 a/file5
        touch -d '1960-01-01 00:00:00.5 UTC' a/file6; touch -d '2001-09-09 01:46:40.123456789 UTC' a/b a/file7
    "#;
    let shell = Command::new("bash")
        .current_dir(dir.path())
        .args(["-c", script])
        .output()
        .unwrap();
    assert!(shell.status.success(), "{shell:?}");
    let source = dir.path().join("tree");
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(source.join(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set("a/file8", "user.comment", b"kept");
    for (name, value) in many_xattrs() {
        if value.len() < 1000 && !name.starts_with(b"trusted") {
            set("a/file9", std::str::from_utf8(&name).unwrap(), &value);
        }
    }
    for format in ["pax", "gnu"] {
        let tar = dir.path().join("tar");
        let (tar_path, tree_path) = (tar.to_str().unwrap(), source.to_str().unwrap());
        let format = format!("--format={format}");
        let mut arguments = vec![&*format, "--sort=none", "-C", tree_path, "-cf", tar_path, "."];
        if format.ends_with("pax") {
            arguments.extend(["--xattrs", "--xattrs-include=*", "--acls"]);
        }
        run("tar", &arguments);
        let extracted = dir.path().join("extracted");
        fs::create_dir(&extracted).unwrap();
        let to = extracted.to_str().unwrap();
        run(
            "tar",
            &[
                "--numeric-owner",
                "--xattrs",
                "--xattrs-include=*",
                "--acls",
                "-C",
                to,
                "-xpf",
                tar_path,
            ],
        );

        let bytes = fs::read(&tar).unwrap();
        let image = dir.path().join("image");
        let mut whole = vec![0; DATA_START as usize];
        whole.extend_from_slice(&bytes);
        let layout = Layout::new(tree_of(&bytes), whole.len() as u64).unwrap();
        whole.resize(layout.offset() as usize, 0);
        layout.write_metadata(&mut whole).unwrap();
        whole[..4096].copy_from_slice(&layout.superblock([1; 16]));
        fs::write(&image, whole).unwrap();
        let entries = entries(&image);
        assert!(entries.len() > 25);
        for backing in BACKINGS {
            kernel_agrees(&image, backing, &entries);
            let mounted = Mounted::new(&image, &dir.path().join("mount"), backing);
            same(&extracted, &mounted.at);
        }
        fs::remove_dir_all(&extracted).unwrap();
    }
}

/// The tree of an archive that lies at `DATA_START`.
fn tree_of(tar: &[u8]) -> Tree {
    let mut tree = Tree::new(Options::default());
    let mut reader = layer::Reader::new(tar, layer::Limits::default(), |_| Ok(()));
    let mut entry = layer::Entry::default();
    while reader.next_entry(&mut entry).unwrap() {
        let device = |kind, major, minor| Node::Device { kind, major, minor };
        let offset = DATA_START + reader.position();
        let node = match entry.kind {
            layer::Kind::File => Node::File {
                offset,
                size: entry.size,
            },
            layer::Kind::Dir => Node::Directory,
            layer::Kind::Symlink => Node::Symlink(&entry.target),
            layer::Kind::Char { major, minor } => device(DeviceKind::Char, major, minor),
            layer::Kind::Block { major, minor } => device(DeviceKind::Block, major, minor),
            layer::Kind::Fifo => Node::Fifo,
            layer::Kind::Hardlink => {
                tree.link(&entry.path, &entry.target).unwrap();
                continue;
            }
        };
        let metadata = Metadata {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            mtime_nanos: entry.mtime_nanos,
        };
        tree.add(&entry.path, node, &metadata, &entry.xattrs).unwrap();
    }
    tree
}

/// Two directories hold the same, contents and attributes included.
fn same(left: &Path, right: &Path) {
    let open = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
    let (left_fd, right_fd) = (open(left), open(right));
    let stat = |fd: &OwnedFd| {
        let stat = rustix::fs::fstat(fd).unwrap();
        let links = (stat.st_mode & 0o170_000 != 0o040_000).then_some(stat.st_nlink);
        let size = (stat.st_mode & 0o170_000 != 0o040_000).then_some(stat.st_size);
        let times = (stat.st_mtime, stat.st_mtime_nsec);
        (
            stat.st_mode,
            stat.st_uid,
            stat.st_gid,
            stat.st_rdev,
            times,
            links,
            size,
        )
    };
    assert_eq!(stat(&left_fd), stat(&right_fd), "{}", left.display());
    assert_eq!(xattrs(&left_fd), xattrs(&right_fd), "{}", left.display());
    let kind = fs::symlink_metadata(left).unwrap().file_type();
    if kind.is_symlink() {
        assert_eq!(fs::read_link(left).unwrap(), fs::read_link(right).unwrap());
    } else if kind.is_file() {
        assert!(
            fs::read(left).unwrap() == fs::read(right).unwrap(),
            "{}",
            left.display()
        );
    } else if kind.is_dir() {
        let names = |path: &Path| -> BTreeSet<_> {
            let listed = fs::read_dir(path).unwrap();
            listed.map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(names(left), names(right));
        for name in names(left) {
            assert!(!name.as_bytes().is_empty());
            same(&left.join(&name), &right.join(&name));
        }
    }
}
