use bytes::Bytes;

use crate::RegistryError;

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
pub struct BlobStream {}

impl BlobStream {
    /// The next bytes; `None` once the descriptor's size has been reached. Never more than that size in total.
    /// The digest is for the consumer to check (it has the earlier bytes).
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        todo!()
    }
}
