//! Files of images, without mounting them: endpoints of Havre's own.
//!
//! | `GET /havre/images/NAME/…` | answer |
//! |---|---|
//! | `layers[?layer=N][&digests=1]` | the image, then for each layer its number and its entries; a JSON document a line |
//! | `files?path=…[&layer=N][&recursive=1]` | what is at the path, then what is in it; an entry a line |
//! | `file?path=…[&layer=N]` | the contents of a file |
//! | `archive?path=…[&layer=N]` | a file or directory as tar, named as the last part of the path |
//! | `json?remote=1`, `history?remote=1` | as Docker's endpoints of these names, of an image in its registry |
//!
//! With `remote=1` the image is not in the store but in its registry, where it is asked with the credentials of
//! `X-Registry-Auth`, for the `platform`, and over an unprotected connection if it is `insecure`. Of its layers the lines then
//! tell how much was read, too.
//!
//! Layers count from 0, the lowest. Without one, the files are those a container sees. A path that is no UTF-8 is given
//! in base64, as `path64`.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use havre_engine::image::{Abandon, Access, ImageError, ImageFiles, Located, RemoteImage, TreeKind};
use havre_engine::{Engine, PathStat};
use havre_oci::{Digest, Platform, Reference};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serde::Serialize;

use super::archive;
use super::distribution::access;
use super::images::{platform, reference};
use crate::body;
use crate::error::ApiError;
use crate::json::Json;
use crate::model::files::{EntryView, Failed, ImageView, LayerStart, Reading};
use crate::model::image::{HistoryView, RemoteInspectView};
use crate::query::Query;
use crate::version::ApiVersion;

/// So much of a file of a registry is read before the answer begins.
const AHEAD: u64 = 1 << 20;
/// How often it is said how much was read.
const TELL: Duration = Duration::from_millis(100);

const LINES: (http::HeaderName, HeaderValue) =
    (CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));

/// What is asked of an image, whose name may hold slashes.
pub(super) async fn dispatch(
    State(engine): State<Engine>,
    Path(rest): Path<String>,
    version: ApiVersion,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (name, what) = rest.rsplit_once('/').ok_or_else(ApiError::page_not_found)?;
    let image = Asked {
        engine: &engine,
        name,
        query: &query,
        remote: match query.flag("remote") {
            true => Some(Remote {
                reference: reference(name)?,
                platform: platform(&query)?,
                access: access(&query, &headers)?,
            }),
            false => None,
        },
    };
    match (what, &image.remote) {
        ("layers", _) => layers(&image).await,
        ("files", _) => files(&image).await,
        ("file", _) => file(&image).await,
        ("archive", _) => part(&image).await,
        ("json", Some(remote)) => {
            let found = image.remote_image(remote).await?;
            Ok(Json(RemoteInspectView::new(found, version)).into_response())
        }
        ("history", Some(remote)) => {
            let found = image.remote_image(remote).await?;
            let rows: Vec<HistoryView> = found.history().into_iter().map(Into::into).collect();
            Ok(Json(rows).into_response())
        }
        _ => Err(ApiError::page_not_found()),
    }
}

/// The image somebody asks about.
struct Asked<'a> {
    engine: &'a Engine,
    name: &'a str,
    query: &'a Query,
    remote: Option<Remote>,
}

/// How it is found in its registry.
struct Remote {
    reference: Reference,
    platform: Option<Platform>,
    access: Access,
}

impl Asked<'_> {
    async fn open(&self) -> Result<ImageFiles, ApiError> {
        let images = self.engine.images().service();
        Ok(match &self.remote {
            None => images.files(self.name).await?,
            Some(remote) => {
                images
                    .remote_files(&remote.reference, remote.platform.as_ref(), &remote.access)
                    .await?
            }
        })
    }

    async fn remote_image(&self, remote: &Remote) -> Result<RemoteImage, ApiError> {
        let images = self.engine.images().service();
        let found = images.remote_image(&remote.reference, remote.platform.as_ref(), &remote.access);
        Ok(found.await?)
    }
}

/// The path that is asked for, and the layer.
fn asked(query: &Query) -> Result<(Vec<u8>, Option<usize>), ApiError> {
    let path = match query.given("path64") {
        Some(encoded) => STANDARD
            .decode(encoded)
            .map_err(|_| ApiError::bad_request("parameter path64 is not base64"))?,
        None => query.text("path").as_bytes().to_vec(),
    };
    if path.contains(&0) {
        return Err(ApiError::bad_request("parameter path has a zero byte"));
    }
    Ok((path, query.number("layer")?))
}

async fn layers(image: &Asked<'_>) -> Result<Response, ApiError> {
    let only: Option<usize> = image.query.number("layer")?;
    let digests = image.query.flag("digests");
    let mut files = image.open().await?;
    files.view(only)?;
    lines(move |output| {
        let about = ImageView {
            id: files.id().as_str(),
            manifest: files.manifest().map(Digest::as_str),
            layers: files.layers().iter().map(Into::into).collect(),
        };
        write_line(output, &about)?;
        for layer in 0..files.layers().len() {
            if only.is_some_and(|only| only != layer) {
                continue;
            }
            let mut told = Instant::now();
            files.read_layer(layer, digests, &mut |current, total| {
                if told.elapsed() < TELL && current < total {
                    return Ok(());
                }
                told = Instant::now();
                let reading = Reading {
                    reading: layer,
                    current,
                    total,
                };
                write_line(output, &reading)?;
                output.flush().map_err(ImageError::Output)
            })?;
            write_line(output, &LayerStart { layer })?;
            // Of files with several names, by number.
            let mut known: HashMap<u64, Digest> = HashMap::new();
            files.walk_layer(layer, &mut |entry| {
                let mut view = EntryView::new(&entry, None);
                if digests && matches!(entry.kind, TreeKind::File { .. }) {
                    view.digest = match known.get(&entry.inode) {
                        Some(digest) => Some(digest.clone()),
                        None => files.digest(layer, &entry.path)?,
                    };
                    if entry.links > 1 {
                        known.extend(view.digest.clone().map(|digest| (entry.inode, digest)));
                    }
                }
                write_line(output, &view)
            })?;
            files.forget_layer(layer);
        }
        Ok(())
    })
}

async fn files(image: &Asked<'_>) -> Result<Response, ApiError> {
    let (path, layer) = asked(image.query)?;
    let recursive = image.query.flag("recursive");
    let files = image.open().await?;
    let (files, located) = locate(files, path, layer, true, false).await?;
    lines(move |output| {
        let view = files.view(layer)?;
        write_line(output, &EntryView::new(&located.entry, Some(located.layer)))?;
        if !located.is_dir() {
            return Ok(());
        }
        let mut each =
            |located: &Located| write_line(output, &EntryView::new(&located.entry, Some(located.layer)));
        match recursive {
            true => view.walk(&located, &mut each),
            false => view.list(&located)?.iter().try_for_each(each),
        }
    })
}

async fn file(image: &Asked<'_>) -> Result<Response, ApiError> {
    let (path, layer) = asked(image.query)?;
    let files = image.open().await?;
    let (files, located) = locate(files, path, layer, true, false).await?;
    // What is wrong with a small file of a registry is said before any of it is sent.
    let ahead = if image.remote.is_some() { AHEAD } else { 0 };
    let opened = blocking(files.wanted(), move || {
        let mut contents = files.view(layer)?.open(&located)?;
        let mut start = Vec::new();
        contents
            .by_ref()
            .take(ahead)
            .read_to_end(&mut start)
            .map_err(ImageError::reading)?;
        Ok((files, contents, start))
    });
    let (files, contents, start) = opened.await?;
    let size = HeaderValue::from(contents.size());
    let bytes = havre_engine::produced(move |mut output| {
        // The layer stays until its last byte is sent.
        let _files = files;
        let mut contents = start.as_slice().chain(contents);
        std::io::copy(&mut contents, &mut output).map_err(ImageError::Output)?;
        output.flush().map_err(ImageError::Output)
    })?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_LENGTH, size),
    ];
    Ok((headers, body::sent(bytes).await?).into_response())
}

async fn part(image: &Asked<'_>) -> Result<Response, ApiError> {
    let (path, layer) = asked(image.query)?;
    let files = image.open().await?;
    let base = base_name(&path);
    let (files, located) = locate(files, path, layer, false, true).await?;
    if located.entry.kind == TreeKind::Whiteout {
        files.view(layer)?.open(&located)?;
    }
    let stat = archive::stat_header(stat(&located, &base))?;
    let tar = havre_engine::produced(move |mut output| {
        let name: &[u8] = if base == b"/" { b"" } else { &base };
        files.view(layer)?.archive(&located, name, &mut output)
    })?;
    let headers = [
        (archive::STAT, stat),
        (CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
    ];
    Ok((headers, body::sent(tar).await?).into_response())
}

/// Looks for a path. `keep`: for all that is in it.
async fn locate(
    files: ImageFiles,
    path: Vec<u8>,
    layer: Option<usize>,
    follow: bool,
    keep: bool,
) -> Result<(ImageFiles, Located), ApiError> {
    blocking(files.wanted(), move || {
        let view = files.view(layer)?;
        let view = if keep { view.for_contents() } else { view };
        let located = view.locate(&path, follow)?;
        Ok((files, located))
    })
    .await
}

/// Works off the async workers: layers that are directories are on a disk, others in registries. A request that is given up
/// ends it.
async fn blocking<T: Send + 'static>(
    wanted: Abandon,
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    wanted.keep();
    Ok(done.map_err(|error| ApiError::internal(error.to_string()))??)
}

/// The last part of a path that is a name; `/` without one.
fn base_name(path: &[u8]) -> Vec<u8> {
    let mut parts = path.split(|byte| *byte == b'/');
    let name = parts.rfind(|part| !part.is_empty() && *part != b".");
    match name {
        None | Some(b"..") => b"/".to_vec(),
        Some(name) => name.to_vec(),
    }
}

fn stat(located: &Located, base: &[u8]) -> PathStat {
    let entry = &located.entry;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (kind, size, link_target) = match &entry.kind {
        TreeKind::Directory { .. } => (0o040_000, 0, String::new()),
        TreeKind::File { size } => (0o100_000, *size, String::new()),
        TreeKind::Symlink { target } => (0o120_000, 0, text(target)),
        TreeKind::Block { .. } => (0o060_000, 0, String::new()),
        TreeKind::Char { .. } | TreeKind::Whiteout => (0o020_000, 0, String::new()),
        TreeKind::Fifo => (0o010_000, 0, String::new()),
        TreeKind::Socket => (0o140_000, 0, String::new()),
    };
    let nanos = i32::try_from(entry.mtime_nanos).unwrap_or(0);
    PathStat {
        name: text(base),
        size,
        mode: kind | entry.mode,
        mtime: Timestamp::new(entry.mtime, nanos).unwrap_or(Timestamp::UNIX_EPOCH),
        link_target,
    }
}

/// An answer in lines. A failure on the way is its last line.
fn lines(
    write: impl FnOnce(&mut dyn Write) -> Result<(), ImageError> + Send + 'static,
) -> Result<Response, ApiError> {
    let body = havre_engine::produced(move |mut output| {
        if let Err(error) = write(&mut output) {
            let error = ApiError::from(error).to_string();
            write_line(&mut output, &Failed { error })?;
        }
        output.flush().map_err(ImageError::Output)
    })?;
    Ok(([LINES], Body::from_stream(body)).into_response())
}

fn write_line(output: &mut dyn Write, value: &impl Serialize) -> Result<(), ImageError> {
    serde_json::to_writer(&mut *output, value).map_err(|error| ImageError::Output(error.into()))?;
    output.write_all(b"\n").map_err(ImageError::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives() {
        for (path, name) in [
            ("/etc/passwd", "passwd"),
            ("etc/", "etc"),
            ("etc/.", "etc"),
            ("/", "/"),
            ("", "/"),
            (".", "/"),
            ("a/..", "/"),
        ] {
            assert_eq!(base_name(path.as_bytes()), name.as_bytes(), "{path}");
        }
    }
}
