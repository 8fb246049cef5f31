//! One request and its answer.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::{Client, Hijacked, RequestBody, Sender, transport_reason};
use super::lines::JsonLines;
use crate::error::CliError;

/// The body of an answer, read as it comes.
pub(crate) type Body = Incoming;

/// No JSON answer of an engine is larger than this; a list of a hundred thousand containers is not.
const MAX_ANSWER: usize = 256 << 20;

/// A request in the making.
pub(crate) struct Call<'a> {
    client: &'a Client,
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: RequestBody,
    failed: Option<CliError>,
}

impl Client {
    /// `GET path`.
    pub(crate) fn get(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::GET, path)
    }

    /// `HEAD path`.
    pub(crate) fn head(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::HEAD, path)
    }

    /// `POST path`.
    pub(crate) fn post(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::POST, path)
    }

    /// `PUT path`.
    pub(crate) fn put(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::PUT, path)
    }

    /// `DELETE path`.
    pub(crate) fn delete(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    fn call(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        Call {
            client: self,
            method,
            target: path.into(),
            headers: Vec::new(),
            body: empty(),
            failed: None,
        }
    }
}

impl Call<'_> {
    /// Adds `name=value` to the query.
    pub(crate) fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.target
            .push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        self.target.push_str(&escape(value.as_ref()));
        self
    }

    /// Adds `name=value` when there is a value.
    pub(crate) fn query_some(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds `name=1` when set.
    pub(crate) fn query_if(self, name: &str, set: bool) -> Self {
        if set { self.query(name, "1") } else { self }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The request is part of an operation (`Session::operation`).
    pub(crate) fn part_of(self, operation: &str) -> Self {
        self.header("x-havre-operation", operation)
    }

    /// Images that go with this request can be brought back.
    pub(crate) fn keep_images_if(self, keep: bool) -> Self {
        match keep {
            true => self.header("x-havre-keep", "images"),
            false => self,
        }
    }

    /// A JSON body.
    pub(crate) fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.body = full(bytes),
            Err(error) => self.failed = Some(CliError::Invalid(error.to_string())),
        }
        self.header("content-type", "application/json")
    }

    /// A text as the body.
    pub(crate) fn text(mut self, content_type: &str, text: Vec<u8>) -> Self {
        self.body = full(text);
        self.header("content-type", content_type)
    }

    /// A streamed body.
    pub(crate) fn stream<S>(mut self, content_type: &str, stream: S) -> Self
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        self.body = StreamBody::new(stream.map_ok(Frame::data)).boxed_unsync();
        self.header("content-type", content_type)
    }

    pub(super) fn name(&self) -> String {
        format!(
            "{} {}",
            self.method,
            self.target.split('?').next().unwrap_or_default()
        )
    }

    async fn exchange(self) -> Result<(Sender, Response<Incoming>), CliError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut sender = self.client.sender().await?;
        tracing::debug!(method = %self.method, target = %self.target, "request");
        let mut request = Request::builder()
            .method(self.method)
            .uri(&self.target)
            .header(header::HOST, "localhost")
            .header(
                header::USER_AGENT,
                concat!("Havre-Client/", env!("CARGO_PKG_VERSION"), " (linux)"),
            );
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(self.body)
            .map_err(|error| CliError::Invalid(error.to_string()))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        Ok((sender, response))
    }

    /// The answer with its body still coming; error statuses are errors. The connection is not used again.
    pub(crate) async fn send(self) -> Result<Response<Body>, CliError> {
        let (_, response) = self.accept().await?;
        Ok(response)
    }

    async fn accept(self) -> Result<(Sender, Response<Incoming>), CliError> {
        let client = self.client;
        let (sender, response) = self.exchange().await?;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            let head = response.headers().contains_key("x-docker-container-path-stat");
            let bytes = if head {
                Bytes::new()
            } else {
                collect(response.into_body()).await?
            };
            client.keep(sender);
            return Err(CliError::Daemon {
                status: status.as_u16(),
                message: message(status, &bytes),
            });
        }
        Ok((sender, response))
    }

    /// The whole body.
    pub(crate) async fn bytes(self) -> Result<Bytes, CliError> {
        let client = self.client;
        let (sender, response) = self.accept().await?;
        let bytes = collect(response.into_body()).await?;
        client.keep(sender);
        Ok(bytes)
    }

    /// The status, the body being of no interest.
    pub(crate) async fn status(self) -> Result<StatusCode, CliError> {
        let client = self.client;
        let (sender, response) = self.accept().await?;
        let status = response.status();
        collect(response.into_body()).await?;
        client.keep(sender);
        Ok(status)
    }

    /// The headers, the body being of no interest.
    pub(crate) async fn headers(self) -> Result<HeaderMap, CliError> {
        let client = self.client;
        let (sender, response) = self.accept().await?;
        let (head, body) = response.into_parts();
        collect(body).await?;
        client.keep(sender);
        Ok(head.headers)
    }

    /// The body as JSON.
    pub(crate) async fn answer<T: DeserializeOwned>(self) -> Result<T, CliError> {
        let name = self.name();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| CliError::Protocol {
            request: name,
            reason: error.to_string(),
        })
    }

    /// The body as JSON documents one after the other.
    pub(crate) async fn lines<T: DeserializeOwned>(self) -> Result<JsonLines<T>, CliError> {
        let name = self.name();
        let response = self.send().await?;
        Ok(JsonLines::new(name, response.into_body()))
    }

    /// Turns the connection into a byte stream.
    pub(crate) async fn hijack(self) -> Result<Hijacked, CliError> {
        let name = self.name();
        let call = self.header("connection", "Upgrade").header("upgrade", "tcp");
        let (_sender, response) = call.accept().await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(CliError::Protocol {
                request: name,
                reason: format!("status {} instead of 101", response.status().as_u16()),
            });
        }
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|error| broken(&error))?;
        Ok(TokioIo::new(upgraded))
    }
}

fn empty() -> RequestBody {
    full(Vec::new())
}

fn full(bytes: Vec<u8>) -> RequestBody {
    Full::new(Bytes::from(bytes))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A broken connection as an error.
pub(super) fn broken(error: &hyper::Error) -> CliError {
    if let Some(reason) = transport_reason(error) {
        return CliError::Invalid(format!("error during connect: {reason}"));
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    CliError::Broken(text)
}

async fn collect(mut body: Incoming) -> Result<Bytes, CliError> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() {
            if all.len() + data.len() > MAX_ANSWER {
                return Err(CliError::Broken(format!(
                    "the answer is larger than {MAX_ANSWER} bytes"
                )));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(Bytes::from(all))
}

/// The `message` of an error answer, or what else it says.
fn message(status: StatusCode, bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    match serde_json::from_slice::<Message>(bytes) {
        Ok(Message { message }) if !message.is_empty() => message.trim_end().to_owned(),
        _ => {
            let text = String::from_utf8_lossy(bytes);
            let text = text.trim();
            if text.is_empty() {
                status.to_string()
            } else {
                text.to_owned()
            }
        }
    }
}

/// Percent-encodes a value for a query or a path segment.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' => {
                out.push(char::from(byte));
            }
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_queries_cannot_carry() {
        assert_eq!(escape("a b&c=d+é/x:1"), "a%20b%26c%3Dd%2B%C3%A9/x:1");
    }

    #[test]
    fn error_messages_are_found() {
        assert_eq!(
            message(StatusCode::NOT_FOUND, br#"{"message":"No such image: x\n"}"#),
            "No such image: x"
        );
        assert_eq!(
            message(StatusCode::BAD_GATEWAY, b"upstream gone"),
            "upstream gone"
        );
        assert_eq!(message(StatusCode::NOT_FOUND, b""), "404 Not Found");
    }
}
