//! A part of an image as a tar archive.

use std::collections::HashMap;
use std::io::{self, Write};

use havre_oci::layer::{Entry, Kind, TarWriter};
use havre_store::TreeKind;

use super::{ImageFiles, Located, View};
use crate::ImageError;

impl ImageFiles {
    /// Writes the layers from `kept` on as one layer for those below: what it removes of them, and what it hides, too.
    pub(crate) fn merge(&self, kept: usize, output: &mut dyn Write) -> Result<(), ImageError> {
        let upper = View::new(self, (kept..self.sources.len()).rev().collect(), kept > 0);
        let lower = View::new(self, (0..kept).rev().collect(), false);
        let root = upper.locate(b"", false)?;
        let mut archive = Archive {
            view: &upper,
            below: (kept > 0).then_some(&lower),
            strip: 0,
            name: b"",
            links: HashMap::new(),
            tar: TarWriter::new(output),
        };
        archive.add(&root)?;
        upper.walk(&root, &mut |located| archive.add(located))?;
        archive.tar.finish().map_err(broken)?;
        Ok(())
    }
}

impl View<'_> {
    /// Writes what `root` is, with all that is in it, its entries named from `name` on (`etc`, `etc/passwd`, …). What a layer
    /// removes and sockets are left out. Names of one file are links to the first of them.
    pub fn archive(&self, root: &Located, name: &[u8], output: &mut dyn Write) -> Result<(), ImageError> {
        let mut archive = Archive {
            view: self,
            below: None,
            strip: root.entry.path.len(),
            name,
            links: HashMap::new(),
            tar: TarWriter::new(output),
        };
        archive.add(root)?;
        if root.is_dir() {
            self.walk(root, &mut |located| archive.add(located))?;
        }
        archive
            .tar
            .finish()
            .map_err(broken)?
            .flush()
            .map_err(ImageError::Output)
    }
}

struct Archive<'v, 'o> {
    view: &'v View<'v>,
    /// What the archive is a layer for.
    below: Option<&'v View<'v>>,
    /// Bytes of paths that `name` stands for.
    strip: usize,
    name: &'v [u8],
    /// Files with several names, and the name each has in the archive.
    links: HashMap<(usize, u64), Vec<u8>>,
    tar: TarWriter<&'o mut dyn Write>,
}

impl Archive<'_, '_> {
    fn add(&mut self, located: &Located) -> Result<(), ImageError> {
        let found = &located.entry;
        let mut entry = Entry {
            path: self.renamed(&found.path),
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            mtime: found.mtime,
            mtime_nanos: found.mtime_nanos,
            xattrs: found.xattrs.clone(),
            ..Entry::default()
        };
        entry.kind = match &found.kind {
            TreeKind::Directory { .. } => Kind::Dir,
            TreeKind::File { size } => {
                entry.size = *size;
                Kind::File
            }
            TreeKind::Symlink { target } => {
                entry.target.clone_from(target);
                Kind::Symlink
            }
            TreeKind::Char { major, minor } => Kind::Char {
                major: *major,
                minor: *minor,
            },
            TreeKind::Block { major, minor } => Kind::Block {
                major: *major,
                minor: *minor,
            },
            TreeKind::Fifo => Kind::Fifo,
            TreeKind::Whiteout => return self.hide(&found.path, |name| [b".wh.", name].concat()),
            TreeKind::Socket => return Ok(()),
        };
        if found.links > 1 && entry.kind != Kind::Dir {
            let key = (located.layer, found.inode);
            if let Some(first) = self.links.get(&key) {
                entry.target.clone_from(first);
                (entry.kind, entry.size) = (Kind::Hardlink, 0);
                entry.xattrs.clear();
            } else {
                self.links.insert(key, entry.path.clone());
            }
        }
        match entry.kind {
            Kind::File => self.tar.entry(&entry, &mut self.view.open(located)?),
            _ => self.tar.entry(&entry, &mut io::empty()),
        }
        .map_err(broken)?;
        if found.kind == (TreeKind::Directory { opaque: true }) {
            let inside = [found.path.as_slice(), b"/"].concat();
            return self.hide(if found.path.is_empty() { b"" } else { &inside }, |_| {
                b".wh..wh..opq".to_vec()
            });
        }
        Ok(())
    }

    /// Writes that a path (ending in a slash: what is in it) is nothing any more, if there is something below.
    fn hide(&mut self, path: &[u8], mark: impl Fn(&[u8]) -> Vec<u8>) -> Result<(), ImageError> {
        let Some(below) = self.below else { return Ok(()) };
        if below.find(path.strip_suffix(b"/").unwrap_or(path))?.is_none() {
            return Ok(());
        }
        let name = path
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        let entry = Entry {
            path: [&path[..name], &mark(&path[name..])].concat(),
            ..Entry::default()
        };
        self.tar.entry(&entry, &mut io::empty()).map_err(broken)
    }

    fn renamed(&self, path: &[u8]) -> Vec<u8> {
        let rest = path[self.strip..]
            .strip_prefix(b"/")
            .unwrap_or(&path[self.strip..]);
        match (self.name, rest) {
            (b"", rest) => rest.to_vec(),
            (name, b"") => name.to_vec(),
            (name, rest) => [name, b"/", rest].concat(),
        }
    }
}

fn broken(error: havre_oci::layer::LayerError) -> ImageError {
    match error {
        havre_oci::layer::LayerError::Write(error) => ImageError::Output(error),
        havre_oci::layer::LayerError::Read(error) => super::remote::unwrapped(error, ImageError::Input),
        error => ImageError::Output(io::Error::other(error)),
    }
}
