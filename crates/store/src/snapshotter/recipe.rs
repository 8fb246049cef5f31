//! The recipe of a layer: everything of its archive but the files' contents, which are in the tree or the image.
//!
//! `recipe.zst` is one zstd frame of records, then an uncompressed table, its length, and a mark:
//!
//! ```text
//! 01 len bytes…             bytes of the archive as they are: headers, padding, the end
//! 02 len pathlen path…      here come the `len` bytes of the file `path` (directories)
//! 03 len offset             here come the `len` bytes at `offset` of `layer.erofs` (aligned images)
//! 04 len offset pathlen path…  here come the `len` bytes at `offset` of the file `path` (directories)
//! 05 len offset             nothing: the `len` bytes at `offset` of `layer.erofs` are zeros of a sparse file (aligned images)
//! 00 total                  the end: size of the archive
//! --- table: for every path that a later entry took, in order ---
//! seq pathlen path…         what files 0 … seq-1 found at or under `path` is now in `moved/<line of the table>`
//! u32 LE length of the table, "HVR1"
//! ```
//! Numbers are LEB128. Paths are relative to the tree's root, free of links and dots.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{FS, IMAGE, RECIPE};
use crate::{Result, StoreError};

/// Files whose path was taken by a later entry of the archive.
pub(crate) const MOVED: &str = "moved";

const RAW: u8 = 1;
const PAYLOAD: u8 = 2;
const EXTENT: u8 = 3;
const PART: u8 = 4;
const ZEROS: u8 = 5;
const END: u8 = 0;
const MARK: &[u8; 4] = b"HVR1";
/// Raw bytes are gathered to records of about this size.
const RECORD: usize = 64 << 10;

/// A path that was taken by a later entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    /// How many payloads were recorded before.
    pub(super) seq: u64,
    pub(super) path: Vec<u8>,
}

impl Taken {
    /// Where a payload recorded at `path` as number `seq` is beneath `moved/<n>`, if this took it.
    fn rest<'a>(&self, seq: u64, path: &'a [u8]) -> Option<&'a [u8]> {
        if seq >= self.seq {
            return None;
        }
        match path.strip_prefix(self.path.as_slice())? {
            b"" => Some(b""),
            rest => rest.strip_prefix(b"/"),
        }
    }
}

/// Writes a recipe.
pub(super) struct RecipeWriter {
    path: PathBuf,
    output: zstd::Encoder<'static, fs::File>,
    pending: Vec<u8>,
    record: Vec<u8>,
    total: u64,
    payloads: u64,
}

impl RecipeWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = fs::File::create(path).map_err(StoreError::at("create", path))?;
        let output = zstd::Encoder::new(file, 1).map_err(StoreError::at("write", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            output,
            pending: Vec::with_capacity(2 * RECORD),
            record: Vec::new(),
            total: 0,
            payloads: 0,
        })
    }

    /// How many payloads were recorded.
    pub(super) fn payloads(&self) -> u64 {
        self.payloads
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.total += bytes.len() as u64;
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= RECORD {
            self.flush()
        } else {
            Ok(())
        }
    }

    pub(super) fn payload(&mut self, length: u64, path: &[u8]) -> Result<()> {
        self.flush()?;
        self.total += length;
        self.payloads += 1;
        self.record.clear();
        self.record.push(PAYLOAD);
        number(length, &mut self.record);
        number(path.len() as u64, &mut self.record);
        self.record.extend_from_slice(path);
        self.output
            .write_all(&self.record)
            .map_err(StoreError::at("write", &self.path))
    }

    /// A part of a file's contents, from the byte `offset` of it.
    pub(super) fn part(&mut self, length: u64, offset: u64, path: &[u8]) -> Result<()> {
        self.flush()?;
        self.total += length;
        self.payloads += 1;
        self.record.clear();
        self.record.push(PART);
        number(length, &mut self.record);
        number(offset, &mut self.record);
        number(path.len() as u64, &mut self.record);
        self.record.extend_from_slice(path);
        self.output
            .write_all(&self.record)
            .map_err(StoreError::at("write", &self.path))
    }

    /// Contents that are in the image.
    pub(super) fn extent(&mut self, length: u64, offset: u64) -> Result<()> {
        self.total += length;
        self.in_image(EXTENT, length, offset)
    }

    /// Zeros of the image that are contents, but not stored in the archive.
    pub(super) fn zeros(&mut self, length: u64, offset: u64) -> Result<()> {
        self.in_image(ZEROS, length, offset)
    }

    fn in_image(&mut self, kind: u8, length: u64, offset: u64) -> Result<()> {
        self.flush()?;
        self.record.clear();
        self.record.push(kind);
        number(length, &mut self.record);
        number(offset, &mut self.record);
        self.output
            .write_all(&self.record)
            .map_err(StoreError::at("write", &self.path))
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.record.clear();
        self.record.push(RAW);
        number(self.pending.len() as u64, &mut self.record);
        let written = self
            .output
            .write_all(&self.record)
            .and_then(|()| self.output.write_all(&self.pending));
        self.pending.clear();
        written.map_err(StoreError::at("write", &self.path))
    }

    /// Completes the file; the size of the archive.
    pub(super) fn finish(mut self, taken: &[Taken]) -> Result<u64> {
        self.flush()?;
        let mut end = vec![END];
        number(self.total, &mut end);
        let mut table = Vec::new();
        for taken in taken {
            number(taken.seq, &mut table);
            number(taken.path.len() as u64, &mut table);
            table.extend_from_slice(&taken.path);
        }
        let length = u32::try_from(table.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
        let path = &self.path;
        let length = length.map_err(StoreError::at("write", path))?;
        table.extend_from_slice(&length.to_le_bytes());
        table.extend_from_slice(MARK);
        let written = (self.output.write_all(&end))
            .and_then(|()| self.output.finish())
            .and_then(|mut file| file.write_all(&table));
        written.map_err(StoreError::at("write", path))?;
        Ok(self.total)
    }
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_number(input: &mut impl Read) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn read_path(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = read_number(input)?;
    if length > 64 << 10 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut path = vec![0; length as usize];
    input.read_exact(&mut path)?;
    Ok(path)
}

/// Rebuilds an archive: reads as the archive does.
pub(super) struct Rebuild {
    recipe: BufReader<zstd::Decoder<'static, BufReader<fs::File>>>,
    contents: Contents,
    /// The layer's directory.
    layer: PathBuf,
    payloads: u64,
    written: u64,
    state: State,
}

/// Where the contents of files are.
enum Contents {
    Tree {
        tree: fs::File,
        moved: Option<fs::File>,
        taken: Vec<Taken>,
    },
    Image(fs::File),
}

enum State {
    Raw(u64),
    Payload {
        file: std::fs::File,
        path: Vec<u8>,
        left: u64,
    },
    Extent {
        offset: u64,
        left: u64,
    },
    End,
}

impl Rebuild {
    /// Of a layer that is a directory.
    pub(super) fn of_directory(layer: &Path) -> Result<Self> {
        let moved = layer.join(MOVED);
        let moved = match fs::File::open(&moved) {
            Ok(dir) => Some(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("open", moved, error)),
        };
        let tree = layer.join(FS);
        let tree = fs::File::open(&tree).map_err(StoreError::at("open", &tree))?;
        Self::open(layer, |taken| Contents::Tree { tree, moved, taken })
    }

    /// Of a layer that is an aligned image.
    pub(super) fn of_image(layer: &Path) -> Result<Self> {
        let image = layer.join(IMAGE);
        let image = fs::File::open(&image).map_err(StoreError::at("open", &image))?;
        Self::open(layer, |_| Contents::Image(image))
    }

    fn open(layer: &Path, contents: impl FnOnce(Vec<Taken>) -> Contents) -> Result<Self> {
        let path = layer.join(RECIPE);
        let corrupt = |_| StoreError::Corrupt {
            path: path.clone(),
            reason: "it is not a recipe".into(),
        };
        let mut file = fs::File::open(&path).map_err(StoreError::at("open", &path))?;
        let taken = read_table(&mut file).map_err(corrupt)?;
        file.seek(SeekFrom::Start(0))
            .map_err(StoreError::at("read", &path))?;
        let recipe = zstd::Decoder::new(file).map_err(corrupt)?.single_frame();
        Ok(Self {
            recipe: BufReader::with_capacity(RECORD, recipe),
            contents: contents(taken),
            layer: layer.to_path_buf(),
            payloads: 0,
            written: 0,
            state: State::Raw(0),
        })
    }

    fn corrupt(&self, name: &str, path: &[u8], reason: &str) -> io::Error {
        let path = self.layer.join(name).join(std::ffi::OsStr::from_bytes(path));
        io::Error::new(
            io::ErrorKind::InvalidData,
            StoreError::Corrupt {
                path,
                reason: reason.to_owned(),
            },
        )
    }

    /// Reads the next record's head.
    fn advance(&mut self) -> io::Result<State> {
        let mut kind = [0];
        self.recipe.read_exact(&mut kind)?;
        match (kind[0], &self.contents) {
            (RAW, _) => Ok(State::Raw(read_number(&mut self.recipe)?)),
            (PAYLOAD, Contents::Tree { .. }) => {
                let left = read_number(&mut self.recipe)?;
                let path = read_path(&mut self.recipe)?;
                let file = self.payload(&path)?;
                self.payloads += 1;
                Ok(State::Payload { file, path, left })
            }
            (PART, Contents::Tree { .. }) => {
                let left = read_number(&mut self.recipe)?;
                let offset = read_number(&mut self.recipe)?;
                let path = read_path(&mut self.recipe)?;
                let mut file = self.payload(&path)?;
                file.seek(SeekFrom::Start(offset))?;
                self.payloads += 1;
                Ok(State::Payload { file, path, left })
            }
            (ZEROS, Contents::Image(_)) => {
                let len = read_number(&mut self.recipe)?;
                let offset = read_number(&mut self.recipe)?;
                self.check_zeros(len, offset)?;
                Ok(State::Raw(0))
            }
            (EXTENT, Contents::Image(_)) => Ok(State::Extent {
                left: read_number(&mut self.recipe)?,
                offset: read_number(&mut self.recipe)?,
            }),
            (END, _) if read_number(&mut self.recipe)? == self.written => Ok(State::End),
            _ => Err(self.corrupt(RECIPE, b"", "it doesn't say what a recipe may")),
        }
    }

    fn check_zeros(&self, mut len: u64, mut offset: u64) -> io::Result<()> {
        let Contents::Image(image) = &self.contents else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut buffer = vec![0; RECORD];
        while len > 0 {
            let wanted = RECORD.min(usize::try_from(len).unwrap_or(RECORD));
            let read = image.file().read_at(&mut buffer[..wanted], offset)?;
            if read == 0 {
                return Err(self.corrupt(IMAGE, b"", "it is shorter than it was"));
            }
            if buffer[..read].iter().any(|byte| *byte != 0) {
                return Err(self.corrupt(IMAGE, b"", "a hole of a sparse file is filled"));
            }
            offset += read as u64;
            len -= read as u64;
        }
        Ok(())
    }

    fn payload(&self, path: &[u8]) -> io::Result<std::fs::File> {
        let Contents::Tree { tree, moved, taken } = &self.contents else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        // A moved tree stays where it was moved: the first line that fits is the place.
        let taken = taken
            .iter()
            .enumerate()
            .find_map(|(n, taken)| Some((n, taken.rest(self.payloads, path)?)));
        let (dir, name) = match (taken, moved) {
            (None, _) => (tree, path.to_vec()),
            (Some((n, rest)), Some(moved)) => {
                let mut name = n.to_string().into_bytes();
                if !rest.is_empty() {
                    name.push(b'/');
                    name.extend_from_slice(rest);
                }
                (moved, name)
            }
            (Some(_), None) => {
                return Err(self.corrupt(FS, path, "its layer lost the directory of moved files"));
            }
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOATIME;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(dir.file(), name.as_slice(), flags, Mode::empty(), resolve);
        file.map(std::fs::File::from)
            .map_err(|errno| self.corrupt(FS, path, &format!("cannot open it: {errno}")))
    }
}

impl Read for Rebuild {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let room = buf.len();
            let wanted = |left: u64| room.min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match &mut self.state {
                State::End => return Ok(0),
                State::Raw(0) | State::Payload { left: 0, .. } | State::Extent { left: 0, .. } => {
                    self.state = self.advance()?;
                    continue;
                }
                State::Raw(left) => {
                    let read = self.recipe.read(&mut buf[..wanted(*left)])?;
                    if read == 0 {
                        return Err(self.corrupt(RECIPE, b"", "it is cut off"));
                    }
                    *left -= read as u64;
                    read
                }
                State::Payload { file, path, left } => {
                    let read = file.read(&mut buf[..wanted(*left)])?;
                    if read == 0 {
                        let path = std::mem::take(path);
                        return Err(self.corrupt(FS, &path, "it is shorter than it was"));
                    }
                    *left -= read as u64;
                    read
                }
                State::Extent { offset, left } => {
                    let wanted = wanted(*left);
                    let read = match &self.contents {
                        Contents::Image(image) => image.file().read_at(&mut buf[..wanted], *offset)?,
                        Contents::Tree { .. } => 0,
                    };
                    if read == 0 {
                        return Err(self.corrupt(IMAGE, b"", "it is shorter than it was"));
                    }
                    *offset += read as u64;
                    *left -= read as u64;
                    read
                }
            };
            self.written += read as u64;
            return Ok(read);
        }
    }
}

fn read_table(file: &mut fs::File) -> io::Result<Vec<Taken>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let length = file.seek(SeekFrom::End(-8))?;
    let mut tail = [0; 8];
    file.read_exact(&mut tail)?;
    let [a, b, c, d, mark @ ..] = tail;
    let table = u64::from(u32::from_le_bytes([a, b, c, d]));
    if mark != *MARK || table > length {
        return Err(invalid());
    }
    file.seek(SeekFrom::Start(length - table))?;
    let mut bytes = vec![0; table as usize];
    file.read_exact(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut taken = Vec::new();
    while !rest.is_empty() {
        taken.push(Taken {
            seq: read_number(&mut rest)?,
            path: read_path(&mut rest)?,
        });
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path();
        fs::create_dir_all(layer.join("fs/a")).unwrap();
        fs::create_dir_all(layer.join("moved/0/x")).unwrap();
        fs::write(layer.join("fs/a/file"), "new").unwrap();
        fs::write(layer.join("moved/0/x/file"), "old").unwrap();
        let mut recipe = RecipeWriter::create(&layer.join(RECIPE)).unwrap();
        recipe.raw(b"<").unwrap();
        recipe.payload(3, b"a/x/file").unwrap();
        recipe.raw(b"|").unwrap();
        let taken = Taken {
            seq: recipe.payloads(),
            path: b"a".to_vec(),
        };
        recipe.payload(3, b"a/file").unwrap();
        recipe.raw(&vec![b'>'; 3 * RECORD]).unwrap();
        assert_eq!(recipe.finish(&[taken]).unwrap(), 8 + 3 * RECORD as u64);
        let mut archive = String::new();
        Rebuild::of_directory(layer)
            .unwrap()
            .read_to_string(&mut archive)
            .unwrap();
        assert_eq!(archive, format!("<old|new{}", ">".repeat(3 * RECORD)));
    }

    #[test]
    fn a_shortened_file_and_a_damaged_recipe_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path();
        fs::create_dir(layer.join("fs")).unwrap();
        fs::write(layer.join("fs/file"), "12").unwrap();
        let mut recipe = RecipeWriter::create(&layer.join(RECIPE)).unwrap();
        recipe.payload(3, b"file").unwrap();
        recipe.finish(&[]).unwrap();
        let error = io::copy(&mut Rebuild::of_directory(layer).unwrap(), &mut io::sink()).unwrap_err();
        assert!(
            error.to_string().contains("fs/file is damaged: it is shorter"),
            "{error}"
        );
        let text = fs::read(layer.join(RECIPE)).unwrap();
        fs::write(layer.join(RECIPE), &text[..text.len() - 1]).unwrap();
        assert!(matches!(
            Rebuild::of_directory(layer),
            Err(StoreError::Corrupt { .. })
        ));
    }
}
