//! Tokens of a server that is not this registry: `auth: {token: …}` of the reference registry's configuration.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use fs_err as fs;
use havre_hub::TokenError;
use havre_registry_token::{Expected, Said, TrustError, TrustedKeys};

use super::Asked;
use super::basic::bearer;
use super::challenge::refusal;
use super::needs::{Needs, needs, scope};
use crate::config::TokenServer;
use crate::error::ApiError;

/// Who gets in with the tokens of a server that this registry trusts. Its keys are read again when their files change.
#[derive(Debug)]
pub(crate) struct Trusting {
    server: TokenServer,
    keys: Mutex<Keys>,
}

#[derive(Debug)]
struct Keys {
    changed: Changed,
    trusted: Arc<TrustedKeys>,
}

/// When the files were written.
type Changed = Vec<Option<SystemTime>>;

/// Why a server's tokens cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum TokenServerError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("cannot trust {}: {source}", path.display())]
    Keys { path: PathBuf, source: TrustError },
}

impl Trusting {
    pub(super) fn open(server: TokenServer) -> Result<Self, TokenServerError> {
        // Before they are read: what is written meanwhile is read again.
        let changed = changed(&server);
        let trusted = Arc::new(read(&server)?);
        Ok(Self {
            server,
            keys: Mutex::new(Keys { changed, trusted }),
        })
    }

    /// Lets a request in whose token says that it may.
    pub(super) async fn admit(self: &Arc<Self>, asked: &Asked<'_>) -> Result<Said, ApiError> {
        let needs = needs(asked.method, asked.place);
        let scope = scope(needs);
        let refuse = |problem| {
            refusal(
                &self.server.realm,
                &self.server.service,
                scope.as_deref(),
                problem,
            )
        };
        let token = bearer(asked.headers).ok_or_else(|| refuse(None))?;
        let (this, token) = (Arc::clone(self), token.to_owned());
        let verified = tokio::task::spawn_blocking(move || this.verify(&token)).await;
        let verified = verified.map_err(|_| ApiError::internal())?;
        let said = verified.map_err(|_| refuse(Some("invalid_token")))?;
        let enough = match needs {
            Needs::Nothing | Needs::Token(None) => true,
            Needs::Token(Some(_)) => said.allows("registry", "catalog", "*"),
            Needs::Action(name, action) => said.allows("repository", name.as_str(), action.word()),
        };
        match enough {
            true => Ok(said),
            false => Err(refuse(Some("insufficient_scope"))),
        }
    }

    /// What whoever wants to see a page is told.
    pub(super) fn no_pages(&self) -> ApiError {
        let message = "this registry's people are known to another server: it has no pages";
        ApiError::denied(message.to_owned())
    }

    fn verify(&self, token: &str) -> Result<Said, TokenError> {
        let expected = Expected {
            issuer: &self.server.issuer,
            audience: &self.server.service,
        };
        self.current().verify(token, expected)
    }

    /// The keys of now. Files that cannot be used any more change nothing, and are said.
    fn current(&self) -> Arc<TrustedKeys> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = changed(&self.server);
        if changed != keys.changed {
            keys.changed = changed;
            match read(&self.server) {
                Ok(trusted) => keys.trusted = Arc::new(trusted),
                Err(error) => tracing::error!(%error, "the keys of tokens stay as they were"),
            }
        }
        Arc::clone(&keys.trusted)
    }
}

fn files(server: &TokenServer) -> impl Iterator<Item = &PathBuf> {
    server.certificates.iter().chain(&server.key_set)
}

fn changed(server: &TokenServer) -> Changed {
    let written = |path| fs::metadata(path).and_then(|status| status.modified()).ok();
    files(server).map(written).collect()
}

fn read(server: &TokenServer) -> Result<TrustedKeys, TokenServerError> {
    let mut trusted = TrustedKeys::default();
    for path in files(server) {
        let bytes = fs::read(path)?;
        let added = match server.certificates.as_ref() == Some(path) {
            true => trusted.add_certificates(&bytes),
            false => trusted.add_key_set(&bytes),
        };
        let path = path.clone();
        added.map_err(|source| TokenServerError::Keys { path, source })?;
    }
    Ok(trusted)
}
