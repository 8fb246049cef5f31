//! Request bodies: bounded JSON, and streams handed to readers.

use std::io;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use tokio_util::io::StreamReader;

use crate::error::ApiError;
use crate::request_json;

/// The largest JSON body, in bytes. Streams (archives, build contexts) are bounded by what reads them.
const MAX_JSON: usize = 8 << 20;

/// A JSON body; `None` if there is none. Unknown fields are ignored, wrong types are refused.
pub(crate) struct JsonBody<T>(pub(crate) Option<T>);

impl<T> JsonBody<T> {
    /// The body, or Docker's complaint that there is none.
    pub(crate) fn required(self) -> Result<T, ApiError> {
        self.0
            .ok_or_else(|| ApiError::bad_request("invalid JSON: got EOF while reading request body"))
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = match Limited::new(body, MAX_JSON).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("request body is larger than the limit of {MAX_JSON} bytes"),
                ));
            }
            Err(error) => {
                return Err(ApiError::bad_request(format!(
                    "cannot read request body: {error}"
                )));
            }
        };
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(None));
        }
        if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
            let kind = String::from_utf8_lossy(kind.as_bytes());
            let essence = kind.split(';').next().unwrap_or_default().trim();
            if !essence.eq_ignore_ascii_case("application/json") {
                return Err(ApiError::bad_request(format!(
                    "unsupported Content-Type header ({essence}): must be 'application/json'"
                )));
            }
        }
        request_json::read(&bytes)
            .map(Self)
            .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))
    }
}

/// A body as a stream of bytes.
pub(crate) fn stream(body: Body) -> Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> {
    Box::pin(TryStreamExt::map_err(body.into_data_stream(), io::Error::other))
}

/// A body as an asynchronous reader.
pub(crate) type Reader = StreamReader<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>, Bytes>;

pub(crate) fn reader(body: Body) -> Reader {
    StreamReader::new(stream(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Thing {
        #[serde(rename = "N")]
        n: Option<i32>,
    }

    async fn read(kind: Option<&str>, body: impl Into<Body>) -> Result<Option<Thing>, ApiError> {
        let mut request = http::Request::builder();
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.body(body.into()).unwrap();
        JsonBody::from_request(request, &())
            .await
            .map(|JsonBody(thing)| thing)
    }

    #[tokio::test]
    async fn bodies() {
        let json = Some("application/json; charset=utf-8");
        assert_eq!(
            read(json, r#"{"N":1,"Other":[]}"#).await.unwrap(),
            Some(Thing { n: Some(1) })
        );
        assert_eq!(read(json, "").await.unwrap(), None);
        assert_eq!(read(None, " \n").await.unwrap(), None);
        assert_eq!(read(None, "null").await.unwrap(), None);
        for bad in [r#"{"N":"x"}"#, "{", "[]x", r#"{"N":1} {}"#] {
            let error = read(json, bad).await.unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{bad}");
            assert!(error.to_string().starts_with("invalid JSON: "), "{error}");
        }
        let error = read(Some("text/plain"), "{}").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        );
        let error = read(json, vec![b' '; MAX_JSON + 1]).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(JsonBody::<Thing>(None).required().is_err());
    }
}
