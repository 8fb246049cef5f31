//! One thing in a layer.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::path::{self, Problem};
use super::{LayerError, Stored, pax};

/// A validated entry. Texts are bytes, as Linux has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the layer's root, `/` between components, none of them empty, `.` or `..`; empty for the root itself.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Where a symbolic link points (any text), or the [`path`](Self::path) a hard link shares; empty for other kinds.
    pub target: Vec<u8>,
    /// Permission, set-id and sticky bits: at most `0o7777`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970; may be negative.
    pub mtime: i64,
    /// 0 to 999 999 999, added to [`mtime`](Self::mtime).
    pub mtime_nanos: u32,
    /// Bytes of a file, holes included; 0 for everything else.
    pub size: u64,
    /// Which pieces of a sparse file the archive stores, in order and apart from each other. [`None`]: all of it.
    pub stored: Option<Vec<Stored>>,
    /// Names and values of extended attributes. Overlay's own (`trusted.overlay.*`, `user.overlay.*`) are never here: they
    /// would let a layer speak to the file system.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub class: Class,
}

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    #[default]
    File,
    Dir,
    Symlink,
    Hardlink,
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// What an entry means in a layer (OCI image specification, layer.md, "Whiteouts").
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// Adds or replaces [`Entry::path`].
    #[default]
    Normal,
    /// Removes the named path, which lower layers have.
    Whiteout { path: Vec<u8> },
    /// Hides everything lower layers have in the named directory (empty: the root).
    Opaque { dir: Vec<u8> },
    /// Book-keeping of aufs (`.wh..wh.plnk` and the like): to be left out.
    Metadata,
}

impl Entry {
    /// Bytes of its contents that the archive stores.
    pub fn stored_size(&self) -> u64 {
        match &self.stored {
            None => self.size,
            Some(pieces) => pieces.iter().map(|piece| piece.len).sum(),
        }
    }

    /// Gives it the name an archive writes, and the meaning that has in a layer, or none if names are `plain`. Names that lead
    /// out of the layer are refused.
    pub(super) fn set_path(&mut self, name: &[u8], plain: bool) -> Result<(), LayerError> {
        let refused = |problem| {
            let path = LayerError::show(name);
            match problem {
                Problem::Outside => LayerError::Outside { path },
                Problem::Invalid(what) => LayerError::Path { path, what },
            }
        };
        path::clean(name, &mut self.path).map_err(refused)?;
        if self.path.is_empty() && self.kind != Kind::Dir {
            return Err(refused(Problem::Invalid(
                "stands for the root but is no directory",
            )));
        }
        self.class = match plain {
            true => Class::Normal,
            false => path::classify(&self.path).map_err(refused)?,
        };
        Ok(())
    }

    /// Gives a link, whose kind and path are set, the target an archive writes; other kinds have none.
    pub(super) fn set_target(&mut self, target: &[u8]) -> Result<(), LayerError> {
        self.target.clear();
        if !matches!(self.kind, Kind::Symlink | Kind::Hardlink) || self.class != Class::Normal {
            return Ok(());
        }
        let path = || LayerError::show(&self.path);
        if self.kind == Kind::Symlink {
            if target.is_empty() || target.len() >= 4096 || target.contains(&0) {
                return Err(LayerError::Path {
                    path: path(),
                    what: "is a symbolic link to nowhere",
                });
            }
            self.target.extend_from_slice(target);
            return Ok(());
        }
        let outside = || LayerError::LinkOutside {
            path: path(),
            target: LayerError::show(target),
        };
        path::clean(target, &mut self.target).map_err(|problem| match problem {
            Problem::Outside => outside(),
            Problem::Invalid(what) => LayerError::Path {
                path: LayerError::show(target),
                what,
            },
        })?;
        if self.target.is_empty() {
            Err(outside())
        } else {
            Ok(())
        }
    }

    /// Gives it names and attributes as a table of contents writes them, with the meaning and the limits they have in an archive.
    /// Its kind is set.
    pub fn describe<'a>(
        &mut self,
        name: &[u8],
        target: &[u8],
        xattrs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LayerError> {
        self.set_path(name, false)?;
        self.set_target(target)?;
        self.xattrs.clear();
        for (key, value) in xattrs {
            pax::add_xattr(&mut self.xattrs, key, value).map_err(|what| LayerError::Pax {
                path: LayerError::show(name),
                what,
            })?;
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    pub fn target(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.target))
    }
}
