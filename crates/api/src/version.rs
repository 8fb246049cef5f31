//! Versions of the API: which are served, and which one a request asks for.

use std::convert::Infallible;
use std::fmt;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::error::ApiError;

/// A version such as 1.44.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    pub major: u32,
    pub minor: u32,
}

/// The oldest version served: what Debian's skopeo speaks.
pub const MIN: ApiVersion = ApiVersion::new(22);
/// The newest version served, and what requests without a version get.
pub const MAX: ApiVersion = ApiVersion::new(53);

impl ApiVersion {
    /// Version `1.minor`.
    pub const fn new(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |text: &str| {
            (text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 6).then(|| text.parse().ok())?
        };
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Divides a path into the version asked for and the rest. Paths without `/vX.Y` in front ask for [`MAX`].
pub(crate) fn split(path: &str) -> Result<(ApiVersion, &str), ApiError> {
    let prefix = path.strip_prefix("/v").and_then(|rest| {
        let end = rest.find('/').unwrap_or(rest.len());
        Some((ApiVersion::parse(&rest[..end])?, &rest[end..]))
    });
    let Some((version, rest)) = prefix else {
        return Ok((MAX, path));
    };
    if version < MIN {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too old. Minimum supported API version is {MIN}, please upgrade your client to a \
             newer version"
        )));
    }
    if version > MAX {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too new. Maximum supported API version is {MAX}"
        )));
    }
    Ok((version, if rest.is_empty() { "/" } else { rest }))
}

impl<S: Sync> FromRequestParts<S> for ApiVersion {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        assert_eq!(split("/_ping").unwrap(), (MAX, "/_ping"));
        assert_eq!(
            split("/v1.44/containers/json").unwrap(),
            (ApiVersion::new(44), "/containers/json")
        );
        assert_eq!(split("/v1.22").unwrap(), (MIN, "/"));
        assert_eq!(split("/version").unwrap(), (MAX, "/version"));
        assert_eq!(split("/volumes/v1.2").unwrap(), (MAX, "/volumes/v1.2"));
        assert_eq!(split("/vx.y/info").unwrap(), (MAX, "/vx.y/info"));
    }

    #[test]
    fn refusals_in_dockers_words() {
        assert_eq!(
            split("/v1.99/info").unwrap_err().to_string(),
            "client version 1.99 is too new. Maximum supported API version is 1.53"
        );
        assert_eq!(
            split("/v1.12/info").unwrap_err().to_string(),
            "client version 1.12 is too old. Minimum supported API version is 1.22, please upgrade your client to a newer \
             version"
        );
        assert!(split("/v2.0/info").is_err());
    }
}
