//! A server that issues tokens for the registry: `auth: {token: …}`.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, refuse};

/// Who else issues tokens for this registry, and by which keys it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenServer {
    /// Where clients get tokens: `https://auth.example.com/token`
    pub realm: String,
    /// What this registry is called there.
    pub service: String,
    pub issuer: String,
    /// A file of certificates in PEM.
    pub certificates: Option<PathBuf>,
    /// A file of keys (RFC 7517).
    pub key_set: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    realm: String,
    service: String,
    issuer: String,
    rootcertbundle: Option<PathBuf>,
    jwks: Option<PathBuf>,
    #[serde(default)]
    autoredirect: bool,
}

impl Token {
    /// What is configured, or what cannot be.
    pub(super) fn checked(self) -> Result<TokenServer, ConfigError> {
        if self.autoredirect {
            let hint = "say where tokens are to be had in auth.token.realm";
            return refuse("auth.token.autoredirect", "true", hint);
        }
        // It stands in a header between quotes.
        let fits = |text: &str| {
            let visible = |c: u8| c.is_ascii_graphic() && !matches!(c, b'"' | b'\\');
            !text.is_empty() && text.bytes().all(visible)
        };
        let is_address = ["https://", "http://"]
            .iter()
            .any(|scheme| self.realm.starts_with(scheme));
        if !is_address || !fits(&self.realm) {
            let hint = "use https://HOST/PATH, where tokens are to be had";
            return refuse("auth.token.realm", &self.realm, hint);
        }
        if !fits(&self.service) {
            return refuse(
                "auth.token.service",
                &self.service,
                "use the name of this registry there",
            );
        }
        if self.issuer.is_empty() {
            return refuse("auth.token.issuer", "", "use what tokens have as iss");
        }
        if self.rootcertbundle.is_none() && self.jwks.is_none() {
            let hint = "name the file of its certificates, or with jwks that of its keys";
            return refuse("auth.token.rootcertbundle", "", hint);
        }
        Ok(TokenServer {
            realm: self.realm,
            service: self.service,
            issuer: self.issuer,
            certificates: self.rootcertbundle,
            key_set: self.jwks,
        })
    }
}
