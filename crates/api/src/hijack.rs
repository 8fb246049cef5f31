//! Connections that turn from HTTP into the streams of a container.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use havre_engine::{Attachment, Frame, Input, Output, Sent, StreamKind};
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::stdcopy;
use crate::version::ApiVersion;

/// How long a client may take to close its side once the output has ended.
const LINGER: Duration = Duration::from_secs(2);

/// How long a client may take to read the head of its answer before the first output follows.
const HEAD_GRACE: Duration = Duration::from_millis(20);

/// How often it is looked whether the client is still there.
const PRESENCE: Duration = Duration::from_secs(2);

/// The media type of a stream: frames carry a name of their own since API 1.42.
pub(crate) fn media_type(tty: bool, version: ApiVersion) -> &'static str {
    if !tty && version >= ApiVersion::new(42) {
        "application/vnd.docker.multiplexed-stream"
    } else {
        "application/vnd.docker.raw-stream"
    }
}

/// The bytes of a piece of output on the wire: as they are from a terminal, framed otherwise.
fn wire(frame: &Frame, tty: bool) -> Bytes {
    if tty {
        return frame.bytes.clone();
    }
    let mut out = Vec::new();
    put(frame, tty, &mut out);
    out.into()
}

fn put(frame: &Frame, tty: bool, out: &mut Vec<u8>) {
    if tty {
        out.extend_from_slice(&frame.bytes);
        return;
    }
    let stream = match frame.stream {
        StreamKind::Stdout => stdcopy::Stream::Stdout,
        StreamKind::Stderr => stdcopy::Stream::Stderr,
    };
    stdcopy::encode(stream, &frame.bytes, out);
}

/// How many pieces of output that wait already go into one piece of a body: a log has one for each line.
const TOGETHER: usize = 256;

/// Output as the body of an answer.
pub(crate) fn output_body(output: Output, tty: bool) -> Body {
    let body = output.ready_chunks(TOGETHER).flat_map(move |frames| {
        let mut out = Vec::new();
        let mut failed = None;
        for frame in frames {
            match frame {
                Ok(frame) => put(&frame, tty, &mut out),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let whole = (!out.is_empty()).then(|| Ok(Bytes::from(out)));
        futures_util::stream::iter(whole.into_iter().chain(failed.map(Err)))
    });
    Body::from_stream(body)
}

/// Gives the connection of `request` to the attachment that `open` makes. A client that asked for an upgrade gets 101 and
/// the bare connection in both directions; another one gets its output as the body of a 200, and what it sends as its
/// request's body is the input.
///
/// `open` runs after the answer is decided, as in dockerd: if it fails, its message goes into the stream.
pub(crate) fn answer<O>(mut request: Request, tty: bool, version: ApiVersion, open: O) -> Response
where
    O: Future<Output = Result<Attachment, String>> + Send + 'static,
{
    let media_type = HeaderValue::from_static(media_type(tty, version));
    if !request.headers().contains_key(UPGRADE) {
        let body = without_upgrade(request.into_body(), tty, open);
        return ([(CONTENT_TYPE, media_type)], body).into_response();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => match connection.downcast::<TokioIo<UnixStream>>() {
                Ok(parts) => {
                    let (reader, writer) = parts.io.into_inner().into_split();
                    let reader = std::io::Cursor::new(parts.read_buf).chain(reader);
                    let socket = writer.as_ref().as_fd().try_clone_to_owned().ok().map(Arc::new);
                    let (head, gone) = (head_read(socket.clone()), peer_gone(socket));
                    converse(reader, writer, tty, open, head, gone).await;
                }
                Err(connection) => {
                    let (reader, writer) = tokio::io::split(TokioIo::new(connection));
                    let (head, gone) = (std::future::ready(()), std::future::pending());
                    converse(reader, writer, tty, open, head, gone).await;
                }
            },
            Err(error) => tracing::debug!(%error, "the client left before its connection was taken over"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .extensions_mut()
        .insert(hyper::ext::ReasonPhrase::from_static(b"UPGRADED"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    response
}

/// Ends when the client of a Unix socket has read the head of the answer. Python's `docker` reads the output past the buffer
/// its HTTP library reads the head into: output that comes in one piece with the head is lost in there.
async fn head_read(socket: Option<Arc<OwnedFd>>) {
    let Some(socket) = socket else { return };
    let read = async {
        while havre_sys::socket::unread_by_peer(&socket).is_ok_and(|bytes| bytes > 0) {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    };
    let _ = tokio::time::timeout(HEAD_GRACE, read).await;
}

/// Ends when the client of a Unix socket has closed it: who has nothing more to say may still want to hear, and of a program
/// that is silent no write ever fails.
async fn peer_gone(socket: Option<Arc<OwnedFd>>) {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    while !havre_sys::socket::peer_is_gone(&socket) {
        tokio::time::sleep(PRESENCE).await;
    }
}

/// Carries bytes both ways until the output ends, the client detaches, or it stops listening. The end of the client's
/// input only closes the container's. Nothing is written before `head` has ended; `gone` ends it all.
async fn converse<R, W, O, H, G>(mut reader: R, mut writer: W, tty: bool, open: O, head: H, gone: G)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Future<Output = Result<Attachment, String>>,
    H: Future<Output = ()>,
    G: Future<Output = ()>,
{
    let Attachment {
        tty,
        mut output,
        input,
    } = match open.await {
        Ok(attachment) => attachment,
        Err(message) => {
            head.await;
            let _ = writer.write_all(&failure(&message, tty)).await;
            let _ = writer.shutdown().await;
            return;
        }
    };
    let forward_output = async {
        let mut following = output.next().await;
        head.await;
        while let Some(frame) = following {
            match frame {
                Ok(frame) => write_frame(&mut writer, &frame, tty).await?,
                Err(error) => {
                    writer.write_all(&failure(&error.to_string(), tty)).await?;
                    break;
                }
            }
            following = output.next().await;
        }
        writer.shutdown().await
    };
    let forward_input = async {
        match input {
            None => std::future::pending().await,
            Some(input) => forward(&mut reader, input).await,
        }
    };
    tokio::pin!(forward_output, gone);
    tokio::select! {
        ended = &mut forward_output => if let Err(error) = ended {
            tracing::debug!(%error, "the client stopped listening");
        },
        left = forward_input => match left {
            Left::Detached => return,
            Left::Ended => tokio::select! {
                _ = forward_output => {}
                () = &mut gone => return,
            },
        },
        () = &mut gone => return,
    }
    // Closed before all is read, the connection would be reset, and a client that still sends would take the program's end
    // for a failure.
    let mut rest = vec![0; 32 << 10];
    let drain = async { while matches!(reader.read(&mut rest).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// How the input side ended.
enum Left {
    Detached,
    Ended,
}

async fn forward<R: AsyncRead + Unpin>(reader: &mut R, mut input: Input) -> Left {
    let mut buffer = BytesMut::with_capacity(32 << 10);
    loop {
        buffer.clear();
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => {
                let _ = input.close().await;
                return Left::Ended;
            }
            Ok(_) => {}
        }
        match input.send(&buffer).await {
            Ok(Sent::Forwarded) => {}
            Ok(Sent::Detached) => return Left::Detached,
            // The program closed its input; what it still says is wanted.
            Err(_) => return Left::Ended,
        }
    }
}

async fn write_frame<W: AsyncWrite + Unpin>(writer: &mut W, frame: &Frame, tty: bool) -> io::Result<()> {
    writer.write_all(&wire(frame, tty)).await?;
    writer.flush().await
}

/// An error in words, on standard output as dockerd does.
fn failure(message: &str, tty: bool) -> Bytes {
    let frame = Frame {
        stream: StreamKind::Stdout,
        bytes: format!("{message}\r\n").into(),
    };
    wire(&frame, tty)
}

/// The answer's body for a client that did not ask for an upgrade.
fn without_upgrade<O>(input: Body, tty: bool, open: O) -> Body
where
    O: Future<Output = Result<Attachment, String>> + Send + 'static,
{
    let opened = async move {
        let attachment = match open.await {
            Ok(attachment) => attachment,
            Err(message) => {
                let body: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> =
                    Box::pin(futures_util::stream::iter([Ok(failure(&message, tty))]));
                return body;
            }
        };
        let tty = attachment.tty;
        if let Some(sink) = attachment.input {
            tokio::spawn(async move { forward(&mut crate::body::reader(input), sink).await });
        }
        Box::pin(
            attachment
                .output
                .map(move |frame| frame.map(|frame| wire(&frame, tty))),
        )
    };
    Body::from_stream(futures_util::stream::once(opened).flatten())
}
