//! Who gets in.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use tokio::sync::Semaphore;

use crate::config::HtpasswdFile;
use crate::error::ApiError;
use crate::htpasswd::{Htpasswd, HtpasswdError};

/// Passwords that are checked at once: each takes a processor for some time.
const AT_ONCE: usize = 2;

/// Who gets in: everybody, or the users of a file.
#[derive(Debug)]
pub(crate) struct Access {
    users: Option<Arc<Htpasswd>>,
    checking: Semaphore,
}

impl Access {
    pub(crate) fn new(file: Option<HtpasswdFile>) -> Result<Self, HtpasswdError> {
        Ok(Self {
            users: file.map(Htpasswd::open).transpose()?.map(Arc::new),
            checking: Semaphore::new(AT_ONCE),
        })
    }

    /// Lets a request in, or says how to get in.
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(users) = &self.users else {
            return Ok(());
        };
        let refused = || {
            let realm: String = users
                .realm()
                .chars()
                .filter(|c| !matches!(c, '"' | '\\'))
                .collect();
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "authentication required",
            )
            .with(header::WWW_AUTHENTICATE, format!("Basic realm=\"{realm}\""))
        };
        let (user, password) = basic(headers).ok_or_else(refused)?;
        let Ok(_turn) = self.checking.acquire().await else {
            return Err(ApiError::internal());
        };
        let users = Arc::clone(users);
        let checked = tokio::task::spawn_blocking(move || users.is_right(&user, &password)).await;
        match checked {
            Ok(true) => Ok(()),
            Ok(false) => Err(refused()),
            Err(_) => Err(ApiError::internal()),
        }
    }
}

/// User and password of RFC 7617.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn credentials() {
        for (header, expected) in [
            ("Basic bWU6c2VjcmV0", Some(("me", "secret"))),
            ("basic  bWU6YTpi", Some(("me", "a:b"))),
            ("Bearer bWU6c2VjcmV0", None),
            ("Basic bWU=", None),
            ("Basic !", None),
            ("Basic", None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(header))]);
            let expected = expected.map(|(user, password)| (user.to_owned(), password.to_owned()));
            assert_eq!(basic(&headers), expected, "{header}");
        }
        assert_eq!(basic(&HeaderMap::new()), None);
    }
}
