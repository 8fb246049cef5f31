//! Requests to addresses that others chose: never to what only this network has, unless that was allowed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use havre_registry_client::{PublicOnly, is_public};
use reqwest::redirect::Policy;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Speaks to the outside.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    public: reqwest::Client,
    any: reqwest::Client,
}

impl Outside {
    pub(crate) fn new() -> reqwest::Result<Self> {
        // What speaks TLS in here takes the process's provider; another one that was set does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                // Where an answer leads was not chosen by who may choose.
                .redirect(Policy::none())
                .user_agent(concat!("havre-registry/", env!("CARGO_PKG_VERSION")))
                .timeout(PATIENCE)
        };
        Ok(Self {
            // A proxy would look names up itself.
            public: builder()
                .no_proxy()
                .dns_resolver(Arc::new(PublicOnly::default()))
                .build()?,
            any: builder().build()?,
        })
    }

    /// The client for an address, which is `literal` if it is no name; [`None`] if it must not be spoken to.
    pub(crate) fn client(&self, literal: Option<IpAddr>, private: bool) -> Option<&reqwest::Client> {
        match (private, literal) {
            (true, _) => Some(&self.any),
            (false, Some(address)) if !is_public(address) => None,
            (false, _) => Some(&self.public),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_this_machine_are_not_looked_up() {
        let outside = Outside::new().expect("a client");
        assert!(
            outside
                .client(Some("127.0.0.1".parse().expect("an address")), false)
                .is_none()
        );
        let client = outside.client(None, false).expect("a client");
        let error = client
            .get("http://localhost:1/")
            .send()
            .await
            .expect_err("it is here");
        let mut text = String::new();
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = source {
            text.push_str(&error.to_string());
            source = error.source();
        }
        assert!(text.contains("outside this network"), "{text}");
    }
}
