//! What the files of a context directory hashed to, so that an unchanged file is not read again.
//!
//! A digest is remembered with everything the kernel says about the file: device, inode, size, mode, modification and
//! change time. Nobody can set the change time, so a file with an equal [`Stamp`] has equal bytes, with one exception: the
//! clock behind the stamps has a grain, and what changes twice within one grain looks unchanged. A file that was young
//! when it was hashed (see [`Stamp::settled`]) is therefore never remembered, and one of a file system whose clock or
//! bookkeeping is elsewhere (network, FUSE) neither.
//!
//! On disk there is one file per context directory:
//! ```text
//! "havre context 1\n"   device u64, inode u64 of the directory, generation u32, entries u32
//! entry:                length of path u32, path, stamp (7 numbers of 8 bytes), digest 32 bytes, generation u32
//! SHA-256 over all of this, 32 bytes; numbers are little-endian
//! ```
//! A generation is a build that added something. What no build asked for in [`KEPT`] generations is left out, and the
//! least recently used directories are forgotten when all files together pass [`BUDGET`].

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use havre_oci::Digest;
use rustix::fs::Stat;

const MAGIC: &[u8; 16] = b"havre context 1\n";
/// Generations an entry lives without being asked for.
const KEPT: u32 = 64;
/// Bytes all files together may have.
const BUDGET: u64 = 256 << 20;
/// The largest file that is read or written, in bytes: about a million files of a context.
const LARGEST: u64 = 128 << 20;
/// Linux stamps with a clock that ticks every 1 to 10 ms.
const TICK: Duration = Duration::from_millis(50);
/// File systems that store whole seconds, or two of them.
const COARSE_TICK: Duration = Duration::from_millis(2500);

/// What the kernel says about a file's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    /// Nanoseconds since 1970.
    pub(crate) modified: i64,
    pub(crate) changed: i64,
}

impl Stamp {
    pub(crate) fn of(status: &Stat) -> Self {
        let nanos = |seconds: i64, nanos: u64| {
            let nanos = i64::try_from(nanos).unwrap_or(0);
            seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
        };
        Stamp {
            device: status.st_dev,
            inode: status.st_ino,
            size: u64::try_from(status.st_size).unwrap_or(0),
            mode: status.st_mode,
            modified: nanos(status.st_mtime, status.st_mtime_nsec),
            changed: nanos(status.st_ctime, status.st_ctime_nsec),
        }
    }

    /// Whether a change after `now` (nanoseconds since 1970, taken before the file was read) is sure to give another
    /// stamp.
    pub(crate) fn settled(&self, now: i64) -> bool {
        let tick = match self.changed % 1_000_000_000 {
            0 => COARSE_TICK,
            _ => TICK,
        };
        let tick = i64::try_from(tick.as_nanos()).unwrap_or(i64::MAX);
        self.changed.saturating_add(tick) < now
    }
}

/// Nanoseconds since 1970 by the clock files are stamped with.
pub(crate) fn now() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}

/// SHA-256 of a file's bytes.
pub(crate) type Sha256 = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    stamp: Stamp,
    digest: Sha256,
    generation: u32,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<Box<[u8]>, Known>,
    generation: u32,
    /// Whether something is to be written.
    added: bool,
}

/// The remembered digests of one context directory.
#[derive(Debug, Default)]
pub(crate) struct Hashes {
    file: Option<PathBuf>,
    /// Device and inode of the directory.
    identity: (u64, u64),
    table: Mutex<Table>,
}

impl Hashes {
    /// Opens the memory of the directory with this device and inode. One that can't be read is an empty one.
    pub(crate) fn open(folder: &Path, identity: (u64, u64)) -> Self {
        let (device, inode) = identity;
        let file = folder.join(format!("{device:x}-{inode:x}"));
        let table = read(&file, identity).unwrap_or_default();
        Hashes {
            file: Some(file),
            identity,
            table: Mutex::new(table),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digests of these files as far as they are known.
    pub(crate) fn find<'a>(&self, files: impl Iterator<Item = (&'a [u8], &'a Stamp)>) -> Vec<Option<Sha256>> {
        let mut table = self.table();
        let generation = table.generation;
        files
            .map(|(path, stamp)| {
                let known = table.known.get_mut(path).filter(|known| known.stamp == *stamp)?;
                known.generation = generation;
                Some(known.digest)
            })
            .collect()
    }

    /// Remembers digests of files that had [settled](Stamp::settled), for this build and the next ones.
    pub(crate) fn add<'a>(&self, files: impl Iterator<Item = (&'a [u8], Stamp, Sha256)>) {
        let mut table = self.table();
        let generation = table.generation;
        for (path, stamp, digest) in files {
            table.added = true;
            table.known.insert(
                path.into(),
                Known {
                    stamp,
                    digest,
                    generation,
                },
            );
        }
        let Some(file) = self.file.as_ref().filter(|_| table.added) else {
            return;
        };
        match write(file, self.identity, &table) {
            Ok(()) => table.added = false,
            // The next build reads the files again, that is all.
            Err(error) => tracing::warn!(%error, "the digests of a build context are not kept"),
        }
    }
}

impl Drop for Hashes {
    /// Notes the use, and makes room if there is too much.
    fn drop(&mut self) {
        let Some(file) = &self.file else { return };
        // Nothing was ever remembered of this directory if there is no file.
        let Ok(used) = fs::File::options().append(true).open(file) else {
            return;
        };
        let _ = used.file().set_modified(SystemTime::now());
        if let Some(folder) = file.parent()
            && let Err(error) = evict(folder, BUDGET)
        {
            tracing::warn!(%error, "old digests of build contexts stay");
        }
    }
}

/// Removes the least recently used files until all together have no more than `budget` bytes.
fn evict(folder: &Path, budget: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        files.push((metadata.modified()?, metadata.len(), entry.path()));
    }
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    files.sort();
    for (_, size, path) in files {
        if total <= budget {
            break;
        }
        fs::remove_file(path)?;
        total -= size;
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> Sha256 {
    raw(&Digest::sha256_of(bytes))
}

/// The bytes of a SHA-256 digest.
pub(crate) fn raw(digest: &Digest) -> Sha256 {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digest.hex().as_bytes().chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
        *byte = value(pair[0]) << 4 | value(pair[1]);
    }
    bytes
}

fn write(file: &Path, (device, inode): (u64, u64), table: &Table) -> io::Result<()> {
    let generation = table.generation;
    let fresh = |known: &Known| generation.saturating_sub(known.generation) <= KEPT;
    let entries = table.known.iter().filter(|(_, known)| fresh(known));
    let mut bytes = Vec::with_capacity(64 + table.known.len() * 192);
    bytes.extend_from_slice(MAGIC);
    for number in [device, inode] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&generation.to_le_bytes());
    let at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    for (path, known) in entries {
        count += 1;
        bytes.extend_from_slice(&u32::try_from(path.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(path);
        let Stamp {
            device,
            inode,
            size,
            mode,
            modified,
            changed,
        } = known.stamp;
        for number in [device, inode, size, u64::from(mode)] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [modified, changed] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&known.digest);
        bytes.extend_from_slice(&known.generation.to_le_bytes());
    }
    bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
    let digest = sha256(&bytes);
    bytes.extend_from_slice(&digest);
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!(
            "{count} files are too many to remember"
        )));
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    // Without a sync: after a power cut the checksum tells, and nothing is lost but time.
    let aside = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(aside.path(), &bytes)?;
    aside.persist(file).map_err(|error| error.error)?;
    Ok(())
}

fn read(file: &Path, identity: (u64, u64)) -> Option<Table> {
    if fs::metadata(file).ok()?.len() > LARGEST {
        return None;
    }
    let bytes = fs::read(file).ok()?;
    let (body, checksum) = bytes.split_last_chunk::<32>()?;
    if sha256(body) != *checksum {
        tracing::warn!(path = %file.display(), "the digests of a build context are damaged and not used");
        return None;
    }
    let mut rest = Bytes(body);
    if rest.take(MAGIC.len())? != MAGIC || (rest.number()?, rest.number()?) != identity {
        return None;
    }
    let generation = rest.short()?;
    let count = rest.short()?;
    let mut known = HashMap::with_capacity(usize::try_from(count).ok()?.min(1 << 20));
    for _ in 0..count {
        let length = usize::try_from(rest.short()?).ok()?;
        let path: Box<[u8]> = rest.take(length)?.into();
        let stamp = Stamp {
            device: rest.number()?,
            inode: rest.number()?,
            size: rest.number()?,
            mode: u32::try_from(rest.number()?).ok()?,
            modified: rest.number()?.cast_signed(),
            changed: rest.number()?.cast_signed(),
        };
        let digest = *rest.take(32)?.first_chunk()?;
        let generation = rest.short()?;
        known.insert(
            path,
            Known {
                stamp,
                digest,
                generation,
            },
        );
    }
    Some(Table {
        known,
        generation: generation.saturating_add(1),
        added: false,
    })
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn stamp(changed: i64) -> Stamp {
        Stamp {
            device: 1,
            inode: 2,
            size: 3,
            mode: 0o100_644,
            modified: -5,
            changed,
        }
    }

    #[test]
    fn young_files_are_not_settled() {
        let fine = stamp(100 * SECOND + 123);
        assert!(!fine.settled(100 * SECOND + 123));
        assert!(!fine.settled(100 * SECOND + 40_000_000));
        assert!(fine.settled(100 * SECOND + 60_000_000));
        // Whole seconds say that the file system has no finer ones.
        let coarse = stamp(100 * SECOND);
        assert!(!coarse.settled(102 * SECOND));
        assert!(coarse.settled(103 * SECOND));
        assert!(!stamp(200 * SECOND + 1).settled(100 * SECOND), "of the future");
    }

    #[test]
    fn what_is_added_is_found_again_by_its_stamp_only() {
        let home = tempfile::tempdir().expect("temp dir");
        let hashes = Hashes::open(home.path(), (7, 8));
        let one = stamp(1);
        hashes.add([(&b"a/\xff"[..], one, [9; 32])].into_iter());
        for hashes in [&hashes, &Hashes::open(home.path(), (7, 8))] {
            let two = stamp(2);
            let asked = [(&b"a/\xff"[..], &one), (b"a/\xff", &two), (b"b", &one)];
            assert_eq!(hashes.find(asked.into_iter()), [Some([9; 32]), None, None]);
        }
        let other = Hashes::open(home.path(), (7, 9));
        assert_eq!(other.find([(&b"a/\xff"[..], &one)].into_iter()), [None]);
    }

    #[test]
    fn damage_is_noticed() {
        let home = tempfile::tempdir().expect("temp dir");
        Hashes::open(home.path(), (7, 8)).add([(&b"a"[..], stamp(1), [9; 32])].into_iter());
        let file = home.path().join("7-8");
        let good = fs::read(&file).expect("read");
        let known = || Hashes::open(home.path(), (7, 8)).find([(&b"a"[..], &stamp(1))].into_iter());
        assert_eq!(known(), [Some([9; 32])]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file, bad).expect("written");
            assert_eq!(known(), [None], "byte {at}");
            fs::write(&file, &good[..at]).expect("written");
            assert_eq!(known(), [None], "cut at {at}");
        }
        assert!(read(&file, (7, 9)).is_none());
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let home = tempfile::tempdir().expect("temp dir");
        let a = stamp(1);
        Hashes::open(home.path(), (7, 8)).add([(&b"old"[..], a, [1; 32]), (b"used", a, [2; 32])].into_iter());
        for round in 0..KEPT + 2 {
            let hashes = Hashes::open(home.path(), (7, 8));
            assert_eq!(hashes.find([(&b"used"[..], &a)].into_iter()), [Some([2; 32])]);
            hashes.add([(&b"new"[..], stamp(round.into()), [3; 32])].into_iter());
        }
        let left = Hashes::open(home.path(), (7, 8));
        let asked = [(&b"old"[..], &a), (b"used", &a)];
        assert_eq!(left.find(asked.into_iter()), [None, Some([2; 32])]);
    }

    #[test]
    fn the_oldest_directories_make_room() {
        let home = tempfile::tempdir().expect("temp dir");
        for (age, name) in [(1, "young"), (3, "old"), (2, "middle")] {
            let path = home.path().join(name);
            fs::write(&path, [0; 100]).expect("written");
            let file = fs::File::options().append(true).open(&path).expect("open");
            let time = SystemTime::now() - Duration::from_secs(age * 100);
            file.file().set_modified(time).expect("stamped");
        }
        evict(home.path(), 250).expect("evicted");
        let names = || {
            let mut names: Vec<_> = fs::read_dir(home.path())
                .expect("list")
                .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["middle", "young"]);
        evict(home.path(), 100).expect("evicted");
        assert_eq!(names(), ["young"]);
    }
}
