//! Bodies: of requests bounded JSON, and streams handed to readers; of answers streams.

use std::io;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use havre_engine::EngineError;
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

/// A stream as the body of an answer. What is wrong before its first piece is an answer of its own.
pub(crate) async fn sent(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
) -> Result<Body, ApiError> {
    // One that is empty is not asked a second time.
    let mut pieces = pieces.fuse();
    let first = match pieces.next().await {
        Some(Err(error)) => return Err(failed(error)),
        first => first,
    };
    let pieces = futures_util::stream::iter(first).chain(pieces);
    Ok(Body::from_stream(pieces.then(|piece| async {
        if piece.is_err() {
            // Ends the connection: what was there before has to be on its way, or the client sees no answer at all.
            tokio::task::yield_now().await;
        }
        piece
    })))
}

fn failed(error: io::Error) -> ApiError {
    match error.downcast::<EngineError>() {
        Ok(error) => error.into(),
        Err(error) => ApiError::internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use havre_engine::image::ImageError;
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

    fn pieces(
        pieces: Vec<io::Result<&'static str>>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
        futures_util::stream::iter(pieces.into_iter().map(|piece| piece.map(Bytes::from)))
    }

    #[tokio::test]
    async fn what_is_wrong_at_once_is_an_answer() {
        let missing = EngineError::from(ImageError::NotFound("x".to_owned()));
        let error = sent(pieces(vec![Err(io::Error::other(missing))]))
            .await
            .unwrap_err();
        assert_eq!(error.status(), StatusCode::NOT_FOUND, "{error}");
        let error = sent(pieces(vec![Err(io::Error::other("the disk"))]))
            .await
            .unwrap_err();
        assert_eq!(
            (error.status(), error.to_string()),
            (StatusCode::INTERNAL_SERVER_ERROR, "the disk".to_owned())
        );
        let nothing = futures_util::stream::unfold((), |()| async { None });
        let empty = sent(Box::pin(nothing)).await.unwrap();
        assert_eq!(empty.collect().await.unwrap().to_bytes(), "");
        for whole in [vec![], vec!["a"], vec!["a", "b"]] {
            let body = sent(pieces(whole.iter().map(|piece| Ok(*piece)).collect()))
                .await
                .unwrap();
            let bytes = body.collect().await.unwrap().to_bytes();
            assert_eq!(bytes, whole.concat());
        }
    }

    /// Without it the connection ends before a word was said, about every time.
    #[tokio::test]
    async fn what_is_wrong_later_comes_after_what_was_right() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = || async { sent(pieces(vec![Ok("begun"), Err(io::Error::other("the disk"))])).await };
        let router = axum::Router::new().route("/", axum::routing::get(answer));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        for _ in 0..50 {
            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
            assert!(
                answer.contains("begun") && !answer.ends_with("0\r\n\r\n"),
                "{answer:?}"
            );
        }
        server.abort();
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
