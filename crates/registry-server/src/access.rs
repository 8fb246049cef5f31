//! Who gets in, and for what. Every request is admitted here, before anything is said of what it asks for.

mod accounts;
mod basic;
mod challenge;
mod htpasswd;
mod needs;
mod token;
mod token_server;

use std::net::IpAddr;
use std::sync::Arc;

use havre_hub::{Action, Hub};
use havre_oci::Digest;
use havre_registry_store::RepositoryName;
use havre_registry_token::Said;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::sync::Semaphore;

pub(crate) use accounts::{Accounts, Visitor, limits};
pub(crate) use challenge::is_authority;
pub use htpasswd::HtpasswdError;
pub use token_server::TokenServerError;

use crate::SetupError;
use crate::config::Config;
use crate::error::ApiError;
use crate::path::Place;
use basic::basic;
use htpasswd::Htpasswd;
use token_server::Trusting;

/// Passwords that are checked at once: each takes a processor for some time.
const AT_ONCE: usize = 2;

/// Who gets in.
#[derive(Debug)]
pub(crate) enum Access {
    /// Everybody, for everything.
    Open,
    /// The users of a file, for everything.
    Htpasswd(Arc<Htpasswd>, Semaphore),
    /// Each for what they may do.
    Accounts(Accounts),
    /// Who has a token of another server, for what it says.
    Tokens(Arc<Trusting>),
}

/// What is known of a request before it is admitted.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// Where it leads, if anywhere.
    pub(crate) place: Option<&'a Place>,
    pub(crate) address: IpAddr,
}

/// Who was admitted.
#[derive(Debug)]
pub(crate) enum Caller {
    /// Nobody asks who.
    Anybody,
    Visitor(Visitor),
    /// Whom another server knows.
    Bearer(Said),
}

impl Caller {
    /// Whose account is known, or known not to be.
    pub(crate) fn visitor(&self) -> Option<&Visitor> {
        match self {
            Self::Anybody | Self::Bearer(_) => None,
            Self::Visitor(visitor) => Some(visitor),
        }
    }

    /// Whether what they came with lets them read a repository. Of a visitor, whose account counts too, the hub knows.
    pub(crate) fn reads(&self, name: &RepositoryName) -> bool {
        match self {
            Self::Anybody => true,
            Self::Visitor(_) => false,
            Self::Bearer(said) => said.allows("repository", name.as_str(), Action::Pull.word()),
        }
    }

    /// Their account, if they have one.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Anybody => String::new(),
            Self::Visitor(visitor) => visitor.name().name().map(ToString::to_string).unwrap_or_default(),
            Self::Bearer(said) => said.sub.clone(),
        }
    }

    /// How many bytes may still come to a repository, of a blob if it is known which; nothing is as many as one likes.
    pub(crate) async fn room(
        &self,
        name: &RepositoryName,
        digest: Option<&Digest>,
    ) -> Result<Option<u64>, ApiError> {
        let Some(visitor) = self.visitor() else {
            return Ok(None);
        };
        let (name, digest) = (name.clone(), digest.cloned());
        visitor
            .blocking(move |visitor| visitor.hub().room(&name, digest.as_ref()))
            .await
    }

    /// An error if a blob is too much for its namespace.
    pub(crate) async fn fits(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), ApiError> {
        let Some(visitor) = self.visitor() else {
            return Ok(());
        };
        let (name, digest) = (name.clone(), digest.clone());
        visitor
            .blocking(move |visitor| visitor.hub().must_fit(&name, &digest, size))
            .await
    }

    /// Notes that something of a repository was deleted.
    pub(crate) async fn deleted(&self, name: &RepositoryName, what: String) -> Result<(), ApiError> {
        let Some(visitor) = self.visitor() else {
            return Ok(());
        };
        let name = name.clone();
        visitor
            .blocking(move |visitor| visitor.hub().deleted(&visitor.name(), &name, &what))
            .await
    }
}

impl Access {
    /// `hub`: of a registry with accounts.
    pub(crate) fn new(config: &Config, hub: Option<Hub>) -> Result<Self, SetupError> {
        if let Some(hub) = hub {
            return Ok(Self::Accounts(Accounts::new(hub, config)));
        }
        if let Some(server) = config.token_server.clone() {
            return Ok(Self::Tokens(Arc::new(Trusting::open(server)?)));
        }
        Ok(match config.htpasswd.clone() {
            None => Self::Open,
            Some(file) => Self::Htpasswd(Arc::new(Htpasswd::open(file)?), Semaphore::new(AT_ONCE)),
        })
    }

    /// Lets a request in, or says how to get in.
    pub(crate) async fn admit(&self, asked: &Asked<'_>) -> Result<Caller, ApiError> {
        match self {
            Self::Open => Ok(Caller::Anybody),
            Self::Htpasswd(users, checking) => {
                admit_user(users, checking, asked.headers).await?;
                Ok(Caller::Anybody)
            }
            Self::Accounts(accounts) => accounts.admit(asked).await.map(Caller::Visitor),
            Self::Tokens(trusting) => trusting.admit(asked).await.map(Caller::Bearer),
        }
    }

    /// Lets a request for a page in. Pages show everything, so where there are accounts they are for administrators.
    pub(crate) async fn admit_to_pages(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        match self {
            Self::Open | Self::Accounts(_) => Ok(()),
            Self::Htpasswd(users, checking) => admit_user(users, checking, headers).await,
            Self::Tokens(trusting) => Err(trusting.no_pages()),
        }
    }

    /// The accounts, where there are some.
    pub(crate) fn accounts(&self) -> Option<&Accounts> {
        match self {
            Self::Accounts(accounts) => Some(accounts),
            Self::Open | Self::Htpasswd(..) | Self::Tokens(_) => None,
        }
    }
}

async fn admit_user(
    users: &Arc<Htpasswd>,
    checking: &Semaphore,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let refused = || {
        let realm: String = users
            .realm()
            .chars()
            .filter(|c| !matches!(c, '"' | '\\'))
            .collect();
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "authentication required",
        )
        .with(header::WWW_AUTHENTICATE, format!("Basic realm=\"{realm}\""))
    };
    let (user, password) = basic(headers).ok_or_else(refused)?;
    let Ok(_turn) = checking.acquire().await else {
        return Err(ApiError::internal());
    };
    let users = Arc::clone(users);
    let checked = tokio::task::spawn_blocking(move || users.is_right(&user, &password)).await;
    match checked {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused()),
        Err(_) => Err(ApiError::internal()),
    }
}
