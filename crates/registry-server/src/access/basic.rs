//! Names and passwords in headers (RFC 7617), and tokens (RFC 6750).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

/// User and password.
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let credentials = of_scheme(headers, "basic")?;
    let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// A token.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    of_scheme(headers, "bearer")
}

fn of_scheme<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then_some(credentials.trim())
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
        let headers =
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("bearer x.y.z"))]);
        assert_eq!((bearer(&headers), basic(&headers)), (Some("x.y.z"), None));
    }
}
