//! A blob on its way from upstream into the store, read by those who wait for it while it comes.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use havre_oci::Digest;
use havre_registry_store::{Appending, RegistryStore, RepositoryName, StoreError};
use tokio::sync::watch;

use crate::error::{CacheError, Result};

/// A blob on its way.
#[derive(Debug)]
pub struct Download {
    /// In bytes.
    size: u64,
    /// Where what has come is read.
    file: Arc<File>,
    progress: watch::Receiver<Progress>,
    upstream: String,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    written: u64,
    /// How it ended.
    end: Option<Result<()>>,
}

/// What takes the bytes of a download.
pub(crate) struct Taking {
    appending: Appending,
    /// Beside the store's, where that has no file that can be read.
    spool: Option<File>,
    progress: watch::Sender<Progress>,
    name: RepositoryName,
    digest: Digest,
}

impl Download {
    /// Makes room for a blob of so many bytes. Blocking. `spool`: a folder for what the store has no file for.
    pub(crate) fn begin(
        store: &RegistryStore,
        name: &RepositoryName,
        digest: &Digest,
        size: u64,
        spool: &Path,
        upstream: &str,
    ) -> Result<(Self, Taking)> {
        let upload = store.begin_upload(name, digest.algorithm())?;
        let appending = store.append(name, &upload.id, Some(0))?;
        let (file, spool) = match appending.file()? {
            Some(file) => (file, None),
            None => {
                let make = || {
                    let file = tempfile::tempfile_in(spool)?;
                    Ok((file.try_clone()?, Some(file)))
                };
                make().map_err(|source| StoreError::Io {
                    action: "make a file in",
                    path: spool.to_owned(),
                    source,
                })?
            }
        };
        let (sender, progress) = watch::channel(Progress::default());
        let download = Self {
            size,
            file: Arc::new(file),
            progress,
            upstream: upstream.to_owned(),
        };
        let taking = Taking {
            appending,
            spool,
            progress: sender,
            name: name.clone(),
            digest: digest.clone(),
        };
        Ok((download, taking))
    }

    /// Of the whole blob, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes from `at` on, `most` of them at most, as soon as there are any; none at the end. The last byte of the blob
    /// comes when all of it was found to be what its digest says.
    pub async fn read(&self, at: u64, most: usize) -> Result<Bytes> {
        if at >= self.size {
            return Ok(Bytes::new());
        }
        let mut progress = self.progress.clone();
        let readable = |progress: &Progress| match &progress.end {
            Some(Ok(())) => self.size,
            _ => progress.written.min(self.size - 1),
        };
        let seen = progress.wait_for(|progress| progress.end.is_some() || readable(progress) > at);
        let until = match seen.await {
            Ok(progress) => match &progress.end {
                Some(Err(error)) => return Err(error.clone()),
                _ => readable(&progress),
            },
            Err(_) => {
                return Err(CacheError::BrokenOff {
                    upstream: self.upstream.clone(),
                });
            }
        };
        let length = usize::try_from(until - at).unwrap_or(most).min(most);
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, at)?;
            Ok(Bytes::from(bytes))
        });
        match read.await {
            Ok(read) => read.map_err(|source| {
                let (action, path) = ("read", "what came from upstream".into());
                StoreError::Io { action, path, source }.into()
            }),
            Err(_) => Err(CacheError::BrokenOff {
                upstream: self.upstream.clone(),
            }),
        }
    }
}

impl Taking {
    /// Takes all bytes, and keeps them if they are what the digest says. Blocking; `next` waits for what comes. All who read are told how it
    /// ends.
    pub(crate) fn run(self, store: &RegistryStore, next: impl FnMut() -> Result<Option<Bytes>>) {
        let Self {
            appending,
            spool,
            progress,
            name,
            digest,
        } = self;
        let id = appending.id().to_owned();
        let took = take(appending, spool, next, &progress, &digest);
        if let Err(error) = &took {
            tracing::warn!(repository = %name, %digest, %error, "a blob did not come");
            match store.cancel_upload(&name, &id) {
                Ok(()) | Err(StoreError::UploadUnknown) => {}
                Err(error) => tracing::warn!(%error, "what came of a blob stays until uploads are purged"),
            }
        }
        progress.send_modify(|progress| progress.end = Some(took));
    }
}

fn take(
    mut appending: Appending,
    mut spool: Option<File>,
    mut next: impl FnMut() -> Result<Option<Bytes>>,
    progress: &watch::Sender<Progress>,
    digest: &Digest,
) -> Result<()> {
    while let Some(piece) = next()? {
        appending.write(&piece)?;
        if let Some(spool) = &mut spool {
            spool.write_all(&piece).map_err(|source| {
                let (action, path) = ("write", "what comes from upstream".into());
                StoreError::Io { action, path, source }
            })?;
        }
        progress.send_modify(|progress| progress.written += piece.len() as u64);
    }
    Ok(appending.finish(digest)?)
}
