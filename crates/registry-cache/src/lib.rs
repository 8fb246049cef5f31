//! What another registry has, fetched when it is asked for and kept: a pull-through cache.
//!
//! ```text
//!              ┌ kept, and looked at not long ago ───────────────────────────► the store
//! manifest, tag┤ else: asked for upstream, once for all who wait ─► kept ────► the store
//!              └ upstream says nothing, or asks for patience: what is kept ──► the store, and said to be stale
//!
//! blob ────────┬ kept ───────────────────────────────────────────────────────► the store
//!              └ else: a Download, once for all who wait; they read what has come so far
//! ```
//! Contents are checked against their digests before they are kept, and before the last byte of them is shown. What upstream
//! says leads nowhere but to upstream and to what everybody reaches, and credentials go to upstream and its token server only.

mod cache;
mod download;
mod error;
mod flights;
mod settings;
mod upstream;

pub use cache::{Blob, Cache, Caches, Freshness};
pub use download::Download;
pub use error::{CacheError, Result};
pub use settings::{Login, Settings, UpstreamUrl, UrlError};
