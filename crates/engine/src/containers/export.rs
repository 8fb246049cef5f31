//! `export` and `diff`.

use std::path::Path;

use super::archive::{View, archive_stream};
use super::{Change, ChangeKind, Containers, tree};
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
            archive_stream(move |writer| tree::pack(&view.root, Path::new(""), b"", writer).map(drop))
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
            let changes = inner.store.snapshots().changes(&container.id)?;
            Ok(changes
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
