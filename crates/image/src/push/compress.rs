//! Layers that have no compressed form: compressed on all cores, and sent while that goes on.

use std::io::{self, BufRead as _, Cursor, Read, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use havre_oci::{Compression, Descriptor, Digest, Digester, compression, media_type};
use havre_registry_client::{BlobMaker, BodyStream};
use havre_store::Lease;
use tokio::sync::mpsc;

use super::layers::Target;
use super::{PIECE, QUEUE, read_ahead, received};
use crate::options::Packing;
use crate::{ImageError, ImageService, KeepCompressed, ProgressEvent, origin};

/// Layers up to so many bytes are compressed in memory first: one request sends them, or none if the registry has them.
const SMALL: u64 = 4 << 20;

impl ImageService {
    /// Compresses the layer, sends it unless the registry turns out to have it, and remembers the form.
    pub(super) async fn push_compressed(
        &self,
        target: &Target<'_>,
        diff_id: &Digest,
        lease: &Lease,
    ) -> Result<Descriptor, ImageError> {
        let id = diff_id.short();
        target.progress.emit(ProgressEvent::of(id, "Waiting"));
        let _turn = self.flights.enter(diff_id, |_| {}).await;
        let (tar_size, known) = {
            let diff_id = diff_id.clone();
            self.blocking(move |service| {
                service.pack_layer(&diff_id)?;
                let size = service.store.layers().get(&diff_id)?.tar_size;
                Ok((size, service.store.meta().layer_blobs(&diff_id)?))
            })
            .await?
        };
        // Another push may have made it while this one waited.
        let made = known
            .into_iter()
            .find(|blob| origin::is_made_by(blob, &self.packing));
        if let Some(blob) = made
            && target.repository.blob_exists(&blob.digest).await?
        {
            target
                .progress
                .emit(ProgressEvent::of(id, "Layer already exists"));
            return Ok(blob);
        }
        let read = Arc::new(AtomicU64::new(0));
        let told = |_| {
            let done = read.load(Ordering::Relaxed);
            let event = ProgressEvent::bytes(id, "Pushing", done, tar_size);
            target.progress.emit(event);
        };
        told(0);
        let blob = if tar_size <= SMALL {
            self.push_small(target, diff_id, &read, lease, &told).await?
        } else {
            self.push_streamed(target, diff_id, &read, lease, &told).await?
        };
        target.progress.emit(ProgressEvent::of(id, "Pushed"));
        let (service, diff_id, noted) = (self.clone(), diff_id.clone(), blob.clone());
        self.blocking(move |_| service.remember(&diff_id, &noted, None, Some(&service.packing)))
            .await?;
        Ok(blob)
    }

    async fn push_small(
        &self,
        target: &Target<'_>,
        diff_id: &Digest,
        read: &Arc<AtomicU64>,
        lease: &Lease,
        told: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Descriptor, ImageError> {
        let making = Making::new(self, diff_id, read, lease);
        let packed = self
            .blocking(move |_| {
                let failed = |source| ImageError::Compress {
                    diff_id: making.diff_id.clone(),
                    source,
                };
                let mut bytes = Vec::new();
                making
                    .pack(|piece| {
                        bytes.extend_from_slice(&piece);
                        true
                    })
                    .map_err(failed)?;
                Ok(Bytes::from(bytes))
            })
            .await?;
        let blob = Descriptor::of(self.packing.media_type(), &packed);
        if !target.repository.blob_exists(&blob.digest).await? {
            let source = move |offset| {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(packed.len());
                Ok(read_ahead(Cursor::new(packed.slice(start..))))
            };
            target.repository.push_blob(&blob, &source, told).await?;
        }
        Ok(blob)
    }

    async fn push_streamed(
        &self,
        target: &Target<'_>,
        diff_id: &Digest,
        read: &Arc<AtomicU64>,
        lease: &Lease,
        told: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Descriptor, ImageError> {
        let making = Making::new(self, diff_id, read, lease);
        let outcome = target.repository.push_made(&making, told).await;
        // What broke the stream says more than that it broke.
        if let Some(source) = making.failure() {
            return Err(ImageError::Compress {
                diff_id: diff_id.clone(),
                source,
            });
        }
        match outcome? {
            Some((digest, size)) => Ok(Descriptor::new(self.packing.media_type(), digest, size)),
            None => {
                // The registry wants the length first.
                let blob = self
                    .blocking(move |service| {
                        let failed = |source| ImageError::Compress {
                            diff_id: making.diff_id.clone(),
                            source,
                        };
                        let mut writer = service.store.content().create(&making.lease)?;
                        let mut written = Ok(());
                        making
                            .pack(|piece| {
                                written = writer.write_all(&piece);
                                written.is_ok()
                            })
                            .map_err(failed)?;
                        written.map_err(failed)?;
                        let (digest, size) = writer.finish()?;
                        Ok(Descriptor::new(service.packing.media_type(), digest, size))
                    })
                    .await?;
                self.upload(target.repository, &blob, told).await?;
                if self.keep == KeepCompressed::Never {
                    let digest = blob.digest.clone();
                    self.blocking(move |service| Ok(service.store.content().remove(&digest)?))
                        .await?;
                }
                Ok(blob)
            }
        }
    }
}

impl Packing {
    /// What the layers it makes are, in Docker's words.
    fn media_type(&self) -> &'static str {
        match self.compression {
            Compression::Zstd => media_type::DOCKER_LAYER_ZSTD,
            _ => media_type::DOCKER_LAYER_GZIP,
        }
    }
}

/// A layer being compressed; each [`begin`](BlobMaker::begin) does it anew.
#[derive(Clone)]
struct Making {
    service: ImageService,
    diff_id: Digest,
    lease: Lease,
    /// Bytes of the archive compressed so far.
    read: Arc<AtomicU64>,
    made: Arc<Mutex<Option<(Digest, u64)>>>,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Making {
    fn new(service: &ImageService, diff_id: &Digest, read: &Arc<AtomicU64>, lease: &Lease) -> Self {
        Making {
            service: service.clone(),
            diff_id: diff_id.clone(),
            lease: lease.clone(),
            read: Arc::clone(read),
            made: Arc::default(),
            failure: Arc::default(),
        }
    }

    fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Compresses to the end, giving pieces to `take` until that refuses one.
    fn pack(&self, mut take: impl FnMut(Bytes) -> bool) -> io::Result<()> {
        self.read.store(0, Ordering::Relaxed);
        let tar = self
            .service
            .store
            .layers()
            .tar(&self.diff_id)
            .map_err(io::Error::other)?;
        let tar = Counting {
            inner: tar,
            count: &self.read,
        };
        let Packing { compression, level } = self.service.packing;
        let mut packed = compression::packed(tar, compression, Some(level), &self.service.packers)?;
        loop {
            let there = packed.fill_buf()?;
            let length = there.len().min(PIECE);
            let piece = Bytes::copy_from_slice(&there[..length]);
            packed.consume(length);
            if length == 0 || !take(piece) {
                return Ok(());
            }
        }
    }

    /// Compresses into a channel, hashes on the way, and keeps a copy if compressed layers are kept.
    fn send(&self, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
        let store = &self.service.store;
        let mut copy = match self.service.keep {
            KeepCompressed::Never => None,
            _ => Some(store.content().create(&self.lease).map_err(io::Error::other)?),
        };
        let (mut digester, mut size) = (Digester::sha256(), 0);
        let (mut written, mut taken) = (Ok(()), true);
        self.pack(|piece| {
            digester.update(&piece);
            size += piece.len() as u64;
            if let Some(copy) = &mut copy {
                written = copy.write_all(&piece);
            }
            taken = written.is_ok() && sender.blocking_send(Ok(piece)).is_ok();
            taken
        })?;
        written?;
        if !taken {
            // The upload was given up.
            return Ok(());
        }
        if let Some(copy) = copy {
            copy.finish().map_err(io::Error::other)?;
        }
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some((digester.finish(), size));
        Ok(())
    }
}

impl BlobMaker for Making {
    fn begin(&self) -> io::Result<BodyStream> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let making = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = making.send(&sender) {
                let told = io::Error::new(error.kind(), error.to_string());
                *making.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                let _ = sender.blocking_send(Err(told));
            }
        });
        Ok(received(receiver))
    }

    fn made(&self) -> Option<(Digest, u64)> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Counting<'a, R> {
    inner: R,
    count: &'a AtomicU64,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
