//! Uploads.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use havre_oci::{Algorithm, Digest};
use havre_registry_store::{Appending, RegistryStore, RepositoryName, StoreError, Upload};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{DIGEST, blocking, text};
use crate::access::Caller;
use crate::aside::aside;
use crate::error::ApiError;
use crate::query::Query;
use crate::range::chunk;

const UPLOAD: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Pieces of a body that wait for the disk.
const QUEUE: usize = 16;
/// How long a client may send nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Begins an upload, mounts a blob of another repository, or takes a whole one.
pub(super) async fn begin(
    store: &RegistryStore,
    caller: &Caller,
    name: RepositoryName,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let known = query
        .get("mount")
        .or(query.get("digest"))
        .map(digest)
        .transpose()?;
    caller.room(&name, known.as_ref()).await?;
    if let Some(mount) = query.get("mount") {
        let digest = digest(mount)?;
        // What cannot be mounted is uploaded.
        let from = query.get("from").map(str::parse::<RepositoryName>).transpose()?;
        if mount_from(store, caller, from, &name, &digest).await? {
            return Ok(created(&name, &digest));
        }
    }
    let whole = query.get("digest").map(digest).transpose()?;
    let algorithm = match (&whole, query.get("digest-algorithm")) {
        (Some(digest), _) => digest.algorithm(),
        (None, None | Some("sha256")) => Algorithm::Sha256,
        (None, Some("sha512")) => Algorithm::Sha512,
        (None, Some(_)) => return Err(ApiError::digest("the digest's algorithm is not known")),
    };
    let upload = blocking(store, {
        let name = name.clone();
        move |store| store.begin_upload(&name, algorithm)
    })
    .await?;
    let Some(digest) = whole else {
        return Ok(progress(&name, &upload, StatusCode::ACCEPTED));
    };
    let appending = open(store, &name, &upload.id, Some(0)).await?;
    complete(appending, caller, &name, digest, headers, body).await
}

/// Lets the repository have a blob of another, whichever if none is named; whether there is one that the caller may read.
async fn mount_from(
    store: &RegistryStore,
    caller: &Caller,
    from: Option<RepositoryName>,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<bool, ApiError> {
    let (name, digest) = (name.clone(), digest.clone());
    let Some(visitor) = caller.visitor() else {
        let from = match (from, caller) {
            (None, Caller::Bearer(_)) => {
                let digest = digest.clone();
                let holders = blocking(store, move |store| store.holders(&digest)).await?;
                match holders.into_iter().find(|name| caller.reads(name)) {
                    None => return Ok(false),
                    from => from,
                }
            }
            (Some(from), _) if !caller.reads(&from) => return Ok(false),
            (from, _) => from,
        };
        let mounted = blocking(store, move |store| match from {
            Some(from) => store.mount(&from, &name, &digest),
            None => store.mount_any(&name, &digest),
        });
        return mounted.await;
    };
    let store = store.clone();
    let mounted = visitor.blocking(move |visitor| {
        let candidates = match from {
            Some(from) => vec![from],
            None => store.holders(&digest)?,
        };
        match visitor.source(&candidates)? {
            Some(from) => {
                if let Some(size) = store.blob_size(&from, &digest)? {
                    visitor.hub().must_fit(&name, &digest, size)?;
                }
                Ok(store.mount(&from, &name, &digest)?)
            }
            None => Ok(false),
        }
    });
    mounted.await
}

pub(super) async fn status(
    store: &RegistryStore,
    name: RepositoryName,
    id: String,
) -> Result<Response, ApiError> {
    let called = name.clone();
    let upload = blocking(store, move |store| store.upload(&name, &id)).await?;
    Ok(progress(&called, &upload, StatusCode::NO_CONTENT))
}

/// Takes a chunk.
pub(super) async fn append(
    store: &RegistryStore,
    caller: &Caller,
    name: RepositoryName,
    id: String,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let range = content_range(headers)?;
    let appending = open(store, &name, &id, range.as_ref().map(|range| range.start)).await?;
    let room = caller.room(&name, None).await?;
    let appending = receive(appending, range.map(|range| range.end), room, body).await?;
    let upload = aside(move || appending.pause()).await?;
    Ok(progress(&name, &upload, StatusCode::ACCEPTED))
}

/// Takes the last chunk, if there is one, and makes a blob of all.
pub(super) async fn finish(
    store: &RegistryStore,
    caller: &Caller,
    name: RepositoryName,
    id: String,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let text = query.get("digest");
    let digest = digest(text.ok_or_else(|| ApiError::digest("the digest is missing"))?)?;
    let range = content_range(headers)?;
    let appending = open(store, &name, &id, range.as_ref().map(|range| range.start)).await?;
    complete(appending, caller, &name, digest, headers, body).await
}

pub(super) async fn cancel(
    store: &RegistryStore,
    name: RepositoryName,
    id: String,
) -> Result<Response, ApiError> {
    blocking(store, move |store| store.cancel_upload(&name, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn complete(
    appending: Appending,
    caller: &Caller,
    name: &RepositoryName,
    digest: Digest,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let end = content_range(headers)?.map(|range| range.end);
    let room = caller.room(name, Some(&digest)).await?;
    let appending = receive(appending, end, room, body).await?;
    caller.fits(name, &digest, appending.size()).await?;
    let wanted = digest.clone();
    aside(move || appending.finish(&wanted)).await?;
    Ok(created(name, &digest))
}

async fn open(
    store: &RegistryStore,
    name: &RepositoryName,
    id: &str,
    begins: Option<u64>,
) -> Result<Appending, ApiError> {
    let opened = blocking(store, {
        let (name, id) = (name.clone(), id.to_owned());
        move |store| Ok(store.append(&name, &id, begins))
    });
    opened.await?.map_err(|error| {
        let has = match &error {
            StoreError::UploadOffset { has, .. } => Some(*has),
            _ => None,
        };
        let error = ApiError::from(error);
        match has {
            None => error,
            // So that the client can go on where the upload is.
            Some(has) => error
                .with(header::LOCATION, location(name, id))
                .with(header::RANGE, range(has))
                .with(UPLOAD, id),
        }
    })
}

/// Writes a body to an upload, whose end it must lead to if one is named. What came of a body that broke off stays.
/// No more than there is room for.
async fn receive(
    mut appending: Appending,
    end: Option<u64>,
    room: Option<u64>,
    body: Body,
) -> Result<Appending, ApiError> {
    let begins = appending.size();
    let mut stream = body.into_data_stream();
    let Some(first) = next(&mut stream).await? else {
        return check_end(appending, end);
    };
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<bytes::Bytes>(QUEUE);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(piece) = receiver.blocking_recv() {
            appending.write(&piece)?;
        }
        Ok::<_, StoreError>(appending)
    });
    let mut outcome = Ok(());
    let (mut piece, mut position) = (Some(first), begins);
    while let Some(bytes) = piece {
        position += bytes.len() as u64;
        if end.is_some_and(|end| position > end) {
            outcome = Err(ApiError::size("the chunk has more bytes than its range says"));
            break;
        }
        if room.is_some_and(|room| position > room) {
            outcome = Err(ApiError::denied(
                "the quota of the namespace has no room for this blob",
            ));
            break;
        }
        if sender.send(bytes).await.is_err() {
            // The writer says why.
            break;
        }
        piece = match next(&mut stream).await {
            Ok(piece) => piece,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
    }
    drop(sender);
    let appending = writer.await.map_err(|_| ApiError::internal())??;
    outcome?;
    check_end(appending, end)
}

fn check_end(appending: Appending, end: Option<u64>) -> Result<Appending, ApiError> {
    match end {
        Some(end) if end != appending.size() => {
            Err(ApiError::size("the chunk has fewer bytes than its range says"))
        }
        _ => Ok(appending),
    }
}

async fn next(stream: &mut axum::body::BodyDataStream) -> Result<Option<bytes::Bytes>, ApiError> {
    match tokio::time::timeout(PATIENCE, stream.next()).await {
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(None) => Ok(None),
        Ok(Some(Err(_))) => Err(ApiError::upload("the connection ended within the upload")),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "BLOB_UPLOAD_INVALID",
            format!("nothing came for {} seconds", PATIENCE.as_secs()),
        )),
    }
}

fn content_range(headers: &HeaderMap) -> Result<Option<std::ops::Range<u64>>, ApiError> {
    let Some(header) = text(headers, header::CONTENT_RANGE) else {
        return Ok(None);
    };
    let range = chunk(header).ok_or_else(|| ApiError::range(format!("invalid content range {header:?}")))?;
    let length = text(headers, header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    match length {
        Some(length) if length != range.end - range.start => {
            Err(ApiError::size("the length of the chunk is not that of its range"))
        }
        _ => Ok(Some(range)),
    }
}

fn digest(text: &str) -> Result<Digest, ApiError> {
    text.parse()
        .map_err(|error: havre_oci::DigestError| ApiError::digest(error.to_string()))
}

fn location(name: &RepositoryName, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// The bytes that are there, as the specification writes them: nothing is `0-0`, and so is one byte.
fn range(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

fn progress(name: &RepositoryName, upload: &Upload, status: StatusCode) -> Response {
    let headers = [
        (header::LOCATION, location(name, &upload.id)),
        (header::RANGE, range(upload.size)),
        (UPLOAD, upload.id.clone()),
    ];
    (status, headers).into_response()
}

fn created(name: &RepositoryName, digest: &Digest) -> Response {
    let headers = [
        (header::LOCATION, format!("/v2/{name}/blobs/{digest}")),
        (DIGEST, digest.to_string()),
    ];
    (StatusCode::CREATED, headers).into_response()
}
