//! Random trees of files, made on a disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use proptest::prelude::*;
use proptest::sample::Index;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

/// One more thing in a tree.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Which of the directories so far it is in.
    parent: Index,
    name: Vec<u8>,
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattrs: Vec<(&'static str, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum Kind {
    Directory,
    /// Size, and the pieces of it that are no zeros.
    File(u64, Vec<(u64, u64)>, u8),
    Symlink(Vec<u8>),
    /// Which of the names so far that are no directories.
    Hardlink(Index),
    Fifo,
    Char(u32, u32),
    Block(u32, u32),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'x' } else { byte });
    let fixed = |name: &str| Just(name.as_bytes().to_vec());
    prop_oneof![
        8 => "[a-f]{1,3}".prop_map(String::into_bytes),
        4 => "[a-zA-Z0-9._-]{1,30}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(byte, 1..40),
        1 => (90..256_usize).prop_map(|len| vec![b'n'; len]),
        1 => prop_oneof![fixed(" "), fixed("a\nb"), fixed("\\"), fixed("..."), fixed("-rf"), fixed("\u{fc}ml\u{e4}ut")],
    ]
    .prop_filter("has a meaning", |name| {
        !matches!(name.as_slice(), b"." | b"..") && !name.starts_with(b".wh.")
    })
}

fn file() -> impl Strategy<Value = Kind> {
    let size = prop_oneof![
        Just(0_u64),
        Just(1),
        Just(511),
        Just(512),
        Just(513),
        Just(4095),
        Just(4096),
        Just(4097),
        0..3000_u64,
        0..40_000_u64,
    ];
    let pieces = proptest::collection::vec((0..90_000_u64, 1..9000_u64), 0..6);
    prop_oneof![
        5 => (size, any::<u8>()).prop_map(|(size, seed)| Kind::File(size, vec![(0, size)], seed)),
        1 => (pieces, 0..90_000_u64, any::<u8>()).prop_map(|(steps, tail, seed)| {
            let mut at = 0;
            let pieces = steps
                .into_iter()
                .map(|(gap, len)| {
                    let piece = (at + gap, len);
                    at = piece.0 + len;
                    piece
                })
                .collect();
            Kind::File(at + tail, pieces, seed)
        }),
    ]
}

fn acl(user: u32, permissions: u16) -> Vec<u8> {
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (1, 7, u32::MAX),
        (2, permissions, user),
        (4, 5, u32::MAX),
        (16, 7, u32::MAX),
        (32, 4, u32::MAX),
    ] {
        acl.extend(u16::to_le_bytes(tag));
        acl.extend(u16::to_le_bytes(permissions));
        acl.extend(u32::to_le_bytes(id));
    }
    acl
}

fn xattrs() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let value = || proptest::collection::vec(any::<u8>(), 0..60);
    let one = prop_oneof![
        3 => value().prop_map(|value| ("user.a", value)),
        1 => value().prop_map(|value| ("user.another", value)),
        1 => proptest::collection::vec(any::<u8>(), 1000..2000).prop_map(|value| ("user.large", value)),
        2 => value().prop_map(|value| ("trusted.t", value)),
        2 => any::<[u8; 16]>().prop_map(|bits| {
            ("security.capability", [[1, 0, 0, 2].as_slice(), bits.as_slice()].concat())
        }),
        1 => (0..4_u32, 0..8_u16).prop_map(|(user, bits)| ("system.posix_acl_access", acl(user, bits))),
        1 => (0..4_u32, 0..8_u16).prop_map(|(user, bits)| ("system.posix_acl_default", acl(user, bits))),
    ];
    prop_oneof![5 => Just(Vec::new()), 1 => proptest::collection::vec(one, 1..4)]
}

pub(crate) fn node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![
        3 => Just(Kind::Directory),
        5 => file(),
        1 => prop_oneof![name(), Just(b"../up".to_vec()), Just(b"/etc/passwd".to_vec()), Just(vec![b'l'; 150])]
            .prop_map(Kind::Symlink),
        1 => any::<Index>().prop_map(Kind::Hardlink),
        1 => prop_oneof![
            Just(Kind::Fifo),
            (1..600_u32, 0..70_000_u32).prop_map(|(major, minor)| Kind::Char(major, minor)),
            (1..600_u32, 0..70_000_u32).prop_map(|(major, minor)| Kind::Block(major, minor)),
        ],
    ];
    let id = || prop_oneof![4 => Just(0), 2 => 0..3000_u32, 1 => Just(65_536), 1 => Just(3_000_000), 1 => Just(u32::MAX - 1)];
    let seconds = prop_oneof![4 => 0..2_000_000_000_i64, 1 => -2_000_000_000..0_i64, 1 => 4_294_967_290..4_300_000_000_i64];
    let nanos = prop_oneof![2 => Just(0), 1 => 0..1_000_000_000_i64];
    let mode = prop_oneof![3 => Just(0o644), 3 => Just(0o755), 1 => 0..0o10000_u32];
    (
        any::<Index>(),
        name(),
        kind,
        mode,
        (id(), id()),
        (seconds, nanos),
        xattrs(),
    )
        .prop_map(|(parent, name, kind, mode, owner, mtime, xattrs)| Node {
            parent,
            name,
            kind,
            mode,
            owner,
            mtime,
            xattrs,
        })
}

/// Makes a tree in the empty directory `root`. What cannot be (a name that is taken, a path that is too long, an attribute the
/// file system has no place for) is left out.
pub(crate) fn make(root: &Path, nodes: &[Node]) {
    let mut directories = vec![root.to_path_buf()];
    let mut others: Vec<PathBuf> = Vec::new();
    let mut times = Vec::new();
    for node in nodes {
        let path = node.parent.get(&directories).join(OsStr::from_bytes(&node.name));
        if path.as_os_str().len() > root.as_os_str().len() + 3500 || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let special = |kind, major, minor| {
            let device = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(CWD, &path, kind, Mode::from(0o600), device).unwrap();
        };
        match &node.kind {
            Kind::Directory => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            Kind::File(size, pieces, seed) => {
                let file = fs::File::create(&path).unwrap();
                file.set_len(*size).unwrap();
                for (offset, len) in pieces {
                    let bytes: Vec<u8> = (0..*len)
                        .map(|n| (n as u8).wrapping_mul(31).wrapping_add(*seed))
                        .collect();
                    file.file().write_all_at(&bytes, *offset).unwrap();
                }
            }
            Kind::Symlink(target) => std::os::unix::fs::symlink(OsStr::from_bytes(target), &path).unwrap(),
            Kind::Hardlink(_) if others.is_empty() => continue,
            Kind::Hardlink(target) => {
                fs::hard_link(target.get(&others), &path).unwrap();
                others.push(path);
                continue;
            }
            Kind::Fifo => special(FileType::Fifo, 0, 0),
            Kind::Char(major, minor) => special(FileType::CharacterDevice, *major, *minor),
            Kind::Block(major, minor) => special(FileType::BlockDevice, *major, *minor),
        }
        let is_link = matches!(node.kind, Kind::Symlink(_));
        let (uid, gid) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
        rustix::fs::chownat(CWD, &path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
        if !is_link {
            rustix::fs::chmodat(CWD, &path, Mode::from_raw_mode(node.mode), AtFlags::empty()).unwrap();
        }
        for (name, value) in &node.xattrs {
            // Links have no ACLs, files no default ones, some file systems nothing of the kind.
            let _ = rustix::fs::lsetxattr(&path, *name, value, XattrFlags::empty());
        }
        if !matches!(node.kind, Kind::Directory) {
            others.push(path.clone());
        }
        times.push((path, node.mtime));
    }
    times.push((root.to_path_buf(), (1_600_000_000, 0)));
    for (path, (seconds, nanos)) in times {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: nanos as _,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}
