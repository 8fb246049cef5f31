//! Credentials in headers: one registry's (`X-Registry-Auth`), or all of them (`X-Registry-Config`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use havre_engine::registry::{Accounts, Credentials, CredentialsError};
use http::HeaderMap;
use serde_json::Value;

use crate::error::ApiError;

const TOLERANT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, TOLERANT);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, TOLERANT);

/// What `X-Registry-Auth` says; nothing if it is absent. As in Docker, a value that cannot be read is no reason to refuse
/// a request that may do without it; one that can be read and says something else is.
pub(crate) fn of(headers: &HeaderMap) -> Result<Credentials, ApiError> {
    let Some(value) = headers
        .get("x-registry-auth")
        .and_then(|value| value.to_str().ok())
    else {
        return Ok(Credentials::None);
    };
    match Credentials::from_header(value) {
        Ok(credentials) => Ok(credentials),
        Err(error @ CredentialsError::NotCredentials) => Err(ApiError::bad_request(error.to_string())),
        Err(error) => {
            tracing::warn!(%error, "ignored credentials that cannot be read");
            Ok(Credentials::None)
        }
    }
}

/// What `X-Registry-Config` says, by registry, perhaps with a part of its repositories: base64url of
/// `{"HOST/NAMESPACE": {"username": …}}`.
pub(crate) fn all_of(headers: &HeaderMap) -> Result<Accounts, ApiError> {
    let Some(value) = headers
        .get("x-registry-config")
        .and_then(|value| value.to_str().ok())
    else {
        return Ok(Accounts::default());
    };
    let invalid = |what: String| ApiError::bad_request(format!("invalid X-Registry-Config header: {what}"));
    let value = value.trim();
    if value.is_empty() {
        return Ok(Accounts::default());
    }
    let json = URL_SAFE
        .decode(value)
        .or_else(|_| STANDARD.decode(value))
        .map_err(|_| invalid("not base64".to_owned()))?;
    // The error of the JSON reader could repeat a password.
    let hosts: Option<BTreeMap<String, Value>> =
        serde_json::from_slice(&json).map_err(|_| invalid("not a JSON object of registries".to_owned()))?;
    hosts
        .unwrap_or_default()
        .into_iter()
        .map(|(host, entry)| {
            let encoded = URL_SAFE.encode(entry.to_string());
            let credentials =
                Credentials::from_header(&encoded).map_err(|_| invalid(format!("entry of {host}")))?;
            Ok((name_of(&host), credentials))
        })
        .collect()
}

/// `https://index.docker.io/v1/` and the like to the name images carry. An address has no part of repositories.
fn name_of(key: &str) -> String {
    let (is_address, rest) = match key.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, key),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    match path.trim_end_matches('/') {
        "" | "v1" | "v2" => host.to_owned(),
        _ if is_address => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use havre_oci::Reference;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn one_registry() {
        let encoded = URL_SAFE.encode(r#"{"username":"u","password":"p"}"#);
        assert!(matches!(
            of(&headers("x-registry-auth", &encoded)).unwrap(),
            Credentials::Basic { .. }
        ));
        for nothing in ["", "%%%", "bnVsbA==", "e30="] {
            assert_eq!(
                of(&headers("x-registry-auth", nothing)).unwrap(),
                Credentials::None,
                "{nothing}"
            );
        }
        assert_eq!(of(&HeaderMap::new()).unwrap(), Credentials::None);
        for json in [r#"["u","p"]"#, "[]", r#""u""#, "1", r#"{"username":["u"]}"#] {
            let refused = of(&headers("x-registry-auth", &URL_SAFE.encode(json))).unwrap_err();
            assert_eq!(refused.status(), 400, "{json}");
        }
    }

    #[test]
    fn all_registries() {
        let json = r#"{"https://index.docker.io/v1/":{"username":"u","password":"p"},"localhost:5000":{},"localhost:5000/team":{"username":"t","password":"p"}}"#;
        for engine in [&URL_SAFE, &STANDARD] {
            let all = all_of(&headers("x-registry-config", &engine.encode(json))).unwrap();
            let of = |name: &str| all.of(&Reference::parse(name).unwrap());
            assert!(matches!(of("busybox"), Credentials::Basic { .. }));
            assert_eq!(of("localhost:5000/app"), Credentials::None);
            assert!(matches!(of("localhost:5000/team/app"), Credentials::Basic { .. }));
        }
        let nothing = all_of(&headers("x-registry-config", "bnVsbA=="));
        assert_eq!(nothing.unwrap(), Accounts::default());
        let error = all_of(&headers(
            "x-registry-config",
            &URL_SAFE.encode(r#"{"h":"secret""#),
        ))
        .unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
