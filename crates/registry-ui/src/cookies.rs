//! Cookies that come with a request, and those that are set.

use http::{HeaderMap, HeaderValue, header};

/// The value of a cookie of a request.
pub(crate) fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// A cookie that only this registry gets, and no script; until the browser ends without `max_age` (seconds).
pub(crate) fn set(name: &str, value: &str, max_age: Option<u64>, secure: bool) -> Option<HeaderValue> {
    let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
    if let Some(seconds) = max_age {
        text.push_str(&format!("; Max-Age={seconds}"));
    }
    if secure {
        text.push_str("; Secure");
    }
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_lines() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; b=2"));
        headers.append(header::COOKIE, HeaderValue::from_static("c=3=4"));
        assert_eq!(get(&headers, "b"), Some("2"));
        assert_eq!(get(&headers, "c"), Some("3=4"));
        assert_eq!(get(&headers, "d"), None);
    }

    #[test]
    fn written() {
        let written = set("a", "1", Some(5), true).expect("a header");
        assert_eq!(written, "a=1; Path=/; HttpOnly; SameSite=Lax; Max-Age=5; Secure");
        assert!(set("a", "\n", None, false).is_none());
    }
}
