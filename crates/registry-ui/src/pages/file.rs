//! A file of an image: its contents, if they are a text; and the contents to keep.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use askama::Template;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use havre_explore::{Kind, Version, permissions, shown};
use havre_registry_store::{Identifier, RepositoryName};
use http::{HeaderValue, Method, header};

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::pages::files::{self, About, Opened};
use crate::respond;
use crate::show::{self, Moment, Size};
use crate::visit::Visit;

/// Bytes of a file that are shown as text.
const MAX_TEXT: usize = 256 << 10;
/// Lines that are shown.
const MAX_LINES: usize = 5000;
/// Bytes that are shown of what is no text.
const MAX_HEX: usize = 512;
/// Pieces of a file that wait for a slow reader.
const WAITING: usize = 4;

#[derive(Template)]
#[template(path = "file.html")]
struct Page<'a> {
    frame: Frame<'a>,
    about: About,
    path: String,
    kind: &'static str,
    target: Option<String>,
    size: Option<Size>,
    permissions: String,
    owner: String,
    modified: Option<Moment>,
    removed: bool,
    raw: Option<String>,
    contents: Contents,
    versions: Vec<Known>,
}

enum Contents {
    None,
    Empty,
    /// Lines, and whether there are others behind them.
    Text(Vec<String>, bool),
    Hex(String),
}

/// What a layer says of the file.
struct Known {
    layer: usize,
    link: String,
    command: String,
    what: String,
}

#[expect(clippy::too_many_arguments, reason = "what the listing has found out already")]
pub(super) async fn page(
    visit: &Visit,
    name: &RepositoryName,
    reference: &Identifier,
    opened: &Opened,
    about: About,
    path: &[u8],
    version: &Version,
    removed: bool,
) -> Result<Response, PageError> {
    let is_file = version.kind == Kind::File && !removed;
    let place = match is_file {
        true => opened.files.place(version.layer, path),
        false => None,
    };
    let contents = match place {
        None => Contents::None,
        Some(place) if place.size == 0 => Contents::Empty,
        Some(place) => {
            let name = name.clone();
            let (head, whole) = visit
                .blocking(move |pages| {
                    let mut head: Vec<u8> = Vec::new();
                    let mut each = |piece: &[u8]| {
                        let room = MAX_TEXT + 1 - head.len();
                        head.extend_from_slice(&piece[..piece.len().min(room)]);
                        match head.len() > MAX_TEXT {
                            true => ControlFlow::Break(()),
                            false => ControlFlow::Continue(()),
                        }
                    };
                    pages.0.layers.contents(pages.store(), &name, &place, &mut each)?;
                    let whole = head.len() <= MAX_TEXT;
                    head.truncate(MAX_TEXT);
                    Ok((head, whole))
                })
                .await?;
            contents(&head, whole)
        }
    };
    let tree = &opened.files.tree;
    let shown_manifest = opened.chosen.named();
    let node = tree.find(path).ok_or(PageError::NotFound)?;
    let versions = tree.versions(node).iter().map(|version| Known {
        layer: version.layer + 1,
        link: link::files(name, reference, path, shown_manifest, Some(version.layer + 1)),
        command: opened.commands.get(version.layer).cloned().unwrap_or_default(),
        what: match &version.kind {
            Kind::Removed => "removes it".to_owned(),
            Kind::File => format!("has {}", Size(version.size)),
            kind => format!("has a {}", files::kind(kind)),
        },
    });
    let frame = files::frame(
        visit,
        name,
        &about,
        &format!("/{} of {}", show::name(path), about.image),
    );
    let layer = about.layer;
    respond::html(&Page {
        frame,
        path: format!("/{}", show::name(path)),
        kind: files::kind(&version.kind),
        target: match &version.kind {
            Kind::Link { target } => Some(show::name(target)),
            _ => None,
        },
        size: is_file.then_some(Size(version.size)),
        permissions: permissions(&version.kind, version.mode),
        owner: format!("{}:{}", version.uid, version.gid),
        modified: (version.mtime != 0).then(|| Moment::of_seconds(version.mtime)),
        removed,
        raw: is_file.then(|| link::raw(name, reference, path, shown_manifest, layer)),
        contents,
        versions: versions.collect(),
        about,
    })
}

/// The beginning of a file for the eye.
fn contents(head: &[u8], whole: bool) -> Contents {
    // A letter may be cut in two at the end.
    let text = match std::str::from_utf8(head) {
        Ok(text) => Some(text),
        Err(error) if !whole && error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let is_text = |text: &&str| {
        let strange = |c: &char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}');
        text.chars().filter(strange).count() == 0
    };
    let Some(text) = text.filter(is_text) else {
        return Contents::Hex(hex(&head[..head.len().min(MAX_HEX)]));
    };
    let mut lines: Vec<String> = Vec::new();
    let mut cut = !whole;
    for line in text.split_terminator('\n') {
        if lines.len() == MAX_LINES {
            cut = true;
            break;
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        let parts: Vec<String> = line.split('\t').map(|part| shown(part.as_bytes())).collect();
        lines.push(parts.join("\t"));
    }
    Contents::Text(lines, cut)
}

/// Sixteen bytes a line, as `hexdump -C` writes them.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in bytes.chunks(16).enumerate() {
        let _ = write!(text, "{:08x} ", number * 16);
        for at in 0..16 {
            let _ = match line.get(at) {
                Some(byte) => write!(text, "{}{byte:02x}", if at == 8 { "  " } else { " " }),
                None => write!(text, "{}", if at == 8 { "    " } else { "   " }),
            };
        }
        let letters = line.iter().map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        });
        let _ = writeln!(text, "  {}", letters.collect::<String>());
    }
    text
}

/// The contents of a file, to keep.
pub(crate) async fn raw(
    visit: &Visit,
    name: RepositoryName,
    reference: Identifier,
    path: Vec<u8>,
) -> Result<Response, PageError> {
    let opened = files::open(visit, &name, &reference).await?;
    let layer = files::layer(visit, &opened.files)?;
    let missing = || PageError::Missing(format!("there is no file /{}", show::name(&path)));
    let place = match layer {
        Some((_, at)) => opened.files.place(at, &path),
        None => {
            let (node, real) = opened.files.follow(&path).ok_or_else(missing)?;
            let tree = &opened.files.tree;
            let version = opened.files.merged.version(tree, node).ok_or_else(missing)?;
            match version.kind {
                Kind::File => opened.files.place(version.layer, &real),
                _ => None,
            }
        }
    };
    let place = place.ok_or_else(missing)?;
    let file = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (header::CONTENT_LENGTH, HeaderValue::from(place.size)),
        (header::CONTENT_DISPOSITION, attachment(file)),
    ];
    if visit.method == Method::HEAD {
        return Ok((headers, Body::empty()).into_response());
    }
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(WAITING);
    let pages = visit.pages.clone();
    tokio::task::spawn_blocking(move || {
        let mut each = |piece: &[u8]| match sender.blocking_send(Ok(Bytes::copy_from_slice(piece))) {
            Ok(()) => ControlFlow::Continue(()),
            // Nobody reads any more.
            Err(_) => ControlFlow::Break(()),
        };
        let read = pages.0.layers.contents(pages.store(), &name, &place, &mut each);
        if let Err(error) = read {
            tracing::warn!(%error, "a file of an image cannot be read to its end");
            let _ = sender.blocking_send(Err(std::io::Error::other(error)));
        }
    });
    let pieces = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Never shown, always kept, under this name (RFC 6266).
fn attachment(name: &[u8]) -> HeaderValue {
    let plain: String = name
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(*byte),
            _ => '_',
        })
        .collect();
    let text = match std::str::from_utf8(name) {
        Ok(name) if name != plain => {
            format!(
                "attachment; filename=\"{plain}\"; filename*=UTF-8''{}",
                link::value(name)
            )
        }
        _ => format!("attachment; filename=\"{plain}\""),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(head: &[u8], whole: bool) -> Option<(Vec<String>, bool)> {
        match contents(head, whole) {
            Contents::Text(lines, cut) => Some((lines, cut)),
            _ => None,
        }
    }

    #[test]
    fn texts_and_others() {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            text(b"a\tb\r\n\nc", true),
            Some((lines(&["a\tb", "", "c"]), false))
        );
        assert_eq!(
            text("x\u{202e}y\u{1b}[1m".as_bytes(), true),
            Some((lines(&["x\\u{202e}y\\x1b[1m"]), false))
        );
        assert_eq!(
            text("aä".as_bytes()[..2].into(), false),
            Some((lines(&["a"]), true))
        );
        assert!(text("aä".as_bytes()[..2].into(), true).is_none());
        assert!(text(b"\x7fELF\x00", true).is_none());
        let many = "x\n".repeat(MAX_LINES + 1);
        let (shown, cut) = text(many.as_bytes(), true).expect("a text");
        assert_eq!((shown.len(), cut), (MAX_LINES, true));
    }

    #[test]
    fn bytes() {
        assert_eq!(
            hex(b"\x7fELF\x02\x01\x01\x00abcdefghi"),
            "00000000  7f 45 4c 46 02 01 01 00  61 62 63 64 65 66 67 68  .ELF....abcdefgh\n\
             00000010  69                                                i\n"
        );
    }

    #[test]
    fn names_of_what_is_kept() {
        for (name, header) in [
            (&b"passwd"[..], "attachment; filename=\"passwd\""),
            (
                b"a\" b\r\n",
                "attachment; filename=\"a__b__\"; filename*=UTF-8''a%22%20b%0D%0A",
            ),
            (b"\xff", "attachment; filename=\"_\""),
        ] {
            assert_eq!(attachment(name), header);
        }
    }
}
