//! Light or dark: a form of every page.

use axum::response::Response;

use crate::cookies;
use crate::error::PageError;
use crate::pages::add_cookie;
use crate::respond;
use crate::visit::{THEME, Theme, Visit};

/// A year in seconds.
const KEPT: u64 = 365 * 24 * 3600;

/// Remembers the colours, and goes back to where the form was.
pub(crate) fn chosen(visit: &Visit) -> Result<Response, PageError> {
    let theme = Theme::read(visit.form.text("theme"));
    let theme = theme.ok_or_else(|| PageError::Bad("there are no such colours".to_owned()))?;
    let back = visit.form.text("back");
    let mut response = respond::to(if is_here(back) { back } else { "/" });
    let secure = visit.pages.settings().secure;
    add_cookie(
        &mut response,
        cookies::set(THEME, theme.name(), Some(KEPT), secure),
    );
    Ok(response)
}

/// Whether an address is one of this registry, whatever a browser makes of it.
pub(super) fn is_here(address: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    address.starts_with('/') && !address.starts_with("//") && address.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        assert!(is_here("/") && is_here("/r/a?q=1"));
        for address in [
            "",
            "//evil",
            "/\\evil",
            "https://evil",
            "/a\r\nb",
            "evil",
            "/\t/evil",
        ] {
            assert!(!is_here(address), "{address}");
        }
    }
}
