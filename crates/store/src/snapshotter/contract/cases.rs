//! What an image may ask for on an ordinary day, and what nobody may ask for.

use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;
use havre_oci::layer::Kind;

use super::{Bench, Tar, describe, read};
use crate::snapshotter::{Snapshotter, archive, changes};
use crate::{ApplyError, ChangeKind, Limits};

pub(super) fn rich() -> Tar {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    Tar::default()
        .add("", Kind::Dir, |entry| entry.mode = 0o751)
        .add("dir", Kind::Dir, |entry| {
            (entry.mode, entry.uid, entry.gid, entry.mtime) = (0o2750, 7, 8, 1_000)
        })
        .file("dir/file", "hello")
        .add("dir/empty", Kind::File, |entry| {
            (entry.mtime, entry.mtime_nanos) = (-5, 250_000_000)
        })
        .hard_link("dir/same", "dir/file")
        .symlink("link", "../../outside")
        .symlink("absolute", "/etc/passwd")
        .hard_link("same-link", "link")
        .add("null", Kind::Char { major: 1, minor: 3 }, |entry| {
            entry.mode = 0o666
        })
        .add("disk", Kind::Block { major: 7, minor: 300 }, |entry| {
            entry.mode = 0o660
        })
        .add("fifo", Kind::Fifo, |entry| {
            (entry.uid, entry.gid) = (100_000, 100_001)
        })
        .add("ping", Kind::File, |entry| {
            entry.mode = 0o755;
            entry.uid = 3;
            entry.xattrs = vec![(b"security.capability".to_vec(), capability)];
        })
        .add("attributes", Kind::Dir, |entry| {
            entry.xattrs = vec![
                (b"user.one".to_vec(), b"1".to_vec()),
                (b"user.two".to_vec(), vec![0, 255]),
            ];
        })
        .file(
            &format!("{}/file", "deep/".repeat(40).trim_end_matches('/')),
            "deep",
        )
        .file(&"long".repeat(60), "long name")
        .file("caf\u{e9} \n\t", "odd name")
}

pub(crate) fn every_kind_of_entry_is_mounted_as_written(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    let unpacked = bench.unpack(&rich().bytes()).unwrap();
    assert_eq!(unpacked.size, 5 + 4 + 9 + 8);
    assert_eq!(unpacked.entries, 16);
    let view = bench.view();
    let status = |path: &str| fs::symlink_metadata(view.join(path)).unwrap();
    assert_eq!(status("").mode() & 0o7777, 0o751);
    let dir = status("dir");
    assert_eq!(
        (dir.mode() & 0o7777, dir.uid(), dir.gid(), dir.mtime()),
        (0o2750, 7, 8, 1_000)
    );
    let file = status("dir/file");
    assert_eq!(
        (file.mode() & 0o7777, file.uid(), file.gid(), file.mtime()),
        (0o644, 0, 0, 1_700_000_000)
    );
    assert_eq!((file.ino(), file.nlink()), (status("dir/same").ino(), 2));
    assert_eq!(
        (status("dir/empty").mtime(), status("dir/empty").mtime_nsec()),
        (-5, 250_000_000)
    );
    assert_eq!(
        fs::read_link(view.join("same-link")).unwrap(),
        Path::new("../../outside")
    );
    assert_eq!(status("absolute").mtime(), 1_700_000_000);
    assert!(status("null").file_type().is_char_device());
    assert_eq!(status("null").rdev(), rustix::fs::makedev(1, 3));
    assert!(status("disk").file_type().is_block_device());
    assert_eq!(status("disk").rdev(), rustix::fs::makedev(7, 300));
    assert!(status("fifo").file_type().is_fifo());
    assert_eq!((status("fifo").uid(), status("fifo").gid()), (100_000, 100_001));
    assert_eq!(
        xattr::get(view.join("ping"), "security.capability")
            .unwrap()
            .unwrap()
            .len(),
        20
    );
    assert_eq!(
        xattr::get(view.join("attributes"), "user.two").unwrap().unwrap(),
        [0, 255]
    );
    assert_eq!(status("deep").mode() & 0o7777, 0o755);
    assert_eq!(read(view.join("caf\u{e9} \n\t")), "odd name");
}

pub(crate) fn set_ids_survive(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    let mut tar = Tar::default().file("sudo", "text");
    tar.0[0].0.mode = 0o6755;
    tar.0[0].0.uid = 5;
    bench.layer(tar.add("tmp", Kind::Dir, |entry| entry.mode = 0o1777));
    let view = bench.view();
    let mode = |path: &str| fs::metadata(view.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("sudo"), mode("tmp")), (0o6755, 0o1777));
}

pub(crate) fn whiteouts_and_opaque_directories_hide(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    bench
        .layer(
            Tar::default()
                .file("a", "1")
                .file("dir/old", "1")
                .file("dir/sub/x", "1")
                .file("kept/x", "1"),
        )
        .layer(
            Tar::default()
                .file(".wh.a", "")
                .dir("dir")
                .file("dir/.wh..wh..opq", "")
                .file("dir/new", "2"),
        );
    let view = bench.view();
    assert!(!view.join("a").exists());
    let names: Vec<_> = fs::read_dir(view.join("dir"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["new"]);
    assert_eq!(read(view.join("kept/x")), "1");
    bench.layer(Tar::default().file("a", "3"));
    let view = bench.view();
    assert_eq!(read(view.join("a")), "3");
}

pub(crate) fn whiteout_and_entry_in_one_layer(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    bench.layer(
        Tar::default()
            .file("d/old", "1")
            .file("e/old", "1")
            .file("f", "1")
            .file("g/old", "1"),
    );
    // In either order: the whiteout is about the lower layer, the entry about this one.
    let tar = Tar::default()
        .file(".wh.d", "")
        .file("d/new", "2")
        .dir("e")
        .file("e/new", "2")
        .file(".wh.e", "")
        .file("f", "2")
        .file(".wh.f", "")
        .file(".wh.g", "")
        .dir("g")
        .file("g/new", "2");
    bench.layer(tar);
    let view = bench.view();
    for dir in ["d", "e", "g"] {
        let names: Vec<_> = fs::read_dir(view.join(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["new"], "{dir}");
    }
    assert_eq!(read(view.join("f")), "2");
}

pub(crate) fn last_entry_of_a_path_wins(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    let tar = Tar::default()
        .file("file", "first")
        .file("file", "second!")
        .file("to-dir", "file")
        .dir("to-dir")
        .file("to-dir/x", "inside")
        .dir("to-file")
        .file("to-file/a", "gone")
        .file("to-file/b/c", "gone too")
        .file("to-file", "now a file")
        .symlink("to-real", "/etc")
        .dir("to-real")
        .file("to-real/x", "real")
        .file("linked", "shared")
        .hard_link("other", "linked")
        .file("linked", "replaced")
        .add("mode", Kind::Dir, |entry| entry.mode = 0o700)
        .file("mode/x", "x")
        .add("mode", Kind::Dir, |entry| (entry.mode, entry.mtime) = (0o711, 7));
    let bytes = tar.bytes();
    let unpacked = bench.unpack(&bytes).unwrap();
    let view = bench.view();
    assert_eq!(read(view.join("file")), "second!");
    assert_eq!(read(view.join("to-dir/x")), "inside");
    assert_eq!(read(view.join("to-file")), "now a file");
    assert_eq!(read(view.join("to-real/x")), "real");
    assert_eq!(
        (read(view.join("linked")), read(view.join("other"))),
        ("replaced".into(), "shared".into())
    );
    let dir = fs::metadata(view.join("mode")).unwrap();
    assert_eq!((dir.mode() & 0o7777, dir.mtime()), (0o711, 7));
    let there: u64 = describe(&view)
        .keys()
        .map(|path| fs::symlink_metadata(view.join(path)).unwrap())
        .filter(fs_err_is_file)
        .map(|status| status.len())
        .sum();
    assert_eq!(unpacked.size, there);
    assert_eq!(bench.tar(0), bytes, "replaced contents are still in the archive");
}

fn fs_err_is_file(status: &std::fs::Metadata) -> bool {
    status.is_file()
}

pub(crate) fn links_lead_nowhere_outside(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    let outside = bench.dir.path().to_str().unwrap().to_owned();
    let tar = Tar::default()
        .symlink("up", "../../..")
        .file("up/outside", "inside one")
        .symlink("abs", &outside)
        .file("abs/outside", "inside two")
        .symlink("chain-a", "chain-b")
        .symlink("chain-b", "/real")
        .file("chain-a/x", "inside three")
        .symlink("outside-link", &format!("{outside}/outside"))
        .file("outside-link", "replaced");
    let bytes = tar.bytes();
    bench.unpack(&bytes).unwrap();
    let view = bench.view();
    assert_eq!(read(view.join("outside")), "inside one");
    assert_eq!(read(view.join(format!(".{outside}/outside"))), "inside two");
    assert_eq!(read(view.join("real/x")), "inside three");
    assert_eq!(read(view.join("outside-link")), "replaced");
    assert_eq!(bench.tar(0), bytes);

    // What the reader of archives refuses, and a loop.
    for tar in [
        Tar::default().file("../outside", "x"),
        Tar::default().file("/../../outside", "x"),
        Tar::default().hard_link("hard", "../outside"),
        Tar::default().symlink("loop", "loop").file("loop/x", "x"),
        Tar::default().file("file", "x").file("file/x", "x"),
        Tar::default().add("", Kind::File, |_| {}),
    ] {
        let error = bench.unpack(&tar.bytes());
        let harmless = matches!(
            &error,
            Err(ApplyError::Invalid { .. } | ApplyError::Entry { .. } | ApplyError::DanglingHardLink { .. })
        );
        let cleaned = error.is_ok() && !bench.path("../outside").exists();
        assert!(harmless || cleaned, "{error:?}");
    }
}

pub(crate) fn dangling_hard_links_are_refused(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    bench.layer(Tar::default().file("lower", "x"));
    for tar in [
        Tar::default().hard_link("link", "lower"),
        Tar::default()
            .symlink("out", "/../outside")
            .hard_link("link", "out/outside"),
        Tar::default().dir("dir").hard_link("link", "dir"),
        Tar::default().file(".wh.gone", "").hard_link("link", "gone"),
    ] {
        let error = bench.unpack(&tar.bytes()).unwrap_err();
        assert!(
            matches!(&error, ApplyError::DanglingHardLink { path, .. } if path == "link"),
            "{error:?}"
        );
    }
}

pub(crate) fn archives_come_back_byte_for_byte(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    let mut long = rich().bytes();
    // Blocks of zeros to a record's end, as GNU tar writes them.
    long.resize(long.len().next_multiple_of(10_240), 0);
    let mut unended = rich().bytes();
    unended.truncate(unended.len() - 1024);
    for (n, bytes) in [
        rich().bytes(),
        long,
        unended,
        Tar::default().bytes(),
        vec![0; 10_240],
    ]
    .iter()
    .enumerate()
    {
        bench.unpack(bytes).unwrap();
        assert!(bench.tar(n) == *bytes, "archive {n}");
    }
}

pub(crate) fn written_files_become_a_layer(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    bench.layer(rich()).layer(
        Tar::default()
            .file("dir/more", "more")
            .file("gone/x", "x")
            .file("opaque/old", "x"),
    );
    let (upper, merged) = bench.writable();
    fs::write(merged.join("dir/file"), "changed").unwrap();
    fs::remove_dir_all(merged.join("gone")).unwrap();
    fs::remove_dir_all(merged.join("opaque")).unwrap();
    fs::create_dir(merged.join("opaque")).unwrap();
    fs::write(merged.join("opaque/new"), "new").unwrap();
    fs::write(merged.join("one"), "linked").unwrap();
    fs::hard_link(merged.join("one"), merged.join("two")).unwrap();
    xattr::set(merged.join("one"), "user.note", b"kept").unwrap();
    std::os::unix::fs::chown(merged.join("one"), Some(12), Some(13)).unwrap();
    fs::set_permissions(merged.join("one"), PermissionsExt::from_mode(0o4755)).unwrap();
    fs::remove_file(merged.join("fifo")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(merged.join("socket")).unwrap();
    fs::remove_file(merged.join("socket")).unwrap();
    let expected = describe(&merged);

    // A copy while it is mounted and the moved original are the same layer.
    let mut copy = Vec::new();
    archive(&upper).unwrap().read_to_end(&mut copy).unwrap();
    bench.unmount();
    let digest = bench.adopt(&upper);
    assert_eq!(havre_oci::Digest::sha256_of(&copy), digest);
    let view = bench.view();
    assert_eq!(describe(&view), expected);

    // The archive alone gives the same tree.
    bench.layers.pop();
    bench.unpack(&copy).unwrap();
    let view = bench.view();
    assert_eq!(describe(&view), expected);
}

pub(crate) fn changes_are_found(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    bench
        .layer(
            Tar::default()
                .file("etc/passwd", "x")
                .file("etc/deep/er/conf", "x")
                .file("gone", "x")
                .file("d/a", "1")
                .file("d/b", "1")
                .dir("same"),
        )
        .layer(
            Tar::default()
                .file(".wh.gone", "")
                .file("lib/x", "x")
                .symlink("l", "lib"),
        );
    let (upper, merged) = bench.writable();
    fs::write(merged.join("etc/deep/er/conf"), "changed").unwrap();
    fs::write(merged.join("gone"), "new again").unwrap();
    fs::create_dir_all(merged.join("new/dir")).unwrap();
    fs::remove_file(merged.join("lib/x")).unwrap();
    fs::remove_dir_all(merged.join("d")).unwrap();
    fs::create_dir(merged.join("d")).unwrap();
    fs::write(merged.join("d/b"), "2").unwrap();
    fs::write(merged.join("d/c"), "2").unwrap();
    fs::remove_file(merged.join("l")).unwrap();
    fs::create_dir(merged.join("l")).unwrap();
    fs::write(merged.join("temporary"), "").unwrap();
    fs::remove_file(merged.join("temporary")).unwrap();
    let changes = changes(&bench.attached(), &upper).unwrap();
    let lines: Vec<_> = changes
        .iter()
        .map(|change| format!("{} {}", change.kind.letter(), change.path.display()))
        .collect();
    let expected = [
        "C /d",
        "D /d/a",
        "C /d/b",
        "A /d/c",
        "C /etc/deep/er/conf",
        "A /gone",
        "C /l",
        "C /lib",
        "D /lib/x",
        "A /new",
        "A /new/dir",
    ];
    assert_eq!(lines, expected);
    assert!(changes.iter().all(|change| change.kind != ChangeKind::Added
        || merged.join(change.path.strip_prefix("/").unwrap()).exists()));
}

pub(crate) fn many_layers_are_stacked(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    for n in 0..130 {
        bench.layer(
            Tar::default()
                .file(&format!("file-{n}"), "x")
                .file("top", &n.to_string()),
        );
    }
    let (_, merged) = bench.writable();
    assert_eq!(read(merged.join("top")), "129");
    assert_eq!(fs::read_dir(&merged).unwrap().count(), 131);
    bench.unmount();
    // One layer, and none.
    bench.layers.truncate(1);
    let view = bench.view();
    assert_eq!(read(view.join("top")), "0");
    bench.layers.clear();
    let view = bench.view();
    assert_eq!(fs::read_dir(view).unwrap().count(), 0);
    let (_, merged) = bench.writable();
    fs::write(merged.join("x"), "x").unwrap();
}

pub(crate) fn limits_are_kept(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    let tar = rich().bytes();
    let limits = Limits {
        entries: 15,
        ..Limits::default()
    };
    let error = bench.unpack_limited(&tar, &limits).unwrap_err();
    assert!(
        matches!(
            error,
            ApplyError::Limit {
                what: "entries",
                limit: 15
            }
        ),
        "{error:?}"
    );
    let limits = Limits {
        tar_size: tar.len() as u64 - 1,
        ..Limits::default()
    };
    let error = bench.unpack_limited(&tar, &limits).unwrap_err();
    assert!(
        matches!(error, ApplyError::Limit { what: "bytes", .. }),
        "{error:?}"
    );
    let error = bench.unpack(&tar[..700]).unwrap_err();
    assert!(matches!(error, ApplyError::Invalid { .. }), "{error:?}");
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let staged = bench.path("broken");
    fs::create_dir(&staged).unwrap();
    let error = snapshotter
        .unpack(&mut io::BufReader::new(Broken), &staged, &Limits::default())
        .unwrap_err();
    assert!(matches!(error, ApplyError::Read(_)), "{error:?}");
}

pub(crate) fn a_layer_may_be_there_twice(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    bench.layer(Tar::default().file("a", "1").dir("dir").file("dir/x", "1"));
    bench.layer(Tar::default().file(".wh.a", "").file("dir/x", "2"));
    let first = bench.layers[0].clone();
    bench.layers.push(first);
    let view = bench.view();
    assert_eq!(read(view.join("a")), "1");
    assert_eq!(read(view.join("dir/x")), "1");
    let (_, merged) = bench.writable();
    assert_eq!(read(merged.join("a")), "1");
}
