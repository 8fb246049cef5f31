//! The rest of a request's body after a refusal: read for a while, so that a client that is still writing gets to the
//! answer instead of a broken pipe.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// How much of it is read, in bytes; who sends more finds the connection closed.
const MOST: usize = 32 << 20;
/// How long it is read.
const LONGEST: Duration = Duration::from_secs(5);

/// A second handle on a body that a handler reads.
pub(crate) struct Leftover(Arc<Mutex<Body>>);

impl Leftover {
    /// The body to hand out, and the handle that stays.
    pub(crate) fn split(body: Body) -> (Body, Self) {
        let shared = Arc::new(Mutex::new(body));
        (Body::new(Shared(Arc::clone(&shared))), Self(shared))
    }

    /// Reads what the handler left, within bounds.
    pub(crate) async fn drain(self) {
        let mut body = Shared(self.0);
        let mut total = 0;
        let all = async {
            while let Some(Ok(frame)) = body.frame().await {
                total += frame.data_ref().map_or(0, Bytes::len);
                if total > MOST {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LONGEST, all).await;
    }
}

struct Shared(Arc<Mutex<Body>>);

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
