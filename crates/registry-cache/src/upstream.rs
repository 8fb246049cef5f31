//! The registry that a cache asks: who it is asked as, where it may lead, and when it is left alone.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use havre_oci::Reference;
use havre_registry_client::{
    Client, ClientOptions, Credentials, HostConfig, Hosts, HostsConfig, Reach, RegistryError, Repository,
    RetryPolicy,
};

use crate::error::{CacheError, Result};
use crate::settings::Settings;

/// What upstream is called within. Its address is its endpoint.
const DOMAIN: &str = "upstream.invalid";
/// How long an upstream that cannot be reached is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// However much patience upstream asks for, it is asked again after this.
const MOST: Duration = Duration::from_secs(3600);

/// The registry that a cache asks.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client,
    credentials: Credentials,
    /// Its address.
    name: String,
    is_hub: bool,
    /// Until when it is left alone, and why.
    paused: Mutex<Option<(Instant, CacheError)>>,
}

impl Upstream {
    pub(crate) fn new(settings: &Settings) -> std::result::Result<Self, RegistryError> {
        let url = &settings.upstream;
        let host = HostConfig {
            endpoint: Some(url.to_string()),
            ..HostConfig::default()
        };
        let hosts = HostsConfig {
            registry: BTreeMap::from_iter([(DOMAIN.to_owned(), host)]),
            ..HostsConfig::default()
        };
        let reach = match settings.private {
            true => Reach::Everything,
            false => Reach::Public {
                and: vec![url.host().to_owned()],
            },
        };
        let mut realms = url.realms();
        realms.extend(settings.realm.clone());
        let options = ClientOptions {
            user_agent: concat!("havre-registry/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy {
                attempts: 3,
                base: Duration::from_millis(300),
                cap: Duration::from_secs(2),
            },
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            reach,
            realms: Some(realms),
            ..ClientOptions::default()
        };
        let credentials = settings.login.clone().map(|login| Credentials::Basic {
            username: login.user,
            password: login.password,
        });
        Ok(Self {
            client: Client::new(Hosts::new(hosts)?, options)?,
            credentials: credentials.unwrap_or_default(),
            name: url.to_string(),
            is_hub: url.is_hub(),
            paused: Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A repository of it, by its name there.
    pub(crate) fn repository(&self, path: &str) -> Result<Repository> {
        // Docker Hub's own images are written without their namespace.
        let path = match self.is_hub && !path.contains('/') {
            true => format!("library/{path}"),
            false => path.to_owned(),
        };
        let reference: Reference =
            format!("{DOMAIN}/{path}")
                .parse()
                .map_err(|error: havre_oci::ReferenceError| CacheError::Unknown {
                    upstream: self.name.clone(),
                    reason: error.to_string(),
                })?;
        Ok(self.client.repository(&reference, &self.credentials))
    }

    /// Asks it, unless it is left alone.
    pub(crate) async fn ask<T>(
        &self,
        question: impl Future<Output = std::result::Result<T, RegistryError>>,
    ) -> Result<T> {
        if let Some(error) = self.paused() {
            return Err(error);
        }
        question.await.map_err(|error| self.failed(&error))
    }

    /// What an error of it is called; it may be left alone from now on.
    pub(crate) fn failed(&self, error: &RegistryError) -> CacheError {
        let error = CacheError::of(&self.name, error);
        let pause = match &error {
            CacheError::RateLimited { after, .. } => (*after).min(MOST),
            CacheError::Unreachable { way: true, .. } => LEFT_ALONE,
            _ => return error,
        };
        tracing::warn!(%error, seconds = pause.as_secs(), "upstream is left alone: what is kept is served");
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = Some((Instant::now() + pause, error.clone()));
        error
    }

    fn paused(&self) -> Option<CacheError> {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, error) = paused.as_ref()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            *paused = None;
            return None;
        }
        let mut error = error.clone();
        if let CacheError::RateLimited { after, .. } = &mut error {
            *after = left;
        }
        Some(error)
    }
}
