//! An archive into an image, in one pass.
//!
//! The tar form writes the archive as it comes, in the pieces it comes in, and only notes where contents lie. The aligned form
//! writes contents at 4 KiB bounds and the rest into a recipe. Either way the tree is collected meanwhile, its metadata follow
//! the data, and the superblock, which makes a file system of it, is written last. Of sparse files the tar form appends to the
//! archive what cannot be pointed to where it lies ([`sparse`](super::sparse)).
//!
//! A tree that needs more memory than it may have is given up. The archive is then read and written to its end all the same:
//! from what was written something else can be made.

use std::io::{self, BufRead, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_erofs::{BlockSize, DATA_START, DeviceKind, ErofsError, Layout, Metadata, Node, Options, Tree};
use havre_oci::Digester;
use havre_oci::layer::{Class, Entry, Kind, Piece, Reader};

use super::sparse::{Appended, Plan, TooManyParts};
use crate::snapshotter::recipe::RecipeWriter;
use crate::snapshotter::recorded;
use crate::snapshotter::{FS, Form, IMAGE, LayerFile, RECIPE, Unpacked, archive_error, archive_limits};
use crate::{ApplyError, Limits, Result, StoreError};

/// Pieces written at once.
const PIECE: usize = 256 << 10;

/// What became of an archive.
pub(super) enum Written {
    /// A file system.
    Image(Unpacked),
    /// Too many names and attributes for one: the data are there, in the tar form as the archive, in the aligned form with the
    /// recipe; nothing else.
    Outgrown { tar_size: u64 },
}

/// Writes one layer.
pub(super) struct ImageWriter {
    staged: PathBuf,
    path: PathBuf,
    file: fs::File,
    block: BlockSize,
    /// `None` once it was given up.
    tree: Option<Tree>,
    entries: u64,
    appended: Appended,
    /// What is done to an entry before it is put into the tree.
    change: fn(&mut Entry) -> Result<(), ApplyError>,
    /// Names have no meaning.
    plain: bool,
}

impl ImageWriter {
    /// `memory`: bytes the tree may take.
    pub(super) fn create(staged: &Path, block: BlockSize, memory: u64) -> Result<Self> {
        let mount_point = staged.join(FS);
        fs::create_dir(&mount_point).map_err(StoreError::at("create", &mount_point))?;
        let path = staged.join(IMAGE);
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        let options = Options { block, memory };
        Ok(Self {
            staged: staged.to_path_buf(),
            file: file.map_err(StoreError::at("create", &path))?,
            path,
            block,
            tree: Some(Tree::new(options)),
            entries: 0,
            appended: Appended::default(),
            change: |_| Ok(()),
            plain: false,
        })
    }

    /// For an archive that is no layer: names have no meaning, and every entry can be changed, or refused, before it is put
    /// into the tree.
    pub(super) fn plain(mut self, change: fn(&mut Entry) -> Result<(), ApplyError>) -> Self {
        self.change = change;
        self.plain = true;
        self
    }

    pub(super) fn write(self, tar: &mut dyn BufRead, limits: &Limits) -> Result<Written, ApplyError> {
        match self.block {
            BlockSize::B512 => self.write_tar(tar, limits),
            BlockSize::B4096 => self.write_aligned(tar, limits),
        }
    }

    fn write_tar(mut self, tar: &mut dyn BufRead, limits: &Limits) -> Result<Written, ApplyError> {
        let mut tee = Tee {
            input: tar,
            file: &self.file,
            end: DATA_START,
            ahead: 0,
            failure: None,
        };
        let mut read = || -> Result<u64, ApplyError> {
            let reader = Reader::new(&mut tee, archive_limits(limits), |_| Ok(()));
            let mut reader = reader.with_plain_names(self.plain);
            let mut entry = Entry::default();
            while reader.next_entry(&mut entry).map_err(archive_error)? {
                self.entries += 1;
                (self.change)(&mut entry)?;
                let there = DATA_START + reader.position();
                if self.tree.is_none() {
                    continue;
                }
                match self.appended.plan(&entry, there) {
                    Ok(plan) => put(&mut self.tree, &entry, there, plan.as_ref())?,
                    Err(TooManyParts) => self.tree = None,
                }
            }
            let (_, length) = reader.finish().map_err(archive_error)?;
            Ok(length)
        };
        let done = read();
        // A failure to write is what the reader of the archive met.
        if let Some(error) = tee.failure {
            return Err(StoreError::io("write", &self.path, error).into());
        }
        let tar_size = done?;
        self.finish(DATA_START + tar_size, tar_size)
    }

    fn write_aligned(mut self, tar: &mut dyn BufRead, limits: &Limits) -> Result<Written, ApplyError> {
        let recipe = RecipeWriter::create(&self.staged.join(RECIPE))?;
        let mut data = Data {
            path: &self.path,
            output: BufWriter::with_capacity(PIECE, At::new(&self.file, DATA_START)),
            end: DATA_START,
        };
        let recipe = recorded::read(tar, recipe, limits, self.plain, |entry, recipe, contents| {
            self.entries += 1;
            (self.change)(entry)?;
            if entry.kind != Kind::File || entry.class != Class::Normal || entry.size == 0 {
                return put(&mut self.tree, entry, 0, None);
            }
            let start = data.begin(self.block)?;
            let Some(stored) = &entry.stored else {
                put(&mut self.tree, entry, start, None)?;
                recipe.borrow_mut().extent(entry.size, start)?;
                while let Some(piece) = contents.next()? {
                    data.put(piece)?;
                }
                return Ok(());
            };
            let plan = Plan::new(entry.size, stored, self.block, None, start);
            put(&mut self.tree, entry, start, Some(&plan))?;
            let mut recipe = recipe.borrow_mut();
            for part in &plan.copies {
                recipe.extent(part.len, start + part.to)?;
            }
            for (offset, len) in plan.zeros() {
                recipe.zeros(len, start + offset)?;
            }
            drop(recipe);
            let mut parts = plan.copies.iter();
            let mut left = 0;
            while let Some(piece) = contents.next()? {
                let Piece::Data(mut bytes) = piece else { continue };
                while !bytes.is_empty() {
                    if left == 0
                        && let Some(part) = parts.next()
                    {
                        data.skip_to(start + part.to)?;
                        left = part.len;
                    }
                    let (now, later) =
                        bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    data.write(now)?;
                    left -= now.len() as u64;
                    bytes = later;
                }
            }
            data.skip_to(start + plan.copied)?;
            Ok(())
        })?;
        let data_end = data.finish()?;
        let tar_size = recipe.finish(&[])?;
        self.finish(data_end, tar_size)
    }

    /// Writes what comes after the data, and before.
    fn finish(self, data_end: u64, tar_size: u64) -> Result<Written, ApplyError> {
        let Self {
            path,
            file,
            block,
            tree,
            entries,
            appended,
            ..
        } = self;
        let failed = |error| StoreError::io("write", &path, error);
        let layout = match tree.map(|tree| Layout::new(tree, data_end)) {
            Some(Ok(layout)) => layout,
            None | Some(Err(ErofsError::Memory { .. })) => return Ok(Written::Outgrown { tar_size }),
            Some(Err(error)) => return Err(refused(&path, error)),
        };
        let size = layout.file_bytes();
        let mut digester = Digester::sha256();
        append(
            &file,
            &appended,
            layout.appended()..layout.offset(),
            &mut digester,
        )
        .map_err(failed)?;
        let mut output = Hashing {
            output: BufWriter::with_capacity(PIECE, At::new(&file, layout.offset())),
            digester,
        };
        layout
            .write_metadata(&mut output)
            .map_err(|error| refused(&path, error))?;
        output.output.flush().map_err(failed)?;
        let mut digester = output.digester;
        // The same layer gets the same bytes.
        let mut uuid = [0; 16];
        for (byte, pair) in uuid
            .iter_mut()
            .zip(digester.clone().finish().hex().as_bytes().chunks(2))
        {
            let digits = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
        let superblock = layout.superblock(uuid);
        digester.update(&superblock);
        file.file().write_all_at(&superblock, 0).map_err(failed)?;
        let described = LayerFile {
            size: layout.size(),
            metadata_offset: layout.appended(),
            metadata: digester.finish(),
        };
        Ok(Written::Image(Unpacked {
            form: match block {
                BlockSize::B512 => Form::Tar(described),
                BlockSize::B4096 => Form::Aligned(described),
            },
            size,
            tar_size,
            entries,
        }))
    }
}

/// Puts together in the `range` of the image, which is behind the data, what is copied there, and hashes it.
fn append(
    file: &fs::File,
    appended: &Appended,
    range: std::ops::Range<u64>,
    digester: &mut Digester,
) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    file.file().set_len(range.end)?;
    let mut buffer = vec![0; PIECE];
    let mut pass = |from: u64, len: u64, each: &mut dyn FnMut(&[u8], u64) -> io::Result<()>| {
        let mut done = 0;
        while done < len {
            let room = PIECE.min(usize::try_from(len - done).unwrap_or(PIECE));
            file.file().read_exact_at(&mut buffer[..room], from + done)?;
            each(&buffer[..room], done)?;
            done += room as u64;
        }
        Ok::<(), io::Error>(())
    };
    for part in &appended.parts {
        pass(part.from, part.len, &mut |bytes, done| {
            file.file().write_all_at(bytes, range.start + part.to + done)
        })?;
    }
    pass(range.start, range.end - range.start, &mut |bytes, _| {
        digester.update(bytes);
        Ok(())
    })
}

/// Why an entry isn't in the tree.
pub(super) enum Refused {
    /// The tree would take more memory than it may.
    Memory,
    Entry(ApplyError),
}

impl From<ApplyError> for Refused {
    fn from(error: ApplyError) -> Self {
        Self::Entry(error)
    }
}

/// Puts an entry into the tree, which is given up when it becomes too large.
fn put(tree: &mut Option<Tree>, entry: &Entry, offset: u64, plan: Option<&Plan>) -> Result<(), ApplyError> {
    let Some(grown) = tree else {
        return Ok(());
    };
    match add(grown, entry, offset, plan) {
        Ok(()) => Ok(()),
        Err(Refused::Memory) => {
            *tree = None;
            Ok(())
        }
        Err(Refused::Entry(error)) => Err(error),
    }
}

/// Puts an entry, whose contents are at the byte `offset` of the image or laid out as planned, into the tree.
pub(super) fn add(tree: &mut Tree, entry: &Entry, offset: u64, plan: Option<&Plan>) -> Result<(), Refused> {
    let invalid = |reason: &str| ApplyError::Invalid {
        reason: reason.to_owned(),
    };
    let added = match &entry.class {
        Class::Metadata => Ok(()),
        Class::Opaque { dir } => tree.opaque(dir),
        Class::Whiteout { path } if path.is_empty() => return Err(invalid("a whiteout of the root").into()),
        Class::Whiteout { path } => tree.whiteout(path),
        Class::Normal if entry.path.is_empty() && entry.kind != Kind::Dir => {
            return Err(invalid("the root is not a directory").into());
        }
        Class::Normal => {
            let metadata = Metadata {
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                mtime: entry.mtime,
                mtime_nanos: entry.mtime_nanos,
            };
            let node = match entry.kind {
                Kind::Hardlink => {
                    let linked = tree.link(&entry.path, &entry.target);
                    return linked.map_err(|error| named(entry, error));
                }
                Kind::File => match plan {
                    Some(plan) => Node::Sparse {
                        size: entry.size,
                        chunk: plan.chunk,
                        map: &plan.map,
                    },
                    None => Node::File {
                        offset,
                        size: entry.size,
                    },
                },
                Kind::Dir => Node::Directory,
                Kind::Symlink => Node::Symlink(&entry.target),
                Kind::Char { major, minor } => device(DeviceKind::Char, major, minor),
                Kind::Block { major, minor } => device(DeviceKind::Block, major, minor),
                Kind::Fifo => Node::Fifo,
            };
            tree.add(&entry.path, node, &metadata, &entry.xattrs)
        }
    };
    added.map_err(|error| named(entry, error))
}

fn device(kind: DeviceKind, major: u32, minor: u32) -> Node<'static> {
    Node::Device { kind, major, minor }
}

/// Why an entry can't be, in the words of unpacking it into a directory.
fn named(entry: &Entry, error: ErofsError) -> Refused {
    let path = String::from_utf8_lossy(&entry.path).into_owned();
    let system = |errno: rustix::io::Errno| io::Error::from(errno);
    Refused::Entry(match error {
        ErofsError::DanglingHardLink { .. } => ApplyError::DanglingHardLink {
            path,
            target: String::from_utf8_lossy(&entry.target).into_owned(),
        },
        ErofsError::NotADirectory { .. } => ApplyError::Entry {
            path,
            source: system(rustix::io::Errno::NOTDIR),
        },
        ErofsError::LinkLoop { .. } => ApplyError::Entry {
            path,
            source: system(rustix::io::Errno::LOOP),
        },
        ErofsError::Memory { .. } => return Refused::Memory,
        error => ApplyError::Entry {
            path,
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        },
    })
}

/// Why metadata can't be written.
pub(super) fn refused(path: &Path, error: ErofsError) -> ApplyError {
    match error {
        ErofsError::Write(source) => StoreError::io("write", path, source).into(),
        ErofsError::Memory { limit } => ApplyError::Limit {
            what: "bytes of names and attributes",
            limit,
        },
        error => ApplyError::Invalid {
            reason: error.to_string(),
        },
    }
}

/// Writes what is read through it into the image, piece by piece as the pieces come, so that they are written in their full
/// length and copied only once.
struct Tee<'a> {
    input: &'a mut dyn BufRead,
    file: &'a fs::File,
    /// Where the next piece goes.
    end: u64,
    /// How much of the current piece was written but not read.
    ahead: usize,
    failure: Option<io::Error>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let piece = self.input.fill_buf()?;
        if self.ahead == 0 {
            if let Err(error) = self.file.file().write_all_at(piece, self.end) {
                self.failure = Some(error);
                return Err(io::Error::other("the layer cannot be written"));
            }
            self.end += piece.len() as u64;
            self.ahead = piece.len();
        }
        let length = piece.len().min(buf.len());
        buf[..length].copy_from_slice(&piece[..length]);
        self.input.consume(length);
        self.ahead -= length;
        Ok(length)
    }
}

/// Contents at 4 KiB bounds.
struct Data<'a> {
    path: &'a Path,
    output: BufWriter<At<'a>>,
    end: u64,
}

impl Data<'_> {
    /// Moves on to the next bound, where contents are going to begin.
    fn begin(&mut self, block: BlockSize) -> Result<u64> {
        let start = self.end.next_multiple_of(block.bytes());
        let zeros = [0; 4096];
        let gap = usize::try_from(start - self.end).unwrap_or(0);
        self.write(&zeros[..gap])?;
        Ok(start)
    }

    /// Moves on to a place not written yet; what is between stays zero.
    fn skip_to(&mut self, offset: u64) -> Result<()> {
        if offset != self.end {
            self.output.flush().map_err(StoreError::at("write", self.path))?;
            self.output.get_mut().offset = offset;
            self.end = offset;
        }
        Ok(())
    }

    fn put(&mut self, piece: Piece<'_>) -> Result<()> {
        match piece {
            Piece::Data(bytes) => self.write(bytes),
            Piece::Hole(len) => self.skip_to(self.end + len),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.end += bytes.len() as u64;
        self.output
            .write_all(bytes)
            .map_err(StoreError::at("write", self.path))
    }

    fn finish(mut self) -> Result<u64> {
        self.output.flush().map_err(StoreError::at("write", self.path))?;
        Ok(self.end)
    }
}

/// A place in a file, to write from there on.
pub(super) struct At<'a> {
    file: &'a fs::File,
    offset: u64,
}

impl<'a> At<'a> {
    pub(super) fn new(file: &'a fs::File, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl Write for At<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.file().write_at(bytes, self.offset)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes what is written.
struct Hashing<W> {
    output: W,
    digester: Digester,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.digester.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
