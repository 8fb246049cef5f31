//! JSON answers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::error::ApiError;

/// Room for most answers; longer ones (lists) grow in few steps, which the allocator does without copying.
const USUAL: usize = 4 << 10;

/// A value as the JSON body of an answer.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(USUAL);
        match serde_json::to_writer(&mut body, &self.0) {
            Ok(()) => (
                [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
                Body::from(body),
            )
                .into_response(),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written as JSON");
                ApiError::internal("the answer cannot be written as JSON").into_response()
            }
        }
    }
}
