//! Work that blocks, away from the threads that answer.

use crate::error::ApiError;

/// Does something that blocks on a thread that may.
pub(crate) async fn aside<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError>
where
    ApiError: From<E>,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => {
            tracing::error!(%error, "a request failed");
            Err(ApiError::internal())
        }
    }
}
