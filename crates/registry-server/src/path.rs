//! What a path of the distribution API leads to.

use havre_oci::Digest;
use havre_registry_store::{Identifier, NameError, RepositoryName};

use crate::error::ApiError;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(RepositoryName, Identifier),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(RepositoryName, String),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
}

/// Whether a path is one of the APIs that clients speak. All others are pages'.
pub(crate) fn is_api(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "v1" | "v2" | "token")
}

impl Place {
    /// The repository it is in, if it is in one.
    pub(crate) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(name),
        }
    }

    /// What the reference registry calls it in metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Tags(_) => "tags",
            Self::Manifest(..) => "manifest",
            Self::Blob(..) => "blob",
            Self::Uploads(_) => "blob_upload",
            Self::Upload(..) => "blob_upload_chunk",
            Self::Referrers(..) => "referrers",
        }
    }

    /// Reads a path. A repository's name may contain the words that follow it, so it is read from its end.
    pub(crate) fn read(path: &str) -> Result<Self, ApiError> {
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8();
        let path = decoded.map_err(|_| ApiError::not_found())?;
        let Some(rest) = path.strip_prefix("/v2") else {
            return Err(ApiError::not_found());
        };
        match rest {
            "" | "/" => return Ok(Self::Base),
            "/_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        let rest = rest.strip_prefix('/').ok_or_else(ApiError::not_found)?;
        let segments: Vec<&str> = rest.split('/').collect();
        let name = |segments: &[&str]| segments.join("/").parse::<RepositoryName>();
        let digest = |text: &str| text.parse::<Digest>().map_err(NameError::Digest);
        Ok(match segments.as_slice() {
            [before @ .., "tags", "list"] => Self::Tags(name(before)?),
            [before @ .., "blobs", "uploads"] | [before @ .., "blobs", "uploads", ""] => {
                Self::Uploads(name(before)?)
            }
            [before @ .., "blobs", "uploads", id] => Self::Upload(name(before)?, (*id).to_owned()),
            [before @ .., "manifests", reference] => Self::Manifest(name(before)?, reference.parse()?),
            [before @ .., "blobs", text] => Self::Blob(name(before)?, digest(text)?),
            [before @ .., "referrers", text] => Self::Referrers(name(before)?, digest(text)?),
            _ => return Err(ApiError::not_found()),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn apis_and_pages() {
        for path in ["/v2", "/v2/", "/v2/a/tags/list", "/v1/search", "/token", "//v2/"] {
            assert!(is_api(path), "{path}");
        }
        for path in ["/", "/v2x", "/r/v2", "/storage", "", "/V2/"] {
            assert!(!is_api(path), "{path}");
        }
    }

    #[test]
    fn paths() {
        let name = |text: &str| text.parse::<RepositoryName>().unwrap();
        let digest = Digest::sha256_of(b"");
        for (path, place) in [
            ("/v2", Place::Base),
            ("/v2/", Place::Base),
            ("/v2/_catalog", Place::Catalog),
            ("/v2/a/tags/list", Place::Tags(name("a"))),
            ("/v2/tags/list/tags/list", Place::Tags(name("tags/list"))),
            (
                "/v2/a/b/manifests/1",
                Place::Manifest(name("a/b"), "1".parse().unwrap()),
            ),
            (
                "/v2/manifests/manifests/manifests",
                Place::Manifest(name("manifests"), "manifests".parse().unwrap()),
            ),
            ("/v2/a/blobs/uploads", Place::Uploads(name("a"))),
            ("/v2/a/blobs/uploads/", Place::Uploads(name("a"))),
            ("/v2/a/blobs/uploads/7", Place::Upload(name("a"), "7".into())),
            (
                "/v2/blobs/uploads/manifests/7",
                Place::Manifest(name("blobs/uploads"), "7".parse().unwrap()),
            ),
            (
                &format!("/v2/a/blobs/{digest}"),
                Place::Blob(name("a"), digest.clone()),
            ),
            (
                &format!("/v2/a/referrers/{}", digest.as_str().replace(':', "%3A")),
                Place::Referrers(name("a"), digest.clone()),
            ),
        ] {
            assert_eq!(Place::read(path).ok(), Some(place), "{path}");
        }
        for (path, status) in [
            ("/", StatusCode::NOT_FOUND),
            ("/v1/search", StatusCode::NOT_FOUND),
            ("/v2x", StatusCode::NOT_FOUND),
            ("/v2/a", StatusCode::NOT_FOUND),
            ("/v2/A/tags/list", StatusCode::BAD_REQUEST),
            ("/v2/a/../b/tags/list", StatusCode::BAD_REQUEST),
            ("/v2/a%2F..%2Fb/tags/list", StatusCode::BAD_REQUEST),
            ("/v2//tags/list", StatusCode::BAD_REQUEST),
            ("/v2/a/blobs/sha256:1", StatusCode::BAD_REQUEST),
            ("/v2/a/manifests/.x", StatusCode::BAD_REQUEST),
            ("/v2/a/tags/list%ff", StatusCode::NOT_FOUND),
        ] {
            let error = Place::read(path).expect_err(path);
            assert_eq!(error.status(), status, "{path}");
        }
    }
}
