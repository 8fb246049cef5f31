//! Mending single layers and documents: from what is kept here, or from the registries that have them.

use std::io::{self, Read};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use havre_oci::compression;
use havre_oci::{Descriptor, Digest, MAX_CONFIG_SIZE, Reference};
use havre_registry_client::{Accounts, BlobStream, RegistryError, Source};
use havre_store::{ApplyError, StoreError};
use tokio::sync::mpsc;

use super::{Object, Problem, Remedy, TICK};
use crate::{ImageError, ImageService, Progress, ProgressEvent};

/// How long a registry has to begin.
const PATIENCE: Duration = Duration::from_secs(15);
/// Chunks between the network and the unpacker, of at most half a megabyte.
const QUEUE: usize = 16;

/// What became of something damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    pub problem: Problem,
    /// How it was mended, or why it wasn't.
    pub outcome: Result<String, String>,
}

impl ImageService {
    /// Mends what of `damaged` still is: looks at each again, tries its remedies in turn, and looks once more. What is all
    /// right by now, or gone, isn't told of. One that can't be mended doesn't keep the others from it.
    pub async fn repair(
        &self,
        damaged: &[(Object, Digest)],
        credentials: &Accounts,
        progress: &dyn Progress,
    ) -> Result<Vec<Repaired>, ImageError> {
        // Manifests say where configurations and layers are.
        let mut damaged = damaged.to_vec();
        damaged.sort_by_key(|(object, _)| match object {
            Object::Manifest => 0,
            Object::Config => 1,
            Object::Compressed | Object::Unused => 3,
            Object::Layer => 2,
        });
        let mut repaired = Vec::new();
        for (object, digest) in &damaged {
            let _turn = match object {
                Object::Layer => Some(self.flights.enter(digest, |_| {}).await),
                _ => None,
            };
            let Some(problem) = self.check_one(*object, digest).await? else {
                continue;
            };
            let outcome = self.mend(&problem, credentials, progress).await;
            let status = match &outcome {
                Ok(how) => format!("Repaired: {how}"),
                Err(reason) => format!("Not repaired: {reason}"),
            };
            progress.emit(ProgressEvent::of(digest.short(), status));
            repaired.push(Repaired { problem, outcome });
        }
        Ok(repaired)
    }

    async fn mend(
        &self,
        problem: &Problem,
        credentials: &Accounts,
        progress: &dyn Progress,
    ) -> Result<String, String> {
        if problem.remedies.is_empty() {
            return Err(problem.advice());
        }
        let mut failures = Vec::new();
        for remedy in &problem.remedies {
            let attempt = self.attempt(problem, remedy, credentials, progress).await;
            let outcome = match attempt {
                Ok(()) => self.check_one(problem.object, &problem.digest).await,
                Err(error) => Err(error),
            };
            let failure = match outcome {
                Ok(None) => return Ok(done(remedy)),
                Ok(Some(still)) => format!("{}, but {}", done(remedy), still.reason),
                // No other way helps against that.
                Err(ImageError::Store(StoreError::LayerMounted { .. })) => {
                    return Err(
                        "it is a directory and something that runs stands on it: stop that first".to_owned(),
                    );
                }
                Err(error) => format!("{}: {error}", remedy.description()),
            };
            tracing::info!(digest = %problem.digest, failure, "a remedy did not help");
            failures.push(failure);
        }
        Err(failures.join("; "))
    }

    async fn attempt(
        &self,
        problem: &Problem,
        remedy: &Remedy,
        credentials: &Accounts,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let digest = problem.digest.clone();
        match (remedy, problem.object) {
            (Remedy::Remove, _) => {
                let gone = self
                    .blocking(move |service| Ok(service.store.content().give_up(&digest)?))
                    .await?;
                match gone {
                    true => Ok(()),
                    false => Err(ImageError::BlobInUse(problem.digest.clone())),
                }
            }
            (Remedy::Protect, _) => {
                self.blocking(move |service| Ok(service.store.layers().protect_again(&digest)?))
                    .await
            }
            (Remedy::Unpack(blob), _) => {
                let blob = blob.clone();
                let total = blob.size;
                let shown = |done: u64| {
                    progress.emit(ProgressEvent::bytes(
                        problem.digest.short(),
                        "Unpacking",
                        done.min(total),
                        total,
                    ));
                };
                self.watched(shown, move |service, watch| {
                    let lease = service.lease();
                    lease.hold(&blob.digest);
                    let mut file = service.store.content().open(&blob.digest)?;
                    let counted = Counted {
                        reader: &mut file,
                        count: |read| {
                            watch.done.fetch_add(read, Ordering::Relaxed);
                        },
                    };
                    service.rewrite(&digest, &blob, counted)
                })
                .await
            }
            (Remedy::Fetch { from, blob }, Object::Layer) => {
                let Some(blob) = blob else { return Ok(()) };
                self.fetch_layer(&digest, blob, from, credentials, progress).await
            }
            (Remedy::Fetch { from, blob }, object) => {
                let repository = self.client.repository(from, &credentials.of(from));
                let bytes = match (object, blob) {
                    (Object::Config, Some(blob)) => repository.read_blob(blob, MAX_CONFIG_SIZE).await?,
                    (Object::Config, None) => self.config_by_manifest(problem, &repository).await?,
                    _ => repository.resolve(digest.as_str()).await?.bytes,
                };
                self.blocking(move |service| {
                    let lease = service.lease();
                    Ok(service.store.content().replace(&digest, &bytes, &lease)?)
                })
                .await
            }
        }
    }

    /// A configuration whose manifest isn't here: the registry is asked for that first.
    async fn config_by_manifest(
        &self,
        problem: &Problem,
        repository: &havre_registry_client::Repository,
    ) -> Result<Vec<u8>, ImageError> {
        let id = problem.digest.clone();
        let manifest = self
            .blocking(move |service| {
                Ok(service
                    .store
                    .meta()
                    .find_image(&id)?
                    .and_then(|image| image.manifest))
            })
            .await?;
        let missing = || ImageError::NotFound(problem.digest.to_string());
        let manifest = manifest.ok_or_else(missing)?;
        let resolved = repository.resolve(manifest.digest.as_str()).await?;
        let havre_oci::Document::Manifest(manifest) = resolved.document else {
            return Err(missing());
        };
        Ok(repository.read_blob(&manifest.config, MAX_CONFIG_SIZE).await?)
    }

    async fn fetch_layer(
        &self,
        diff_id: &Digest,
        blob: &Descriptor,
        from: &Reference,
        credentials: &Accounts,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let repository = self.client.repository(from, &credentials.of(from));
        let begin = repository.fetch_blob(blob, 0, Source::Any);
        let stream = match tokio::time::timeout(PATIENCE, begin).await {
            Ok(stream) => stream?,
            Err(_) => return Err(ImageError::Silent(PATIENCE)),
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let write = {
            let (diff_id, blob, from) = (diff_id.clone(), blob.clone(), from.repository());
            self.blocking(move |service| {
                service.rewrite(&diff_id, &blob, Arriving::new(receiver))?;
                service.remember(&diff_id, &blob, Some(&from), None)
            })
        };
        let id = diff_id.short();
        let shown = |done| progress.emit(ProgressEvent::bytes(id, "Downloading", done, blob.size));
        let (sent, written) = tokio::join!(send(stream, sender, shown), write);
        match written {
            // What the unpacker saw was the end of what came.
            Err(_) if sent.is_err() => Ok(sent?),
            written => written,
        }
    }

    /// Replaces a layer's files by what a compressed form of it holds.
    fn rewrite(
        &self,
        diff_id: &Digest,
        blob: &Descriptor,
        reader: impl Read + Send,
    ) -> Result<(), ImageError> {
        let failed = |error| match error {
            ApplyError::Store(error) => ImageError::Store(error),
            error => ImageError::layer(&blob.digest, error),
        };
        let (_, decoder) = compression::detecting_decoder(reader, compression::Limits::default())
            .map_err(|error| failed(ApplyError::Read(error)))?;
        let lease = self.lease();
        let replaced = self.store.layers().replace(decoder, diff_id, &mut |_| {}, &lease);
        replaced.map(drop).map_err(failed)
    }
}

/// What was done.
fn done(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Unpack(_) => "unpacked from the compressed layer kept here".to_owned(),
        Remedy::Fetch { from, .. } => format!("fetched from {}", from.familiar_name()),
        Remedy::Protect => "protected again".to_owned(),
        Remedy::Remove => "removed".to_owned(),
    }
}

/// Passes a stream on, to its end or its failure.
async fn send(
    mut stream: BlobStream,
    sender: mpsc::Sender<Result<Bytes, io::Error>>,
    shown: impl Fn(u64),
) -> Result<(), RegistryError> {
    let (mut done, mut at) = (0, tokio::time::Instant::now());
    loop {
        match stream.next().await {
            Ok(Some(chunk)) => {
                done += chunk.len() as u64;
                if sender.send(Ok(chunk)).await.is_err() {
                    // The unpacker failed; its own error says more.
                    return Ok(());
                }
                if at.elapsed() >= TICK {
                    at = tokio::time::Instant::now();
                    shown(done);
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string());
                let _ = sender.send(Err(cut)).await;
                return Err(error);
            }
        }
    }
}

/// Chunks of a channel as a blocking reader. A sender that is gone in the middle is an error of the decoder.
struct Arriving {
    receiver: mpsc::Receiver<Result<Bytes, io::Error>>,
    chunk: Bytes,
}

impl Arriving {
    fn new(receiver: mpsc::Receiver<Result<Bytes, io::Error>>) -> Self {
        Self {
            receiver,
            chunk: Bytes::new(),
        }
    }
}

impl Read for Arriving {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.chunk = chunk?,
            }
        }
        let length = self.chunk.len().min(buf.len());
        buf[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}

struct Counted<R, F> {
    reader: R,
    count: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buf)?;
        (self.count)(read as u64);
        Ok(read)
    }
}
