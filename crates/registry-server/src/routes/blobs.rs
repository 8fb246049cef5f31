//! Blobs.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use havre_oci::Digest;
use havre_registry_store::{Blob, RegistryStore, RepositoryName, StoreError};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{DIGEST, blocking, is_known, text};
use crate::error::ApiError;
use crate::range::{Wanted, wanted};

/// So much is read at once; what is no larger is read before anything is said.
const PIECE: u64 = 512 << 10;

pub(super) async fn get(
    store: &RegistryStore,
    name: RepositoryName,
    digest: Digest,
    method: &Method,
    asked: &HeaderMap,
) -> Result<Response, ApiError> {
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
        let unknown = StoreError::BlobUnknown(digest.clone());
        let size = blocking(store, {
            let digest = digest.clone();
            move |store| store.blob_size(&name, &digest)?.ok_or(unknown)
        })
        .await?;
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
    let (total, part, contents) = blocking(store, move |store| {
        let blob = store.blob(&name, &digest)?;
        let part = wanted(range.as_deref(), blob.size);
        let range = match &part {
            Wanted::All => 0..blob.size,
            Wanted::Part(range) => range.clone(),
            Wanted::Nothing => 0..0,
        };
        Ok((blob.size, part, Contents::open(blob, range)?))
    })
    .await?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(contents.size()));
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
    *response.body_mut() = contents.into_body();
    Ok(response)
}

pub(super) async fn delete(
    store: &RegistryStore,
    name: RepositoryName,
    digest: Digest,
) -> Result<Response, ApiError> {
    blocking(store, move |store| store.delete_blob(&name, &digest)).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Bytes of a blob that are sent.
enum Contents {
    Small(Vec<u8>),
    Large(Arc<Blob>, Range<u64>),
}

impl Contents {
    fn open(blob: Blob, range: Range<u64>) -> Result<Self, StoreError> {
        if range.end - range.start > PIECE {
            return Ok(Self::Large(Arc::new(blob), range));
        }
        let failed = |source| StoreError::Io {
            action: "read",
            path: blob.file().path().to_owned(),
            source,
        };
        read(&blob, range).map(Self::Small).map_err(failed)
    }

    fn size(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Large(_, range) => range.end - range.start,
        }
    }

    fn into_body(self) -> Body {
        let (blob, range) = match self {
            Self::Small(bytes) => return Body::from(bytes),
            Self::Large(blob, range) => (blob, range),
        };
        // A piece is read while the one before is on its way.
        Body::from_stream(stream::unfold(range, move |left| {
            let blob = Arc::clone(&blob);
            async move {
                if left.is_empty() {
                    return None;
                }
                let end = left.end.min(left.start + PIECE);
                let piece = left.start..end;
                let read = tokio::task::spawn_blocking(move || read(&blob, piece)).await;
                let piece = read.unwrap_or_else(|error| Err(io::Error::other(error)));
                if let Err(error) = &piece {
                    tracing::error!(%error, "a blob cannot be read");
                }
                Some((piece.map(Bytes::from), end..left.end))
            }
        }))
    }
}

fn read(blob: &Blob, range: Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    blob.file().file().read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}
