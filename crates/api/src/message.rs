//! Progress as lines of JSON: what pull, push, load, import and build answer while they work.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use havre_engine::image::{Progress, ProgressEvent};
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::ApiError;

/// One line, in the shape of Docker's JSON messages.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Message {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    error_detail: Option<ErrorDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aux: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Detail {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct ErrorDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    message: String,
}

impl Message {
    /// Text to be shown as it is.
    pub(crate) fn stream(text: impl Into<String>) -> Self {
        Self {
            stream: Some(text.into()),
            ..Self::default()
        }
    }

    /// Something a program wants to know.
    pub(crate) fn aux(value: serde_json::Value) -> Self {
        Self {
            aux: Some(value),
            ..Self::default()
        }
    }

    /// A failure after the answer began.
    pub(crate) fn error(message: impl Into<String>, code: Option<i32>) -> Self {
        let message = message.into();
        let error_detail = Some(ErrorDetail {
            code,
            message: message.clone(),
        });
        Self {
            error_detail,
            error: Some(message),
            ..Self::default()
        }
    }
}

impl From<ProgressEvent> for Message {
    fn from(event: ProgressEvent) -> Self {
        let ProgressEvent { id, status, detail } = event;
        let detail = match detail {
            Some((current, total)) => Some(Detail {
                current: Some(current),
                total: (total > 0).then_some(total),
            }),
            // Clients give a line with an (empty) detail a place of its own and repaint it; the heading of a pull has an
            // id but is no such line.
            None => (id.is_some() && !status.starts_with("Pulling from")).then(Detail::default),
        };
        Self {
            id,
            status: Some(status),
            detail,
            ..Self::default()
        }
    }
}

/// How many lines may wait before lines that only move a progress bar are left out.
const CROWDED: usize = 256;

/// Where work puts its lines.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    sender: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

impl Lines {
    /// Sends one line. Lines for a client that is gone are dropped.
    pub(crate) fn send(&self, message: &Message) {
        let mut line = BytesMut::with_capacity(160).writer();
        if let Err(error) = serde_json::to_writer(&mut line, message) {
            tracing::error!(%error, "a progress line cannot be written");
            return;
        }
        let mut line = line.into_inner();
        line.extend_from_slice(b"\r\n");
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _ = self.sender.send(line.freeze());
    }
}

impl Progress for Lines {
    fn emit(&self, event: ProgressEvent) {
        if event.detail.is_some() && self.waiting.load(Ordering::Relaxed) > CROWDED {
            return;
        }
        self.send(&event.into());
    }
}

/// Answers with the lines of `work`. A failure before the first line is an ordinary error with its status; a later one is
/// the last line. Work is dropped when the client goes away.
pub(crate) async fn respond<W>(make: impl FnOnce(Lines) -> W) -> Response
where
    W: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let lines = Lines {
        sender,
        waiting: Arc::clone(&waiting),
    };
    let mut task = AbortOnDrop(tokio::spawn(make(lines)));
    let Some(first) = receiver.recv().await else {
        return match task.outcome().await {
            Ok(()) => ([(CONTENT_TYPE, "application/json")], Body::empty()).into_response(),
            Err(failure) => failure.error.into_response(),
        };
    };
    let state = Some((Some(first), receiver, task));
    let body = futures_util::stream::unfold(state, move |state| {
        let waiting = Arc::clone(&waiting);
        async move {
            let (first, mut receiver, mut task) = state?;
            let mut batch = Vec::from_iter(first);
            if batch.is_empty() && receiver.recv_many(&mut batch, 64).await == 0 {
                let failure = task.outcome().await.err()?;
                let line =
                    serde_json::to_vec(&Message::error(failure.error.to_string(), failure.code)).ok()?;
                return Some((
                    Ok::<_, std::io::Error>(Bytes::from([&line, &b"\r\n"[..]].concat())),
                    None,
                ));
            }
            waiting.fetch_sub(batch.len(), Ordering::Relaxed);
            let chunk = match batch.as_slice() {
                [one] => one.clone(),
                many => Bytes::from(many.concat()),
            };
            Some((Ok(chunk), Some((None, receiver, task))))
        }
    });
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response()
}

/// Why work that answers in lines failed.
#[derive(Debug)]
pub(crate) struct Failure {
    error: ApiError,
    /// The exit code of the program that failed, in a build.
    code: Option<i32>,
}

impl Failure {
    pub(crate) fn with_code(error: impl Into<ApiError>, code: Option<i32>) -> Self {
        Self {
            error: error.into(),
            code,
        }
    }
}

impl<E: Into<ApiError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            code: None,
        }
    }
}

/// A task that does not outlive who asked for it.
struct AbortOnDrop(JoinHandle<Result<(), Failure>>);

impl AbortOnDrop {
    async fn outcome(&mut self) -> Result<(), Failure> {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(error) => Err(ApiError::internal(format!("the work ended unexpectedly: {error}")).into()),
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http_body_util::BodyExt;

    fn json(message: impl Into<Message>) -> String {
        serde_json::to_string(&message.into()).unwrap()
    }

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn lines_as_docker_writes_them() {
        assert_eq!(
            json(ProgressEvent::of("latest", "Pulling from library/debian")),
            r#"{"status":"Pulling from library/debian","id":"latest"}"#
        );
        assert_eq!(
            json(ProgressEvent::of("abc", "Pull complete")),
            r#"{"status":"Pull complete","progressDetail":{},"id":"abc"}"#
        );
        assert_eq!(
            json(ProgressEvent::bytes("abc", "Downloading", 1, 2)),
            r#"{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"abc"}"#
        );
        assert_eq!(
            json(ProgressEvent::line("Digest: x")),
            r#"{"status":"Digest: x"}"#
        );
        assert_eq!(json(Message::stream("Step 1\n")), r#"{"stream":"Step 1\n"}"#);
        assert_eq!(
            json(Message::error("it broke", Some(3))),
            r#"{"errorDetail":{"code":3,"message":"it broke"},"error":"it broke"}"#
        );
    }

    #[tokio::test]
    async fn an_early_failure_is_a_status() {
        let response = respond(|_| async { Err(ApiError::bad_request("no").into()) }).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(text(response).await, r#"{"message":"no"}"#);
    }

    #[tokio::test]
    async fn a_late_failure_is_the_last_line() {
        let response = respond(|lines| async move {
            lines.emit(ProgressEvent::line("working"));
            tokio::task::yield_now().await;
            Err(ApiError::bad_request("no").into())
        })
        .await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            text(response).await,
            "{\"status\":\"working\"}\r\n{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n"
        );
    }

    #[tokio::test]
    async fn nothing_to_say() {
        let response = respond(|_| async { Ok(()) }).await;
        assert_eq!(
            (response.status(), text(response).await.as_str()),
            (StatusCode::OK, "")
        );
    }

    #[tokio::test]
    async fn work_ends_when_the_client_goes() {
        let (gone, ended) = tokio::sync::oneshot::channel::<()>();
        let response = respond(|lines| async move {
            let _gone = gone;
            lines.emit(ProgressEvent::line("working"));
            std::future::pending().await
        })
        .await;
        drop(response);
        assert!(ended.await.is_err(), "the work was dropped");
    }

    #[tokio::test]
    async fn a_slow_client_misses_only_progress_bars() {
        let response = respond(|lines| async move {
            for i in 0..100_000 {
                lines.emit(ProgressEvent::bytes("a", "Downloading", i, 100_000));
            }
            lines.emit(ProgressEvent::of("a", "Pull complete"));
            Ok(())
        })
        .await;
        let text = text(response).await;
        assert!(text.lines().count() < 1000);
        assert!(text.ends_with("\"Pull complete\",\"progressDetail\":{},\"id\":\"a\"}\r\n"));
    }
}
