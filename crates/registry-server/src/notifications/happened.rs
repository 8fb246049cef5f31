//! Requests and their answers as events.

use havre_oci::{Digest, media_type};
use havre_registry_events::{Action, Subject};
use havre_registry_store::Identifier;
use http::{HeaderMap, Method, StatusCode, header};

use crate::path::Place;
use crate::query::Query;
use crate::routes::DIGEST;

/// A request, as far as events go.
#[derive(Debug)]
pub(crate) struct Happened<'a> {
    pub(crate) method: &'a Method,
    pub(crate) place: &'a Place,
    pub(crate) query: &'a Query,
    /// Of the request.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) status: StatusCode,
    /// Of the answer.
    pub(crate) answer: &'a HeaderMap,
    /// It came by TLS.
    pub(crate) secure: bool,
}

/// What a request did, if it did something that others may want to know.
pub(crate) fn happened(request: &Happened<'_>) -> Option<(Action, Subject)> {
    let (status, query) = (request.status, request.query);
    let text = |headers: &HeaderMap, name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let digest = text(request.answer, DIGEST).and_then(|text| text.parse::<Digest>().ok());
    let size = |headers| {
        text(headers, header::CONTENT_LENGTH)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    };
    let kind = |headers: &HeaderMap| {
        let kind = text(headers, header::CONTENT_TYPE).unwrap_or_default();
        media_type::essence(&kind).to_owned()
    };
    let (action, mut subject) = match (request.place, request.method.as_str(), status) {
        (Place::Manifest(name, wanted), "PUT", StatusCode::CREATED) => {
            let subject = manifest(
                name.as_str(),
                wanted,
                digest,
                kind(request.headers),
                size(request.headers),
            );
            (Action::Push, subject)
        }
        (Place::Manifest(name, wanted), "GET", StatusCode::OK) => {
            let subject = manifest(
                name.as_str(),
                wanted,
                digest,
                kind(request.answer),
                size(request.answer),
            );
            (Action::Pull, subject)
        }
        (Place::Manifest(name, wanted), "DELETE", StatusCode::ACCEPTED) => {
            let named = match wanted {
                Identifier::Digest(digest) => Some(digest.clone()),
                Identifier::Tag(_) => None,
            };
            (
                Action::Delete,
                manifest(name.as_str(), wanted, named, String::new(), 0),
            )
        }
        (Place::Blob(name, digest), "GET", StatusCode::OK | StatusCode::TEMPORARY_REDIRECT) => {
            (Action::Pull, blob(name.as_str(), digest, size(request.answer)))
        }
        (Place::Blob(name, digest), "DELETE", StatusCode::ACCEPTED) => {
            (Action::Delete, blob(name.as_str(), digest, 0))
        }
        (Place::Uploads(name), "POST", StatusCode::CREATED) => {
            let subject = blob(name.as_str(), &digest?, 0);
            match query.get("mount") {
                None => (Action::Push, subject),
                Some(_) => {
                    let from_repository = query.get("from").map(str::to_owned);
                    (
                        Action::Mount,
                        Subject {
                            from_repository,
                            ..subject
                        },
                    )
                }
            }
        }
        (Place::Upload(name, _), "PUT", StatusCode::CREATED) => {
            (Action::Push, blob(name.as_str(), &digest?, 0))
        }
        _ => return None,
    };
    subject.length = subject.size;
    if let (Some(host), Some(digest)) = (text(request.headers, header::HOST), &subject.digest) {
        let part = if matches!(request.place, Place::Manifest(..)) {
            "manifests"
        } else {
            "blobs"
        };
        let scheme = if request.secure { "https" } else { "http" };
        subject.url = format!("{scheme}://{host}/v2/{}/{part}/{digest}", subject.repository);
    }
    Some((action, subject))
}

fn manifest(
    name: &str,
    wanted: &Identifier,
    digest: Option<Digest>,
    media_type: String,
    size: u64,
) -> Subject {
    Subject {
        media_type,
        size,
        digest,
        repository: name.to_owned(),
        tag: match wanted {
            Identifier::Tag(tag) => Some(tag.to_string()),
            Identifier::Digest(_) => None,
        },
        ..Subject::default()
    }
}

fn blob(name: &str, digest: &Digest, size: u64) -> Subject {
    Subject {
        media_type: "application/octet-stream".to_owned(),
        size,
        digest: Some(digest.clone()),
        repository: name.to_owned(),
        ..Subject::default()
    }
}
