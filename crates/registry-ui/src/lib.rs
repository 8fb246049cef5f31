//! The pages of a registry for people: requests in, HTML out.
//!
//! Everything is made here, on the server (`templates/`, askama escapes every value), and works without JavaScript; the one
//! script only saves clicks. What comes from images (names of files, commands, labels, contents) is hostile: it passes
//! `show` on its way to a page, and archives are read within the bounds of `layers`.
//!
//! A request is read into a `Place`, its page is a file of `pages` that asks the store on a thread that may
//! block and fills a template.

mod assets;
mod cookies;
mod error;
mod form;
mod frame;
mod image;
mod layers;
mod link;
mod pages;
mod place;
mod plot;
mod query;
mod readme;
mod respond;
mod show;
mod visit;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use havre_hub::Hub;
use havre_registry_cache::Caches;
use havre_registry_store::{Patience, RegistryStore};
use http::Request;
use tokio::sync::Semaphore;

use crate::image::Documents;
use crate::layers::Layers;
use crate::visit::Visit;

/// What pages say and allow.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether tags may be deleted.
    pub deletes: bool,
    /// How long what nobody needs is left alone.
    pub patience: Patience,
    /// Whether the registry speaks TLS, so that cookies need never leave it.
    pub secure: bool,
}

/// The pages of one registry.
#[derive(Clone, Debug)]
pub struct Pages(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: RegistryStore,
    settings: Settings,
    /// Without, everybody may do everything.
    hub: Option<Hub>,
    /// Whose repositories come from elsewhere.
    caches: Caches,
    /// Passwords that are checked at once: each takes a processor for some time.
    checking: Semaphore,
    documents: Documents,
    layers: Layers,
}

impl Pages {
    /// Over what a registry holds, for the people of a hub if it has one.
    pub fn new(store: RegistryStore, settings: Settings, hub: Option<Hub>, caches: Caches) -> Self {
        Self(Arc::new(Inner {
            store,
            settings,
            hub,
            caches,
            checking: Semaphore::new(2),
            documents: Documents::default(),
            layers: Layers::default(),
        }))
    }

    /// Answers a request, whatever it is; from an address.
    pub async fn answer(&self, request: Request<Body>, address: IpAddr) -> Response {
        let (visit, body) = Visit::begin(self, request, address).await;
        let answered = match visit.read(body).await {
            Ok(visit) => {
                let answered = pages::answer(&visit).await;
                answered.unwrap_or_else(|error| pages::error::page(&visit, &error))
            }
            Err((visit, error)) => pages::error::page(&visit, &error),
        };
        respond::secured(answered)
    }

    fn store(&self) -> &RegistryStore {
        &self.0.store
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// How long a tag that was deleted may come back.
    fn window(&self) -> Duration {
        self.settings().patience.blobs
    }
}
