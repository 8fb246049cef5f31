//! The files of one log: the current one, `path.1` (newest) to `path.n`, each possibly packed (`path.n.gz`).

use std::collections::VecDeque;
use std::io::{self, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use flate2::read::MultiGzDecoder;
use fs_err as fs;

/// More rotated files than anybody configures.
const MAX_FILES: u32 = 1000;

/// The rotated file `number`; the current one is 0.
pub(crate) fn numbered(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => path.to_owned(),
        number => with_ending(path, &format!(".{number}")),
    }
}

/// A file when it is packed.
pub(crate) fn packed(path: &Path) -> PathBuf {
    with_ending(path, ".gz")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

pub(super) fn inode(metadata: &std::fs::Metadata) -> u64 {
    metadata.ino()
}

/// A file of a log.
pub(super) enum Source {
    Plain(fs::File),
    Packed(fs::File),
}

impl Source {
    /// As a file that can be read from anywhere: a packed one is unpacked to a file without a name.
    pub(super) fn plain(self) -> io::Result<fs::File> {
        let packed = match self {
            Source::Plain(file) => return Ok(file),
            Source::Packed(file) => file,
        };
        let path = packed.path().to_owned();
        let directory = path.parent().unwrap_or(Path::new("."));
        let unnamed = rustix::fs::open(
            directory,
            rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )?;
        let mut plain = fs::File::from_parts(std::fs::File::from(unnamed), &path);
        match io::copy(&mut MultiGzDecoder::new(packed), &mut plain) {
            Ok(_) => {}
            // One that lost its end is read as far as it goes.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
                ) => {}
            Err(error) => return Err(error),
        }
        plain.rewind()?;
        Ok(plain)
    }

    fn open(path: &Path, number: u32) -> io::Result<Option<Self>> {
        let path = numbered(path, number);
        // Packing makes the second before it removes the first, so one of them is always seen.
        for (path, wrap) in [
            (path.clone(), Source::Plain as fn(fs::File) -> Source),
            (packed(&path), Source::Packed),
        ] {
            match fs::File::open(path) {
                Ok(file) => return Ok(Some(wrap(file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The inode it has, or had before it was packed: who still reads that knows it again.
    fn inode(&mut self) -> io::Result<u64> {
        match self {
            Source::Plain(file) => Ok(inode(&file.metadata()?)),
            Source::Packed(file) => {
                let before = original(file);
                file.rewind()?;
                Ok(before.unwrap_or(0))
            }
        }
    }
}

/// The field of a gzip header that has the inode.
const FIELD: [u8; 4] = [b'h', b'v', 8, 0];

/// What the header of a packed file says of the one it was made from.
pub(crate) fn origin(inode: u64) -> Vec<u8> {
    [&FIELD[..], &inode.to_le_bytes()].concat()
}

fn original(packed: &mut fs::File) -> Option<u64> {
    let decoder = GzDecoder::new(io::BufReader::with_capacity(512, packed));
    let field = decoder.header()?.extra()?.strip_prefix(&FIELD)?;
    Some(u64::from_le_bytes(*field.first_chunk()?))
}

/// The files newer than the one with inode `after`, oldest first.
pub(super) fn open(path: &Path, after: Option<u64>) -> io::Result<VecDeque<Source>> {
    let mut files: Vec<(u64, Source)> = Vec::new();
    let mut missing = 0;
    for number in 0..MAX_FILES {
        let Some(mut source) = Source::open(path, number)? else {
            // A rotation renames from the oldest on: one number is nobody's for a moment.
            missing += 1;
            if missing > 1 {
                break;
            }
            continue;
        };
        missing = 0;
        let inode = source.inode()?;
        if Some(inode) == after {
            break;
        }
        // A rotation while we look shows a file twice; 0 is nobody's.
        if inode == 0 || files.iter().all(|(seen, _)| *seen != inode) {
            files.push((inode, source));
        }
    }
    Ok(files.into_iter().rev().map(|(_, source)| source).collect())
}
