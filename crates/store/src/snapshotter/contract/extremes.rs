//! What hardly any image asks for, and some do.

use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;

use fs_err as fs;
use havre_oci::layer::{Entry, Kind, encode_header};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::{Bench, Tar, describe, read};
use crate::Limits;
use crate::snapshotter::Snapshotter;

/// `u:rwx u:1000:r-x g:rwx m:r-x o:r--` as the kernel writes it.
fn acl() -> Vec<u8> {
    let mut acl = 2_u32.to_le_bytes().to_vec();
    let nobody = u32::MAX;
    for (tag, permissions, id) in [
        (1, 7, nobody),
        (2, 5, 1000),
        (4, 7, nobody),
        (16, 5, nobody),
        (32, 4, nobody),
    ] {
        acl.extend(u16::to_le_bytes(tag));
        acl.extend(u16::to_le_bytes(permissions));
        acl.extend(u32::to_le_bytes(id));
    }
    acl
}

pub(crate) fn attributes_are_kept(snapshotter: &dyn Snapshotter) {
    // Version 3: with the user whose namespace it is in.
    let capability: Vec<u8> = [1, 0, 0, 3, 0, 4, 0, 0]
        .into_iter()
        .chain([0; 12])
        .chain([7, 0, 0, 0])
        .collect();
    let large = vec![b'x'; 2000];
    let many: Vec<_> = (0..40)
        .map(|n| {
            (
                format!("user.number-{n:02}").into_bytes(),
                vec![n; usize::from(n)],
            )
        })
        .collect();
    let one = |name: &str, value: &[u8]| vec![(name.as_bytes().to_vec(), value.to_vec())];
    let tar = Tar::default()
        .add("capable", Kind::File, |entry| {
            entry.xattrs = one("security.capability", &capability);
            entry.mode = 0o755;
        })
        .add("large", Kind::File, |entry| {
            entry.xattrs = one("user.large", &large)
        })
        .add("many", Kind::File, |entry| entry.xattrs = many.clone())
        .add("same", Kind::Dir, |entry| entry.xattrs = many.clone())
        .add("trusted", Kind::Symlink, |entry| {
            entry.target = b"large".to_vec();
            entry.xattrs = one("trusted.note", b"of a link");
        })
        .add("listed", Kind::File, |entry| {
            (entry.mode, entry.xattrs) = (0o654, one("system.posix_acl_access", &acl()));
        })
        .add("inherited", Kind::Dir, |entry| {
            entry.xattrs = one("system.posix_acl_default", &acl());
        })
        // Not an attribute any file system keeps.
        .add("strange", Kind::File, |entry| {
            entry.xattrs = one("com.apple.quarantine", b"1")
        });
    let mut bench = Bench::new(snapshotter);
    let bytes = tar.bytes();
    bench.unpack(&bytes).unwrap();
    let view = bench.view();
    let get = |path: &str, name: &str| xattr::get(view.join(path), name).unwrap();
    assert_eq!(
        get("capable", "security.capability").unwrap()[..20],
        capability[..20]
    );
    assert_eq!(get("large", "user.large").unwrap(), large);
    for (name, value) in &many {
        let name = std::str::from_utf8(name).unwrap();
        assert_eq!(get("many", name).unwrap(), *value);
        assert_eq!(get("same", name).unwrap(), *value);
    }
    assert_eq!(get("trusted", "trusted.note").unwrap(), b"of a link");
    assert_eq!(get("listed", "system.posix_acl_access").unwrap(), acl());
    assert_eq!(get("inherited", "system.posix_acl_default").unwrap(), acl());
    let mode = |path: &str| {
        fs::symlink_metadata(view.join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!((mode("listed"), mode("inherited")), (0o754, 0o755));
    assert!(view.join("strange").exists());
    assert_eq!(bench.tar(0), bytes);
}

pub(crate) fn names_and_paths_of_any_length(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    let name = "n".repeat(255);
    let deep = [name.as_str(); 16].join("/");
    assert_eq!(deep.len(), 4095);
    let tar = Tar::default()
        .file(&name.replace('n', "f"), "a long name")
        .file(&deep, "a long way")
        .file("\u{ff}\u{1}*?[", "an odd name");
    let bytes = tar.bytes();
    bench.unpack(&bytes).unwrap();
    assert_eq!(bench.tar(0), bytes);
    let view = bench.view();
    assert_eq!(read(view.join(name.replace('n', "f"))), "a long name");
    let root = fs::File::open(&view).unwrap();
    let file = rustix::fs::openat(root.file(), deep.as_str(), OFlags::RDONLY, Mode::empty()).unwrap();
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text).unwrap();
    assert_eq!(text, "a long way");
    assert_eq!(read(view.join("\u{ff}\u{1}*?[")), "an odd name");
    let too_long = Tar::default().file(&"n".repeat(256), "x").bytes();
    bench.unpack(&too_long).unwrap_err();
}

/// The same tree by GNU tar in every format it has.
pub(crate) fn archives_of_all_ages(snapshotter: &dyn Snapshotter) {
    let source = tempfile::tempdir().unwrap();
    let tree = source.path();
    fs::create_dir_all(tree.join("dir/sub")).unwrap();
    fs::write(tree.join("dir/file"), "text").unwrap();
    fs::write(tree.join("dir/sub/empty"), "").unwrap();
    fs::hard_link(tree.join("dir/file"), tree.join("linked")).unwrap();
    std::os::unix::fs::symlink("dir/file", tree.join("link")).unwrap();
    fs::set_permissions(tree.join("dir/sub"), PermissionsExt::from_mode(0o1770)).unwrap();
    let mut bench = Bench::new(snapshotter);
    let mut seen = Vec::new();
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        if format == "ustar" {
            // The formats before it have no room for what comes now.
            fs::write(
                tree.join(format!("{}/{}", "dir/sub", "x".repeat(90))),
                "in a prefix",
            )
            .unwrap();
        }
        let output = Command::new("tar")
            .args([
                "--format",
                format,
                "--sort=name",
                "--mtime=@1000000000",
                "-cf",
                "-",
                "-C",
            ])
            .args([tree.as_os_str(), ".".as_ref()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        bench.layers.clear();
        bench.unpack(&output.stdout).unwrap();
        assert_eq!(bench.tar(0), output.stdout, "{format}");
        let view = bench.view();
        let mut described = describe(&view);
        described.retain(|path, _| !path.to_string_lossy().contains('x'));
        seen.push(described);
        bench.unmount();
        super::detach(&bench.layers);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    assert_eq!(seen[0].len(), 6);
}

pub(crate) fn files_of_all_sizes(snapshotter: &dyn Snapshotter) {
    let sizes = [
        0,
        1,
        511,
        512,
        513,
        4095,
        4096,
        4097,
        12_288,
        70_000,
        300_001,
        1 << 20,
    ];
    let contents = |size: usize| -> String { (0..size).map(|n| char::from(b'a' + (n % 23) as u8)).collect() };
    let mut tar = Tar::default();
    for size in sizes {
        tar = tar.file(&format!("dir/{size}"), &contents(size));
    }
    let bytes = tar.bytes();
    let mut bench = Bench::new(snapshotter);
    let unpacked = bench.unpack(&bytes).unwrap();
    assert_eq!(unpacked.size, sizes.iter().map(|size| *size as u64).sum::<u64>());
    let view = bench.view();
    for size in sizes {
        assert!(read(view.join(format!("dir/{size}"))) == contents(size), "{size}");
    }
    // At any place, as a program maps it.
    let file = fs::File::open(view.join("dir/300001")).unwrap();
    let mut piece = [0; 7];
    file.file().read_exact_at(&mut piece, 299_990).unwrap();
    assert_eq!(piece, contents(300_001).as_bytes()[299_990..299_997]);
    assert!(bench.tar(0) == bytes);
}

pub(crate) fn parents_come_in_any_order(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    let tar = Tar::default()
        .file("a/b/c/file", "deep")
        .add("a/b", Kind::Dir, |entry| {
            (entry.mode, entry.uid, entry.mtime) = (0o700, 5, 77)
        })
        .file("z/file", "1")
        .add("a", Kind::Dir, |entry| (entry.mode, entry.gid) = (0o2711, 6))
        .file("a/b/c/second", "2")
        .add("", Kind::Dir, |entry| (entry.mode, entry.mtime) = (0o711, 99));
    bench.layer(tar);
    let tree = &bench.attached()[0];
    let status = |path: &str| {
        let status = fs::metadata(tree.join(path)).unwrap();
        (status.mode() & 0o7777, status.uid(), status.gid(), status.mtime())
    };
    assert_eq!(status("a"), (0o2711, 0, 6, 1_700_000_000));
    assert_eq!(status("a/b"), (0o700, 5, 0, 77));
    assert_eq!((status("a/b/c").0, status("z").0), (0o755, 0o755));
    assert_eq!(status(""), (0o711, 0, 0, 99));
    assert_eq!(read(tree.join("a/b/c/second")), "2");
}

/// A sequence of everything that replaces anything, twice over.
pub(crate) fn entries_replace_each_other(snapshotter: &dyn Snapshotter) {
    let mut tar = Tar::default();
    for round in 0..2 {
        for first in 0..5 {
            for second in 0..5 {
                let path = format!("{first}{second}");
                for (nth, kind) in [first, second].into_iter().enumerate() {
                    let text = format!("{round}{nth}");
                    tar = match kind {
                        0 => tar.file(&path, &text),
                        1 => tar.dir(&path).file(&format!("{path}/inside"), &text),
                        2 => tar.symlink(&path, "/nowhere"),
                        3 => tar.file("target", &text).hard_link(&path, "target"),
                        _ => tar.add(&path, Kind::Fifo, |_| {}),
                    };
                }
            }
        }
    }
    let mut bench = Bench::new(snapshotter);
    let bytes = tar.bytes();
    bench.unpack(&bytes).unwrap();
    assert!(bench.tar(0) == bytes);
    let view = bench.view();
    for first in 0..5 {
        for second in 0..5 {
            let path = view.join(format!("{first}{second}"));
            let status = fs::symlink_metadata(&path).unwrap();
            match second {
                0 => assert_eq!(read(path), "11"),
                1 => assert_eq!(read(path.join("inside")), "11"),
                2 => assert!(status.is_symlink()),
                3 => assert_eq!(read(path), "11"),
                _ => assert!(!status.is_file() && !status.is_dir()),
            }
        }
    }
}

pub(crate) fn five_hundred_layers(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    for n in 0..500 {
        bench.layer(
            Tar::default()
                .file(&format!("file-{n}"), "x")
                .file("top", &n.to_string()),
        );
    }
    let (_, merged) = bench.writable();
    assert_eq!(read(merged.join("top")), "499");
    assert_eq!(read(merged.join("file-0")), "x");
    assert_eq!(fs::read_dir(&merged).unwrap().count(), 501);
}

pub(crate) fn threads_attach_a_layer_once(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    bench.layer(Tar::default().file("file", "x"));
    let made = bench.layers[0].clone();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let tree = snapshotter.attach(&made.dir, &made.form).unwrap();
                    assert_eq!(read(tree.join("file")), "x");
                }
            });
        }
    });
    // One unmount is enough if it was mounted once.
    super::detach(&bench.layers);
    let tree = made.dir.join(super::FS);
    assert!(!havre_sys::mount::is_mount_point(&tree).unwrap());
}

/// Headers of `count` empty files, a thousand to a directory, made while they are read.
struct Crowd {
    count: u64,
    next: u64,
    pending: Vec<u8>,
    position: usize,
}

impl Read for Crowd {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.position == self.pending.len() {
            (self.position, _) = (0, self.pending.clear());
            while self.next < self.count && self.pending.len() < 128 << 10 {
                let path = format!("some/dir-{}/file-{}", self.next / 1000, self.next).into_bytes();
                let entry = Entry {
                    path,
                    kind: Kind::File,
                    mode: 0o644,
                    mtime: 1_700_000_000,
                    ..Entry::default()
                };
                encode_header(&entry, &mut self.pending);
                self.next += 1;
            }
        }
        let rest = &self.pending[self.position..];
        let length = rest.len().min(buf.len());
        buf[..length].copy_from_slice(&rest[..length]);
        self.position += length;
        Ok(length)
    }
}

fn crowd(snapshotter: &dyn Snapshotter, count: u64) {
    let mut bench = Bench::new(snapshotter);
    let staged = bench.staged();
    let crowd = Crowd {
        count,
        next: 0,
        pending: Vec::new(),
        position: 0,
    };
    let mut input = std::io::BufReader::with_capacity(256 << 10, crowd);
    let unpacked = snapshotter
        .unpack(&mut input, &staged, &Limits::default())
        .unwrap();
    assert_eq!(unpacked.entries, count);
    bench.publish(&staged, &unpacked);
    let tree = &bench.attached()[0];
    assert_eq!(
        fs::read_dir(tree.join("some")).unwrap().count() as u64,
        count.div_ceil(1000)
    );
    assert_eq!(fs::read_dir(tree.join("some/dir-0")).unwrap().count(), 1000);
    let last = format!("some/dir-{}/file-{}", (count - 1) / 1000, count - 1);
    let dir = fs::File::open(tree).unwrap();
    let status = rustix::fs::statat(dir.file(), last.as_str(), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    assert_eq!((status.st_size, status.st_mtime), (0, 1_700_000_000));
}

pub(crate) fn a_crowd_of_entries(snapshotter: &dyn Snapshotter) {
    crowd(snapshotter, 20_000);
}

/// Most memory this process ever held, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Minutes in an unoptimised build: run by name, alone in its process.
pub(crate) fn a_million_entries(snapshotter: &dyn Snapshotter) {
    let before = peak();
    crowd(snapshotter, 1_000_000);
    let taken = (peak() - before) >> 10;
    println!("a million entries took {taken} MiB");
    assert!(taken <= 64, "{taken} MiB");
}

/// As many as a layer may have. Takes minutes, and as many inodes: in every form it becomes a directory.
pub(crate) fn four_million_entries(snapshotter: &dyn Snapshotter) {
    let before = peak();
    crowd(snapshotter, 4_000_000);
    let taken = (peak() - before) >> 10;
    println!("four million entries took {taken} MiB");
    assert!(taken <= 64, "{taken} MiB");
}

/// Takes as much of the disk: run by name.
pub(crate) fn a_file_of_more_than_four_gigabytes(snapshotter: &dyn Snapshotter) {
    const SIZE: u64 = (4 << 30) + 12_345;
    let mut bench = Bench::new(snapshotter);
    let entry = |path: &str, size| {
        let mut header = Vec::new();
        let entry = Entry {
            path: path.into(),
            kind: Kind::File,
            mode: 0o644,
            size,
            ..Entry::default()
        };
        encode_header(&entry, &mut header);
        header
    };
    let padding = SIZE.next_multiple_of(512) - SIZE;
    let small = [entry("small", 5), b"small".to_vec(), vec![0; 507]].concat();
    let archive = entry("huge", SIZE);
    let archive = archive.as_slice().chain(std::io::repeat(b'z').take(SIZE));
    let archive = archive
        .chain(std::io::repeat(0).take(padding))
        .chain(small.as_slice());
    let staged = bench.staged();
    let mut input = std::io::BufReader::with_capacity(256 << 10, archive);
    let unpacked = snapshotter
        .unpack(&mut input, &staged, &Limits::default())
        .unwrap();
    assert_eq!(unpacked.size, SIZE + 5);
    bench.publish(&staged, &unpacked);
    let tree = &bench.attached()[0];
    let huge = fs::File::open(tree.join("huge")).unwrap();
    assert_eq!(huge.metadata().unwrap().len(), SIZE);
    let mut tail = [0; 100];
    for offset in [0, (4 << 30) - 50, SIZE - 100] {
        huge.file().read_exact_at(&mut tail, offset).unwrap();
        assert_eq!(tail, [b'z'; 100]);
    }
    assert_eq!(read(tree.join("small")), "small");
}
