//! Tar archives of local trees on their way to the engine, and of containers on their way here.

use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use http_body_util::BodyExt;
use rustix::fs::{CWD, FileType, Mode};
use tokio::sync::mpsc;

use crate::client::Body;
use crate::commands::container::cp::local_error;
use crate::error::CliError;
use crate::input_stream::Input;

/// Pieces on their way between threads.
const QUEUE: usize = 8;

/// A local file or tree to be copied into a container.
#[derive(Debug)]
pub(crate) struct CopyIn {
    source: PathBuf,
    /// Directory in the container the archive is unpacked in.
    pub(crate) directory: String,
    /// Name of the root entry of the archive.
    name: String,
    keep_owner: bool,
}

impl CopyIn {
    /// Docker's rules: into an existing directory under its own name, or its contents only when the source ends in
    /// `/.`; else under the last part of `path`. `into` says whether `path` exists and is a directory.
    pub(crate) fn plan(
        source: &Path,
        typed: &str,
        path: &str,
        into: Option<bool>,
        keep_owner: bool,
    ) -> Result<Self, CliError> {
        let meta = fs::symlink_metadata(source).map_err(|error| local_error(source, &error))?;
        let contents = typed == "." || typed.ends_with("/.");
        let refused = |text: String| Err(CliError::Invalid(text));
        if !meta.is_dir() {
            match into {
                None if path.ends_with('/') => return refused("no such directory".to_owned()),
                Some(false) if path.ends_with('/') => return refused("not a directory".to_owned()),
                _ => {}
            }
        } else if into == Some(false) {
            return refused("cannot copy directory".to_owned());
        }
        let trimmed = path.trim_end_matches("/.").trim_end_matches('/');
        let (parent, last) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        let parent = if parent.is_empty() { "/" } else { parent };
        let (directory, name) = if into == Some(true) && !contents {
            let own = match source.file_name() {
                Some(name) => name.to_string_lossy().into_owned(),
                None => return refused(format!("{} has no name to copy it under", source.display())),
            };
            (
                if trimmed.is_empty() {
                    "/".to_owned()
                } else {
                    trimmed.to_owned()
                },
                own,
            )
        } else if last.is_empty() {
            ("/".to_owned(), ".".to_owned())
        } else {
            (parent.to_owned(), last.to_owned())
        };
        Ok(Self {
            source: source.to_owned(),
            directory,
            name,
            keep_owner,
        })
    }
}

/// The archive of a copy as a request body.
pub(crate) fn send(copy: CopyIn) -> Input {
    stream(move |writer| {
        let mut tar = builder(writer);
        let mut pending = vec![(copy.source.clone(), PathBuf::from(&copy.name))];
        while let Some((path, name)) = pending.pop() {
            append(&mut tar, &path, &name, copy.keep_owner)?;
            if fs::symlink_metadata(&path)?.is_dir() {
                for entry in fs::read_dir(&path)? {
                    let entry = entry?;
                    pending.push((entry.path(), name.join(entry.file_name())));
                }
            }
        }
        tar.into_inner()?.flush()
    })
}

/// A tar builder that takes headers as they are given.
pub(crate) fn builder(writer: PieceWriter) -> tar::Builder<PieceWriter> {
    let mut tar = tar::Builder::new(writer);
    tar.mode(tar::HeaderMode::Complete);
    tar.follow_symlinks(false);
    tar.sparse(false);
    tar
}

/// Appends one file, directory, link or node. Sockets cannot be archived and are left out.
pub(crate) fn append(
    tar: &mut tar::Builder<PieceWriter>,
    path: &Path,
    name: &Path,
    keep_owner: bool,
) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    if kind.is_socket() {
        return Ok(());
    }
    let mut header = tar::Header::new_gnu();
    header.set_metadata_in_mode(&meta, tar::HeaderMode::Complete);
    if !keep_owner {
        header.set_uid(0);
        header.set_gid(0);
    }
    if kind.is_symlink() {
        header.set_size(0);
        return tar.append_link(&mut header, name, fs::read_link(path)?);
    }
    if kind.is_file() {
        let file = fs::File::open(path)?;
        let size = meta.len();
        header.set_size(size);
        // A file that grows or shrinks meanwhile must not break the archive.
        return tar.append_data(&mut header, name, Exact { file, left: size });
    }
    header.set_size(0);
    if kind.is_char_device() || kind.is_block_device() {
        header.set_device_major(rustix::fs::major(meta.rdev()))?;
        header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
    }
    tar.append_data(&mut header, name, io::empty())
}

/// Exactly so many bytes of a file: padded with zeros when it is shorter now, cut when longer.
struct Exact {
    file: fs::File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let mut count = self.file.read(&mut buffer[..room])?;
        if count == 0 {
            buffer[..room].fill(0);
            count = room;
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Runs `produce` on a thread of its own; what it writes is the stream.
pub(crate) fn stream(produce: impl FnOnce(PieceWriter) -> io::Result<()> + Send + 'static) -> Input {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let failed = sender.clone();
    std::thread::spawn(move || {
        if let Err(error) = produce(PieceWriter {
            sender,
            buffer: Vec::with_capacity(PIECE),
        }) {
            let _ = failed.blocking_send(Err(error));
        }
    });
    Box::pin(futures_util::stream::unfold(
        receiver,
        |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) },
    ))
}

const PIECE: usize = 256 << 10;

/// Collects small writes into pieces of a stream.
pub(crate) struct PieceWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl PieceWriter {
    fn pass_on(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE)));
        self.sender
            .blocking_send(Ok(piece))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.pass_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

/// Where a copy out of a container goes: into an existing directory under its own name, or as `local` itself, which is
/// replaced if it is a file and refused if it is a device or a pipe. A link that the user names is followed.
pub(crate) fn target(local: &Path, name: &str, directory: bool, contents: bool) -> Result<PathBuf, CliError> {
    let refused = |text: String| Err(CliError::Invalid(text));
    let trailing = local.to_string_lossy().ends_with('/');
    match fs::metadata(local) {
        Ok(meta) if meta.is_dir() && contents => Ok(fs::canonicalize(local)?),
        Ok(meta) if meta.is_dir() => match name {
            // The root of a container has no name: its contents go into the directory.
            "/" | "" | "." => Ok(fs::canonicalize(local)?),
            name => Ok(local.join(name)),
        },
        Ok(_) if directory => refused("cannot copy directory".to_owned()),
        Ok(meta) if !meta.is_file() => refused(format!(
            "invalid output path: {:?} must be a directory or a regular file",
            local.display().to_string()
        )),
        Ok(_) => Ok(fs::canonicalize(local)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if trailing && !directory {
                return refused("no such directory".to_owned());
            }
            let parent = local.parent().filter(|parent| !parent.as_os_str().is_empty());
            if parent.is_some_and(|parent| !parent.is_dir()) {
                let parent = std::path::absolute(parent.unwrap_or(Path::new(".")))?;
                return refused(format!(
                    "invalid output path: directory {:?} does not exist",
                    parent.display().to_string()
                ));
            }
            Ok(local.to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

/// Unpacks the archive of `root` as `target`; gives the bytes of file contents.
pub(crate) async fn receive(
    mut body: Body,
    root: String,
    target: PathBuf,
    keep_owner: bool,
) -> Result<u64, CliError> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let unpacking = tokio::task::spawn_blocking(move || {
        unpack(
            PieceReader {
                receiver,
                current: Bytes::new(),
            },
            &root,
            &target,
            keep_owner,
        )
    });
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CliError::Broken(error.to_string()))?;
        if let Ok(data) = frame.into_data()
            && sender.send(data).await.is_err()
        {
            break;
        }
    }
    drop(sender);
    let result = unpacking
        .await
        .map_err(|error| CliError::Broken(error.to_string()))?;
    Ok(result?)
}

struct PieceReader {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// The archive comes out of a container and is not trusted: no entry may leave `target`, by its name or through a
/// link that another entry made.
fn unpack(reader: impl Read, root: &str, target: &Path, keep_owner: bool) -> io::Result<u64> {
    let mut archive = tar::Archive::new(reader);
    let mut copied = 0;
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let place = placed(&name, root, target)?;
        check_parents(target, &place)?;
        let header = entry.header().clone();
        let mode = header.mode()? & 0o7777;
        let kind = header.entry_type();
        if kind.is_dir() {
            match fs::symlink_metadata(&place) {
                Ok(found) if found.is_dir() => {}
                Ok(_) if place != *target => {
                    fs::remove_file(&place)?;
                    fs::create_dir(&place)?;
                }
                Ok(_) => {
                    return Err(io::Error::other(format!(
                        "{} is not a directory",
                        place.display()
                    )));
                }
                Err(_) => fs::create_dir(&place)?,
            }
            directories.push((place, mode, header));
            continue;
        }
        if fs::symlink_metadata(&place).is_ok_and(|found| found.is_dir()) {
            return Err(io::Error::other(format!(
                "cannot overwrite directory {} with a file",
                place.display()
            )));
        }
        if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            let mut file = fresh_file(&place)?;
            copied += io::copy(&mut entry, &mut file)?;
            let times = rustix::fs::Timestamps {
                last_access: timespec(&header),
                last_modification: timespec(&header),
            };
            rustix::fs::futimens(&file, &times)?;
            owner(&place, &header, keep_owner)?;
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            continue;
        }
        let _ = fs::remove_file(&place);
        let link = entry
            .link_name()?
            .map(|link| link.into_owned())
            .unwrap_or_default();
        if kind.is_symlink() {
            fs_err::os::unix::fs::symlink(&link, &place)?;
            owner(&place, &header, keep_owner)?;
        } else if kind.is_hard_link() {
            let original = placed(&link, root, target)?;
            check_parents(target, &original)?;
            fs::hard_link(&original, &place)?;
        } else {
            let file_type = match kind {
                tar::EntryType::Fifo => FileType::Fifo,
                tar::EntryType::Char => FileType::CharacterDevice,
                tar::EntryType::Block => FileType::BlockDevice,
                other => {
                    return Err(io::Error::other(format!(
                        "{}: unexpected entry type {other:?}",
                        name.display()
                    )));
                }
            };
            let device = match file_type {
                // Its numbers mean nothing, and some writers leave them out.
                FileType::Fifo => 0,
                _ => rustix::fs::makedev(
                    header.device_major()?.unwrap_or(0),
                    header.device_minor()?.unwrap_or(0),
                ),
            };
            rustix::fs::mknodat(CWD, &place, file_type, Mode::from_raw_mode(mode), device)?;
            owner(&place, &header, keep_owner)?;
        }
    }
    // Modes of directories last: one may forbid writing into it.
    for (place, mode, header) in directories.into_iter().rev() {
        owner(&place, &header, keep_owner)?;
        fs::set_permissions(&place, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(copied)
}

fn timespec(header: &tar::Header) -> rustix::fs::Timespec {
    rustix::fs::Timespec {
        tv_sec: header.mtime().unwrap_or(0) as i64,
        tv_nsec: 0,
    }
}

/// A new file in the place of whatever is there, which is not opened: it may be a device, a pipe or a link that another
/// entry of the archive left. Closed to others until its own mode is set.
fn fresh_file(place: &Path) -> io::Result<fs::File> {
    match fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(place)
}

fn owner(place: &Path, header: &tar::Header, keep: bool) -> io::Result<()> {
    if !keep {
        return Ok(());
    }
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    std::os::unix::fs::lchown(place, Some(id(header.uid()?)?), Some(id(header.gid()?)?))
}

/// The place of an entry: its name with the first part, the archive's root, replaced by the target.
fn placed(name: &Path, root: &str, target: &Path) -> io::Result<PathBuf> {
    let bad = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("invalid path {:?} in the archive", name.display().to_string()),
        )
    };
    let mut parts = Vec::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(bad()),
        }
    }
    let rooted = !matches!(root, "" | "." | "/");
    if rooted {
        if parts.first().is_none_or(|first| *first != root) {
            return Err(bad());
        }
        parts.remove(0);
    }
    Ok(parts
        .into_iter()
        .fold(target.to_owned(), |path, part| path.join(part)))
}

/// Every directory between the target and the place must be one, not a link to one.
fn check_parents(target: &Path, place: &Path) -> io::Result<()> {
    let Ok(below) = place.strip_prefix(target) else {
        return Ok(());
    };
    let mut path = target.to_owned();
    let mut parts: Vec<_> = below.components().collect();
    parts.pop();
    for part in parts {
        path.push(part);
        if !fs::symlink_metadata(&path)?.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "refusing to write through {}, which is not a directory",
                    path.display()
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
            header.set_mtime(1_700_000_000);
            // Written as it is: the library refuses names that climb.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
                header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
                header.set_size(0);
                header.set_cksum();
                tar.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                tar.append(&header, content.as_bytes()).unwrap();
            }
        }
        tar.into_inner().unwrap()
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;
    const DIR: tar::EntryType = tar::EntryType::Directory;
    const SYMLINK: tar::EntryType = tar::EntryType::Symlink;
    const LINK: tar::EntryType = tar::EntryType::Link;

    #[test]
    fn a_tree_gets_the_name_of_its_target() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("copy");
        let bytes = tar_of(&[
            ("etc/", DIR, ""),
            ("etc/a", FILE, "hello"),
            ("etc/l", SYMLINK, "a"),
            ("etc/h", LINK, "etc/a"),
        ]);
        assert_eq!(unpack(&bytes[..], "etc", &target, false).unwrap(), 5);
        assert_eq!(fs::read_to_string(target.join("h")).unwrap(), "hello");
        assert_eq!(fs::read_link(target.join("l")).unwrap(), Path::new("a"));
        assert_eq!(fs::metadata(target.join("a")).unwrap().mtime(), 1_700_000_000);
    }

    #[test]
    fn nothing_leaves_the_target() {
        for entries in [
            vec![("x/", DIR, ""), ("x/../../out", FILE, "bad")],
            vec![
                ("x/", DIR, ""),
                ("x/up", SYMLINK, "../.."),
                ("x/up/out", FILE, "bad"),
            ],
            vec![
                ("x/", DIR, ""),
                ("x/abs", SYMLINK, "/tmp"),
                ("x/abs/havre-out", FILE, "bad"),
            ],
            vec![("x/", DIR, ""), ("x/h", LINK, "../../etc/passwd")],
            vec![("y", FILE, "other root")],
        ] {
            let home = tempfile::tempdir().unwrap();
            let target = home.path().join("deep/target");
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            let error = unpack(&tar_of(&entries)[..], "x", &target, false)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("invalid path") || error.contains("refusing"),
                "{entries:?}: {error}"
            );
            assert!(!home.path().join("out").exists() && !Path::new("/tmp/havre-out").exists());
        }
    }

    #[test]
    fn a_file_does_not_follow_the_link_it_replaces() {
        let home = tempfile::tempdir().unwrap();
        let victim = home.path().join("victim");
        fs::write(&victim, "safe").unwrap();
        let bytes = tar_of(&[("x", SYMLINK, "victim"), ("x", FILE, "new")]);
        unpack(&bytes[..], "x", &home.path().join("t"), false).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
        assert_eq!(fs::read_to_string(home.path().join("t")).unwrap(), "new");
    }

    #[test]
    fn a_file_never_opens_what_is_in_its_place() {
        let home = tempfile::tempdir().unwrap();
        let victim = home.path().join("victim");
        fs::write(&victim, "safe").unwrap();
        let target = home.path().join("t");
        let fifo = tar::EntryType::Fifo;
        // Opened for writing, a pipe nobody reads would hold the copy for ever, and a full device would fail it.
        for earlier in [
            ("x/f", fifo, ""),
            ("x/f", SYMLINK, "../victim"),
            ("x/f", LINK, "x/g"),
        ] {
            let bytes = tar_of(&[
                ("x/", DIR, ""),
                ("x/g", FILE, "other"),
                earlier,
                ("x/f", FILE, "new"),
            ]);
            unpack(&bytes[..], "x", &target, false).unwrap();
            assert!(
                fs::symlink_metadata(target.join("f")).unwrap().is_file(),
                "{earlier:?}"
            );
            assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "new");
            assert_eq!(
                fs::read_to_string(target.join("g")).unwrap(),
                "other",
                "{earlier:?}"
            );
            assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
        }
        // What the user has under another name of the file stays as it is.
        fs::hard_link(&victim, target.join("h")).unwrap();
        unpack(
            &tar_of(&[("x/", DIR, ""), ("x/h", FILE, "new")])[..],
            "x",
            &target,
            false,
        )
        .unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
    }

    /// Needs root to make the node; without it the node is refused, which is as good.
    #[test]
    fn a_file_never_opens_a_device_of_the_archive() {
        let home = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_entry_type(tar::EntryType::Char);
        header.set_mode(0o666);
        header.set_size(0);
        // /dev/full, which fails every write.
        header.set_device_major(1).unwrap();
        header.set_device_minor(7).unwrap();
        header.set_cksum();
        tar.append(&header, io::empty()).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_mode(0o644);
        header.set_size(3);
        header.set_cksum();
        tar.append(&header, &b"new"[..]).unwrap();
        let bytes = tar.into_inner().unwrap();
        let target = home.path().join("t");
        match unpack(&bytes[..], "x", &target, false) {
            Ok(copied) => {
                assert_eq!(copied, 3);
                assert_eq!(fs::read_to_string(&target).unwrap(), "new");
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
        }
    }

    #[test]
    fn a_link_the_user_names_is_followed_and_a_device_refused() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().canonicalize().unwrap();
        fs::create_dir(dir.join("real")).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        fs_err::os::unix::fs::symlink("real", dir.join("link")).unwrap();
        fs_err::os::unix::fs::symlink("file", dir.join("to-file")).unwrap();
        let into = target(&dir.join("link"), "etc", true, true).unwrap();
        assert_eq!(into, dir.join("real"));
        unpack(
            &tar_of(&[("etc/", DIR, ""), ("etc/a", FILE, "a")])[..],
            "etc",
            &into,
            false,
        )
        .unwrap();
        assert_eq!(fs::read_to_string(dir.join("real/a")).unwrap(), "a");
        assert_eq!(
            target(&dir.join("to-file"), "a", false, false).unwrap(),
            dir.join("file")
        );
        let error = target(Path::new("/dev/null"), "a", false, false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("must be a directory or a regular file"), "{error}");
    }

    #[test]
    fn targets_follow_dockers_rules() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().canonicalize().unwrap();
        fs::write(dir.join("file"), "").unwrap();
        assert_eq!(target(&dir, "etc", true, false).unwrap(), dir.join("etc"));
        assert_eq!(target(&dir, "etc", true, true).unwrap(), dir);
        assert_eq!(
            target(&dir.join("new"), "etc", true, false).unwrap(),
            dir.join("new")
        );
        assert_eq!(
            target(&dir.join("file"), "a", false, false).unwrap(),
            dir.join("file")
        );
        assert!(target(&dir.join("file"), "etc", true, false).is_err());
        assert!(target(&dir.join("no/new"), "etc", true, false).is_err());
        assert!(target(&dir.join("new/"), "a", false, false).is_err());
    }

    #[test]
    fn copies_in_follow_dockers_rules() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let plan = |source: &Path, typed: &str, path: &str, into| {
            CopyIn::plan(source, typed, path, into, false).map(|copy| (copy.directory, copy.name))
        };
        let pair = |directory: &str, name: &str| (directory.to_owned(), name.to_owned());
        assert_eq!(
            plan(&file, "file", "/etc", Some(true)).unwrap(),
            pair("/etc", "file")
        );
        assert_eq!(
            plan(&file, "file", "/etc/other", None).unwrap(),
            pair("/etc", "other")
        );
        assert_eq!(
            plan(&file, "file", "/etc/other", Some(false)).unwrap(),
            pair("/etc", "other")
        );
        assert_eq!(
            plan(home.path(), "dir/.", "/srv/x", Some(true)).unwrap(),
            pair("/srv", "x")
        );
        assert_eq!(plan(home.path(), "dir", "/new", None).unwrap(), pair("/", "new"));
        assert_eq!(
            plan(home.path(), "dir/.", "/", Some(true)).unwrap(),
            pair("/", ".")
        );
        assert!(plan(&file, "file", "/new/", None).is_err());
        assert!(plan(home.path(), "dir", "/file", Some(false)).is_err());
        assert!(
            plan(&home.path().join("absent"), "absent", "/", Some(true))
                .unwrap_err()
                .to_string()
                .contains("no such file")
        );
    }
}
