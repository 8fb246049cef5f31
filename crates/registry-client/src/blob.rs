//! Reading blobs: streamed, resumed, never longer than announced.

use bytes::Bytes;
use havre_oci::{Descriptor, Digest};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Method, StatusCode};

use crate::RegistryError;
use crate::client::Repository;
use crate::endpoint::Reply;
use crate::failure::network;
use crate::transport::stalled;

/// Connections one blob may take in all: a registry that sends a byte at a time doesn't hold a pull for ever.
const MAX_CONNECTIONS: u32 = 1000;

/// Where a blob may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// Mirrors first, then the registry.
    #[default]
    Any,
    /// The registry itself only: what a mirror gave was wrong.
    Origin,
}

/// Bytes of a blob, in order, from the offset asked for to its end. Broken connections are resumed inside.
pub struct BlobStream {
    repository: Repository,
    descriptor: Descriptor,
    /// Offset of the next byte to give.
    position: u64,
    /// Where to end: the descriptor's size, or that of a range.
    end: u64,
    /// The server in use.
    endpoint: usize,
    reply: Option<Reply>,
    /// Bytes to pass over: the server began at the start instead of at the position.
    skip: u64,
    /// Failures in a row without a byte between them.
    failed: u32,
    connections: u32,
}

impl Repository {
    /// A blob from `offset` on. Fails at once when it isn't there.
    pub async fn fetch_blob(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        source: Source,
    ) -> Result<BlobStream, RegistryError> {
        self.fetch(descriptor, offset..descriptor.size, source).await
    }

    /// The bytes of a blob in `range`, and no others: [`RegistryError::NoRanges`] where the server would send the rest as well.
    /// What comes cannot be compared with the blob's digest.
    pub async fn fetch_range(
        &self,
        descriptor: &Descriptor,
        range: std::ops::Range<u64>,
    ) -> Result<BlobStream, RegistryError> {
        self.fetch(descriptor, range, Source::Any).await
    }

    async fn fetch(
        &self,
        descriptor: &Descriptor,
        range: std::ops::Range<u64>,
        source: Source,
    ) -> Result<BlobStream, RegistryError> {
        let end = range.end.min(descriptor.size);
        let mut stream = BlobStream {
            repository: self.clone(),
            descriptor: descriptor.clone(),
            position: range.start.min(end),
            end,
            endpoint: if source == Source::Origin {
                self.endpoints().len() - 1
            } else {
                0
            },
            reply: None,
            skip: 0,
            failed: 0,
            connections: 0,
        };
        if stream.position < end {
            stream.connect().await?;
        }
        Ok(stream)
    }

    /// Reads a whole small blob, verified.
    pub async fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let Descriptor {
            digest: expected,
            size,
            ..
        } = descriptor;
        if *size > limit {
            return Err(RegistryError::BlobTooLarge {
                digest: expected.clone(),
                size: *size,
                limit,
            });
        }
        let mut mismatch = None;
        for source in [Source::Any, Source::Origin] {
            let mut stream = self.fetch_blob(descriptor, 0, source).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.next().await? {
                bytes.extend_from_slice(&chunk);
            }
            let actual = Digest::of(expected.algorithm(), &bytes);
            if actual == *expected {
                return Ok(bytes);
            }
            mismatch = Some(RegistryError::BlobMismatch {
                expected: expected.clone(),
                actual,
            });
            if self.endpoints().len() == 1 {
                break;
            }
        }
        Err(mismatch.expect("at least one source was read"))
    }

    /// How many bytes a blob has; [`None`] when it isn't there.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let call = self.call(Method::HEAD, &format!("blobs/{digest}"));
        let reply = self.read(&call).await?;
        match reply.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                // The length of the body, which has none, is not that of the blob.
                let size = reply.header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
                size.map(Some).ok_or_else(|| RegistryError::Protocol {
                    url: crate::transport::shown(&reply.url),
                    reason: "it does not say how many bytes the blob has".to_owned(),
                })
            }
            _ => Err(self.pull_error(reply.failure(self.options().stall_timeout).await)),
        }
    }

    /// Whether the registry already has the blob in this repository.
    pub async fn blob_exists(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let mut call = self.call(Method::HEAD, &format!("blobs/{digest}"));
        call.scopes = vec![self.push_scope()];
        let reply = self.origin().send(&call, &self.options().retry).await?;
        match reply.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(reply.failure(self.options().stall_timeout).await.into_error()),
        }
    }
}

impl BlobStream {
    /// The next bytes; `None` once the descriptor's size, or the end of the range, has been reached. Never more than that in total.
    /// The digest is for the consumer to check (it has the earlier bytes).
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let stall = self.repository.options().stall_timeout;
        while self.position < self.end {
            let Some(reply) = &mut self.reply else {
                self.connect().await?;
                continue;
            };
            let error = match tokio::time::timeout(stall, reply.response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    if let Some(chunk) = self.accept(chunk) {
                        return Ok(Some(chunk));
                    }
                    continue;
                }
                Ok(Ok(None)) => RegistryError::Network {
                    method: "Get".to_owned(),
                    url: crate::transport::shown(&reply.url),
                    reason: "unexpected EOF".to_owned(),
                    connect: false,
                },
                Ok(Err(error)) => network(&reply.method, &reply.url, &error, None),
                Err(_) => stalled(&reply.method, &reply.url, stall),
            };
            self.reply = None;
            self.failed += 1;
            self.pause(error).await?;
        }
        self.reply = None;
        Ok(None)
    }

    /// Waits before the next attempt, goes over to the next server, or gives up with `error`.
    async fn pause(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let last = self.endpoint + 1 == self.repository.endpoints().len();
        let retry = &self.repository.options().retry;
        let policy = if last { retry.clone() } else { retry.at_most(2) };
        let pause = policy
            .pause(self.failed, None)
            .filter(|_| self.connections < MAX_CONNECTIONS);
        match pause {
            Some(pause) => {
                let (digest, position) = (&self.descriptor.digest, self.position);
                tracing::debug!(%digest, position, ?pause, %error, "blob transfer is resumed");
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None if !last => {
                tracing::debug!(%error, "mirror cannot serve the blob");
                self.endpoint += 1;
                self.failed = 0;
                Ok(())
            }
            None => Err(error),
        }
    }

    /// What of a chunk is new: nothing before the position, nothing beyond the announced size.
    fn accept(&mut self, mut chunk: Bytes) -> Option<Bytes> {
        let passed = self.skip.min(chunk.len() as u64);
        self.skip -= passed;
        let _ = chunk.split_to(usize::try_from(passed).unwrap_or(usize::MAX));
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        chunk.truncate(left);
        if chunk.is_empty() {
            return None;
        }
        self.position += chunk.len() as u64;
        self.failed = 0;
        Some(chunk)
    }

    async fn connect(&mut self) -> Result<(), RegistryError> {
        loop {
            self.connections += 1;
            match self.try_connect().await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if self.endpoint + 1 == self.repository.endpoints().len() {
                        return Err(error);
                    }
                    tracing::debug!(%error, "mirror cannot serve the blob");
                    self.endpoint += 1;
                    self.failed = 0;
                }
            }
        }
    }

    async fn try_connect(&mut self) -> Result<(), RegistryError> {
        let repository = &self.repository;
        let Descriptor { digest, size, .. } = &self.descriptor;
        let mut call = repository.call(Method::GET, &format!("blobs/{digest}"));
        let part = self.end < *size;
        if part {
            call = call.header(RANGE, format!("bytes={}-{}", self.position, self.end - 1));
        } else if self.position > 0 {
            call = call.header(RANGE, format!("bytes={}-", self.position));
        }
        let last = self.endpoint + 1 == repository.endpoints().len();
        let retry = &repository.options().retry;
        let policy = if last { retry.clone() } else { retry.at_most(2) };
        let reply = repository.endpoints()[self.endpoint].send(&call, &policy).await?;
        let size_error = |actual| RegistryError::BlobSize {
            digest: digest.clone(),
            expected: *size,
            actual,
        };
        match reply.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = reply.header(CONTENT_RANGE).and_then(parse_content_range);
                let Some((start, total)) = range.filter(|(start, _)| *start == self.position) else {
                    return Err(RegistryError::Protocol {
                        url: crate::transport::shown(&reply.url),
                        reason: format!(
                            "asked for the blob from byte {}, got another range",
                            self.position
                        ),
                    });
                };
                debug_assert_eq!(start, self.position);
                if let Some(total) = total.filter(|total| total != size) {
                    return Err(size_error(total));
                }
                self.skip = 0;
            }
            status if status.is_success() && part => {
                return Err(RegistryError::NoRanges {
                    url: crate::transport::shown(&reply.url),
                });
            }
            status if status.is_success() => {
                if let Some(length) = reply.response.content_length().filter(|length| length != size) {
                    return Err(size_error(length));
                }
                self.skip = self.position;
            }
            StatusCode::NOT_FOUND => {
                let repository = repository.familiar_name().to_owned();
                return Err(RegistryError::BlobUnknown {
                    repository,
                    digest: digest.clone(),
                });
            }
            _ => {
                let failure = reply.failure(repository.options().stall_timeout).await;
                return Err(repository.pull_error(failure));
            }
        }
        self.reply = Some(reply);
        Ok(())
    }
}

/// `bytes START-END/TOTAL`: start, and the total when it is said.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes */10", "5-9/10", "bytes x-9/10", "bytes 5"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
