//! One layer: the download goes into an ingest, and the unpacker follows it.
//!
//! The ingest is what a download that was cut, or a daemon that died, continues from. It lives in the page cache: nothing
//! here asks the disk to have it, and unless compressed layers are kept it is given up as soon as the layer is published.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use havre_oci::compression::{self, CompressionError};
use havre_registry_client::{Repository, Source};
use havre_store::{ApplyError, Ingest, IngestReader, Lease, StoreError, VerifiedIngest};
use tokio::sync::{Semaphore, mpsc};

use super::layers::Wanted;
use crate::flight::Turn;
use crate::{ImageError, ImageService, KeepCompressed, Progress, ProgressEvent};

/// Chunks between the network and the disk, of at most half a megabyte.
const QUEUE: usize = 8;
/// Bytes of one write.
const GATHER: usize = 256 << 10;
const TICK: Duration = Duration::from_millis(100);

enum Begun {
    /// The blob is complete.
    Present(fs_err::File),
    Transfer(Box<(Ingest, IngestReader)>),
}

pub(super) struct Transfer<'a> {
    pub(super) service: &'a ImageService,
    pub(super) repository: &'a Repository,
    /// `DOMAIN/PATH` of the repository.
    pub(super) from: &'a str,
    pub(super) layer: &'a Wanted,
    pub(super) lease: &'a Lease,
    pub(super) progress: &'a dyn Progress,
    pub(super) turn: &'a Turn,
}

impl Transfer<'_> {
    fn show(&self, status: &'static str, detail: Option<(u64, u64)>) {
        self.turn.show((status, detail));
        self.progress.emit(ProgressEvent {
            id: Some(self.layer.id()),
            status: status.to_owned(),
            detail,
        });
    }

    /// Downloads and unpacks; once more from the registry itself when the bytes were wrong, as a mirror or an earlier
    /// partial download may have been.
    pub(super) async fn run(&self, slots: &Semaphore) -> Result<(), ImageError> {
        match self.attempt(slots, Source::Any).await {
            Err(ImageError::Store(StoreError::DigestMismatch { expected, actual })) => {
                tracing::warn!(%expected, %actual, "layer arrived damaged and is fetched again");
                match self.attempt(slots, Source::Origin).await {
                    Err(ImageError::Store(StoreError::DigestMismatch { expected, .. })) => {
                        Err(ImageError::LayerVerification(expected))
                    }
                    outcome => outcome,
                }
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self, slots: &Semaphore, source: Source) -> Result<(), ImageError> {
        let slot = slots.acquire().await.map_err(|_| ImageError::Interrupted)?;
        let complete = Arc::new(AtomicBool::new(false));
        let arrived = match self.begin().await? {
            Begun::Present(file) => {
                drop(slot);
                complete.store(true, Ordering::Relaxed);
                self.unpack(file, complete).await?;
                None
            }
            Begun::Transfer(pair) => {
                let (ingest, tail) = *pair;
                let download = async {
                    let outcome = self.download(ingest, source).await;
                    complete.store(true, Ordering::Relaxed);
                    drop(slot);
                    outcome
                };
                Some(
                    self.both(download, self.unpack(tail, Arc::clone(&complete)))
                        .await?,
                )
            }
        };
        // Only what was verified is remembered as a form of the layer.
        let (diff_id, blob) = (self.layer.diff_id.clone(), self.layer.blob.clone());
        let from = self.from.to_owned();
        self.service
            .blocking(move |service| {
                match arrived {
                    Some(blob) if service.keep == KeepCompressed::Never => blob.discard()?,
                    Some(blob) => blob.publish()?,
                    None => service.store.touch_compressed(&blob.digest)?,
                }
                service.remember(&diff_id, &blob, Some(&from), None)
            })
            .await
    }

    /// Opens the blob, or its ingest. One that is being written for another call, or by a cancelled one that hasn't let go
    /// of it yet, is waited for.
    async fn begin(&self) -> Result<Begun, ImageError> {
        loop {
            let (lease, blob) = (self.lease.clone(), self.layer.blob.clone());
            let begun = self.service.blocking(move |service| {
                let content = service.store.content();
                if content.contains(&blob.digest) {
                    return Ok(Begun::Present(content.open(&blob.digest)?));
                }
                let ingest = content.ingest(&blob.digest, Some(blob.size), &lease)?;
                let tail = ingest.tail()?;
                Ok(Begun::Transfer(Box::new((ingest, tail))))
            });
            match begun.await {
                Err(ImageError::Store(StoreError::IngestBusy { .. })) => tokio::time::sleep(TICK).await,
                outcome => return outcome,
            }
        }
    }

    /// The download's error counts more than the unpacker's, which only sees that the stream ended.
    async fn both<T>(
        &self,
        download: impl Future<Output = Result<T, ImageError>>,
        unpack: impl Future<Output = Result<(), ImageError>>,
    ) -> Result<T, ImageError> {
        tokio::pin!(download, unpack);
        tokio::select! {
            downloaded = &mut download => match downloaded {
                Ok(blob) => unpack.await.map(|()| blob),
                Err(error) => {
                    // The unpacker ends by itself: its stream is cut. Nothing of it must outlive the attempt.
                    let _ = unpack.await;
                    Err(error)
                }
            },
            unpacked = &mut unpack => match unpacked {
                // It has read everything, so the blob is complete.
                Ok(()) => download.await,
                Err(ImageError::Layer { source, .. }) if may_be_damage(&source) => {
                    match download.await {
                        Err(error) => Err(error),
                        Ok(_) => Err(ImageError::layer(&self.layer.blob.digest, source)),
                    }
                }
                Err(error) => Err(error),
            },
        }
    }

    async fn download(&self, ingest: Ingest, source: Source) -> Result<VerifiedIngest, ImageError> {
        let blob = &self.layer.blob;
        let mut done = ingest.offset();
        let (sender, receiver) = mpsc::channel::<Bytes>(QUEUE);
        let writer = tokio::task::spawn_blocking(move || write(ingest, receiver));
        let fetch = async {
            if done > 0 {
                tracing::debug!(digest = %blob.digest, done, "download is resumed");
            }
            let mut stream = self.repository.fetch_blob(blob, done, source).await?;
            let mut shown = tokio::time::Instant::now();
            self.show("Downloading", Some((done, blob.size)));
            while let Some(chunk) = stream.next().await? {
                done += chunk.len() as u64;
                if sender.send(chunk).await.is_err() {
                    // The writer failed; its own error says more.
                    break;
                }
                if shown.elapsed() >= TICK {
                    shown = tokio::time::Instant::now();
                    self.show("Downloading", Some((done, blob.size)));
                }
            }
            Ok::<_, ImageError>(())
        };
        let fetched = fetch.await;
        drop(sender);
        let ingest = writer.await.map_err(|_| ImageError::Interrupted)??;
        fetched?;
        self.show("Verifying Checksum", None);
        let verified = ingest.verify()?;
        self.show("Download complete", None);
        Ok(verified)
    }

    /// Decompresses and applies the layer as it comes.
    /// Once `complete`, its progress is what is shown.
    async fn unpack(
        &self,
        reader: impl Read + Send + 'static,
        complete: Arc<AtomicBool>,
    ) -> Result<(), ImageError> {
        let total = self.layer.blob.size;
        let consumed = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&consumed);
        let (lease, blob, diff_id) = (
            self.lease.clone(),
            self.layer.blob.clone(),
            self.layer.diff_id.clone(),
        );
        let work = self.service.work(move |service| {
            let failed = |source| ImageError::layer(&blob.digest, source);
            let reader = Counting { reader, counter };
            let (_, decoder) = compression::detecting_decoder(reader, compression::Limits::default())
                .map_err(|error| failed(ApplyError::Read(error)))?;
            let limits = havre_store::Limits::default();
            service
                .store
                .layers()
                .apply(decoder, Some(&diff_id), &limits, &mut |_| {}, &lease)
                .map_err(failed)?;
            Ok(())
        });
        tokio::pin!(work);
        let mut ticker = tokio::time::interval(TICK);
        let mut last = 0;
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                _ = ticker.tick() => {
                    let now = consumed.load(Ordering::Relaxed);
                    // While the download goes on, that is what people want to see.
                    if complete.load(Ordering::Relaxed) && now != last {
                        last = now;
                        self.show("Extracting", Some((now.min(total), total)));
                    }
                }
            }
        }
    }
}

/// Whether an unpacker may have failed because its stream was cut or its bytes were wrong, which the download knows.
fn may_be_damage(error: &ApplyError) -> bool {
    match error {
        ApplyError::Read(error) => CompressionError::of(error).is_none(),
        ApplyError::Invalid { .. }
        | ApplyError::DanglingHardLink { .. }
        | ApplyError::DiffIdMismatch { .. } => true,
        _ => false,
    }
}

/// Writes chunks until the sender is gone. Small ones are gathered: each write wakes the reader that follows.
fn write(mut ingest: Ingest, mut receiver: mpsc::Receiver<Bytes>) -> Result<Ingest, ImageError> {
    let mut gathered = Vec::with_capacity(GATHER);
    while let Some(chunk) = receiver.blocking_recv() {
        if chunk.len() >= GATHER / 2 {
            ingest.write_all(&chunk)?;
            continue;
        }
        gathered.clear();
        gathered.extend_from_slice(&chunk);
        while gathered.len() < GATHER / 2
            && let Ok(chunk) = receiver.try_recv()
        {
            gathered.extend_from_slice(&chunk);
        }
        ingest.write_all(&gathered)?;
    }
    Ok(ingest)
}

struct Counting<R> {
    reader: R,
    counter: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buf)?;
        self.counter.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
