//! Layers as registries hold them, with tables of contents too: eStargz and zstd:chunked, by their specifications.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::archive::Layer;
use crate::digest_of;
use crate::image::Compression;

/// A layer as it is in a registry.
#[derive(Clone, Debug)]
pub struct StoredLayer {
    pub bytes: Vec<u8>,
    pub media_type: &'static str,
    pub annotations: BTreeMap<String, String>,
    /// The archive it is of, which has eStargz's table in it.
    pub plain: Vec<u8>,
}

/// Contents are cut into pieces of so many bytes.
const PIECE: usize = 128 << 10;

impl StoredLayer {
    /// As most are.
    pub fn new(plain: &[u8], compression: Compression) -> Self {
        Self {
            bytes: compression.compress(plain),
            media_type: compression.layer_type(),
            annotations: BTreeMap::new(),
            plain: plain.to_vec(),
        }
    }

    /// Its descriptor in a manifest.
    pub fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": digest_of(&self.bytes),
            "size": self.bytes.len(),
            "annotations": self.annotations,
        })
    }

    /// eStargz (stargz-snapshotter, docs/estargz.md). `change` may lie in the table.
    pub fn stargz(plain: &[u8], change: impl Fn(&mut Value)) -> Self {
        let mut bytes = Vec::new();
        let entries = packed(plain, Compression::Gzip, &mut bytes);
        let mut table = json!({"version": 1, "entries": entries});
        change(&mut table);
        let table = serde_json::to_vec_pretty(&table).expect("JSON");
        let offset = bytes.len();
        let mut archive = plain[..end_of(plain)].to_vec();
        let last = Layer::new().file("stargz.index.json", &table).tar();
        bytes.extend(Compression::Gzip.compress(&last));
        archive.extend(&last);
        // An empty member with a number in its header.
        bytes.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0]);
        bytes.extend(b"SG\x16\x00");
        write!(bytes, "{offset:016x}STARGZ").expect("writing to memory");
        bytes.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        let digest = digest_of(&table);
        Self {
            bytes,
            media_type: Compression::Gzip.layer_type(),
            annotations: [("containerd.io/snapshot/stargz/toc.digest".to_owned(), digest)].into(),
            plain: archive,
        }
    }

    /// zstd:chunked (containers/storage, docs/containers-storage-zstd-chunked.md). `change` may lie in the table.
    pub fn zstd_chunked(plain: &[u8], change: impl Fn(&mut Value)) -> Self {
        let mut bytes = Vec::new();
        let entries = packed(plain, Compression::Zstd, &mut bytes);
        bytes.extend(Compression::Zstd.compress(&plain[end_of(plain)..]));
        let mut table = json!({"version": 1, "entries": entries});
        change(&mut table);
        let table = table.to_string().into_bytes();
        let packed = Compression::Zstd.compress(&table);
        // A frame that decoders pass over.
        bytes.extend([0x50, 0x2a, 0x4d, 0x18]);
        bytes.extend((packed.len() as u32).to_le_bytes());
        let position = format!("{}:{}:{}:1", bytes.len(), packed.len(), table.len());
        bytes.extend(&packed);
        let name = |last: &str| format!("io.github.containers.zstd-chunked.{last}");
        Self {
            bytes,
            media_type: Compression::Zstd.layer_type(),
            annotations: [
                (name("manifest-position"), position),
                (name("manifest-checksum"), digest_of(&packed)),
            ]
            .into(),
            plain: plain.to_vec(),
        }
    }
}

/// Where the two blocks of zeros at an archive's end begin.
fn end_of(plain: &[u8]) -> usize {
    let last = plain
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    // Contents may end in zeros.
    let mut end = 0;
    let mut archive = tar::Archive::new(plain);
    for entry in archive.entries().expect("a tar") {
        let entry = entry.expect("an entry");
        end = (entry.raw_file_position() + entry.size()) as usize;
    }
    end.max(last).next_multiple_of(512)
}

/// Writes headers and contents each by themselves; what the table says of them.
fn packed(plain: &[u8], how: Compression, bytes: &mut Vec<u8>) -> Vec<Value> {
    let mut entries = Vec::new();
    let mut written = 0;
    let mut archive = tar::Archive::new(plain);
    for entry in archive.entries().expect("a tar") {
        let entry = entry.expect("an entry");
        let (start, size) = (entry.raw_file_position() as usize, entry.size() as usize);
        bytes.extend(how.compress(&plain[written..start]));
        written = start + size;
        let header = entry.header();
        let contents = &plain[start..written];
        let kind = match header.entry_type() {
            tar::EntryType::Directory => "dir",
            tar::EntryType::Symlink => "symlink",
            tar::EntryType::Link => "hardlink",
            tar::EntryType::Char => "char",
            _ => "reg",
        };
        let mut told = json!({
            "name": String::from_utf8_lossy(&entry.path_bytes()),
            "type": kind,
            "mode": header.mode().expect("mode"),
            "uid": header.uid().expect("uid"),
            "gid": header.gid().expect("gid"),
            "modtime": "2024-01-01T00:00:00Z",
        });
        if let Some(target) = entry.link_name_bytes() {
            told["linkName"] = json!(String::from_utf8_lossy(&target));
        }
        if let (Ok(Some(major)), Ok(Some(minor))) = (header.device_major(), header.device_minor()) {
            (told["devMajor"], told["devMinor"]) = (json!(major), json!(minor));
        }
        if kind == "reg" && size > 0 {
            (told["size"], told["digest"]) = (json!(size), json!(digest_of(contents)));
        }
        for (number, piece) in contents.chunks(PIECE).enumerate() {
            if number > 0 {
                entries.push(std::mem::replace(
                    &mut told,
                    json!({"name": String::from_utf8_lossy(&entry.path_bytes()), "type": "chunk"}),
                ));
                told["chunkOffset"] = json!(number * PIECE);
            }
            told["offset"] = json!(bytes.len());
            told["chunkSize"] = json!(piece.len());
            told["chunkDigest"] = json!(digest_of(piece));
            bytes.extend(how.compress(piece));
            told["endOffset"] = json!(bytes.len());
        }
        entries.push(told);
    }
    if end_of(plain) > written {
        bytes.extend(how.compress(&plain[written..end_of(plain)]));
    }
    entries
}
