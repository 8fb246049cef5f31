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

/// Which file it is, whatever it is called and whether it is packed: inode and birth in nanoseconds since 1970, for inodes are
/// used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Identity {
    inode: u64,
    born: u64,
}

impl Identity {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
        Self {
            inode: metadata.ino(),
            born: born.map_or(0, |born| u64::try_from(born.as_nanos()).unwrap_or(0)),
        }
    }

    /// As the header of a packed file has it.
    pub(crate) fn field(self) -> Vec<u8> {
        [&FIELD[..], &self.inode.to_le_bytes(), &self.born.to_le_bytes()].concat()
    }

    fn of_packed(packed: &mut fs::File) -> Option<Self> {
        let decoder = GzDecoder::new(io::BufReader::with_capacity(512, packed));
        let numbers = decoder.header()?.extra()?.strip_prefix(&FIELD)?;
        Some(Self {
            inode: u64::from_le_bytes(*numbers.first_chunk()?),
            born: u64::from_le_bytes(*numbers.get(8..)?.first_chunk()?),
        })
    }
}

/// The field of a gzip header that has the identity: its name, and the length of what follows.
const FIELD: [u8; 4] = [b'h', b'v', 16, 0];

/// A file of a log, and which it is.
pub(super) struct Opened {
    pub(super) file: fs::File,
    pub(super) identity: Option<Identity>,
}

/// A file of a log, not yet unpacked.
pub(super) struct Source {
    file: fs::File,
    identity: Option<Identity>,
    packed: bool,
}

impl From<Opened> for Source {
    fn from(Opened { file, identity }: Opened) -> Self {
        Self {
            file,
            identity,
            packed: false,
        }
    }
}

impl Source {
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// As a file that can be read from anywhere: a packed one is unpacked to a file without a name.
    pub(super) fn plain(self) -> io::Result<Opened> {
        let Self {
            file,
            identity,
            packed,
        } = self;
        if !packed {
            return Ok(Opened { file, identity });
        }
        let path = file.path().to_owned();
        let directory = path.parent().unwrap_or(Path::new("."));
        let unnamed = rustix::fs::open(
            directory,
            rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )?;
        let mut plain = fs::File::from_parts(std::fs::File::from(unnamed), &path);
        match io::copy(&mut MultiGzDecoder::new(file), &mut plain) {
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
        Ok(Opened {
            file: plain,
            identity,
        })
    }

    fn open(path: &Path, number: u32) -> io::Result<Option<Self>> {
        let path = numbered(path, number);
        // Packing makes the second before it removes the first, so one of them is always seen.
        for (path, packed) in [(path.clone(), false), (packed(&path), true)] {
            let mut file = match fs::File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let identity = match packed {
                false => Some(Identity::of(&file.metadata()?)),
                true => {
                    let identity = Identity::of_packed(&mut file);
                    file.rewind()?;
                    identity
                }
            };
            return Ok(Some(Self {
                file,
                identity,
                packed,
            }));
        }
        Ok(None)
    }
}

/// The files newer than `after`, oldest first.
pub(super) fn open(path: &Path, after: Option<Identity>) -> io::Result<VecDeque<Source>> {
    let mut files: Vec<Source> = Vec::new();
    let mut missing = 0;
    for number in 0..MAX_FILES {
        let Some(source) = Source::open(path, number)? else {
            // A rotation renames from the oldest on: one number is nobody's for a moment.
            missing += 1;
            if missing > 1 {
                break;
            }
            continue;
        };
        missing = 0;
        if after.is_some() && source.identity == after {
            break;
        }
        // A rotation while we look shows a file twice.
        let seen = |other: &Source| source.identity.is_some() && other.identity == source.identity;
        if !files.iter().any(seen) {
            files.push(source);
        }
    }
    Ok(files.into_iter().rev().collect())
}
