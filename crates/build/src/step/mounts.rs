//! `RUN --mount`: what the step sees besides its own files.

use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::Digest;
use havre_sys::rooted::{Mode, Root};
use rustix::fs::{FileType, Gid, Uid};

use super::{Files, Shared, io, patiently};
use crate::context::{IgnoreRules, clean};
use crate::copy::{Content, CopyError, Item, Picked, Tree, content_digest, contents, place};
use crate::error::StepError;
use crate::executor::{RunMount, RunMountSource};
use crate::files;
use crate::instructions::{Mount, MountKind};
use crate::key::Key;

/// A mount with its source found and its paths expanded.
pub(super) struct Prepared {
    target: String,
    kind: PreparedKind,
}

enum PreparedKind {
    Bind {
        files: Files,
        picked: Picked,
        items: Vec<Item>,
        contents: Vec<Option<Content>>,
        digest: Digest,
        writable: bool,
    },
    Cache {
        directory: PathBuf,
        read_only: bool,
        mode: u32,
        owner: (u32, u32),
    },
    Tmpfs {
        size: Option<u64>,
    },
}

/// `layers` are those of `from`, if the mount has one. Paths are expanded already.
pub(super) fn prepare(
    shared: &Shared,
    mount: &Mount,
    layers: Option<&[Digest]>,
    workdir: &str,
) -> Result<Prepared, StepError> {
    let absolute = match mount.target.starts_with('/') {
        true => clean(&mount.target),
        false => clean(&format!("{workdir}/{}", mount.target)),
    };
    let kind = match &mount.kind {
        MountKind::Tmpfs { size } => PreparedKind::Tmpfs { size: *size },
        MountKind::Cache {
            id,
            read_only,
            mode,
            uid,
            gid,
        } => {
            let mut key = Key::new("cache mount");
            key.text(id.as_deref().unwrap_or(&absolute));
            let directory = shared.caches.join(key.finish().hex());
            PreparedKind::Cache {
                directory,
                read_only: *read_only,
                mode: *mode,
                owner: (*uid, *gid),
            }
        }
        MountKind::Bind { source, writable, .. } => {
            let files = match layers {
                Some(layers) => Files::layers(shared, layers)?,
                None => Files::context(shared)?,
            };
            let tree = Tree {
                keyword: "RUN --mount",
                root: &files.root,
                rules: files.rules(shared),
                keep_owners: layers.is_some(),
            };
            let (picked, items, contents) = patiently(shared, || {
                let picked = tree.pick(source)?.into_iter().next();
                let picked = picked.ok_or(CopyError::NoSources {
                    keyword: tree.keyword,
                })?;
                let items = tree.items(&picked, &IgnoreRules::default())?;
                let contents = contents(&files.root, &items, files.hashes(shared))?;
                Ok((picked, items, contents))
            })?;
            let digest = content_digest(&items, &contents);
            PreparedKind::Bind {
                files,
                picked,
                items,
                contents,
                digest,
                writable: *writable,
            }
        }
    };
    Ok(Prepared {
        target: absolute,
        kind,
    })
}

impl Prepared {
    /// What of the mount decides the step's result: the content of a bind, nothing of a cache.
    pub(super) fn add_to(&self, key: &mut Key) {
        key.text("mount").text(&self.target);
        match &self.kind {
            PreparedKind::Bind { picked, digest, .. } => {
                key.text("bind")
                    .text(if picked.is_dir { "dir" } else { "file" })
                    .text(digest.as_str());
            }
            PreparedKind::Cache { directory, .. } => {
                key.text("cache")
                    .text(&directory.file_name().unwrap_or_default().to_string_lossy());
            }
            PreparedKind::Tmpfs { .. } => {
                key.text("tmpfs");
            }
        }
    }

    /// Makes the source (a copy for binds: the build sees what `.dockerignore` lets it see, and writes are thrown
    /// away) and the mount point. Mount points that are new are added to `made`.
    pub(super) fn realise(
        &self,
        shared: &Shared,
        scratch: &Path,
        root: &Root,
        made: &mut Vec<PathBuf>,
    ) -> Result<RunMount, StepError> {
        let target = Path::new(&self.target);
        let (source, read_only, is_dir) = match &self.kind {
            PreparedKind::Tmpfs { size } => (RunMountSource::Tmpfs { size: *size }, false, true),
            PreparedKind::Cache {
                directory,
                read_only,
                mode,
                owner,
            } => {
                if !directory.exists() {
                    fs::create_dir_all(directory).map_err(io("create a cache mount"))?;
                    let root = Root::open(directory).map_err(io("open a cache mount"))?;
                    let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
                    rustix::fs::chown(root.path(), Some(uid), Some(gid))
                        .and_then(|()| rustix::fs::chmod(root.path(), Mode::from_raw_mode(*mode)))
                        .map_err(|errno| io("prepare a cache mount")(errno.into()))?;
                }
                let _ = shared;
                (RunMountSource::Bind(directory.clone()), *read_only, true)
            }
            PreparedKind::Bind {
                files,
                picked,
                items,
                contents,
                writable,
                ..
            } => {
                let directory = tempfile::Builder::new()
                    .prefix("bind-")
                    .tempdir_in(scratch)
                    .map_err(io("create a bind mount"))?
                    .keep();
                let copy = Root::open(&directory).map_err(io("open a bind mount"))?;
                let base = Path::new("content");
                let unchanged = |item: &Item| item.attributes.clone();
                place(&files.root, items, contents, &copy, base, (0, 0), unchanged)?;
                (
                    RunMountSource::Bind(directory.join("content")),
                    !writable,
                    picked.is_dir,
                )
            }
        };
        mount_point(root, target, is_dir, made).map_err(io("create a mount point"))?;
        Ok(RunMount {
            target: self.target.clone(),
            source,
            read_only,
        })
    }
}

/// Makes `target` if it is missing, noting every path that is new.
fn mount_point(root: &Root, target: &Path, is_dir: bool, made: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if let Ok(status) = root.stat(target, true) {
        let there = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        return match there == is_dir {
            true => Ok(()),
            false => Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                format!(
                    "{} can't be mounted over: one is a directory, the other a file",
                    target.display()
                ),
            )),
        };
    }
    let directory = if is_dir {
        target
    } else {
        target.parent().unwrap_or(Path::new("/"))
    };
    let mut missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|path| root.stat(path, true).is_err())
        .collect();
    missing.reverse();
    made.extend(missing.into_iter().map(Path::to_path_buf));
    root.ensure_dir(directory, Mode::from_raw_mode(0o755))?;
    if !is_dir {
        root.write(target, b"", Mode::from_raw_mode(0o644))?;
        made.push(target.to_path_buf());
    }
    Ok(())
}

/// Removes the mount points again, deepest first.
pub(super) fn clear(root: &Root, made: &[PathBuf]) {
    for path in made.iter().rev() {
        files::remove_if_empty(root, path);
    }
}
