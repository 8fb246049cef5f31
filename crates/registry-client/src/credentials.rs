//! User names, passwords and tokens, and where they are kept.

use std::path::Path;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Deserialize;
use serde_json::Value;

use crate::hosts::{HUB, canonical_domain};

/// Docker Hub's name in config.json and in credential helpers.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name under which an identity token is kept.
const TOKEN_USER: &str = "<token>";

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Credentials {
    #[default]
    None,
    Basic {
        username: String,
        password: String,
    },
    /// OAuth2 refresh token, exchanged for bearer tokens.
    IdentityToken(String),
    /// A bearer token used as it is.
    RegistryToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(…)",
            Self::IdentityToken(_) => "IdentityToken(…)",
            Self::RegistryToken(_) => "RegistryToken(…)",
        })
    }
}

/// Credentials that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    #[error("invalid X-Registry-Auth header: {0}")]
    Header(String),
    /// JSON that says something else.
    #[error("invalid X-Registry-Auth header: it is not an object with username, password and the like")]
    NotCredentials,
    #[error("cannot read the credentials in {path}")]
    Config {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot get credentials for {host}: {reason}")]
    Helper { host: String, reason: String },
}

/// Docker's AuthConfig.
#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthConfig {
    #[serde(deserialize_with = "text")]
    username: String,
    #[serde(deserialize_with = "text")]
    password: String,
    #[serde(deserialize_with = "text")]
    auth: String,
    #[serde(deserialize_with = "text")]
    identitytoken: String,
    #[serde(deserialize_with = "text")]
    registrytoken: String,
}

/// Clients send `null` for what they do not have.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Both alphabets are in use among clients.
fn decode(value: &str) -> Option<Vec<u8>> {
    URL_SAFE.decode(value).or_else(|_| STANDARD.decode(value)).ok()
}

impl Credentials {
    /// From the `X-Registry-Auth` header of the Engine API: base64url JSON `{username, password, identitytoken,
    /// registrytoken}`. An empty header is no credentials.
    pub fn from_header(value: &str) -> Result<Self, CredentialsError> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(Self::None);
        }
        let json = decode(value).ok_or_else(|| CredentialsError::Header("not base64".to_owned()))?;
        Self::from_json(&json)
    }

    /// From the auth object of the Engine API as JSON.
    pub fn from_json(json: &[u8]) -> Result<Self, CredentialsError> {
        if json.trim_ascii().is_empty() {
            return Ok(Self::None);
        }
        // The parser's message would repeat the text around the error, which may be the password.
        let value: Value = serde_json::from_slice(json).map_err(|error| {
            CredentialsError::Header(format!(
                "not JSON (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        // A list would be read as the fields in their order.
        let auth: AuthConfig = match value {
            Value::Null => AuthConfig::default(),
            Value::Object(_) => {
                serde_json::from_value(value).map_err(|_| CredentialsError::NotCredentials)?
            }
            _ => return Err(CredentialsError::NotCredentials),
        };
        if !auth.registrytoken.is_empty() {
            return Ok(Self::RegistryToken(auth.registrytoken));
        }
        if !auth.identitytoken.is_empty() {
            return Ok(Self::IdentityToken(auth.identitytoken));
        }
        if !auth.username.is_empty() || !auth.password.is_empty() {
            return Ok(Self::basic(auth.username, auth.password));
        }
        if auth.auth.is_empty() {
            return Ok(Self::None);
        }
        let pair = decode(&auth.auth).and_then(|bytes| String::from_utf8(bytes).ok());
        match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((username, password)) => Ok(Self::basic(
                username.to_owned(),
                password.trim_end_matches('\0').to_owned(),
            )),
            None => Err(CredentialsError::Header(
                "auth is not base64 of USER:PASSWORD".to_owned(),
            )),
        }
    }

    fn basic(username: String, password: String) -> Self {
        if username == TOKEN_USER {
            return Self::IdentityToken(password);
        }
        Self::Basic { username, password }
    }

    /// From `config.json` in Docker's configuration directory, helpers included. `domain` as in references
    /// ("docker.io"). A missing file or entry is no credentials. Blocking.
    pub fn from_docker_config(dir: &Path, domain: &str) -> Result<Self, CredentialsError> {
        let domain = canonical_domain(domain);
        let path = dir.join("config.json");
        let text = match fs_err::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::None),
            Err(source) => {
                return Err(CredentialsError::Config {
                    path: path.display().to_string(),
                    source,
                });
            }
        };
        let key = if domain == HUB { HUB_KEY } else { domain };
        // Entries that hold only an empty object say that a helper knows more; the crate would stop at them.
        match docker_credential::get_credential_from_reader(text.as_slice(), key) {
            Ok(DockerCredential::IdentityToken(token)) => Ok(Self::IdentityToken(token)),
            Ok(DockerCredential::UsernamePassword(username, password))
                if username.is_empty() && password.is_empty() =>
            {
                Ok(Self::None)
            }
            Ok(DockerCredential::UsernamePassword(username, password)) => Ok(Self::basic(username, password)),
            Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(Self::None),
            // Helpers answer so for a registry nobody has logged in to.
            Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                if stdout.contains("credentials not found") =>
            {
                Ok(Self::None)
            }
            Err(CredentialRetrievalError::HelperFailure {
                helper,
                stdout,
                stderr,
            }) => Err(CredentialsError::Helper {
                host: domain.to_owned(),
                reason: format!(
                    "credential helper {helper} failed: {} {}",
                    stdout.trim(),
                    stderr.trim()
                ),
            }),
            Err(error) => Err(CredentialsError::Helper {
                host: domain.to_owned(),
                reason: format!("{}: {error}", path.display()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic {
            username: username.into(),
            password: password.into(),
        }
    }

    #[test]
    fn headers() {
        let header = |json: &str| Credentials::from_header(&URL_SAFE.encode(json));
        assert_eq!(Credentials::from_header("").unwrap(), Credentials::None);
        assert_eq!(header("{}").unwrap(), Credentials::None);
        assert_eq!(header("null").unwrap(), Credentials::None);
        assert_eq!(
            header(r#"{"username":"u","password":"p:q"}"#).unwrap(),
            basic("u", "p:q")
        );
        assert_eq!(header(r#"{"auth":"dTpwOnE="}"#).unwrap(), basic("u", "p:q"));
        assert_eq!(
            header(r#"{"username":"u","password":"","identitytoken":"t"}"#).unwrap(),
            Credentials::IdentityToken("t".into())
        );
        assert_eq!(
            header(r#"{"registrytoken":"r"}"#).unwrap(),
            Credentials::RegistryToken("r".into())
        );
        assert_eq!(
            Credentials::from_header(&STANDARD.encode(r#"{"username":"ü?>","password":null}"#)).unwrap(),
            basic("ü?>", "")
        );
        assert!(Credentials::from_header("!!").is_err());
        let error = header(r#"{"password": "secret"#).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn docker_config() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            Credentials::from_docker_config(dir.path(), "docker.io").unwrap(),
            Credentials::None
        );
        fs_err::write(
            dir.path().join("config.json"),
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnB3"},"localhost:5000":{"auth":"bG9jYWw6cHc="}}}"#,
        )
        .unwrap();
        let get = |domain| Credentials::from_docker_config(dir.path(), domain).unwrap();
        assert_eq!(get("docker.io"), basic("hub", "pw"));
        assert_eq!(get("localhost:5000"), basic("local", "pw"));
        assert_eq!(get("quay.io"), Credentials::None);
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        assert!(!format!("{:?}", basic("user", "secret")).contains("secret"));
    }
}
