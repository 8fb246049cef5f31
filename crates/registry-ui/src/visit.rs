//! A request to a page, and who made it.

use std::net::IpAddr;
use std::num::NonZero;

use axum::body::Body;
use havre_hub::{Action, Actor, Hub, HubError, Session};
use havre_registry_store::{RegistryStore, RepositoryName, StoreError};
use http::{HeaderMap, Method, Request, header};

use crate::Pages;
use crate::cookies;
use crate::error::PageError;
use crate::form;
use crate::query::Query;

/// The cookie with the colours.
pub(crate) const THEME: &str = "havre_theme";

/// The cookie with the secret of a session.
pub(crate) const SESSION: &str = "havre_session";

/// The colours of pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    /// What the system has.
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) fn read(text: &str) -> Option<Self> {
        match text {
            "system" => Some(Self::System),
            "light" => Some(Self::Light),
            "dark" => Some(Self::Dark),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// A request to a page.
pub(crate) struct Visit {
    pub(crate) pages: Pages,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Path and query as they came.
    pub(crate) address: String,
    pub(crate) query: Query,
    /// Of a form that came from a page of ours; empty if none came.
    pub(crate) form: Query,
    /// What clients call the registry: `127.0.0.1:5000`.
    pub(crate) host: String,
    pub(crate) theme: Theme,
    /// What forms must carry.
    pub(crate) token: String,
    /// Whether the visitor has the token not yet.
    pub(crate) is_new: bool,
    /// Who they are; nothing in a registry without accounts, where that does not matter.
    pub(crate) actor: Option<Actor>,
    session: Option<Session>,
    pub(crate) from: IpAddr,
    headers: HeaderMap,
}

impl Visit {
    pub(crate) async fn begin(pages: &Pages, request: Request<Body>, from: IpAddr) -> (Self, Body) {
        let (head, body) = request.into_parts();
        let session = match (&pages.0.hub, cookies::get(&head.headers, SESSION)) {
            (Some(hub), Some(secret)) => session(hub, secret, from).await,
            _ => None,
        };
        let actor = pages.0.hub.as_ref().map(|_| match &session {
            Some(session) => session.actor.clone(),
            None => Actor::anonymous(Some(from)),
        });
        let token = cookies::get(&head.headers, form::COOKIE).filter(|token| form::is_token(token));
        let theme = cookies::get(&head.headers, THEME).and_then(Theme::read);
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let visit = Self {
            pages: pages.clone(),
            path: head.uri.path().to_owned(),
            address: head
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
            query: Query::read(head.uri.query().unwrap_or_default()),
            form: Query::default(),
            host: host.filter(|host| is_host(host)).unwrap_or("REGISTRY").to_owned(),
            theme: theme.unwrap_or_default(),
            is_new: token.is_none() && session.is_none(),
            token: match &session {
                Some(session) => session.csrf.clone(),
                None => token.map_or_else(form::new_token, str::to_owned),
            },
            actor,
            session,
            from,
            method: head.method,
            headers: head.headers,
        };
        (visit, body)
    }

    /// Reads the form, if one came.
    pub(crate) async fn read(mut self, body: Body) -> Result<Self, (Self, PageError)> {
        if self.method != Method::POST {
            return Ok(self);
        }
        let known = if self.is_new { "" } else { &self.token };
        let is_token = |given: &str| match &self.session {
            Some(session) => session.is_csrf(given),
            None => form::is_same_token(known, given),
        };
        match form::read(&self.headers, is_token, body).await {
            Ok(form) => {
                self.form = form;
                Ok(self)
            }
            Err(error) => Err((self, error)),
        }
    }

    /// Whether it only looks.
    pub(crate) fn looks(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// Does something with the store on a thread that may block.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&RegistryStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, PageError> {
        self.blocking(move |pages| Ok(work(pages.store())?)).await
    }

    /// Does something on a thread that may block.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pages) -> Result<T, PageError> + Send + 'static,
    ) -> Result<T, PageError> {
        let pages = self.pages.clone();
        match tokio::task::spawn_blocking(move || work(&pages)).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "a page failed");
                Err(PageError::Internal)
            }
        }
    }

    /// A header as text.
    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The secret of their session.
    pub(crate) fn secret(&self) -> Option<&str> {
        cookies::get(&self.headers, SESSION)
    }

    /// The session they have.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Whether the registry has accounts.
    pub(crate) fn has_accounts(&self) -> bool {
        self.actor.is_some()
    }

    /// Whether they may see and change what concerns the whole registry.
    pub(crate) fn is_admin(&self) -> bool {
        self.actor.as_ref().is_none_or(Actor::is_admin)
    }

    /// Does something with the people of the registry on a thread that may block. Where there are none, there is no such page.
    pub(crate) async fn people<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hub, &Actor) -> Result<T, HubError> + Send + 'static,
    ) -> Result<T, PageError> {
        let (Some(hub), Some(actor)) = (self.pages.0.hub.clone(), self.actor.clone()) else {
            return Err(PageError::NotFound);
        };
        self.blocking(move |_| Ok(work(&hub, &actor)?)).await
    }

    /// The same of something that checks or sets a password, which takes its time: a few at once.
    pub(crate) async fn with_password<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hub, &Actor) -> Result<T, HubError> + Send + 'static,
    ) -> Result<T, PageError> {
        let turn = self.pages.0.checking.acquire().await;
        let _turn = turn.map_err(|_| PageError::Internal)?;
        self.people(work).await
    }

    /// An error unless they may do that in a repository. For who may not even see it, it is as if it were not there.
    pub(crate) async fn must(&self, name: &RepositoryName, action: Action) -> Result<(), PageError> {
        if !self.has_accounts() {
            return Ok(());
        }
        let asked = name.clone();
        let role = self.people(move |hub, actor| hub.role(actor, &asked)).await?;
        match role {
            Some(role) if role >= action.needs() => Ok(()),
            Some(_) => Err(PageError::Forbidden(format!("{name} is not yours to change."))),
            None => Err(StoreError::NameUnknown(name.to_string()).into()),
        }
    }

    /// An error unless they are somebody.
    pub(crate) fn must_be_somebody(&self) -> Result<(), PageError> {
        match &self.actor {
            Some(actor) if actor.is_anonymous() => Err(PageError::SignIn),
            _ => Ok(()),
        }
    }

    /// The layer that is asked for, from 1.
    pub(crate) fn layer(&self) -> Result<Option<NonZero<usize>>, PageError> {
        let text = self.query.text("layer");
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| PageError::NotFound)
    }
}

/// The session of a secret, if it has not ended.
async fn session(hub: &Hub, secret: &str, from: IpAddr) -> Option<Session> {
    let (hub, secret) = (hub.clone(), secret.to_owned());
    let found = tokio::task::spawn_blocking(move || hub.session(&secret, Some(from))).await;
    match found {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => {
            tracing::error!(%error, "a session was not found");
            None
        }
        Err(error) => {
            tracing::error!(%error, "a session was not found");
            None
        }
    }
}

/// A name and perhaps a port, and nothing that means something in a shell.
fn is_host(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    !text.is_empty() && text.len() <= 255 && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert!(is_host("registry.example:5000") && is_host("[::1]:5000"));
        assert!(!is_host("") && !is_host("a b") && !is_host("a;rm") && !is_host("a\"b"));
    }
}
