//! Downloads for `ADD url`.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

/// A download that has begun.
pub struct Download {
    /// Length in bytes if the server told it.
    pub length: Option<u64>,
    /// `Last-Modified`, if the server sent one that parses.
    pub modified: Option<jiff::Timestamp>,
    /// Name from `Content-Disposition`, used when the URL has none.
    pub file_name: Option<String>,
    pub body: BoxStream<'static, Result<Bytes, FetchError>>,
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("failed to GET {url} with status {status}")]
    Status { url: String, status: u16 },
    #[error("failed to GET {url}: {reason}")]
    Transport { url: String, reason: String },
    #[error("{url} is larger than {limit} bytes")]
    TooLarge { url: String, limit: u64 },
}

/// Gets what `ADD` names by URL.
pub trait Fetcher: Send + Sync + 'static {
    /// Opens `url` (http or https only).
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Download, FetchError>>;
}
