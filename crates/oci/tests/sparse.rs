//! Sparse files: what GNU tar makes of them in each of its forms, and what nobody should believe.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use havre_oci::layer::{Entry, LayerError, Limits, Piece, Reader, Segment, Stored, encode_header, padding};
use proptest::prelude::*;

/// Every form, with GNU tar's options for it.
const FORMS: [&[&str]; 5] = [
    &["--format=gnu"],
    &["--format=oldgnu"],
    &["--format=posix", "--sparse-version=0.0"],
    &["--format=posix", "--sparse-version=0.1"],
    &["--format=posix", "--sparse-version=1.0"],
];

struct Read1 {
    entry: Entry,
    /// With zeros for holes, by both ways of reading.
    contents: Vec<u8>,
    holes: u64,
}

/// Reads an archive to its end; holds the segments to the archive and both ways of reading to each other.
fn read_with(tar: &[u8], limits: Limits) -> Result<Vec<Read1>, LayerError> {
    let segments = std::cell::RefCell::new(Vec::new());
    let mut reader = Reader::new(tar, limits, |segment: Segment<'_>| {
        if let Segment::Raw(bytes) = segment {
            segments.borrow_mut().extend_from_slice(bytes);
        }
        Ok(())
    });
    let mut chunks = Reader::new(tar, limits, |_: Segment<'_>| Ok(()));
    let (mut entry, mut again) = (Entry::default(), Entry::default());
    let mut all = Vec::new();
    while reader.next_entry(&mut entry)? {
        let mut one = Read1 {
            entry: entry.clone(),
            contents: Vec::new(),
            holes: 0,
        };
        while let Some(piece) = reader.next_piece()? {
            match piece {
                Piece::Data(bytes) => {
                    segments.borrow_mut().extend_from_slice(bytes);
                    one.contents.extend_from_slice(bytes);
                }
                Piece::Hole(len) => {
                    one.holes += len;
                    one.contents.resize(one.contents.len() + len as usize, 0);
                }
            }
        }
        assert!(chunks.next_entry(&mut again)?);
        assert_eq!(entry, again);
        let mut contents = Vec::new();
        while let Some(chunk) = chunks.next_chunk()? {
            contents.extend_from_slice(chunk);
        }
        assert!(contents == one.contents);
        assert_eq!(one.contents.len() as u64, entry.size);
        assert_eq!(one.holes, entry.size - entry.stored_size());
        all.push(one);
    }
    assert_eq!(reader.finish()?.1, tar.len() as u64);
    assert!(*segments.borrow() == tar, "segments are not the archive");
    Ok(all)
}

fn read(tar: &[u8]) -> Result<Vec<Read1>, LayerError> {
    read_with(tar, Limits::default())
}

fn tar_of(dir: &Path, options: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .args(options)
        .args([
            "--sparse",
            "--hole-detection=raw",
            "--sort=name",
            "-cf",
            "-",
            "-C",
        ])
        .arg(dir)
        .arg(".")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// A file with these pieces of letters.
fn make(path: &Path, size: u64, pieces: &[(u64, u64)]) {
    let file = fs::File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, len) in pieces {
        let text: Vec<u8> = (0..*len).map(|n| b'a' + (n % 26) as u8).collect();
        file.file().write_all_at(&text, *offset).unwrap();
    }
}

#[test]
fn what_gnu_tar_makes_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    make(&root.join("both ends"), 100_000, &[(0, 5), (99_999, 1)]);
    make(&root.join("dense"), 3000, &[(0, 3000)]);
    make(&root.join("empty"), 0, &[]);
    make(&root.join("hole first"), 1_000_000, &[(512 * 1000, 700)]);
    make(&root.join("hole last"), 1_000_000, &[(0, 700)]);
    // More pieces than fit into any header.
    let many: Vec<_> = (0..500).map(|n| (n * 2048, 300)).collect();
    make(&root.join("many"), 2 << 20, &many);
    make(&root.join("n".repeat(200).as_str()), 300_000, &[(70_000, 9)]);
    make(&root.join("nothing"), 1 << 20, &[]);
    for options in FORMS {
        let all = read(&tar_of(root, options)).unwrap();
        assert_eq!(all.len(), 9);
        let mut sparse = 0;
        for one in &all[1..] {
            let expected = fs::read(root.join(one.entry.path())).unwrap();
            assert!(one.contents == expected, "{options:?} {:?}", one.entry.path());
            sparse += usize::from(one.entry.stored.is_some() && one.holes > 0);
        }
        assert_eq!(sparse, 6, "{options:?}");
    }
}

#[test]
fn what_is_large_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    make(&dir.path().join("large"), 100 << 30, &[(50 << 30, 4)]);
    let options = ["--format=posix", "--hole-detection=seek"];
    let output = Command::new("tar")
        .args(options)
        .args(["-S", "-cf", "-", "-C"])
        .arg(dir.path())
        .arg("large")
        .output();
    let tar = output.unwrap().stdout;
    assert!(tar.len() < 20_000);
    let mut reader = Reader::new(&tar[..], Limits::default(), |_: Segment<'_>| Ok(()));
    let mut entry = Entry::default();
    assert!(reader.next_entry(&mut entry).unwrap());
    assert_eq!(entry.size, 100 << 30);
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next_piece().unwrap() {
        pieces.push(match piece {
            Piece::Data(bytes) => (false, bytes.len() as u64),
            Piece::Hole(len) => (true, len),
        });
    }
    assert_eq!(pieces.first(), Some(&(true, 50 << 30)));
    assert!(pieces.len() < 5, "{pieces:?}");
    // It is skipped as fast.
    let mut reader = Reader::new(&tar[..], Limits::default(), |_: Segment<'_>| Ok(()));
    assert!(reader.next_entry(&mut entry).unwrap());
    assert!(!reader.next_entry(&mut entry).unwrap());
    // But counts as if it were there.
    let limits = Limits {
        size: 99 << 30,
        ..Limits::default()
    };
    let error = Reader::new(&tar[..], limits, |_: Segment<'_>| Ok(()))
        .next_entry(&mut entry)
        .unwrap_err();
    assert!(matches!(error, LayerError::TooLarge { .. }), "{error}");
}

// Archives made by hand.

fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn header(flag: u8, size: u64, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = Vec::new();
    let entry = Entry {
        path: b"file".into(),
        mode: 0o644,
        size,
        ..Entry::default()
    };
    encode_header(&entry, &mut block);
    block[156] = flag;
    edit(&mut block);
    seal(&mut block);
    block
}

fn octal(number: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if number < 1 << 33 {
        field[..11].copy_from_slice(format!("{number:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&number.to_be_bytes());
    }
    field
}

/// An entry of type `S`.
fn old(size: u64, pieces: &[(u64, u64)], data: &[u8]) -> Vec<u8> {
    let mut block = header(b'S', data.len() as u64, |block| {
        block[257..265].copy_from_slice(b"ustar  \0");
        for (n, (offset, len)) in pieces.iter().take(4).enumerate() {
            block[386 + 24 * n..][..12].copy_from_slice(&octal(*offset));
            block[398 + 24 * n..][..12].copy_from_slice(&octal(*len));
        }
        block[482] = u8::from(pieces.len() > 4);
        block[483..495].copy_from_slice(&octal(size));
    });
    let mut rest = pieces.get(4..).unwrap_or_default();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(21));
        let mut more = [0; 512];
        for (n, (offset, len)) in now.iter().enumerate() {
            more[24 * n..][..12].copy_from_slice(&octal(*offset));
            more[12 + 24 * n..][..12].copy_from_slice(&octal(*len));
        }
        more[504] = u8::from(!later.is_empty());
        block.extend_from_slice(&more);
        rest = later;
    }
    ended(block, data)
}

fn ended(mut tar: Vec<u8>, data: &[u8]) -> Vec<u8> {
    tar.extend_from_slice(data);
    tar.extend_from_slice(padding(data.len() as u64));
    tar.extend_from_slice(&[0; 1024]);
    tar
}

/// A file behind an extended header.
fn pax(records: &[(&str, String)], flag: u8, data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 14;
        let mut len = rest + 2;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        writeln!(text, "{len} GNU.sparse.{key}={value}").unwrap();
    }
    let mut tar = header(b'x', text.len() as u64, |_| {});
    tar.extend_from_slice(&text);
    tar.extend_from_slice(padding(text.len() as u64));
    tar.extend(header(flag, data.len() as u64, |_| {}));
    ended(tar, data)
}

/// Version 1.0, with any text for a map.
fn lines(size: u64, map: &str, data: &[u8]) -> Vec<u8> {
    let records = [
        ("major", "1".to_owned()),
        ("minor", "0".to_owned()),
        ("realsize", size.to_string()),
    ];
    let mut contents = map.as_bytes().to_vec();
    contents.extend_from_slice(padding(contents.len() as u64));
    contents.extend_from_slice(data);
    pax(&records, b'0', &contents)
}

fn stored(offset: u64, len: u64) -> Stored {
    Stored { offset, len }
}

#[test]
fn maps_by_hand() {
    for tar in [
        old(30, &[(2, 3), (5, 0), (10, 2), (12, 1), (30, 0)], b"abcdef"),
        lines(30, "5\n2\n3\n5\n0\n10\n2\n12\n1\n30\n0\n", b"abcdef"),
        pax(
            &[("size", "30".into()), ("map", "2,3,5,0,10,2,12,1".into())],
            b'0',
            b"abcdef",
        ),
        pax(
            &[
                ("size", "30".into()),
                ("numblocks", "2".into()),
                ("offset", "2".into()),
                ("numbytes", "3".into()),
                ("offset", "10".into()),
                ("numbytes", "3".into()),
                ("name", "other".into()),
            ],
            b'0',
            b"abcdef",
        ),
    ] {
        let all = read(&tar).unwrap();
        assert_eq!(all[0].entry.stored, Some(vec![stored(2, 3), stored(10, 3)]));
        assert_eq!(
            all[0].contents,
            b"\0\0abc\0\0\0\0\0def\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        );
    }
    // Nothing but a hole, and nothing at all.
    for (size, tar) in [
        (7, old(7, &[], b"")),
        (9, lines(9, "0\n", b"")),
        (0, old(0, &[(0, 0)], b"")),
    ] {
        let all = read(&tar).unwrap();
        assert_eq!(
            (all[0].contents.len(), all[0].entry.stored.clone()),
            (size, Some(Vec::new()))
        );
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let record = |key: &'static str, value: &str| (key, value.to_owned());
    let far = u64::MAX >> 1;
    let cases = [
        ("overlapping", old(30, &[(2, 3), (4, 3)], b"abcdef")),
        ("descending", lines(30, "2\n10\n3\n2\n3\n", b"abcdef")),
        ("beyond the end", old(5, &[(2, 6)], b"abcdef")),
        (
            "around the end of all numbers",
            lines(30, "1\n18446744073709551615\n6\n", b"abcdef"),
        ),
        ("more than is stored", old(30, &[(2, 7)], b"abcdef")),
        ("less than is stored", lines(30, "1\n2\n5\n", b"abcdef")),
        ("no numbers", lines(30, "1\nx\n6\n", b"abcdef")),
        ("endless digits", lines(30, &"1".repeat(600), b"abcdef")),
        ("no end of the map", lines(30, "100\n2\n6\n", b"abcdef")),
        (
            "more pairs than numbers",
            lines(30, &format!("{}\n2\n6\n", u64::MAX), b"abcdef"),
        ),
        (
            "half a piece",
            pax(&[record("size", "30"), record("map", "2,6,7")], b'0', b"abcdef"),
        ),
        (
            "halves in the wrong order",
            pax(
                &[record("numbytes", "30"), record("offset", "2")],
                b'0',
                b"abcdef",
            ),
        ),
        ("no size", pax(&[record("map", "0,6")], b'0', b"abcdef")),
        (
            "a version of its own",
            pax(
                &[
                    record("major", "2"),
                    record("minor", "0"),
                    record("realsize", "6"),
                ],
                b'0',
                b"abcdef",
            ),
        ),
        (
            "a directory",
            pax(&[record("size", "6"), record("map", "0,6")], b'5', b""),
        ),
        (
            "a link",
            pax(&[record("size", "6"), record("map", "0,6")], b'2', b""),
        ),
        ("another kind of archive", header(b'S', 0, |_| {})),
        ("larger than all limits", old(far, &[(0, 6)], b"abcdef")),
        ("larger than all limits", lines(far, "1\n0\n6\n", b"abcdef")),
        (
            "a little beyond the limit",
            old((1 << 40) - 511, &[(0, 6)], b"abcdef"),
        ),
        ("cut off in its map", old(99, &[(1, 1); 30], b"")[..1024].to_vec()),
    ];
    for (what, tar) in cases {
        assert!(read(&tar).is_err(), "{what}");
    }
    // A map without end is not read to its end.
    let mut endless = old(1 << 30, &[(0, 1); 30], b"");
    endless.truncate(1024);
    endless[512 + 504] = 1;
    let again = endless[512..].to_vec();
    let tar: Vec<u8> = endless.into_iter().chain(again.repeat(5000)).collect();
    assert!(matches!(
        read(&tar),
        Err(LayerError::Extension {
            what: "map of a sparse file",
            ..
        })
    ));
    // Many large files are as many bytes.
    let one = old(1 << 38, &[], b"");
    let tar = one[..512].repeat(5);
    let mut reader = Reader::new(&tar[..], Limits::default(), |_: Segment<'_>| Ok(()));
    let mut entry = Entry::default();
    for _ in 0..3 {
        assert!(reader.next_entry(&mut entry).unwrap());
    }
    assert!(matches!(
        reader.next_entry(&mut entry),
        Err(LayerError::TooLarge { .. })
    ));
}

/// Maps of random pieces, told apart or not.
fn map() -> impl Strategy<Value = (u64, Vec<(u64, u64)>)> {
    (
        proptest::collection::vec((0..3000_u64, 0..2000_u64), 0..40),
        0..5000_u64,
    )
        .prop_map(|(steps, tail)| {
            let mut at = 0;
            let pieces = steps
                .into_iter()
                .map(|(gap, len)| {
                    let offset = at + gap;
                    at = offset + len;
                    (offset, len)
                })
                .collect();
            (at + tail, pieces)
        })
}

proptest! {
    #[test]
    fn every_form_says_the_same((size, pieces) in map(), cut in any::<prop::sample::Index>()) {
        let len: u64 = pieces.iter().map(|(_, len)| len).sum();
        let data: Vec<u8> = (0..len).map(|n| n as u8 | 1).collect();
        let mut expected = vec![0; size as usize];
        let mut rest = &data[..];
        for (offset, len) in &pieces {
            let mut piece = rest.take(*len);
            piece.read_exact(&mut expected[*offset as usize..][..*len as usize]).unwrap();
            rest = &rest[*len as usize..];
        }
        let joined = |separator: &str| {
            let numbers: Vec<_> = pieces.iter().map(|(offset, len)| format!("{offset}{separator}{len}")).collect();
            numbers.join(separator)
        };
        let text = if pieces.is_empty() { "0\n".into() } else { format!("{}\n{}\n", pieces.len(), joined("\n")) };
        let sizes = [("size", size.to_string()), ("map", joined(","))];
        // The first empty piece of the old form ends its block only if it has no digits; these have.
        for tar in [old(size, &pieces, &data), lines(size, &text, &data), pax(&sizes, b'0', &data)] {
            let all = read(&tar).unwrap();
            prop_assert!(all[0].contents == expected);
            // Cut anywhere, it never panics, and never gives a whole file of half an archive.
            let cut = cut.index(tar.len() - 1024 - padding(len).len());
            prop_assert!(read(&tar[..cut]).map_or(true, |all| all.is_empty()));
        }
    }

    /// Whatever is written over it: refused, or read as something that agrees with itself.
    #[test]
    fn damaged_maps_never_panic(
        (size, pieces) in map(),
        form in 0..3,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        sealed in any::<bool>(),
    ) {
        let len: u64 = pieces.iter().map(|(_, len)| len).sum();
        let data = vec![b'd'; len as usize];
        let numbers: Vec<_> = pieces.iter().map(|(offset, len)| format!("{offset},{len}")).collect();
        let numbers = numbers.join(",");
        let mut tar = match form {
            0 => old(size, &pieces, &data),
            1 => lines(size, &format!("{}\n{}\n", pieces.len(), numbers.replace(',', "\n")), &data),
            _ => pax(&[("size", size.to_string()), ("map", numbers)], b'0', &data),
        };
        // Where there is no payload.
        let head = tar.len() - len as usize;
        for (place, byte) in damage {
            let digit = b"0123456789,\n="[usize::from(byte) % 13];
            let at = place.index(head.min(tar.len()));
            tar[at] = if byte < 128 { digit } else { byte };
        }
        if sealed {
            for at in [0, 1024] {
                if let Some(block) = tar.get_mut(at..at + 512) {
                    seal(block);
                }
            }
        }
        let limits = Limits { size: 1 << 20, extension: 1 << 14, ..Limits::default() };
        let _ = read_with(&tar, limits);
    }
}
