//! Where the data of binds and volumes are while a container uses them: volumes with options are mounted, parts of volumes are
//! found without leaving the volume.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_sys::mount::{self, BindOptions, Bound};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::record::{MountRecord, Record};
use super::{Inner, MountPoint, files};
use crate::{EngineError, Event, EventType, Result};

/// What a mount shows, as long as this value lives.
#[derive(Debug)]
pub(super) enum Source {
    Whole(PathBuf),
    /// Open, because a container that uses the volume may change what its name leads to.
    Part(OwnedFd),
}

impl Source {
    pub(super) fn of(mount: &MountRecord) -> Result<Self> {
        let source = Path::new(&mount.point.source);
        if mount.subpath.is_empty() {
            return Ok(Source::Whole(source.to_path_buf()));
        }
        let volume = File::from(fs::File::open(source)?);
        let found = openat2(
            &volume,
            &mount.subpath,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        );
        found.map(Source::Part).map_err(|errno| {
            let reason = match errno {
                rustix::io::Errno::NOENT => "no such file or directory".to_owned(),
                rustix::io::Errno::XDEV => "it leads out of the volume".to_owned(),
                errno => std::io::Error::from(errno).to_string(),
            };
            EngineError::invalid(format!(
                "cannot access path {}: {reason}",
                source.join(&mount.subpath).display()
            ))
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        match self {
            Source::Whole(path) => path.clone(),
            Source::Part(fd) => format!("/proc/self/fd/{}", fd.as_raw_fd()).into(),
        }
    }
}

/// Mounts the volumes of a container that have options; every source that has vanished since the creation is named.
pub(super) fn mount(inner: &Inner, record: &Record) -> Result<()> {
    for point in volumes(record) {
        inner.volumes.mount(&point.name, &record.id)?;
    }
    for point in record.mounts.iter().map(|mount| &mount.point) {
        if !point.source.is_empty() && !Path::new(&point.source).exists() {
            return Err(EngineError::invalid(format!(
                "invalid mount config for type \"{}\": bind source path does not exist: {}",
                point.kind.as_str(),
                point.source
            )));
        }
    }
    Ok(())
}

/// Binds parts of volumes to places of their own, which the runtime mounts: they need to last until it has.
pub(super) fn bind_parts(inner: &Inner, record: &Record) -> Result<Vec<Bound>> {
    let mut bound = Vec::new();
    for (index, mount) in record.mounts.iter().enumerate() {
        let source = Source::of(mount)?;
        if let Source::Whole(_) = source {
            continue;
        }
        let target = files::part_path(&inner.store, &record.id, index);
        fs::create_dir_all(target.parent().unwrap_or(&target))?;
        match source.path().is_dir() {
            true => fs::create_dir_all(&target)?,
            false => drop(fs::File::create(&target)?),
        }
        let options = BindOptions {
            recursive: true,
            read_only: false,
        };
        let opened = rustix::fs::open(&target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let opened = opened.map_err(std::io::Error::from)?;
        let made = mount::bind_at(&source.path(), &opened, &target, options);
        bound.push(
            made.map_err(|error| {
                EngineError::system(format!("{error}: {}", error.source)).with_source(error)
            })?,
        );
    }
    Ok(bound)
}

/// A container begins to use its volumes.
pub(super) fn publish_mounts(inner: &Inner, record: &Record) {
    for point in volumes(record) {
        inner.events.publish(
            volume_event("mount", record, point)
                .with("destination", &point.destination)
                .with("read/write", point.rw)
                .with("propagation", &point.propagation),
        );
    }
}

/// A container does not use its volumes any more.
pub(super) fn publish_unmounts(inner: &Inner, record: &Record) {
    for point in volumes(record) {
        inner.events.publish(volume_event("unmount", record, point));
    }
}

fn volumes(record: &Record) -> impl Iterator<Item = &MountPoint> {
    let volumes = record.mounts.iter().filter(|mount| mount.is_volume());
    volumes.map(|mount| &mount.point)
}

fn volume_event(action: &str, record: &Record, point: &MountPoint) -> Event {
    Event::new(EventType::Volume, action, point.name.clone())
        .with("container", &record.id)
        .with("driver", &point.driver)
}

/// A container has ended, or never began: what was mounted for it goes.
pub(super) fn unmount(inner: &Inner, id: &str) {
    inner.volumes.unmount_all(id);
    let parts = files::part_path(&inner.store, id, 0);
    let parts = parts.parent().and_then(|parts| fs::read_dir(parts).ok());
    for part in parts.into_iter().flatten().flatten() {
        if let Err(error) = mount::unmount(&part.path(), true) {
            tracing::warn!(container = id, %error, "a part of a volume stays mounted");
        }
    }
}
