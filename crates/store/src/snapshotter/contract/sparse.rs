//! Files with holes, from archives that say so.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;

use fs_err as fs;
use havre_oci::layer::{Entry, encode_header, padding};

use super::{Bench, Tar, describe};
use crate::snapshotter::Snapshotter;
use crate::{ApplyError, Limits};

/// Where a piece is, and how long.
type Piece = (u64, u64);

/// A file of `size` bytes of which these pieces are stored, in the form GNU tar calls 0.1; without the end of an archive.
fn sparse(path: &str, size: u64, pieces: &[Piece]) -> Vec<u8> {
    let map: Vec<_> = pieces
        .iter()
        .map(|(offset, len)| format!("{offset},{len}"))
        .collect();
    let mut records = String::new();
    for (key, value) in [("size", size.to_string()), ("map", map.join(","))] {
        let rest = key.len() + value.len() + 14;
        let mut len = rest + 1;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        records += &format!("{len} GNU.sparse.{key}={value}\n");
    }
    let entry = |path: &str, size: usize| Entry {
        path: path.into(),
        mode: 0o644,
        mtime: 1_700_000_000,
        size: size as u64,
        ..Entry::default()
    };
    let mut tar = Vec::new();
    encode_header(&entry("extended", records.len()), &mut tar);
    tar[156] = b'x';
    tar[148..156].fill(b' ');
    let sum: u32 = tar.iter().map(|byte| u32::from(*byte)).sum();
    tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    tar.extend_from_slice(records.as_bytes());
    tar.extend_from_slice(padding(records.len() as u64));
    let data: Vec<u8> = pieces.iter().flat_map(|piece| stored(*piece)).collect();
    encode_header(&entry(path, data.len()), &mut tar);
    tar.extend_from_slice(&data);
    tar.extend_from_slice(padding(data.len() as u64));
    tar
}

/// What is in a piece: no zeros, and other bytes everywhere.
fn stored((offset, len): Piece) -> impl Iterator<Item = u8> {
    (offset..offset + len).map(|at| (at % 251) as u8 + 1)
}

fn contents(size: u64, pieces: &[Piece]) -> Vec<u8> {
    let mut contents = vec![0; size as usize];
    for piece in pieces {
        for (at, byte) in (piece.0 as usize..).zip(stored(*piece)) {
            contents[at] = byte;
        }
    }
    contents
}

/// Pieces at the bounds of large blocks, of small ones and of none.
pub(crate) fn holes_are_zeros(snapshotter: &dyn Snapshotter) {
    let scattered: Vec<_> = (0..300).map(|n| (n * 3001 + n % 7, 1 + n * 5 % 3000)).collect();
    let cases: [(&str, u64, &[Piece]); 9] = [
        ("aligned", 1 << 20, &[(65_536, 4096), (131_072, 65_536)]),
        ("blocks", 100_000, &[(512, 512), (2048, 1536), (99_840, 160)]),
        ("bytes", 50_000, &[(1, 1), (4095, 2), (8191, 4099), (49_999, 1)]),
        ("behind odd ones", 40_000, &[(0, 3), (8192, 8192), (20_480, 4096)]),
        ("scattered", 1_000_000, &scattered),
        ("hole", 300_000, &[]),
        ("empty", 0, &[]),
        ("whole", 5000, &[(0, 5000)]),
        ("hole last", 200_000, &[(0, 700)]),
    ];
    let mut tar = Vec::new();
    for (name, size, pieces) in cases {
        tar.extend(sparse(&format!("dir/{name}"), size, pieces));
    }
    // Beside files of the usual kind, under another name, and in each other's place.
    tar.extend(sparse("dir/aligned", 9000, &[(5, 10)]));
    tar.extend(sparse("dir/replaced", 9000, &[(4096, 10), (8000, 1)]));
    tar.extend(
        Tar::default()
            .hard_link("dir/linked", "dir/bytes")
            .file("dir/replaced", "text")
            .file("dir/plain", "text")
            .bytes(),
    );
    let mut bench = Bench::new(snapshotter);
    let unpacked = bench.unpack(&tar).unwrap();
    assert!(bench.tar(0) == tar);
    let view = bench.view();
    let mut sum = 8;
    for (name, size, pieces) in cases {
        let (size, pieces) = match name {
            "aligned" => (9000, &[(5, 10)][..]),
            _ => (size, pieces),
        };
        let path = view.join("dir").join(name);
        assert!(fs::read(&path).unwrap() == contents(size, pieces), "{name}");
        assert_eq!(fs::metadata(&path).unwrap().mtime(), 1_700_000_000);
        sum += size;
        // At any place, in any order.
        let (file, expected) = (fs::File::open(&path).unwrap(), contents(size, pieces));
        for at in (0..size.saturating_sub(100)).rev().step_by(10_007) {
            let mut piece = [0xFF; 100];
            file.file().read_exact_at(&mut piece, at).unwrap();
            assert!(piece == expected[at as usize..][..100], "{name} at {at}");
        }
    }
    assert!(fs::read(view.join("dir/linked")).unwrap() == contents(50_000, cases[2].2));
    assert_eq!(fs::read(view.join("dir/replaced")).unwrap(), b"text");
    assert_eq!(unpacked.size, sum);
}

/// The same tree with GNU tar's option and without, in every form it has.
pub(crate) fn sparse_archives_are_what_they_stand_for(snapshotter: &dyn Snapshotter) {
    let source = tempfile::tempdir().unwrap();
    let tree = source.path();
    for (name, size, pieces) in [
        ("a", 300_000, &[(70_000, 3), (200_000, 20_000)][..]),
        ("hole", 200_000, &[]),
        (
            "many",
            150_000,
            &[
                (0, 1),
                (40_000, 700),
                (60_000, 1),
                (80_000, 1),
                (100_000, 1),
                (120_000, 1),
            ],
        ),
        ("whole", 10_000, &[(0, 10_000)]),
    ] {
        let file = fs::File::create(tree.join(name)).unwrap();
        file.set_len(size).unwrap();
        for piece in pieces {
            let bytes: Vec<u8> = stored(*piece).collect();
            file.file().write_all_at(&bytes, piece.0).unwrap();
        }
    }
    fs::hard_link(tree.join("a"), tree.join("z")).unwrap();
    let mut bench = Bench::new(snapshotter);
    let mut plain = None;
    for options in [
        &["--format=gnu"][..],
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        // Without asking the file system, so that bounds are those of tar's blocks.
        &["--format=posix", "--sparse", "--hole-detection=raw"],
    ] {
        let output = Command::new("tar")
            .args(options)
            .args(["--sort=name", "--mtime=@1000000000", "-cf", "-", "-C"])
            .args([tree.as_os_str(), ".".as_ref()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(options.contains(&"--sparse"), output.stdout.len() < 200_000);
        bench.layers.clear();
        bench.unpack(&output.stdout).unwrap();
        assert!(bench.tar(0) == output.stdout, "{options:?}");
        let view = bench.view();
        let described = describe(&view);
        assert_eq!(described.len(), 5);
        assert!(
            *plain.get_or_insert_with(|| described.clone()) == described,
            "{options:?}"
        );
        bench.unmount();
        super::detach(&bench.layers);
    }
}

/// A terabyte of nothing takes no room, and more of it than a layer may have is refused.
pub(crate) fn huge_holes_cost_nothing(snapshotter: &dyn Snapshotter) {
    let mut bench = Bench::new(snapshotter);
    let place = (300 << 30) + 12_345;
    let tar = [
        sparse("log", 400 << 30, &[(place, 3)]),
        sparse("nothing", 500 << 30, &[]),
        vec![0; 1024],
    ]
    .concat();
    let unpacked = bench.unpack(&tar).unwrap();
    assert_eq!(unpacked.size, 900 << 30);
    let mut blocks = 0;
    for entry in walk(&bench.layers[0].dir) {
        blocks += fs::symlink_metadata(entry).unwrap().blocks();
    }
    assert!(blocks * 512 < 8 << 20, "{blocks} blocks");
    assert!(bench.tar(0) == tar);
    let view = bench.view();
    assert_eq!(fs::metadata(view.join("nothing")).unwrap().len(), 500 << 30);
    let file = fs::File::open(view.join("log")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 400 << 30);
    let mut piece = [0xFF; 5];
    file.file().read_exact_at(&mut piece, place - 1).unwrap();
    let expected: Vec<u8> = stored((place, 3)).collect();
    assert_eq!(piece, [0, expected[0], expected[1], expected[2], 0]);
    for at in [0, 1 << 30, (400 << 30) - 5] {
        file.file().read_exact_at(&mut piece, at).unwrap();
        assert_eq!(piece, [0; 5], "{at}");
    }
    for tar in [
        sparse("large", (1 << 40) + 1, &[(0, 3)]),
        sparse("larger", i64::MAX as u64, &[]),
        sparse("half", 600 << 30, &[]).repeat(2),
    ] {
        let error = bench.unpack(&tar).unwrap_err();
        assert!(
            matches!(error, ApplyError::Limit { what: "bytes", .. }),
            "{error:?}"
        );
    }
    let limits = Limits {
        tar_size: 1 << 20,
        ..Limits::default()
    };
    let tar = sparse("file", 1 << 20, &[]);
    let error = bench.unpack_limited(&tar, &limits).unwrap_err();
    assert!(
        matches!(error, ApplyError::Limit { what: "bytes", .. }),
        "{error:?}"
    );
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}
