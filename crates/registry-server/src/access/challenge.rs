//! Where tokens are to be had, and what for: told to whom a request was refused.

use http::{HeaderMap, StatusCode, header};

use crate::error::ApiError;

/// What this registry is called from outside.
#[derive(Debug)]
pub(super) struct Outside {
    /// As it was configured: `https://registry.example.com`
    configured: Option<String>,
    scheme: &'static str,
}

impl Outside {
    pub(super) fn new(configured: Option<String>, tls: bool) -> Self {
        Self {
            configured,
            scheme: if tls { "https" } else { "http" },
        }
    }

    /// The address as the client has it, if nothing is configured: from its `Host` header, which must be nothing but one.
    fn address(&self, headers: &HeaderMap) -> Result<String, ApiError> {
        if let Some(configured) = &self.configured {
            return Ok(configured.clone());
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        match host.filter(|host| is_authority(host)) {
            Some(host) => Ok(format!("{}://{host}", self.scheme)),
            None => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "UNSUPPORTED",
                "the Host header names no host",
            )),
        }
    }

    /// Refuses a request, and says how it would be taken.
    pub(super) fn challenge(
        &self,
        headers: &HeaderMap,
        service: &str,
        scope: Option<&str>,
        problem: Option<&'static str>,
    ) -> ApiError {
        let address = match self.address(headers) {
            Ok(address) => address,
            Err(error) => return error,
        };
        refusal(&format!("{address}/token"), service, scope, problem)
    }
}

/// Refuses a request, and says where a token is to be had that would do.
pub(super) fn refusal(
    realm: &str,
    service: &str,
    scope: Option<&str>,
    problem: Option<&'static str>,
) -> ApiError {
    let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
    for (name, value) in [("scope", scope), ("error", problem)] {
        if let Some(value) = value {
            challenge.push_str(&format!(",{name}=\"{value}\""));
        }
    }
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED",
        "authentication required",
    )
    .with(header::WWW_AUTHENTICATE, challenge)
}

/// Whether a text is a host, with a port or without one, and nothing else.
pub(crate) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, rest)) => {
            let inside = |c: u8| c.is_ascii_hexdigit() || matches!(c, b':' | b'.');
            if host.is_empty() || !host.bytes().all(inside) {
                return false;
            }
            match rest {
                "" => return true,
                rest => match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None => return false,
                },
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let letters = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':');
    let fits = !host.is_empty() && text.len() <= 255 && host.bytes().all(letters);
    fits && port.is_none_or(|port| port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for host in [
            "a",
            "localhost:5000",
            "r.example.com",
            "10.0.0.1:443",
            "[::1]:5000",
            "[fe80::1]",
        ] {
            assert!(is_authority(host), "{host}");
        }
        for none in [
            "", ":5000", "a:", "a:b", "a:99999", "a/b", "a\"b", "a b", "a@b", "a,b", "[", "[]", "[::1",
            "[::1]x", "[g]:1", "ä",
        ] {
            assert!(!is_authority(none), "{none}");
        }
    }
}
