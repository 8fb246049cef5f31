//! Uploading blobs: mounted from another repository, sent in one request, or streamed and resumed.

mod stream;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use havre_oci::{Descriptor, Digest};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE};
use reqwest::{Method, StatusCode, Url};

use crate::RegistryError;
use crate::client::Repository;
use crate::endpoint::{Call, Reply, Target};
use crate::retry::{is_transient, retry_after};
use crate::transport::stalled;

/// Smaller blobs go with the request that ends the upload.
const MONOLITHIC: u64 = 1 << 20;
/// Pieces for registries (or their proxies) that refuse large requests.
const PIECE: u64 = 8 << 20;
const CHUNK_MIN: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// After the last byte the registry may still hash and move what it got.
const FINISH_TIMEOUT: Duration = Duration::from_secs(600);

pub use stream::BlobMaker;

/// Bytes of a blob to upload.
pub type BodyStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Opens a blob's bytes from an offset; called again when an upload is resumed or restarted.
pub trait BlobSource: Send + Sync {
    fn open(&self, offset: u64) -> io::Result<BodyStream>;
}

impl<F: Fn(u64) -> io::Result<BodyStream> + Send + Sync> BlobSource for F {
    fn open(&self, offset: u64) -> io::Result<BodyStream> {
        self(offset)
    }
}

/// Answer to a cross-repository mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountResult {
    Mounted,
    /// The registry wants an upload.
    NotMounted,
}

/// One upload of a blob.
struct Upload<'a> {
    repository: &'a Repository,
    descriptor: &'a Descriptor,
    source: &'a dyn BlobSource,
    progress: &'a (dyn Fn(u64) + Send + Sync),
    session: Option<Url>,
    /// Bytes the registry has.
    offset: u64,
    /// Largest request to send; everything at once when `None`.
    piece: Option<u64>,
}

impl Repository {
    /// Asks the registry to take the blob from another of its repositories (`from`: path, e.g. "library/debian").
    pub async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<MountResult, RegistryError> {
        let from_query: String =
            percent_encoding::utf8_percent_encode(from, percent_encoding::NON_ALPHANUMERIC).collect();
        let mut call = self
            .call(
                Method::POST,
                &format!("blobs/uploads/?mount={digest}&from={from_query}"),
            )
            .header(CONTENT_LENGTH, "0");
        call.scopes.push(format!("repository:{from}:pull"));
        let reply = self.origin().send(&call, &self.options().retry).await?;
        match reply.status() {
            StatusCode::CREATED => Ok(MountResult::Mounted),
            StatusCode::ACCEPTED => {
                // The registry opened an upload instead: the one of this blob.
                let session = self.origin().location(&reply)?;
                self.sessions()
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(digest.clone(), session);
                Ok(MountResult::NotMounted)
            }
            // No right to read the other repository is no reason not to upload.
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED => Ok(MountResult::NotMounted),
            _ => Err(reply.failure(self.options().stall_timeout).await.into_error()),
        }
    }

    /// Uploads a blob of known digest and size; `progress` gets the bytes sent so far. Memory is bounded; a broken
    /// connection is resumed where the registry allows, else the upload starts again.
    pub async fn push_blob(
        &self,
        descriptor: &Descriptor,
        source: &dyn BlobSource,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let session = self
            .sessions()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&descriptor.digest);
        let mut upload = Upload {
            repository: self,
            descriptor,
            source,
            progress,
            session,
            offset: 0,
            piece: None,
        };
        let policy = &self.options().retry;
        let mut failed = 0;
        loop {
            let before = upload.offset;
            let (error, after) = match upload.run().await {
                Ok(Outcome::Done) => return Ok(()),
                Ok(Outcome::Again) => continue,
                Ok(Outcome::Refused(reply)) => {
                    let transient = is_transient(reply.status()) || reply.status() == StatusCode::NOT_FOUND;
                    let after = retry_after(reply.headers());
                    let status = reply.status();
                    let failure = reply.failure(self.options().stall_timeout).await;
                    if !transient {
                        return Err(failure.into_error());
                    }
                    if status == StatusCode::NOT_FOUND {
                        upload.restart();
                    }
                    (failure.into_error(), after)
                }
                Err(error) if error.is_transient() => (error, None),
                Err(error) => return Err(error),
            };
            failed = if upload.offset > before { 1 } else { failed + 1 };
            let policy = if error.is_unreachable() {
                &policy.at_most(3)
            } else {
                policy
            };
            let Some(pause) = policy.pause(failed, after) else {
                return Err(error);
            };
            tracing::debug!(digest = %descriptor.digest, offset = upload.offset, ?pause, %error, "upload is resumed");
            tokio::time::sleep(pause).await;
            upload.ask_offset().await;
        }
    }
}

enum Outcome {
    Done,
    /// Something was learnt that makes another turn worth it.
    Again,
    Refused(Box<Reply>),
}

impl Upload<'_> {
    fn restart(&mut self) {
        self.session = None;
        self.offset = 0;
    }

    /// From where it stands to the end.
    async fn run(&mut self) -> Result<Outcome, RegistryError> {
        let session = match self.session.clone() {
            Some(session) => session,
            None => {
                let call = self
                    .repository
                    .call(Method::POST, "blobs/uploads/")
                    .header(CONTENT_LENGTH, "0");
                let reply = self.repository.origin().exchange(&call).await?;
                if !reply.status().is_success() {
                    return Ok(Outcome::Refused(Box::new(reply)));
                }
                if let Some(least) = reply.header(CHUNK_MIN).and_then(|text| text.parse::<u64>().ok()) {
                    self.piece = self.piece.map(|piece| piece.max(least));
                }
                let session = self.repository.origin().location(&reply)?;
                self.session = Some(session.clone());
                self.offset = 0;
                session
            }
        };
        let size = self.descriptor.size;
        let left = size - self.offset;
        if left > 0 && (left > MONOLITHIC || self.offset > 0) {
            let length = self.piece.map_or(left, |piece| piece.min(left));
            let mut call = self.session_call(Method::PATCH, session);
            // Docker streams without a range; pieces and what follows them say where they belong.
            if self.offset > 0 || length < left {
                call = call.header(
                    CONTENT_RANGE,
                    format!("{}-{}", self.offset, self.offset + length - 1),
                );
            }
            let reply = self.transfer(call, length).await?;
            if reply.status() == StatusCode::PAYLOAD_TOO_LARGE && length > PIECE {
                self.restart();
                self.piece = Some(PIECE);
                return Ok(Outcome::Again);
            }
            if !reply.status().is_success() {
                return Ok(Outcome::Refused(Box::new(reply)));
            }
            self.session = Some(self.repository.origin().location(&reply)?);
            self.offset += length;
            return Ok(Outcome::Again);
        }
        let mut finish = session;
        finish
            .query_pairs_mut()
            .append_pair("digest", self.descriptor.digest.as_str());
        let call = self.session_call(Method::PUT, finish);
        let reply = self.transfer(call, left).await?;
        if !reply.status().is_success() {
            return Ok(Outcome::Refused(Box::new(reply)));
        }
        (self.progress)(size);
        Ok(Outcome::Done)
    }

    fn session_call<'c>(&self, method: Method, session: Url) -> Call<'c> {
        let mut call = self.repository.call(method, "");
        call.target = Target::Url(session);
        call.header(CONTENT_TYPE, "application/octet-stream")
    }

    /// Sends `length` bytes from the offset, telling the progress.
    async fn transfer(&self, call: Call<'_>, length: u64) -> Result<Reply, RegistryError> {
        let sent = Arc::new(AtomicU64::new(0));
        let make = || {
            if length == 0 {
                return Ok(reqwest::Body::from(Bytes::new()));
            }
            sent.store(0, Ordering::Relaxed);
            let stream = self
                .source
                .open(self.offset)
                .map_err(|source| RegistryError::Source {
                    digest: self.descriptor.digest.clone(),
                    source,
                })?;
            Ok(reqwest::Body::wrap_stream(exactly(
                stream,
                length,
                Arc::clone(&sent),
            )))
        };
        let call = call.header(CONTENT_LENGTH, length.to_string()).body(&make);
        let (method, Target::Url(url)) = (call.method.clone(), call.target.clone()) else {
            unreachable!("uploads go to their session's address")
        };
        let exchange = self.repository.origin().exchange(&call);
        let patience = |now| match now >= length {
            true => FINISH_TIMEOUT,
            false => self.repository.options().stall_timeout,
        };
        let progress = |now| (self.progress)(self.offset + now);
        let gave_up = |patience| stalled(&method, &url, patience);
        watched(exchange, &sent, progress, patience, gave_up).await
    }

    /// After a failure: how much did the registry keep?
    async fn ask_offset(&mut self) {
        let Some(session) = self.session.clone() else {
            return;
        };
        let mut call = self.repository.call(Method::GET, "");
        call.scopes = vec![self.repository.push_scope()];
        call.target = Target::Url(session);
        let kept = match self.repository.origin().exchange(&call).await {
            Ok(reply) if reply.status().is_success() => {
                let end = reply
                    .header(RANGE)
                    .and_then(|range| range.rsplit('-').next()?.trim().parse::<u64>().ok());
                self.repository.origin().location(&reply).ok().zip(end)
            }
            _ => None,
        };
        match kept {
            // "0-0" is also how an empty upload is reported: a lone byte isn't worth telling them apart.
            Some((session, end)) if end > 0 && end < self.descriptor.size => {
                self.session = Some(session);
                self.offset = end + 1;
            }
            _ => self.restart(),
        }
    }
}

/// Waits for the answer to an upload and meanwhile tells how many bytes were `sent`; gives up when none were for as long as
/// `patience` says of that number.
async fn watched<T>(
    exchange: impl Future<Output = Result<T, RegistryError>>,
    sent: &AtomicU64,
    progress: impl Fn(u64),
    patience: impl Fn(u64) -> Duration,
    gave_up: impl Fn(Duration) -> RegistryError,
) -> Result<T, RegistryError> {
    tokio::pin!(exchange);
    let mut ticker = tokio::time::interval(Duration::from_millis(100));
    let (mut last, mut since) = (0, tokio::time::Instant::now());
    loop {
        tokio::select! {
            outcome = &mut exchange => return outcome,
            _ = ticker.tick() => {
                let now = sent.load(Ordering::Relaxed);
                if now != last {
                    (last, since) = (now, tokio::time::Instant::now());
                    progress(now);
                }
                let patience = patience(now);
                if since.elapsed() > patience {
                    return Err(gave_up(patience));
                }
            }
        }
    }
}

/// Exactly `length` bytes of a stream; a source that ends before is an error, what comes after is left.
fn exactly(
    stream: BodyStream,
    length: u64,
    sent: Arc<AtomicU64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures_util::stream::unfold(Some((stream, length)), move |state| {
        let sent = Arc::clone(&sent);
        async move {
            let (mut stream, left) = state?;
            if left == 0 {
                return None;
            }
            match stream.next().await {
                Some(Ok(mut chunk)) => {
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    let left = left - chunk.len() as u64;
                    Some((Ok(chunk), Some((stream, left))))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
            }
        }
    })
}
