//! The content key of files: names, modes, owners, attributes and bytes. Never times.

use std::os::unix::ffi::OsStrExt;

use havre_oci::{Algorithm, Digest, Digester};

use super::content::Content;
use super::{Item, ItemKind};
use crate::files::Special;

/// One digest over everything that decides what a copy of `items` makes, of which `contents` are the bytes.
pub(crate) fn content_digest(items: &[Item], contents: &[Option<Content>]) -> Digest {
    let mut digester = Digester::new(Algorithm::Sha256);
    let mut bytes = Vec::with_capacity(1024);
    let field = |bytes: &mut Vec<u8>, field: &[u8]| {
        bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
        bytes.extend_from_slice(field);
    };
    for (item, content) in items.iter().zip(contents) {
        bytes.clear();
        field(&mut bytes, item.target.as_os_str().as_bytes());
        match &item.kind {
            ItemKind::File => field(&mut bytes, b"file"),
            ItemKind::Dir => field(&mut bytes, b"dir"),
            ItemKind::Symlink(to) => {
                field(&mut bytes, b"link");
                field(&mut bytes, to.as_os_str().as_bytes());
            }
            ItemKind::Special(special) => {
                let (kind, major, minor) = match special {
                    Special::Char { major, minor } => ("char", *major, *minor),
                    Special::Block { major, minor } => ("block", *major, *minor),
                    Special::Fifo => ("fifo", 0, 0),
                };
                field(&mut bytes, format!("{kind} {major} {minor}").as_bytes());
            }
        }
        // The directory whose content is copied is not copied itself.
        if !(item.kind == ItemKind::Dir && item.target.as_os_str().is_empty()) {
            let attributes = &item.attributes;
            for number in [attributes.mode, attributes.uid, attributes.gid] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&(attributes.xattrs.len() as u64).to_le_bytes());
            for (name, value) in &attributes.xattrs {
                field(&mut bytes, name);
                field(&mut bytes, value);
            }
        }
        if let Some(content) = content {
            bytes.extend_from_slice(&content.digest);
        }
        digester.update(&bytes);
    }
    digester.finish()
}
