//! Tables of contents: layers that say where each file's bytes are, so that one can be had without the others.
//!
//! Two forms are in use. Both are ordinary layers for whoever doesn't know them, compressed in pieces that can be undone by
//! themselves.
//!
//! | | eStargz ([stargz-snapshotter, estargz.md]) | zstd:chunked ([containers/storage]) |
//! |---|---|---|
//! | where the table is | the last 51 bytes say: a gzip member with a number in its header | the manifest's annotation says |
//! | what it is | a tar with `stargz.index.json`, in gzip | JSON in zstd, in a frame decoders pass over |
//! | who vouches for it | an annotation with the digest of the JSON | an annotation with the digest of the frame's content |
//!
//! A table that the manifest doesn't vouch for is not used. What the table says of a file's contents is their digest, with which
//! they are compared; whether the table says of the layer what its archive says, nobody can know who doesn't read the archive.
//!
//! [stargz-snapshotter, estargz.md]: https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
//! [containers/storage]: https://github.com/containers/storage/blob/main/docs/containers-storage-zstd-chunked.md

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use havre_oci::compression::{self, Compression};
use havre_oci::layer::{self, Entry, Kind};
use havre_oci::{Descriptor, Digest, DigestReader};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Digest of an eStargz layer's table.
const STARGZ_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// What the annotations of zstd:chunked begin with, and did before.
const CHUNKED: [&str; 2] = [
    "io.github.containers.zstd-chunked.",
    "io.containers.zstd-chunked.",
];
/// Place of its table: offset, compressed and plain length, kind.
const CHUNKED_POSITION: &str = "manifest-position";
/// Digest of the table as it is compressed.
const CHUNKED_DIGEST: &str = "manifest-checksum";
/// The name of eStargz's table in the archive.
const STARGZ_NAME: &[u8] = b"stargz.index.json";
/// The lengths of eStargz's footers, the one in use and that of before.
const FOOTERS: [usize; 2] = [51, 47];
/// A larger table is not read.
const MAX_TABLE: u64 = 128 << 20;

/// Where a layer's table is, as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Table {
    Stargz {
        digest: Digest,
    },
    Chunked {
        digest: Digest,
        offset: u64,
        length: u64,
        plain: u64,
    },
}

/// Where the contents of a file are in the blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Where to begin to decompress.
    pub(super) offset: u64,
    /// Bytes to pass over then.
    pub(super) inner: u64,
    pub(super) digest: Digest,
}

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub(super) enum TocError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("its table of contents is not where the layer says")]
    Missing,
    #[error("its table of contents is not what the manifest says: {actual} instead of {expected}")]
    Mismatch { expected: Digest, actual: Digest },
    #[error("its table of contents of {size} bytes is larger than the limit of {MAX_TABLE}")]
    TooLarge { size: u64 },
    #[error("its table of contents cannot be read: {0}")]
    Json(serde_json::Error),
    #[error("its table of contents: {0}")]
    Entry(#[from] layer::LayerError),
    #[error("its table of contents: {path:?}: {what}")]
    Wrong { path: String, what: &'static str },
}

/// Takes an entry, and where its contents are if it is a file that has any.
pub(super) type Each<'a> = dyn FnMut(&Entry, Option<Place>) -> Result<(), TocError> + 'a;

impl Table {
    /// What the annotations of a layer say, if they say it in a way that can be right.
    pub(super) fn of(layer: &Descriptor) -> Option<Self> {
        let text = |key: &str| layer.annotations.get(key).map(String::as_str);
        let chunked = |name: &str| CHUNKED.iter().find_map(|prefix| text(&format!("{prefix}{name}")));
        if let (Some(position), Some(digest)) = (chunked(CHUNKED_POSITION), chunked(CHUNKED_DIGEST)) {
            let numbers: Option<Vec<u64>> = position.split(':').map(|number| number.parse().ok()).collect();
            if let Some([offset, length, plain, 1]) = numbers.as_deref()
                && offset.checked_add(*length).is_some_and(|end| end <= layer.size)
            {
                return Some(Self::Chunked {
                    digest: digest.parse().ok()?,
                    offset: *offset,
                    length: *length,
                    plain: *plain,
                });
            }
        }
        let digest = text(STARGZ_DIGEST)?.parse().ok()?;
        Some(Self::Stargz { digest })
    }

    pub(super) fn compression(&self) -> Compression {
        match self {
            Self::Stargz { .. } => Compression::Gzip,
            Self::Chunked { .. } => Compression::Zstd,
        }
    }

    /// Reads it: `part` gives the blob, of `size` bytes, from an offset on. Where contents end in the blob. What `each` was given
    /// counts for nothing if this fails.
    pub(super) fn read(
        &self,
        size: u64,
        part: &dyn Fn(u64, u64) -> Box<dyn Read + Send>,
        each: &mut Each<'_>,
    ) -> Result<u64, TocError> {
        match self {
            Self::Stargz { digest } => {
                let longest = FOOTERS[0] as u64;
                let from = size.checked_sub(longest).ok_or(TocError::Missing)?;
                let mut footer = Vec::new();
                part(from, size).read_to_end(&mut footer)?;
                let (length, offset) = footer_of(&footer).ok_or(TocError::Missing)?;
                let end = size - length;
                if offset >= end {
                    return Err(TocError::Missing);
                }
                stargz(part(offset, end), offset, digest, each)?;
                // The table is a file, too.
                Ok(end)
            }
            Self::Chunked {
                digest,
                offset,
                length,
                plain,
            } => {
                if *plain > MAX_TABLE {
                    return Err(TocError::TooLarge { size: *plain });
                }
                let mut packed = DigestReader::new(part(*offset, offset + length), digest.algorithm());
                let limits = compression::Limits {
                    output: *plain,
                    ..compression::Limits::default()
                };
                let parsed = compression::decoder(&mut packed, Compression::Zstd, limits)
                    .map_err(TocError::from)
                    .and_then(|mut json| {
                        let parsed = entries(&mut json, *offset, each);
                        io::copy(&mut json, &mut io::sink())
                            .map_err(TocError::from)
                            .and(parsed)
                    });
                io::copy(&mut packed, &mut io::sink())?;
                vouched(packed.finish().0, digest)?;
                parsed?;
                Ok(*offset)
            }
        }
    }
}

/// That it is another table counts more than what is wrong with it.
fn vouched(actual: Digest, expected: &Digest) -> Result<(), TocError> {
    match actual == *expected {
        true => Ok(()),
        false => Err(TocError::Mismatch {
            expected: expected.clone(),
            actual,
        }),
    }
}

/// The length of the footer at the end of `bytes`, and the offset it names.
fn footer_of(bytes: &[u8]) -> Option<(u64, u64)> {
    for (length, skipped) in FOOTERS.into_iter().zip([4, 0]) {
        let footer = &bytes[bytes.len().checked_sub(length)?..];
        // RFC 1952: an empty member with an extra field.
        let extra = 22 + skipped;
        if footer[..4] != [0x1f, 0x8b, 8, 4] || footer[10..12] != (extra as u16).to_le_bytes() {
            continue;
        }
        let field = &footer[12..12 + extra];
        if skipped > 0 && field[..4] != [b'S', b'G', 22, 0] {
            continue;
        }
        let (number, name) = field[skipped..].split_at(16);
        if name != b"STARGZ" {
            continue;
        }
        let number = std::str::from_utf8(number).ok()?;
        return Some((length as u64, u64::from_str_radix(number, 16).ok()?));
    }
    None
}

/// The table of eStargz, which is a file of the layer itself.
fn stargz(
    packed: Box<dyn Read + Send>,
    offset: u64,
    digest: &Digest,
    each: &mut Each<'_>,
) -> Result<(), TocError> {
    let limits = compression::Limits {
        output: MAX_TABLE + (1 << 20),
        ..compression::Limits::default()
    };
    let plain = compression::decoder(packed, Compression::Gzip, limits)?;
    let mut archive = layer::Reader::new(plain, layer::Limits::default(), |_| Ok(()));
    let mut itself = Entry::default();
    if !archive.next_entry(&mut itself)? || itself.path != STARGZ_NAME || itself.kind != Kind::File {
        return Err(TocError::Missing);
    }
    if itself.size > MAX_TABLE {
        return Err(TocError::TooLarge { size: itself.size });
    }
    let inner = archive.position();
    let mut json = DigestReader::new(archive.contents(), digest.algorithm());
    let parsed = entries(&mut json, offset, each);
    io::copy(&mut json, &mut io::sink())?;
    vouched(json.finish().0, digest)?;
    parsed?;
    let place = Place {
        offset,
        inner,
        digest: digest.clone(),
    };
    each(&itself, Some(place))
}

/// An entry of either form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Line {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    #[serde(rename = "modtime")]
    mtime: Option<String>,
    link_name: String,
    mode: i64,
    uid: u32,
    gid: u32,
    offset: u64,
    inner_offset: u64,
    dev_major: u32,
    dev_minor: u32,
    xattrs: Option<BTreeMap<String, String>>,
    digest: String,
}

impl Line {
    /// The entry, unless it is a further piece of a file; and where its contents are, which end before `end`.
    fn entry(self, end: u64, entry: &mut Entry) -> Result<Option<Option<Place>>, TocError> {
        use base64::Engine as _;
        let wrong = |what| TocError::Wrong {
            path: self.name.clone(),
            what,
        };
        let (major, minor) = (self.dev_major, self.dev_minor);
        entry.kind = match self.kind.as_str() {
            "dir" => Kind::Dir,
            "reg" => Kind::File,
            "symlink" => Kind::Symlink,
            "hardlink" => Kind::Hardlink,
            "char" => Kind::Char { major, minor },
            "block" => Kind::Block { major, minor },
            "fifo" => Kind::Fifo,
            // Pieces of a file lie behind each other.
            "chunk" => return Ok(None),
            _ => return Err(wrong("it is of a kind nobody knows")),
        };
        let mut xattrs = Vec::new();
        for (key, value) in self.xattrs.iter().flatten() {
            let value = base64::engine::general_purpose::STANDARD.decode(value);
            xattrs.push((
                key,
                value.map_err(|_| wrong("an extended attribute is not base64"))?,
            ));
        }
        entry.describe(
            self.name.as_bytes(),
            self.link_name.as_bytes(),
            xattrs
                .iter()
                .map(|(key, value)| (key.as_bytes(), value.as_slice())),
        )?;
        entry.mode = (self.mode & 0o7777) as u32;
        (entry.uid, entry.gid) = (self.uid, self.gid);
        (entry.mtime, entry.mtime_nanos) = match self.mtime.as_deref() {
            None | Some("") => (0, 0),
            Some(text) => {
                let time: jiff::Timestamp = text.parse().map_err(|_| wrong("its time is none"))?;
                // Nanoseconds are added to seconds, also before 1970.
                let (nanos, second) = (time.as_nanosecond(), 1_000_000_000);
                (nanos.div_euclid(second) as i64, nanos.rem_euclid(second) as u32)
            }
        };
        entry.stored = None;
        entry.size = 0;
        if entry.kind != Kind::File || entry.class != layer::Class::Normal || self.size == 0 {
            return Ok(Some(None));
        }
        entry.size = self.size;
        if self.offset == 0 || self.offset >= end {
            return Err(wrong("its contents are outside of the layer"));
        }
        let digest = self.digest.parse();
        let place = Place {
            offset: self.offset,
            inner: self.inner_offset,
            digest: digest.map_err(|_| wrong("the digest of its contents is missing"))?,
        };
        Ok(Some(Some(place)))
    }
}

/// Reads the entries of a table as they come.
fn entries(json: &mut dyn Read, end: u64, each: &mut Each<'_>) -> Result<(), TocError> {
    let mut failed = None;
    let outer = Outer(List {
        end,
        each,
        failed: &mut failed,
    });
    let buffered = io::BufReader::with_capacity(64 << 10, json);
    let mut parser = serde_json::Deserializer::from_reader(buffered);
    let parsed = outer.deserialize(&mut parser);
    match (failed, parsed) {
        (Some(error), _) => Err(error),
        (None, Err(error)) if error.is_io() => Err(TocError::Read(error.into())),
        (None, Err(error)) => Err(TocError::Json(error)),
        (None, Ok(())) => Ok(()),
    }
}

struct Outer<'a, 'e>(List<'a, 'e>);

struct List<'a, 'e> {
    end: u64,
    each: &'a mut Each<'e>,
    failed: &'a mut Option<TocError>,
}

impl<'de> DeserializeSeed<'de> for Outer<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Outer<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents of version 1")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut list = Some(self.0);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => {
                    let version: u64 = map.next_value()?;
                    if version != 1 {
                        return Err(serde::de::Error::custom(format!(
                            "version {version} is not known"
                        )));
                    }
                }
                "entries" => match list.take() {
                    Some(list) => map.next_value_seed(list)?,
                    None => return Err(serde::de::Error::duplicate_field("entries")),
                },
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match list {
            None => Ok(()),
            Some(_) => Err(serde::de::Error::missing_field("entries")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for List<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut entry = Entry::default();
        while let Some(line) = list.next_element::<Line>()? {
            let told = line
                .entry(self.end, &mut entry)
                .and_then(|found| found.map_or(Ok(()), |place| (self.each)(&entry, place)));
            if let Err(error) = told {
                *self.failed = Some(error);
                return Err(serde::de::Error::custom("an entry is wrong"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(json: &str) -> Result<Vec<(Entry, Option<Place>)>, TocError> {
        let mut found = Vec::new();
        entries(&mut json.as_bytes(), 1000, &mut |entry, place| {
            found.push((entry.clone(), place));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn entries_are_what_the_archive_would_say() {
        let digest = Digest::sha256_of(b"hello");
        let json = format!(
            r#"{{"version":1,"other":[1],"entries":[
                {{"name":"./etc/","type":"dir","mode":493,"modtime":"2024-01-01T00:00:00.5Z"}},
                {{"name":"etc/motd","type":"reg","size":5,"mode":33188,"uid":7,"gid":8,"offset":99,"innerOffset":3,"digest":"{digest}","xattrs":{{"user.a":"Yg==","trusted.overlay.opaque":"eQ=="}}}},
                {{"name":"etc/motd","type":"chunk","offset":120}},
                {{"name":"etc/.wh.gone","type":"reg"}},
                {{"name":"link","type":"symlink","linkName":"../../x","modtime":"1969-12-31T23:59:58.25Z"}}
            ]}}"#
        );
        let found = parsed(&json).unwrap();
        assert_eq!(found.len(), 4);
        let (dir, _) = &found[0];
        assert_eq!(
            (dir.path.as_slice(), dir.mode, dir.mtime, dir.mtime_nanos),
            (&b"etc"[..], 0o755, 1_704_067_200, 500_000_000)
        );
        let (file, place) = &found[1];
        assert_eq!((file.size, file.mode, file.uid, file.gid), (5, 0o644, 7, 8));
        assert_eq!(
            file.xattrs,
            [(b"user.a".to_vec(), b"b".to_vec())],
            "overlay's own are not anybody's to set"
        );
        let expected = Place {
            offset: 99,
            inner: 3,
            digest,
        };
        assert_eq!(place.as_ref(), Some(&expected));
        assert_eq!(
            found[2].0.class,
            layer::Class::Whiteout {
                path: b"etc/gone".to_vec()
            }
        );
        assert_eq!((found[3].0.mtime, found[3].0.mtime_nanos), (-2, 250_000_000));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (json, told) in [
            ("[]", "cannot be read"),
            (r#"{"version":1}"#, "missing field `entries`"),
            (r#"{"version":2,"entries":[]}"#, "version 2 is not known"),
            (r#"{"entries":[],"entries":[]}"#, "duplicate field"),
            (
                r#"{"entries":[{"name":"../a","type":"dir"}]}"#,
                "outside of the layer",
            ),
            (
                r#"{"entries":[{"name":"a","type":"hardlink","linkName":"../../etc/shadow"}]}"#,
                "outside of the layer",
            ),
            (
                r#"{"entries":[{"name":"a","type":"reg","size":5,"offset":1000}]}"#,
                "outside of the layer",
            ),
            (
                r#"{"entries":[{"name":"a","type":"reg","size":5,"offset":10}]}"#,
                "digest of its contents is missing",
            ),
            (
                r#"{"entries":[{"name":"a","type":"reg","xattrs":{"a":"!"}}]}"#,
                "not base64",
            ),
            (
                r#"{"entries":[{"name":"a","type":"reg","modtime":"soon"}]}"#,
                "its time is none",
            ),
            (r#"{"entries":[{"name":"a""#, "cannot be read"),
        ] {
            let error = parsed(json).unwrap_err().to_string();
            assert!(error.contains(told), "{json}: {error}");
        }
    }

    #[test]
    fn footers_of_both_times() {
        let mut new = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0];
        new.extend(b"SG\x16\x000000000000000abcSTARGZ");
        new.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(footer_of(&new), Some((51, 0xabc)));
        let mut old = vec![0; 4];
        old.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 22, 0]);
        old.extend(b"0000000000000abcSTARGZ");
        old.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(footer_of(&old), Some((47, 0xabc)));
        for at in [0, 3, 10, 12, 16, 33] {
            let mut wrong = new.clone();
            wrong[at] = b'x';
            assert_eq!(footer_of(&wrong), None, "{at}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = footer_of(&bytes);
            let text = String::from_utf8_lossy(&bytes);
            let _ = parsed(&text);
            let _ = parsed(&format!(r#"{{"version":1,"entries":[{{"name":"{text}","type":"reg"}}]}}"#));
        }

        #[test]
        fn places_in_annotations_are_within_the_layer(text in "[0-9:]{0,40}", size in 0_u64..1000) {
            let digest = Digest::sha256_of(b"");
            let mut layer = Descriptor::new("x", digest.clone(), size);
            layer.annotations.insert(format!("{}{CHUNKED_POSITION}", CHUNKED[0]), text);
            layer.annotations.insert(format!("{}{CHUNKED_DIGEST}", CHUNKED[0]), digest.to_string());
            if let Some(Table::Chunked { offset, length, .. }) = Table::of(&layer) {
                prop_assert!(offset + length <= size);
            }
        }
    }
}
