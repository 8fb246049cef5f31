use std::path::Path;

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq)]
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
    #[error("cannot read {path}")]
    Config {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot get credentials for {host}: {reason}")]
    Helper { host: String, reason: String },
}

impl Credentials {
    /// From the `X-Registry-Auth` header of the Engine API: base64url JSON `{username, password, identitytoken, registrytoken}`.
    /// An empty header is no credentials.
    pub fn from_header(value: &str) -> Result<Self, CredentialsError> {
        todo!("{value}")
    }

    /// From the auth object of the Engine API as JSON.
    pub fn from_json(json: &[u8]) -> Result<Self, CredentialsError> {
        todo!("{json:?}")
    }

    /// From `config.json` in Docker's configuration directory, helpers included. `domain` as in references
    /// ("docker.io"). A missing file or entry is no credentials. Blocking.
    pub fn from_docker_config(dir: &Path, domain: &str) -> Result<Self, CredentialsError> {
        todo!("{dir:?}{domain}")
    }
}
