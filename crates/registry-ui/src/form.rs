//! Forms that change something, and how it is known that they came from a page of this registry.
//!
//! Each form carries a token that its visitor's cookie has as well: another site can make a browser send a form with cookies,
//! but can neither read nor set them here. Browsers also say where a request comes from, and are believed.

use axum::body::Body;
use http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::error::PageError;
use crate::query::Query;

/// The largest form.
const MAX_FORM: usize = 1 << 20;
/// The cookie with the token.
pub(crate) const COOKIE: &str = "havre_form";
/// The field with the token.
pub(crate) const FIELD: &str = "form";
const TOKEN: usize = 32;

/// Reads a form that was sent by a page of ours.
pub(crate) async fn read(
    headers: &HeaderMap,
    is_token: impl Fn(&str) -> bool,
    body: Body,
) -> Result<Query, PageError> {
    if !same_origin(headers) {
        return Err(PageError::Foreign);
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        return Err(PageError::Bad("this is not a form".to_owned()));
    }
    let body = Limited::new(body, MAX_FORM).collect().await;
    let bytes = body
        .map_err(|error| {
            PageError::Bad(match error.is::<LengthLimitError>() {
                true => "the form is too long".to_owned(),
                false => "the form did not come to its end".to_owned(),
            })
        })?
        .to_bytes();
    let form = Query::read(&String::from_utf8_lossy(&bytes));
    match is_token(form.text(FIELD)) {
        true => Ok(form),
        false => Err(PageError::Foreign),
    }
}

/// A new token.
pub(crate) fn new_token() -> String {
    let bytes: [u8; TOKEN / 2] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text may be a token.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == TOKEN && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a token is that of the visitor's cookie.
pub(crate) fn is_same_token(known: &str, given: &str) -> bool {
    is_token(known) && same(known, given)
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(one: &str, two: &str) -> bool {
    one.len() == two.len()
        && one
            .bytes()
            .zip(two.bytes())
            .fold(0, |differ, (one, two)| differ | (one ^ two))
            == 0
}

/// Whether a browser says that a page of this registry made the request, or says nothing of it.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &http::HeaderValue| value.to_str().ok())
    };
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, "same-origin" | "none");
    }
    match text(header::ORIGIN) {
        None => true,
        Some(origin) => {
            let origin = origin.parse::<Uri>().ok();
            let authority = origin.as_ref().and_then(|origin| origin.authority());
            authority.map(|authority| authority.as_str()) == text(header::HOST)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let form = ("content-type", "application/x-www-form-urlencoded");
        pairs
            .iter()
            .chain([&form])
            .map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    async fn taken(pairs: &[(&'static str, &'static str)], token: &str, body: String) -> bool {
        let is_token = |given: &str| is_same_token(token, given);
        read(&headers(pairs), is_token, Body::from(body)).await.is_ok()
    }

    #[tokio::test]
    async fn forms_of_other_sites_are_refused() {
        let body = || format!("form={TOKEN}&a=1");
        assert!(taken(&[], TOKEN, body()).await);
        assert!(taken(&[("sec-fetch-site", "same-origin")], TOKEN, body()).await);
        assert!(
            taken(
                &[("origin", "http://here:5000"), ("host", "here:5000")],
                TOKEN,
                body()
            )
            .await
        );
        assert!(!taken(&[("sec-fetch-site", "cross-site")], TOKEN, body()).await);
        assert!(!taken(&[("sec-fetch-site", "same-site")], TOKEN, body()).await);
        assert!(!taken(&[("origin", "http://evil"), ("host", "here:5000")], TOKEN, body()).await);
        assert!(!taken(&[("origin", "null"), ("host", "here:5000")], TOKEN, body()).await);
        assert!(!taken(&[], "f".repeat(32).as_str(), body()).await);
        // Who has no cookie has no token.
        assert!(!taken(&[], "", "form=&a=1".to_owned()).await);
        assert!(!taken(&[], TOKEN, "a=1".to_owned()).await);
        assert!(!taken(&[], TOKEN, format!("form={TOKEN}&a={}", "x".repeat(2 << 20))).await);
    }

    #[test]
    fn tokens() {
        assert!(is_token(&new_token()));
        assert_ne!(new_token(), new_token());
        assert!(!is_token("") && !is_token(&"g".repeat(32)));
    }
}
