//! Layer archives: what other writers make, what an attacker makes, and that nothing of an archive is lost.

use std::io::{self, Read};

use havre_oci::layer::{
    Class, Entry, Kind, LayerError, Limits, Reader, Segment, TarWriter, encode_header, padding,
};
use proptest::prelude::*;

/// Everything a reader says about an archive.
#[derive(Debug, Default)]
struct Contents {
    entries: Vec<(Entry, Vec<u8>)>,
    /// The archive put together again from its segments.
    rebuilt: Vec<u8>,
    length: u64,
}

fn read_with(tar: impl Read, limits: Limits) -> Result<Contents, LayerError> {
    enum Piece {
        Raw(Vec<u8>),
        Payload(u64),
    }
    let mut pieces = Vec::new();
    let mut contents = Contents::default();
    let mut reader = Reader::new(tar, limits, |segment: Segment<'_>| {
        pieces.push(match segment {
            Segment::Raw(bytes) => Piece::Raw(bytes.to_vec()),
            Segment::Payload { len } => Piece::Payload(len),
        });
        Ok(())
    });
    let mut entry = Entry::default();
    while reader.next_entry(&mut entry)? {
        let mut data = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            data.extend_from_slice(chunk);
        }
        assert_eq!(data.len() as u64, entry.size);
        contents.entries.push((entry.clone(), data));
    }
    contents.length = reader.finish()?.1;
    let mut payloads = contents
        .entries
        .iter()
        .map(|(_, data)| data)
        .filter(|data| !data.is_empty());
    for piece in pieces {
        match piece {
            Piece::Raw(bytes) => contents.rebuilt.extend(bytes),
            Piece::Payload(len) => {
                let data = payloads.next().expect("a payload segment belongs to an entry");
                assert_eq!(data.len() as u64, len);
                contents.rebuilt.extend(data);
            }
        }
    }
    Ok(contents)
}

fn read(tar: &[u8]) -> Result<Contents, LayerError> {
    let contents = read_with(tar, Limits::default())?;
    assert_eq!(contents.rebuilt, tar, "segments are not the archive");
    assert_eq!(contents.length, tar.len() as u64);
    Ok(contents)
}

fn file(path: &str, size: u64) -> Entry {
    Entry {
        path: path.into(),
        mode: 0o644,
        size,
        ..Entry::default()
    }
}

fn header(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    encode_header(entry, &mut out);
    out
}

/// A header block made by hand, for what the writer would never write.
fn block(name: &[u8], flag: u8, size: u64, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = header(&file("x", 0));
    block[..100].fill(0);
    block[..name.len()].copy_from_slice(name);
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = flag;
    edit(&mut block);
    seal(&mut block);
    block
}

fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn with_data(mut head: Vec<u8>, data: &[u8]) -> Vec<u8> {
    head.extend_from_slice(data);
    head.extend_from_slice(padding(data.len() as u64));
    head
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let mut len = key.len() + value.len() + 3;
        while len != key.len() + value.len() + 3 + len.to_string().len() {
            len = key.len() + value.len() + 3 + len.to_string().len();
        }
        data.extend_from_slice(format!("{len} {key}=").as_bytes());
        data.extend_from_slice(value);
        data.push(b'\n');
    }
    with_data(block(b"PaxHeaders/x", b'x', data.len() as u64, |_| {}), &data)
}

fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = parts.concat();
    tar.extend_from_slice(&[0; 1024]);
    tar
}

#[test]
fn empty_archives() {
    for tar in [vec![], vec![0; 512], vec![0; 1024], vec![0; 10240]] {
        assert!(read(&tar).unwrap().entries.is_empty());
    }
}

#[test]
fn archives_of_the_tar_crate() {
    for gnu in [true, false] {
        let mut builder = tar::Builder::new(Vec::new());
        let new = || {
            if gnu {
                tar::Header::new_gnu()
            } else {
                tar::Header::new_ustar()
            }
        };
        let mut add = |kind, path: &str, link: Option<&str>, data: &[u8]| {
            let mut header = new();
            header.set_entry_type(kind);
            header.set_size(data.len() as u64);
            header.set_mode(0o100755);
            header.set_uid(1000);
            header.set_gid(50);
            header.set_mtime(1_700_000_000);
            match link {
                Some(link) => builder.append_link(&mut header, path, link).unwrap(),
                None => builder.append_data(&mut header, path, data).unwrap(),
            }
        };
        let long = format!("{}/{}", "d".repeat(if gnu { 200 } else { 150 }), "f".repeat(90));
        add(tar::EntryType::Directory, "usr/bin/", None, b"");
        add(tar::EntryType::Regular, "usr/bin/tool", None, &[7; 700]);
        add(tar::EntryType::Symlink, "bin", Some("usr/bin"), b"");
        add(tar::EntryType::Link, "usr/bin/again", Some("./usr/bin/tool"), b"");
        add(tar::EntryType::Regular, &long, None, b"x");
        if gnu {
            add(tar::EntryType::Symlink, "far", Some(&"t/".repeat(150)), b"");
        }
        let contents = read(&builder.into_inner().unwrap()).unwrap();
        let entries = &contents.entries;
        assert_eq!(entries[0].0.kind, Kind::Dir);
        assert_eq!(entries[0].0.path, b"usr/bin");
        let tool = &entries[1];
        assert_eq!((tool.0.mode, tool.0.uid, tool.0.gid), (0o755, 1000, 50));
        assert_eq!((tool.0.mtime, tool.0.mtime_nanos), (1_700_000_000, 0));
        assert_eq!(tool.1, vec![7; 700]);
        assert_eq!(
            (entries[2].0.kind, entries[2].0.target.as_slice()),
            (Kind::Symlink, &b"usr/bin"[..])
        );
        assert_eq!(
            (entries[3].0.kind, entries[3].0.target.as_slice()),
            (Kind::Hardlink, &b"usr/bin/tool"[..])
        );
        assert_eq!(entries[4].0.path, long.as_bytes());
        if gnu {
            assert_eq!(entries[5].0.target, "t/".repeat(150).as_bytes());
        }
    }
}

#[test]
fn pax_overrides() {
    let records: &[(&str, &[u8])] = &[
        ("path", "näme/with spaces".as_bytes()),
        ("mtime", b"-1.5"),
        ("uid", b"3000000000"),
        ("size", b"3"),
        ("SCHILY.xattr.user.a", b"1\n\0"),
        ("SCHILY.xattr.security.capability", &[1, 0, 0, 2]),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("comment", b"ignored"),
    ];
    let tar = archive(&[pax(records), with_data(block(b"short", b'0', 0, |_| {}), b"abc")]);
    let contents = read(&tar).unwrap();
    let (entry, data) = &contents.entries[0];
    assert_eq!(entry.path, "näme/with spaces".as_bytes());
    assert_eq!((entry.mtime, entry.mtime_nanos), (-2, 500_000_000));
    assert_eq!(entry.uid, 3_000_000_000);
    assert_eq!(data, b"abc");
    let names: Vec<_> = entry.xattrs.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(names, [&b"user.a"[..], b"security.capability"]);
    assert_eq!(entry.xattrs[0].1, b"1\n\0");
}

#[test]
fn extensions_apply_to_one_entry_only() {
    let tar = archive(&[
        pax(&[("path", b"first"), ("uid", b"5"), ("SCHILY.xattr.user.a", b"1")]),
        block(b"a", b'0', 0, |_| {}),
        with_data(block(b"././@LongLink", b'L', 7, |_| {}), b"second\0"),
        block(b"b", b'0', 0, |_| {}),
        block(b"third", b'0', 0, |_| {}),
    ]);
    let contents = read(&tar).unwrap();
    let seen: Vec<_> = contents
        .entries
        .iter()
        .map(|(e, _)| {
            (
                String::from_utf8_lossy(&e.path).into_owned(),
                e.uid,
                e.xattrs.len(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("first".into(), 5, 1),
            ("second".into(), 0, 0),
            ("third".into(), 0, 0)
        ]
    );
}

#[test]
fn old_and_odd_headers() {
    let v7 = block(b"dir/", 0, 0, |b| b[257..].fill(0));
    let prefix = block(b"name", b'0', 0, |b| b[345..348].copy_from_slice(b"pre"));
    let device = block(b"null", b'3', 0, |b| {
        b[329..336].copy_from_slice(b"0000001");
        b[337..344].copy_from_slice(b"0000003");
    });
    let big_uid = block(b"big", b'0', 0, |b| {
        b[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xB2, 0xD0, 0x5E, 0])
    });
    let global = with_data(block(b"pax_global_header", b'g', 11, |_| {}), b"11 path=no\n");
    let contents = read(&archive(&[
        v7,
        prefix,
        device,
        big_uid,
        global,
        block(b"pipe", b'6', 0, |_| {}),
    ]))
    .unwrap();
    let kinds: Vec<_> = contents
        .entries
        .iter()
        .map(|(e, _)| (e.path.as_slice(), e.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            (&b"dir"[..], Kind::Dir),
            (b"pre/name", Kind::File),
            (b"null", Kind::Char { major: 1, minor: 3 }),
            (b"big", Kind::File),
            (b"pipe", Kind::Fifo),
        ]
    );
    assert_eq!(contents.entries[3].0.uid, 3_000_000_000);
}

#[test]
fn whiteouts_have_no_payload() {
    let tar = archive(&[
        with_data(block(b"a/.wh.gone", b'0', 4, |_| {}), b"data"),
        block(b"b/.wh..wh..opq", b'0', 0, |_| {}),
        block(b".wh..wh.plnk", b'5', 0, |_| {}),
        with_data(block(b"kept", b'0', 2, |_| {}), b"ok"),
    ]);
    let contents = read(&tar).unwrap();
    let classes: Vec<_> = contents.entries.iter().map(|(e, _)| e.class.clone()).collect();
    assert_eq!(
        classes,
        [
            Class::Whiteout {
                path: b"a/gone".to_vec()
            },
            Class::Opaque { dir: b"b".to_vec() },
            Class::Metadata,
            Class::Normal
        ]
    );
    assert_eq!(contents.entries[0].0.size, 0);
}

#[test]
fn duplicates_are_reported_as_they_come() {
    let tar = archive(&[
        with_data(block(b"f", b'0', 1, |_| {}), b"1"),
        with_data(block(b"./f", b'0', 1, |_| {}), b"2"),
    ]);
    let contents = read(&tar).unwrap();
    assert_eq!(contents.entries[0].0.path, contents.entries[1].0.path);
    assert_eq!(
        (&contents.entries[0].1, &contents.entries[1].1),
        (&b"1".to_vec(), &b"2".to_vec())
    );
}

#[test]
fn data_after_the_end_is_kept_but_bounded() {
    let mut tar = archive(&[with_data(block(b"f", b'0', 1, |_| {}), b"1")]);
    tar.extend_from_slice(&[9; 5000]);
    assert_eq!(read(&tar).unwrap().entries.len(), 1);
    let limits = Limits {
        trailer: 1000,
        ..Limits::default()
    };
    assert!(matches!(
        read_with(&tar[..], limits),
        Err(LayerError::Extension {
            what: "data after the end",
            ..
        })
    ));
}

#[test]
fn hostile_paths() {
    for name in ["../x", "a/../../x", "/../x", ".."] {
        let error = read(&archive(&[block(name.as_bytes(), b'0', 0, |_| {})])).unwrap_err();
        assert!(matches!(error, LayerError::Outside { .. }), "{name}: {error}");
    }
    let contents = read(&archive(&[block(b"/etc/passwd", b'0', 0, |_| {})])).unwrap();
    assert_eq!(contents.entries[0].0.path, b"etc/passwd");
    for target in ["../../etc/shadow", "/../x", "", "."] {
        let link = block(b"link", b'1', 0, |b| {
            b[157..157 + target.len()].copy_from_slice(target.as_bytes())
        });
        let error = read(&archive(&[link])).unwrap_err();
        assert!(
            matches!(error, LayerError::LinkOutside { .. }),
            "{target}: {error}"
        );
    }
    let root = read(&archive(&[block(b"./", b'5', 0, |_| {})])).unwrap();
    assert_eq!(root.entries[0].0.path, b"");
    for (name, flag) in [(&b"./"[..], b'0'), (b"", b'2'), (b"a/..", b'6')] {
        assert!(matches!(
            read(&archive(&[block(name, flag, 0, |_| {})])),
            Err(LayerError::Path { .. })
        ));
    }
    let nul = archive(&[pax(&[("path", b"a\0b")]), block(b"x", b'0', 0, |_| {})]);
    assert!(matches!(read(&nul), Err(LayerError::Pax { .. })));
    let deep = "d/".repeat(3000);
    let deep = archive(&[pax(&[("path", deep.as_bytes())]), block(b"x", b'5', 0, |_| {})]);
    assert!(matches!(read(&deep), Err(LayerError::Path { .. })));
}

#[test]
fn hostile_sizes() {
    // Announces 8 GiB, 2^63 and negative sizes without having them: refused or truncated, never allocated.
    for size in [
        &b"77777777777\0"[..],
        &[0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0],
        &[0xff; 12],
    ] {
        for flag in *b"0LKxg" {
            let tar = block(b"f", flag, 0, |b| b[124..136].copy_from_slice(size));
            assert!(read_with(&tar[..], Limits::default()).is_err(), "{size:?} {flag}");
        }
    }
    let huge = archive(&[
        pax(&[("size", b"18446744073709551615")]),
        block(b"f", b'0', 0, |_| {}),
    ]);
    assert!(matches!(read(&huge), Err(LayerError::TooLarge { .. })));
}

#[test]
fn a_long_name_without_end_is_refused_early() {
    let endless = block(b"././@LongLink", b'L', 1 << 32, |_| {}).chain_read(io::repeat(b'a'));
    let error = read_with(endless, Limits::default()).unwrap_err();
    assert!(
        matches!(
            error,
            LayerError::Extension {
                what: "long name",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn endless_headers_are_bounded() {
    // A stream of extended headers that never gets to an entry ends at the size limit.
    let one = pax(&[("comment", b"x")]);
    let limits = Limits {
        size: 1 << 20,
        ..Limits::default()
    };
    let error = read_with(Repeat { piece: one, at: 0 }, limits).unwrap_err();
    assert!(matches!(error, LayerError::TooLarge { .. }), "{error}");
}

#[test]
fn too_many_entries() {
    let one = block(b"f", b'0', 0, |_| {});
    let limits = Limits {
        entries: 1000,
        ..Limits::default()
    };
    let error = read_with(Repeat { piece: one, at: 0 }, limits).unwrap_err();
    assert!(matches!(error, LayerError::TooManyEntries { limit: 1000 }));
}

#[test]
fn damaged_headers() {
    let mut wrong_sum = block(b"f", b'0', 0, |_| {});
    wrong_sum[0] = b'g';
    assert!(matches!(
        read(&archive(&[wrong_sum])),
        Err(LayerError::Header {
            what: "wrong checksum",
            ..
        })
    ));
    let lone_zeros = [vec![0; 512], block(b"f", b'0', 0, |_| {})].concat();
    assert!(matches!(read(&lone_zeros), Err(LayerError::Header { .. })));
    for flag in *b"VMDANX9z" {
        assert!(matches!(
            read(&archive(&[block(b"f", flag, 0, |_| {})])),
            Err(LayerError::Type { .. })
        ));
    }
    let uid = block(b"f", b'0', 0, |b| b[108..116].copy_from_slice(&[0xff; 8]));
    assert!(matches!(
        read(&archive(&[uid])),
        Err(LayerError::Header {
            what: "invalid user",
            ..
        })
    ));
    let device = block(b"f", b'3', 0, |b| b[329..337].copy_from_slice(b"7777777\0"));
    assert!(matches!(
        read(&archive(&[device])),
        Err(LayerError::Header { .. })
    ));
}

#[test]
fn truncation_is_noticed_everywhere_but_behind_contents() {
    let parts = [
        pax(&[("path", b"long")]),
        with_data(block(b"f", b'0', 600, |_| {}), &[1; 600]),
    ];
    let tar = archive(&parts);
    let full = parts[0].len() + parts[1].len();
    for len in (0..full).step_by(100) {
        let result = read(&tar[..len]);
        let complete = len >= parts[0].len() + 512 + 600;
        assert_eq!(
            result.is_ok(),
            len == 0 || len == parts[0].len() || complete,
            "{len}: {result:?}"
        );
        if complete {
            assert_eq!(result.unwrap().entries[0].1, [1; 600], "{len}");
        }
    }
    assert_eq!(read(&tar[..full]).unwrap().entries.len(), 1);
}

#[test]
fn unread_payloads_are_skipped() {
    let tar = archive(&[
        with_data(block(b"big", b'0', 700_000, |_| {}), &vec![5; 700_000]),
        with_data(block(b"next", b'0', 2, |_| {}), b"ok"),
    ]);
    let mut reader = Reader::new(&tar[..], Limits::default(), |_: Segment<'_>| Ok(()));
    let mut entry = Entry::default();
    assert!(reader.next_entry(&mut entry).unwrap());
    assert!(reader.next_entry(&mut entry).unwrap());
    assert_eq!(entry.path, b"next");
    assert_eq!(reader.next_chunk().unwrap(), Some(&b"ok"[..]));
    assert_eq!(reader.next_chunk().unwrap(), None);
    assert!(!reader.next_entry(&mut entry).unwrap());
    assert!(!reader.next_entry(&mut entry).unwrap());
    assert_eq!(reader.finish().unwrap().1, tar.len() as u64);
}

#[test]
fn a_failing_recorder_stops_the_reader() {
    let tar = archive(&[block(b"f", b'0', 0, |_| {})]);
    let mut reader = Reader::new(&tar[..], Limits::default(), |_: Segment<'_>| {
        Err(io::Error::other("disk full"))
    });
    assert!(matches!(
        reader.next_entry(&mut Entry::default()),
        Err(LayerError::Record(_))
    ));
}

#[test]
fn the_tar_crate_reads_what_the_writer_writes() {
    let long = format!("{}/{}", "p".repeat(200), "n".repeat(200));
    let entries = [
        Entry {
            path: b"d".to_vec(),
            kind: Kind::Dir,
            mode: 0o1777,
            ..Entry::default()
        },
        Entry {
            path: long.clone().into(),
            size: 3,
            mode: 0o4755,
            uid: 70_000,
            ..Entry::default()
        },
        Entry {
            path: b"l".to_vec(),
            kind: Kind::Symlink,
            target: "t".repeat(300).into(),
            mode: 0o777,
            ..Entry::default()
        },
    ];
    let mut writer = TarWriter::new(Vec::new());
    for entry in &entries {
        writer.entry(entry, &mut &b"abc"[..]).unwrap();
    }
    let tar = writer.finish().unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let mut seen = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut data = String::new();
        entry.read_to_string(&mut data).unwrap();
        let link = entry.link_name_bytes().map(|link| link.len());
        seen.push((
            entry.path_bytes().into_owned(),
            entry.header().mode().unwrap(),
            data,
            link,
        ));
    }
    assert_eq!(
        seen,
        [
            (b"d/".to_vec(), 0o1777, String::new(), None),
            (long.into_bytes(), 0o4755, "abc".into(), None),
            (b"l".to_vec(), 0o777, String::new(), Some(300)),
        ]
    );
}

#[test]
fn a_payload_of_another_length_is_an_error() {
    let mut writer = TarWriter::new(Vec::new());
    let error = writer.entry(&file("f", 5), &mut &b"abc"[..]).unwrap_err();
    assert!(matches!(
        error,
        LayerError::Length {
            announced: 5,
            actual: 3,
            ..
        }
    ));
}

struct Repeat {
    piece: Vec<u8>,
    at: usize,
}

impl Read for Repeat {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(self.piece.len() - self.at);
        buf[..len].copy_from_slice(&self.piece[self.at..self.at + len]);
        self.at = (self.at + len) % self.piece.len();
        Ok(len)
    }
}

trait ChainRead {
    fn chain_read(self, more: impl Read) -> impl Read;
}

impl ChainRead for Vec<u8> {
    fn chain_read(self, more: impl Read) -> impl Read {
        io::Cursor::new(self).chain(more)
    }
}

fn any_entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let path = "[a-zé]{1,60}(/[a-z ]{1,60}){0,5}";
    let kind = prop_oneof![
        4 => Just(Kind::File),
        1 => Just(Kind::Dir),
        1 => Just(Kind::Symlink),
        1 => Just(Kind::Hardlink),
        1 => (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| Kind::Char { major, minor }),
        1 => Just(Kind::Fifo),
    ];
    let xattrs = proptest::collection::btree_map(
        "user\\.[a-z]{1,9}",
        proptest::collection::vec(any::<u8>(), 0..40),
        0..3,
    );
    let data = proptest::collection::vec(any::<u8>(), 0..1500);
    let time = (any::<i32>(), prop_oneof![Just(0u32), 0u32..1_000_000_000]);
    (
        path,
        kind,
        path,
        (any::<u32>(), 0..u32::MAX, 0..u32::MAX),
        time,
        xattrs,
        data,
    )
        .prop_map(
            |(path, kind, target, (mode, uid, gid), (mtime, mtime_nanos), xattrs, data)| {
                let data = if kind == Kind::File { data } else { Vec::new() };
                let link = matches!(kind, Kind::Symlink | Kind::Hardlink);
                let entry = Entry {
                    path: path.into(),
                    kind,
                    target: if link { target.into() } else { Vec::new() },
                    mode: mode & 0o7777,
                    uid,
                    gid,
                    mtime: mtime.into(),
                    mtime_nanos,
                    size: data.len() as u64,
                    xattrs: xattrs
                        .into_iter()
                        .map(|(name, value)| (name.into_bytes(), value))
                        .collect(),
                    class: Class::Normal,
                    stored: None,
                };
                (entry, data)
            },
        )
}

/// Gives a few bytes at a time, so that nothing is where the reader would like it.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(self.1).min(self.0.len());
        buf[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn written_entries_are_read_back(
        entries in proptest::collection::vec(any_entry(), 0..12),
        pace in 1usize..2000,
    ) {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, data) in &entries {
            writer.entry(entry, &mut data.as_slice()).unwrap();
        }
        let tar = writer.finish().unwrap();
        let contents = read_with(Slow(&tar, pace), Limits::default()).unwrap();
        prop_assert_eq!(&contents.entries, &entries);
        prop_assert_eq!(&contents.rebuilt, &tar);
    }

    #[test]
    fn damaged_archives_never_panic(
        entries in proptest::collection::vec(any_entry(), 1..5),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        reseal in any::<bool>(),
    ) {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, data) in &entries {
            writer.entry(entry, &mut data.as_slice()).unwrap();
        }
        let mut tar = writer.finish().unwrap();
        for (index, byte) in damage {
            let at = index.index(tar.len());
            tar[at] = byte;
            if reseal {
                let start = at / 512 * 512;
                seal(&mut tar[start..start + 512]);
            }
        }
        if let Ok(contents) = read_with(&tar[..], Limits::default()) {
            prop_assert_eq!(contents.rebuilt, tar);
        }
    }
}
