//! `export` and `diff`.

use std::path::Path;

use super::archive::View;
use super::{Change, ChangeKind, Containers, mountpoints, tree};
use crate::byte_stream::produced;
use crate::error::blocking;
use crate::{ByteStream, Result};

impl Containers {
    /// The whole file system as a tar, without what is mounted into it.
    pub async fn export(&self, name: &str) -> Result<ByteStream> {
        let container = self.find(name)?;
        let op = container.op.clone().lock_owned().await;
        let (inner, exported) = (self.0.clone(), container.clone());
        let stream = blocking(move || {
            let view = View::bare(&inner, &exported, op)?;
            produced(move |writer| {
                // The whole view, not only its root: the mount must last as long.
                let view = view;
                tree::pack(&view.root, Path::new(""), b"", view.ids.as_ref(), writer).map(drop)
            })
        })
        .await?;
        self.0.publish(&container, "export", &[]);
        Ok(stream)
    }

    /// What differs from the image.
    pub async fn changes(&self, name: &str) -> Result<Vec<Change>> {
        let container = self.find(name)?;
        let inner = self.0.clone();
        blocking(move || {
            let record = container.read().clone();
            let changes = inner.store.snapshots().changes(&container.id)?;
            let upper = inner.store.snapshots().get(&container.id)?.upper;
            Ok(written(changes, &record, &upper)
                .into_iter()
                .map(|change| Change {
                    path: change.path.to_string_lossy().into_owned(),
                    kind: match change.kind {
                        havre_store::ChangeKind::Modified => ChangeKind::Modified,
                        havre_store::ChangeKind::Added => ChangeKind::Added,
                        havre_store::ChangeKind::Deleted => ChangeKind::Deleted,
                    },
                })
                .collect())
        })
        .await
    }
}

/// Without the mount points that are there only while it runs, and without the directories above them that changed for no
/// other reason.
fn written(
    changes: Vec<havre_store::Change>,
    record: &super::record::Record,
    upper: &Path,
) -> Vec<havre_store::Change> {
    let is_empty = |path: &Path| {
        let path = upper.join(path.strip_prefix("/").unwrap_or(path));
        match fs_err::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                fs_err::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none())
            }
            Ok(metadata) => metadata.is_file() && metadata.len() == 0,
            Err(_) => false,
        }
    };
    // They may be gone again; then only the time of the directory above tells of them.
    let above = |one: &String| {
        let place = Path::new("/").join(one);
        place
            .ancestors()
            .skip(1)
            .map(Path::to_path_buf)
            .collect::<Vec<_>>()
    };
    let emptied: std::collections::BTreeSet<_> = record.mountpoints.iter().flat_map(above).collect();
    let kept: Vec<_> = changes
        .into_iter()
        .filter(|change| {
            change.kind != havre_store::ChangeKind::Added
                || !mountpoints::is_one(&change.path, &record.mountpoints)
                || !is_empty(&change.path)
        })
        .collect();
    let still_needed: std::collections::BTreeSet<_> = kept
        .iter()
        .filter(|change| !emptied.contains(&change.path))
        .flat_map(|change| change.path.ancestors().map(Path::to_path_buf).collect::<Vec<_>>())
        .collect();
    kept.into_iter()
        .filter(|change| !emptied.contains(&change.path) || still_needed.contains(&change.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use fs_err as fs;
    use havre_store::{Change as Stored, ChangeKind as Kind};

    use super::*;

    #[test]
    fn mount_points_are_not_changes() {
        let upper = tempfile::tempdir().unwrap();
        for directory in ["etc", "proc", "dev", "opt/app"] {
            fs::create_dir_all(upper.path().join(directory)).unwrap();
        }
        for file in ["etc/hosts", "etc/resolv.conf"] {
            fs::write(upper.path().join(file), "").unwrap();
        }
        fs::write(upper.path().join("opt/app/new"), "x").unwrap();
        fs::write(upper.path().join("dev/file"), "x").unwrap();
        let change = |path: &str, kind| Stored {
            path: path.into(),
            kind,
        };
        let mut record = super::super::tests::record("aaa1", "web");
        record.mountpoints = ["dev", "proc", "etc/hosts", "etc/resolv.conf"]
            .into_iter()
            .map(str::to_owned)
            .collect();
        let changes = vec![
            change("/dev", Kind::Added),
            change("/dev/file", Kind::Added),
            change("/etc", Kind::Modified),
            change("/etc/hosts", Kind::Added),
            change("/etc/resolv.conf", Kind::Added),
            change("/opt", Kind::Modified),
            change("/opt/app", Kind::Added),
            change("/opt/app/new", Kind::Added),
            change("/proc", Kind::Added),
        ];
        let shown: Vec<_> = written(changes, &record, upper.path())
            .iter()
            .map(|change| change.path.display().to_string())
            .collect();
        assert_eq!(shown, ["/dev", "/dev/file", "/opt", "/opt/app", "/opt/app/new"]);
    }
}
