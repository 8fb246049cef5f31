//! Files of images, a JSON document a line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use havre_engine::image::{LayerAbout, TreeEntry, TreeKind};
use havre_oci::Digest;
use serde::{Serialize, Serializer};

/// The first line about the layers of an image.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageView<'a> {
    pub(crate) id: &'a str,
    /// The digest of the manifest, of an image that is in a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<&'a str>,
    pub(crate) layers: Vec<LayerView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LayerView<'a> {
    #[serde(rename = "DiffID")]
    diff_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    created_by: &'a str,
    comment: &'a str,
}

impl<'a> From<&'a LayerAbout> for LayerView<'a> {
    fn from(layer: &'a LayerAbout) -> Self {
        Self {
            diff_id: layer.diff_id.as_str(),
            size: layer.size,
            created: layer.created.map(|time| time.to_string()),
            created_by: &layer.created_by,
            comment: &layer.comment,
        }
    }
}

/// The line before the entries of a layer.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LayerStart {
    pub(crate) layer: usize,
}

/// How much was read of a layer that is in a registry: bytes as they are downloaded.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Reading {
    pub(crate) reading: usize,
    pub(crate) current: u64,
    pub(crate) total: u64,
}

/// The last line of an answer that could not be completed.
#[derive(Serialize)]
pub(crate) struct Failed {
    pub(crate) error: String,
}

/// Text of a file system: a string where it is UTF-8, else its bytes in base64, as `{"base64":"…"}`.
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Bytes {
            base64: String,
        }
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Bytes {
                base64: STANDARD.encode(self.0),
            }
            .serialize(serializer),
        }
    }
}

/// One entry: absent numbers are 0, an absent `links` is 1.
#[derive(Serialize)]
pub(crate) struct EntryView<'a> {
    path: Text<'a>,
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    mode: u32,
    #[serde(skip_serializing_if = "is_none")]
    uid: u32,
    #[serde(skip_serializing_if = "is_none")]
    gid: u32,
    mtime: i64,
    #[serde(skip_serializing_if = "is_none")]
    nanos: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Text<'a>>,
    #[serde(skip_serializing_if = "is_none")]
    major: u32,
    #[serde(skip_serializing_if = "is_none")]
    minor: u32,
    /// Names of one file have one number.
    #[serde(skip_serializing_if = "is_zero")]
    inode: u64,
    #[serde(skip_serializing_if = "is_one")]
    links: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    opaque: bool,
    /// Of lists of a whole image: where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    /// Of a file's contents, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_none(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

impl<'a> EntryView<'a> {
    pub(crate) fn new(entry: &'a TreeEntry, layer: Option<usize>) -> Self {
        let mut view = Self {
            path: Text(&entry.path),
            kind: "",
            size: 0,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            nanos: entry.mtime_nanos,
            target: None,
            major: 0,
            minor: 0,
            inode: 0,
            links: 1,
            opaque: false,
            layer,
            digest: None,
        };
        view.kind = match &entry.kind {
            TreeKind::Directory { opaque } => {
                view.opaque = *opaque;
                "directory"
            }
            TreeKind::File { size } => {
                view.size = *size;
                if entry.links > 1 {
                    (view.inode, view.links) = (entry.inode, entry.links);
                }
                "file"
            }
            TreeKind::Symlink { target } => {
                view.target = Some(Text(target));
                "link"
            }
            TreeKind::Char { major, minor } => {
                (view.major, view.minor) = (*major, *minor);
                "char"
            }
            TreeKind::Block { major, minor } => {
                (view.major, view.minor) = (*major, *minor);
                "block"
            }
            TreeKind::Fifo => "fifo",
            TreeKind::Socket => "socket",
            TreeKind::Whiteout => "removed",
        };
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(entry: &TreeEntry) -> String {
        serde_json::to_string(&EntryView::new(entry, None)).unwrap()
    }

    #[test]
    fn lines() {
        let mut entry = TreeEntry {
            path: b"etc/passwd".to_vec(),
            kind: TreeKind::File { size: 3 },
            mode: 0o644,
            uid: 0,
            gid: 7,
            mtime: -1,
            mtime_nanos: 0,
            inode: 9,
            links: 1,
            xattrs: Vec::new(),
        };
        assert_eq!(
            json(&entry),
            r#"{"path":"etc/passwd","kind":"file","size":3,"mode":420,"gid":7,"mtime":-1}"#
        );
        entry.links = 2;
        assert!(json(&entry).ends_with(r#""inode":9,"links":2}"#));
        entry.kind = TreeKind::Symlink {
            target: b"\xff\"\n".to_vec(),
        };
        entry.path = b"\xfe".to_vec();
        let line = json(&entry);
        assert!(
            line.starts_with(r#"{"path":{"base64":"/g=="},"kind":"link""#),
            "{line}"
        );
        assert!(line.contains(r#""target":{"base64":"/yIK"}"#), "{line}");
    }
}
