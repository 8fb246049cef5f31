//! Blobs.

use std::io::{self, Read as _};
use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use havre_oci::Digest;
use havre_registry_cache::{Cache, Download};
use havre_registry_store::{Blob, Contents, RegistryStore, RepositoryName, StoreError};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::task::JoinHandle;

use super::{DIGEST, blocking, cached, is_known, text};
use crate::Server;
use crate::access::Caller;
use crate::error::ApiError;
use crate::range::{Wanted, wanted};

/// So much is read at once; what is no larger is read before anything is said.
pub(super) const PIECE: usize = 512 << 10;

pub(super) async fn get(
    server: &Server,
    cache: Option<&Arc<Cache>>,
    name: RepositoryName,
    digest: Digest,
    method: &Method,
    asked: &HeaderMap,
) -> Result<Response, ApiError> {
    let store = &server.store;
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let value = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    headers.insert(DIGEST, value(digest.to_string()));
    headers.insert(header::ETAG, value(format!("\"{digest}\"")));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=31536000"),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if *method == Method::HEAD || is_known(asked, &digest) {
        let size = match cache {
            Some(cache) => cache.blob_size(&name, &digest).await?,
            None => {
                let unknown = StoreError::BlobUnknown(digest.clone());
                let (name, digest) = (name.clone(), digest.clone());
                blocking(store, move |store| {
                    store.blob_size(&name, &digest)?.ok_or(unknown)
                })
                .await?
            }
        };
        if is_known(asked, &digest) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        }
        return Ok(response);
    }
    let range = text(asked, header::RANGE).map(str::to_owned);
    let coming = cached::blob(&server.metrics, cache, &name, &digest).await?;
    let found = blocking(store, move |store| {
        if let Some(download) = coming {
            let part = wanted(range.as_deref(), download.size());
            let range = range_of(&part, download.size());
            return Ok(Found::Here(download.size(), part, Sent::Coming(download, range)));
        }
        let blob = store.blob(&name, &digest)?;
        if let Some(url) = blob.url()? {
            return Ok(Found::Elsewhere(url));
        }
        let part = wanted(range.as_deref(), blob.size);
        let sent = Sent::open(&blob, range_of(&part, blob.size))?;
        Ok(Found::Here(blob.size, part, sent))
    })
    .await?;
    let (total, part, sent) = match found {
        Found::Here(total, part, sent) => (total, part, sent),
        Found::Elsewhere(url) => {
            let headers = response.headers_mut();
            headers.insert(header::LOCATION, value(url));
            headers.remove(header::CACHE_CONTROL);
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            return Ok(response);
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(sent.size()));
    match part {
        Wanted::All => {}
        Wanted::Part(range) => {
            let text = format!("bytes {}-{}/{total}", range.start, range.end - 1);
            headers.insert(header::CONTENT_RANGE, value(text));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Wanted::Nothing => {
            let nothing = ApiError::range("the blob has no such bytes");
            return Err(nothing.with(header::CONTENT_RANGE, format!("bytes */{total}")));
        }
    }
    *response.body_mut() = sent.into_body();
    Ok(response)
}

pub(super) async fn delete(
    store: &RegistryStore,
    caller: &Caller,
    name: RepositoryName,
    digest: Digest,
) -> Result<Response, ApiError> {
    let (called, what) = (name.clone(), digest.to_string());
    blocking(store, move |store| store.delete_blob(&name, &digest)).await?;
    caller.deleted(&called, what).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Where a client gets its bytes.
enum Found {
    /// Of so many in all.
    Here(u64, Wanted, Sent),
    /// From the storage itself.
    Elsewhere(String),
}

/// Which bytes of so many are sent.
fn range_of(wanted: &Wanted, size: u64) -> Range<u64> {
    match wanted {
        Wanted::All => 0..size,
        Wanted::Part(range) => range.clone(),
        Wanted::Nothing => 0..0,
    }
}

/// Bytes of a blob that are sent.
enum Sent {
    /// From upstream, as they come.
    Coming(Arc<Download>, Range<u64>),
    Small(Vec<u8>),
    /// So many bytes.
    Large(Contents, u64),
}

impl Sent {
    fn open(blob: &Blob, range: Range<u64>) -> Result<Self, StoreError> {
        let size = range.end - range.start;
        if size > PIECE as u64 {
            return Ok(Self::Large(blob.open(range)?, size));
        }
        blob.read(range).map(Self::Small)
    }

    fn size(&self) -> u64 {
        match self {
            Self::Coming(_, range) => range.end - range.start,
            Self::Small(bytes) => bytes.len() as u64,
            Self::Large(_, size) => *size,
        }
    }

    fn into_body(self) -> Body {
        let first = match self {
            Self::Coming(download, range) => return cached::body(download, range),
            Self::Small(bytes) => return Body::from(bytes),
            Self::Large(contents, size) => Reading::begin(contents, size),
        };
        // A piece is read while the one before is on its way.
        Body::from_stream(stream::unfold(first, |reading| async {
            let (piece, contents, left) = reading?.piece.await.unwrap_or_else(|error| {
                let nothing: Contents = Box::new(io::empty());
                (Err(io::Error::other(error)), nothing, 0)
            });
            match piece {
                Ok(piece) => Some((Ok(Bytes::from(piece)), Reading::begin(contents, left))),
                Err(error) => {
                    tracing::error!(%error, "a blob cannot be read");
                    Some((Err(error), None))
                }
            }
        }))
    }
}

/// A piece that is being read, on a thread that may block: it comes with what is behind it, and how many bytes these are.
struct Reading {
    piece: JoinHandle<(io::Result<Vec<u8>>, Contents, u64)>,
}

impl Reading {
    /// [`None`] when nothing is left.
    fn begin(mut contents: Contents, left: u64) -> Option<Self> {
        let piece = (left > 0).then(|| {
            tokio::task::spawn_blocking(move || {
                let piece = read(&mut contents, left);
                let left = left - piece.as_ref().map_or(0, |piece| piece.len() as u64);
                (piece, contents, left)
            })
        });
        piece.map(|piece| Self { piece })
    }
}

/// The next piece of so many bytes that are left.
fn read(contents: &mut Contents, left: u64) -> io::Result<Vec<u8>> {
    let length = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
    let mut bytes = Vec::with_capacity(length);
    contents.take(length as u64).read_to_end(&mut bytes)?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
