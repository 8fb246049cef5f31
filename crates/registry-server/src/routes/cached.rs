//! Repositories of other registries.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures_util::stream;
use havre_oci::Digest;
use havre_registry_cache::{Blob, Cache, CacheError, Download, Freshness};
use havre_registry_store::{Identifier, RepositoryName};
use http::{HeaderName, HeaderValue, StatusCode};

use super::blobs::PIECE;
use crate::error::ApiError;
use crate::metrics::Metrics;

/// RFC 7234, section 5.5: registries' clients look at it still, and show it.
const WARNING: HeaderName = HeaderName::from_static("warning");

/// What is upstream's is changed there.
pub(super) fn refuse(cache: &Cache) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "UNSUPPORTED",
        format!("this is a cache of {}: push there", cache.upstream()),
    )
    .with(http::header::ALLOW, "GET, HEAD, DELETE")
}

/// Sees to it that the store has a manifest that is upstream's.
pub(super) async fn manifest(
    metrics: &Metrics,
    cache: Option<&Arc<Cache>>,
    name: &RepositoryName,
    wanted: &Identifier,
) -> Result<Freshness, CacheError> {
    let Some(cache) = cache else {
        return Ok(Freshness::Kept);
    };
    let freshness = cache.manifest(name, wanted).await;
    metrics.proxied(
        "manifest",
        matches!(freshness, Ok(Freshness::Kept | Freshness::Stale)),
    );
    freshness
}

/// A blob that is upstream's, if it is on its way.
pub(super) async fn blob(
    metrics: &Metrics,
    cache: Option<&Arc<Cache>>,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Arc<Download>>, CacheError> {
    let Some(cache) = cache else {
        return Ok(None);
    };
    let blob = cache.blob(name, digest).await;
    metrics.proxied("blob", matches!(blob, Ok(Blob::Stored)));
    Ok(match blob? {
        Blob::Coming(download) => Some(download),
        Blob::Stored => None,
    })
}

/// Says so if an answer is not as fresh as it should be.
pub(super) fn marked(mut answer: Response, freshness: Freshness) -> Response {
    if freshness == Freshness::Stale {
        let stale =
            HeaderValue::from_static("299 - \"upstream cannot be asked: this is what it had before\"");
        answer.headers_mut().insert(WARNING, stale);
    }
    answer
}

/// A part of a blob as it comes from upstream.
pub(super) fn body(download: Arc<Download>, range: std::ops::Range<u64>) -> Body {
    Body::from_stream(stream::try_unfold(
        (download, range),
        |(download, range)| async move {
            let most = usize::try_from(range.end - range.start).map_or(PIECE, |left| left.min(PIECE));
            if most == 0 {
                return Ok::<_, CacheError>(None);
            }
            let piece = download.read(range.start, most).await?;
            let next = range.start + piece.len() as u64..range.end;
            Ok(Some((piece, (download, next))))
        },
    ))
}
