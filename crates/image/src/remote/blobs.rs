//! Blobs and manifests that are no images: what artifacts are made of (OCI image specification, manifest.md, "Guidelines for
//! Artifact Usage").

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;
use futures_util::{Stream, StreamExt as _};
use havre_oci::{Descriptor, Digester, Document, Reference};
use havre_registry_client::BodyStream;
use havre_store::StoreError;

use super::{Access, selector};
use crate::relay::{self, Failure};
use crate::{ImageError, ImageService, Progress, ProgressEvent};

/// Bytes read at once.
const PIECE: usize = 256 << 10;

impl ImageService {
    /// Whether a repository has a blob.
    pub async fn has_remote_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        access: &Access,
    ) -> Result<bool, ImageError> {
        Ok(self
            .repository(repository, access)
            .blob_exists(&blob.digest)
            .await?)
    }

    /// Puts a blob into a repository. What comes is put aside first, in a file without a name, so that an upload that breaks can
    /// go on where it was.
    pub async fn push_remote_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        mut bytes: impl Stream<Item = io::Result<Bytes>> + Unpin,
        access: &Access,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let file = Arc::new(self.store.layers().scratch()?);
        let mut digester = Digester::new(blob.digest.algorithm());
        let mut size = 0;
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(ImageError::Input)?;
            digester.update(&piece);
            let (file, offset) = (Arc::clone(&file), size);
            size += piece.len() as u64;
            if size > blob.size {
                break;
            }
            self.blocking(move |_| {
                file.file()
                    .write_all_at(&piece, offset)
                    .map_err(ImageError::Output)
            })
            .await?;
        }
        if size != blob.size {
            return Err(StoreError::SizeMismatch {
                digest: blob.digest.clone(),
                expected: blob.size,
                actual: size,
            }
            .into());
        }
        let actual = digester.finish();
        if actual != blob.digest {
            let expected = blob.digest.clone();
            return Err(StoreError::DigestMismatch { expected, actual }.into());
        }
        let id = blob.digest.short();
        let source = |offset| Ok(from_file(Arc::clone(&file), offset));
        let told = |sent| progress.emit(ProgressEvent::bytes(id, "Pushing", sent, size));
        let to = self.repository(repository, access);
        to.push_blob(blob, &source, &told).await?;
        progress.emit(ProgressEvent::of(id, "Pushed"));
        Ok(())
    }

    /// The bytes of a blob, the last of which come only if all are what the digest says.
    pub async fn remote_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        access: &Access,
    ) -> Result<BodyStream, ImageError> {
        let from = self.repository(repository, access);
        let begun = from
            .fetch_blob(blob, 0, havre_registry_client::Source::Any)
            .await?;
        Ok(relay::stream(from, blob, 0, Some(begun), &Failure::default()))
    }

    /// Puts a manifest whose blobs are there under the tag of `target`, or under nothing but its digest. Its descriptor.
    pub async fn push_remote_manifest(
        &self,
        target: &Reference,
        media_type: &str,
        bytes: Vec<u8>,
        access: &Access,
    ) -> Result<Descriptor, ImageError> {
        let document = Document::parse(&bytes, Some(media_type)).map_err(ImageError::InvalidManifest)?;
        let descriptor = Descriptor::of(document.media_type(), &bytes);
        let name = match target.is_name_only() {
            true => descriptor.digest.to_string(),
            false if target.digest().is_some() => return Err(ImageError::PushDigest),
            false => selector(target),
        };
        let to = self.repository(target, access);
        to.push_manifest(&name, &descriptor.media_type, bytes).await?;
        Ok(descriptor)
    }
}

fn from_file(file: Arc<fs::File>, offset: u64) -> BodyStream {
    Box::pin(futures_util::stream::unfold(
        (file, offset),
        |(file, offset)| async move {
            let reading = Arc::clone(&file);
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; PIECE];
                let count = reading.file().read_at(&mut piece, offset)?;
                piece.truncate(count);
                Ok(piece)
            });
            match read.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(piece) if piece.is_empty() => None,
                Ok(piece) => {
                    let next = offset + piece.len() as u64;
                    Some((Ok(Bytes::from(piece)), (file, next)))
                }
                Err(error) => Some((Err(error), (file, u64::MAX >> 1))),
            }
        },
    ))
}
