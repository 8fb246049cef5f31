//! `cp`: a path of a container as an archive, and an archive into a path of a container.
//!
//! A running container is entered through its first process's root, so volumes, binds and tmpfs are seen as the container
//! sees them. One that is stopped is mounted for the time of the copy, with its volumes and binds. Either way paths are
//! resolved beneath that root by the kernel.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use havre_oci::compression;
use havre_sys::mount;
use havre_sys::rooted::{Mode, OFlags, Root};
use havre_sys::userns::{IdMap, as_root_of};
use jiff::Timestamp;
use rustix::fs::{FileType, Stat};
use tokio::sync::OwnedMutexGuard;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::mounts::clean;
use super::sources::Source;
use super::table::Container;
use super::tree::{self, Ownership, UnpackOptions};
use super::{ArchivePut, Containers, Inner, MountKind, PathStat};
use crate::byte_stream::produced;
use crate::error::blocking;
use crate::remap::map_of;
use crate::{ByteStream, EngineError, ErrorKind, Result};

impl Containers {
    /// What a path is; a symbolic link itself, unless the path ends in a slash.
    pub async fn archive_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        let container = self.find(name)?;
        let op = container.op.clone().lock_owned().await;
        let (inner, path, name) = (self.0.clone(), path.to_owned(), name.to_owned());
        blocking(move || {
            let view = View::open(&inner, &container, op)?;
            Located::find(&view.root, &path, &name)?.stat(&view.root)
        })
        .await
    }

    /// A path as an archive whose entries begin with the path's last component.
    pub async fn archive_get(&self, name: &str, path: &str) -> Result<(PathStat, ByteStream)> {
        let container = self.find(name)?;
        let op = container.op.clone().lock_owned().await;
        let (inner, path, name) = (self.0.clone(), path.to_owned(), name.to_owned());
        let published = container.clone();
        let answer = blocking(move || {
            let view = View::open(&inner, &container, op)?;
            let located = Located::find(&view.root, &path, &name)?;
            let stat = located.stat(&view.root)?;
            let entries = located.entry_name();
            let stream = produced(move |writer| {
                // The whole view, not only its root: the mounts must last as long.
                let view = view;
                tree::pack(&view.root, &located.resolved, &entries, view.ids.as_ref(), writer).map(drop)
            })?;
            Ok((stat, stream))
        })
        .await?;
        self.0.publish(&published, "archive-path", &[]);
        Ok(answer)
    }

    /// Unpacks an archive (plain, or compressed by gzip, zstd, bzip2 or xz) into a directory of the container.
    pub async fn archive_put(
        &self,
        name: &str,
        path: &str,
        tar: ByteStream,
        options: ArchivePut,
    ) -> Result<()> {
        let container = self.find(name)?;
        let op = container.op.clone().lock_owned().await;
        let (inner, path, name) = (self.0.clone(), path.to_owned(), name.to_owned());
        let published = container.clone();
        let reader = SyncIoBridge::new(StreamReader::new(tar));
        blocking(move || {
            let view = View::open(&inner, &container, op)?;
            put(&view, &container, &path, &name, reader, options)
        })
        .await?;
        self.0.publish(&published, "extract-to-dir", &[]);
        Ok(())
    }
}

fn put(
    view: &View,
    container: &Container,
    path: &str,
    name: &str,
    reader: impl io::Read + Send,
    options: ArchivePut,
) -> Result<()> {
    // The final link is followed, as for any directory that is entered.
    let located = Located::find(&view.root, &format!("{path}/"), name)?;
    if !FileType::from_raw_mode(located.stat.st_mode).is_dir() {
        return Err(EngineError::invalid("extraction point is not a directory"));
    }
    let record = container.read();
    let (read_only, user) = (record.host_config.readonly_rootfs, record.config.user.clone());
    let mounted = record
        .mounts
        .iter()
        .filter(|mount| {
            Path::new("/")
                .join(&located.resolved)
                .starts_with(&mount.point.destination)
        })
        .max_by_key(|mount| mount.point.destination.len());
    match mounted {
        Some(mount) if !mount.point.rw => {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                "mounted volume is marked read-only",
            ));
        }
        None if read_only => {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                "container rootfs is marked read-only",
            ));
        }
        _ => {}
    }
    drop(record);
    let ownership = match options.copy_uid_gid && !user.is_empty() {
        true => {
            let user = havre_runtime::spec::resolve_user(&view.root, &user, &[])
                .map_err(|error| EngineError::invalid(error.to_string()))?;
            Ownership::Fixed {
                uid: user.uid,
                gid: user.gid,
            }
        }
        false => Ownership::Archive,
    };
    let (_, plain) = compression::detecting_decoder(reader, compression::Limits::default())?;
    let options = UnpackOptions {
        ownership,
        keep_kinds: options.no_overwrite_dir_non_dir,
        root_metadata: false,
    };
    let ids = view.ids.as_ref();
    as_root_of(ids, || {
        tree::unpack(plain, &view.root, &located.resolved, ids, &options)
    })?
}

/// A container's file system, as long as this value lives.
pub(super) struct View {
    pub root: Root,
    /// What its owners are on the host, if not themselves.
    pub ids: Option<IdMap>,
    _mounted: Option<Mounted>,
    /// Held while a stopped container is mounted, so that it is not started or removed meanwhile.
    _op: Option<OwnedMutexGuard<()>>,
}

impl View {
    pub(super) fn open(
        inner: &Arc<Inner>,
        container: &Arc<Container>,
        op: OwnedMutexGuard<()>,
    ) -> Result<Self> {
        let state = container.read().state.clone();
        if state.status.is_live() {
            let path = PathBuf::from(format!("/proc/{}/root", state.pid));
            let root = Root::open(&path)?;
            let ids = map_of(state.pid)?;
            // The directory is open: should the process have ended before that, the number may be somebody else's.
            let same = inner
                .runtime
                .shim(&container.id)
                .state()
                .is_ok_and(|now| now.pid == state.pid && now.exit.is_none());
            if !same {
                return Err(EngineError::conflict(format!(
                    "container {} is stopping: try again",
                    container.id
                )));
            }
            return Ok(View {
                root,
                ids,
                _mounted: None,
                _op: None,
            });
        }
        if matches!(state.status, super::Status::Removing | super::Status::Dead) {
            return Err(EngineError::conflict(format!(
                "container {} is being removed",
                container.id
            )));
        }
        let snapshot = inner.store.snapshots().get(&container.id)?;
        let path = inner.store.snapshots().mount(&snapshot)?;
        let mut mounted = Mounted {
            inner: inner.clone(),
            id: container.id.clone(),
            inside: Vec::new(),
        };
        let root = Root::open(&path)?;
        let mounts = container.read().mounts.clone();
        for mount in &mounts {
            if mount.is_volume() {
                inner.volumes.mount(&mount.point.name, &container.id)?;
            }
            if mount.point.kind != MountKind::Tmpfs {
                mounted.bind(&root, mount)?;
            }
        }
        // Opened again: what is mounted over the root's own directories is seen from the path.
        let root = Root::open(&path)?;
        Ok(View {
            root,
            ids: None,
            _mounted: Some(mounted),
            _op: Some(op),
        })
    }
}

impl View {
    /// Only the root file system, without volumes and binds.
    pub(super) fn bare(
        inner: &Arc<Inner>,
        container: &Arc<Container>,
        op: OwnedMutexGuard<()>,
    ) -> Result<Self> {
        let snapshot = inner.store.snapshots().get(&container.id)?;
        // A running container has it mounted anyway, and must not lose it here.
        let stopped = !container.status().is_live();
        let (path, ids) = match stopped {
            true => (inner.store.snapshots().mount(&snapshot)?, None),
            false => (snapshot.merged, super::userns::live(&container.read())?),
        };
        let mounted = stopped.then(|| Mounted {
            inner: inner.clone(),
            id: container.id.clone(),
            inside: Vec::new(),
        });
        Ok(View {
            root: Root::open(&path)?,
            ids,
            _mounted: mounted,
            _op: stopped.then_some(op),
        })
    }
}

/// The mounts of a stopped container; undone in reverse.
struct Mounted {
    inner: Arc<Inner>,
    id: String,
    inside: Vec<mount::Bound>,
}

impl Mounted {
    /// Running containers may share what is mounted here and change it at any time, so the target is held by descriptor: a
    /// directory swapped for a link afterwards cannot move the mount elsewhere (GHSA-rg2x-37c3-w2rh).
    fn bind(&mut self, root: &Root, mount: &super::record::MountRecord) -> Result<()> {
        let opened = Source::of(mount)?;
        let source = opened.path();
        let destination = Path::new(&mount.point.destination);
        let target = match (
            source.is_dir(),
            root.open_at(destination, OFlags::PATH, Mode::empty()),
        ) {
            (_, Ok(target)) => target,
            (true, Err(_)) => root.ensure_dir(destination, Mode::from_raw_mode(0o755))?,
            (false, Err(_)) => return Ok(()),
        };
        let options = mount::BindOptions {
            recursive: mount.recursive,
            read_only: !mount.point.rw,
        };
        let bound = mount::bind_at(&source, &target, destination, options).map_err(mount_failure)?;
        self.inside.push(bound);
        Ok(())
    }
}

fn mount_failure(error: mount::MountError) -> EngineError {
    EngineError::system(format!("{error}: {}", error.source)).with_source(error)
}

impl Drop for Mounted {
    fn drop(&mut self) {
        while let Some(bound) = self.inside.pop() {
            drop(bound);
        }
        self.inner.volumes.unmount_all(&self.id);
        if let Err(error) = self.inner.store.snapshots().unmount(&self.id) {
            tracing::warn!(container = self.id, %error, "cannot unmount after a copy");
        }
    }
}

/// A path of a container and what it leads to.
struct Located {
    /// Last component as asked for: a name, `.` or `/`.
    base: String,
    /// Relative to the root, all directories resolved; the last component may be a link.
    resolved: PathBuf,
    stat: Stat,
}

impl Located {
    fn find(root: &Root, path: &str, container: &str) -> Result<Self> {
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                EngineError::not_found(format!("Could not find the file {path} in container {container}"))
                    .with_source(error)
            }
            _ => EngineError::system(format!("{path}: {error}")).with_source(error),
        };
        let absolute = clean(path);
        let follow = path.ends_with('/') || path.ends_with("/.") || path == ".";
        let base = match path.ends_with("/.") || path == "." {
            true => ".".to_owned(),
            false => absolute
                .rsplit('/')
                .next()
                .filter(|base| !base.is_empty())
                .unwrap_or("/")
                .to_owned(),
        };
        let absolute = Path::new(&absolute);
        let resolved = match (follow, absolute.parent(), absolute.file_name()) {
            (false, Some(parent), Some(name)) => root.resolve(parent).map_err(missing)?.join(name),
            _ => root.resolve(absolute).map_err(missing)?,
        };
        let resolved = resolved.strip_prefix("/").unwrap_or(&resolved).to_path_buf();
        let stat = tree::lstat(root, &resolved).map_err(missing)?;
        if follow && !base.is_empty() && path.len() > 1 && !FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Err(missing(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Located { base, resolved, stat })
    }

    /// The name its entry has in the archive. For `.` and `/`, too: Docker's client replaces the base by the name of its
    /// target and puts `f` for `./f`, and `bin` for `/bin`, beside the target.
    fn entry_name(&self) -> Vec<u8> {
        self.base.as_bytes().to_vec()
    }

    fn stat(&self, root: &Root) -> Result<PathStat> {
        let link_target = match FileType::from_raw_mode(self.stat.st_mode) {
            FileType::Symlink => self.link_target(root)?,
            _ => String::new(),
        };
        let nanos = i32::try_from(self.stat.st_mtime_nsec).unwrap_or(0);
        Ok(PathStat {
            name: self.base.clone(),
            size: u64::try_from(self.stat.st_size).unwrap_or(0),
            mode: self.stat.st_mode,
            mtime: Timestamp::new(self.stat.st_mtime, nanos).unwrap_or(Timestamp::UNIX_EPOCH),
            link_target,
        })
    }

    /// Where the link leads within the container, as far as that exists.
    fn link_target(&self, root: &Root) -> Result<String> {
        let resolved = match root.resolve(&self.resolved) {
            Ok(resolved) => resolved,
            Err(_) => {
                let target = root.read_link(&self.resolved)?;
                self.resolved.parent().unwrap_or(Path::new("")).join(target)
            }
        };
        Ok(clean(&resolved.to_string_lossy()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use fs_err as fs;

    use super::*;

    fn sample() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("var/lib/app")).unwrap();
        fs::write(directory.path().join("var/lib/app/data"), "12345").unwrap();
        symlink("/var/lib", directory.path().join("lib")).unwrap();
        symlink("/nowhere/x", directory.path().join("broken")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        (directory, root)
    }

    fn located(root: &Root, path: &str) -> Result<(String, String)> {
        Located::find(root, path, "web").map(|found| (found.base, found.resolved.display().to_string()))
    }

    #[test]
    fn paths_are_found_as_docker_finds_them() {
        let (_directory, root) = sample();
        let found = |path: &str| located(&root, path).unwrap();
        let pair = |base: &str, resolved: &str| (base.to_owned(), resolved.to_owned());
        assert_eq!(found("/lib/app/data"), pair("data", "var/lib/app/data"));
        assert_eq!(found("lib/app"), pair("app", "var/lib/app"));
        assert_eq!(found("/lib"), pair("lib", "lib"), "a link itself");
        assert_eq!(found("/lib/"), pair("lib", "var/lib"), "and what it leads to");
        assert_eq!(found("/lib/app/."), pair(".", "var/lib/app"));
        assert_eq!(found("/"), pair("/", ""));
        assert_eq!(
            found("/../../lib/app"),
            pair("app", "var/lib/app"),
            "no way above the root"
        );
    }

    #[test]
    fn missing_paths_are_named() {
        let (_directory, root) = sample();
        for path in [
            "/none",
            "/none/there",
            "/lib/app/data/",
            "/lib/app/data/x",
            "/broken/",
        ] {
            let error = located(&root, path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{path}");
            assert_eq!(
                error.to_string(),
                format!("Could not find the file {path} in container web")
            );
        }
    }

    #[test]
    fn links_tell_their_target_within_the_container() {
        let (_directory, root) = sample();
        let target = |path: &str| {
            Located::find(&root, path, "web")
                .unwrap()
                .stat(&root)
                .unwrap()
                .link_target
        };
        assert_eq!(target("/lib"), "/var/lib");
        assert_eq!(target("/broken"), "/nowhere/x");
        assert_eq!(target("/lib/app"), "");
    }

    #[tokio::test]
    async fn archives_stream_and_stop_with_the_client() {
        use futures_util::TryStreamExt;
        let (_directory, root) = sample();
        let stream =
            produced(move |writer| tree::pack(&root, Path::new("var"), b"var", None, writer).map(drop))
                .unwrap();
        let bytes: Vec<u8> = stream
            .try_fold(Vec::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
            .unwrap();
        assert_eq!(bytes.len() % 512, 0);
        assert!(bytes.windows(17).any(|window| window == b"var/lib/app/data\0"));
        let (sender, receiver) = std::sync::mpsc::channel();
        let endless = produced(move |mut writer| {
            let end = loop {
                if let Err(error) = writer.write_all(&[0; 128 << 10]) {
                    break error;
                }
            };
            let _ = sender.send(end.kind());
            Err(EngineError::from(end))
        })
        .unwrap();
        drop(endless);
        let end = receiver.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(end, io::ErrorKind::BrokenPipe);
    }
}
