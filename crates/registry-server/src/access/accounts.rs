//! Requests of people: who they are, by a token or by a password with every request, and whether they may do what they ask for.
//!
//! For who may not read a repository it does not exist: both are decided here, before the store is asked, so the answers are the
//! same to the byte. Nobody known is asked to say who they are, in both cases too.

use std::net::IpAddr;
use std::sync::Arc;

use havre_hub::{Action, Actor, Allowance, Bearer, Hub, HubError, TokenError};
use havre_oci::Digest;
use havre_registry_store::RepositoryName;
use http::{HeaderMap, HeaderName, StatusCode, header};
use tokio::sync::Semaphore;

use super::basic::{basic, bearer};
use super::challenge::Outside;
use super::needs::{Needs, needs, scope};
use super::{AT_ONCE, Asked};
use crate::aside::aside;
use crate::config::Config;
use crate::error::ApiError;

/// Requests that wait for a password to be checked; others are turned away.
const WAITING: usize = 64;

/// How Docker Hub says how many pulls there are.
pub(crate) fn limits(allowance: &Allowance) -> [(HeaderName, String); 2] {
    let window = allowance.window.as_secs();
    [
        (
            HeaderName::from_static("ratelimit-limit"),
            format!("{};w={window}", allowance.limit),
        ),
        (
            HeaderName::from_static("ratelimit-remaining"),
            format!("{};w={window}", allowance.remaining),
        ),
    ]
}

/// A registry with accounts.
#[derive(Debug)]
pub(crate) struct Accounts {
    pub(super) hub: Hub,
    outside: Outside,
    checking: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    hub: Hub,
    who: Identity,
}

#[derive(Clone, Debug)]
enum Identity {
    /// Said with the request, or not at all.
    Actor(Actor),
    /// Said by a token, which also says what they may do.
    Token(Bearer, IpAddr),
}

impl Accounts {
    pub(super) fn new(hub: Hub, config: &Config) -> Self {
        Self {
            hub,
            outside: Outside::new(config.host.clone(), config.identity.is_some()),
            checking: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Who somebody is that says a name and a password. A few at once, whoever comes.
    pub(super) async fn authenticate(
        &self,
        name: String,
        secret: String,
        address: IpAddr,
    ) -> Result<Actor, ApiError> {
        if Hub::is_quick(&secret) {
            return self
                .blocking(move |hub| hub.authenticate(&name, &secret, Some(address)))
                .await;
        }
        let busy = || {
            let error = "too many passwords are being checked: try again";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", error)
                .with(header::RETRY_AFTER, "1")
        };
        let _place = Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| busy())?;
        let turn = Arc::clone(&self.checking)
            .acquire_owned()
            .await
            .map_err(|_| busy())?;
        self.blocking(move |hub| {
            // Goes on if the client does not wait, and still counts.
            let _turn = turn;
            hub.authenticate(&name, &secret, Some(address))
        })
        .await
    }

    /// Does something with the hub on a thread that may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Hub) -> Result<T, HubError> + Send + 'static,
    ) -> Result<T, ApiError> {
        blocking(&self.hub, work).await
    }

    pub(super) async fn admit(&self, asked: &Asked<'_>) -> Result<Visitor, ApiError> {
        let needs = needs(asked.method, asked.place);
        let scope = scope(needs);
        let refuse = |problem| self.refuse(asked.headers, scope.as_deref(), problem);
        let who = match asked.headers.contains_key(header::AUTHORIZATION) {
            false => Identity::Actor(Actor::anonymous(Some(asked.address))),
            true => self.identify(asked, &refuse).await?,
        };
        let visitor = Visitor {
            hub: self.hub.clone(),
            who,
        };
        match needs {
            Needs::Nothing => {}
            Needs::Token(_) => {
                if matches!(&visitor.who, Identity::Actor(actor) if actor.is_anonymous()) {
                    return Err(refuse(None));
                }
            }
            Needs::Action(name, action) => self.check(&visitor, name, action, &refuse).await?,
        }
        Ok(visitor)
    }

    fn refuse(&self, headers: &HeaderMap, scope: Option<&str>, problem: Option<&'static str>) -> ApiError {
        let service = &self.hub.settings().service;
        self.outside.challenge(headers, service, scope, problem)
    }

    async fn identify(
        &self,
        asked: &Asked<'_>,
        refuse: &impl Fn(Option<&'static str>) -> ApiError,
    ) -> Result<Identity, ApiError> {
        if let Some(token) = bearer(asked.headers) {
            let (hub, token) = (self.hub.clone(), token.to_owned());
            let verified = tokio::task::spawn_blocking(move || hub.verify(&token)).await;
            let verified: Result<Bearer, TokenError> = verified.map_err(|_| ApiError::internal())?;
            return match verified {
                Ok(bearer) => Ok(Identity::Token(bearer, asked.address)),
                Err(_) => Err(refuse(Some("invalid_token"))),
            };
        }
        let (name, secret) = basic(asked.headers).ok_or_else(|| refuse(None))?;
        let actor = self.authenticate(name, secret, asked.address).await;
        let actor = actor.map_err(|error| match error.status() {
            StatusCode::UNAUTHORIZED => refuse(None),
            _ => error,
        })?;
        Ok(Identity::Actor(actor))
    }

    async fn check(
        &self,
        visitor: &Visitor,
        name: &RepositoryName,
        action: Action,
        refuse: &impl Fn(Option<&'static str>) -> ApiError,
    ) -> Result<(), ApiError> {
        if let Identity::Token(bearer, _) = &visitor.who
            && bearer.allows(name, action)
        {
            return Ok(());
        }
        let (who, repository) = (visitor.who.clone(), name.clone());
        let (anonymous, role) = self
            .blocking(move |hub| {
                let actor = who.actor(&hub)?;
                let role = hub.role(&actor, &repository)?;
                Ok((actor.is_anonymous(), role))
            })
            .await?;
        let enough = role >= Some(action.needs());
        match &visitor.who {
            Identity::Actor(_) if enough => Ok(()),
            Identity::Actor(_) if anonymous => Err(refuse(None)),
            // Another token would do, or one of somebody.
            Identity::Token(..) if enough || anonymous => Err(refuse(Some("insufficient_scope"))),
            _ if action == Action::Pull => {
                Err(havre_registry_store::StoreError::NameUnknown(name.to_string()).into())
            }
            _ => Err(ApiError::denied(format!(
                "requested access to the resource is denied: {name} is not yours to change"
            ))),
        }
    }
}

impl Identity {
    /// Who they are as of now.
    fn actor(&self, hub: &Hub) -> Result<Actor, HubError> {
        match self {
            Self::Actor(actor) => Ok(actor.clone()),
            Self::Token(bearer, address) => hub.bearer(bearer, Some(*address)),
        }
    }
}

impl Visitor {
    /// Who they are as of now.
    pub(crate) fn actor(&self) -> Result<Actor, HubError> {
        self.who.actor(&self.hub)
    }

    /// Whom to name in the audit log.
    pub(crate) fn name(&self) -> Actor {
        match &self.who {
            Identity::Actor(actor) => actor.clone(),
            Identity::Token(bearer, address) => self.hub.named(bearer, Some(*address)),
        }
    }

    /// Does something with the hub on a thread that may block.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, HubError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let visitor = self.clone();
        blocking(&self.hub, move |_| work(&visitor)).await
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// From which of these repositories they may take a blob: what a token says counts, beside what everybody may.
    pub(crate) fn source(&self, repositories: &[RepositoryName]) -> Result<Option<RepositoryName>, HubError> {
        match &self.who {
            Identity::Actor(actor) => self.hub.first_readable(actor, repositories),
            Identity::Token(bearer, address) => {
                let said = repositories.iter().find(|name| bearer.allows(name, Action::Pull));
                match said {
                    Some(said) => Ok(Some(said.clone())),
                    None => self
                        .hub
                        .first_readable(&Actor::anonymous(Some(*address)), repositories),
                }
            }
        }
    }

    /// Notes that a manifest was pulled. Nothing waits for it.
    pub(crate) fn pulled(&self, name: &RepositoryName, digest: &Digest) {
        self.hub.pulled(name, digest);
    }

    /// How many pulls they have left, this one counted; an error if it is one too many.
    pub(crate) fn allowance(&self) -> Result<Option<Allowance>, ApiError> {
        let Some(allowance) = self.hub.allowance(&self.name()) else {
            return Ok(None);
        };
        if !allowance.exceeded {
            return Ok(Some(allowance));
        }
        let message = "you have reached your pull rate limit: sign in, or wait";
        let mut refused = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
            .with(header::RETRY_AFTER, (allowance.wait.as_secs() + 1).to_string());
        for (name, value) in limits(&allowance) {
            refused = refused.with(name, value);
        }
        Err(refused)
    }
}

async fn blocking<T: Send + 'static>(
    hub: &Hub,
    work: impl FnOnce(Hub) -> Result<T, HubError> + Send + 'static,
) -> Result<T, ApiError> {
    let hub = hub.clone();
    aside(move || work(hub)).await
}
