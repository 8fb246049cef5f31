//! A request to a page, and who made it.

use std::num::NonZero;

use axum::body::Body;
use havre_registry_store::{RegistryStore, StoreError};
use http::{HeaderMap, Method, Request, header};

use crate::Pages;
use crate::cookies;
use crate::error::PageError;
use crate::form;
use crate::query::Query;

/// The cookie with the colours.
pub(crate) const THEME: &str = "havre_theme";

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
    headers: HeaderMap,
}

impl Visit {
    pub(crate) fn begin(pages: &Pages, request: Request<Body>) -> (Self, Body) {
        let (head, body) = request.into_parts();
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
            is_new: token.is_none(),
            token: token.map_or_else(form::new_token, str::to_owned),
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
        match form::read(&self.headers, known, body).await {
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

    /// The layer that is asked for, from 1.
    pub(crate) fn layer(&self) -> Result<Option<NonZero<usize>>, PageError> {
        let text = self.query.text("layer");
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| PageError::NotFound)
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
