//! `notifications` of the reference registry.

use std::collections::BTreeMap;

use havre_registry_events::{Action, Target};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, refuse};

/// As it is written. What is `Value` tunes a queue in memory: here it is in the database.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Notifications {
    events: Events,
    endpoints: Vec<Endpoint>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Events {
    includereferences: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Endpoint {
    name: String,
    disabled: bool,
    url: String,
    headers: BTreeMap<String, Vec<String>>,
    timeout: Value,
    threshold: Value,
    backoff: Value,
    ignoredmediatypes: Vec<String>,
    ignore: Ignore,
    /// Not of the reference registry: signs what is sent.
    secret: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ignore {
    mediatypes: Vec<String>,
    actions: Vec<String>,
}

impl Notifications {
    pub(super) fn checked(self) -> Result<Vec<Target>, ConfigError> {
        if self.events.includereferences {
            return refuse(
                "notifications.events.includereferences",
                "true",
                "events name what happened to, not what that refers to",
            );
        }
        let enabled = self.endpoints.into_iter().filter(|endpoint| !endpoint.disabled);
        enabled.map(Endpoint::checked).collect()
    }
}

impl Endpoint {
    fn checked(self) -> Result<Target, ConfigError> {
        if self.name.is_empty() {
            return refuse("notifications.endpoints.name", "", "name every endpoint");
        }
        let url = self.url.parse();
        let url = url.map_err(|_| {
            ConfigError::value("notifications.endpoints.url", &self.url, "use https://HOST/PATH")
        })?;
        let mut headers = Vec::new();
        for (name, values) in &self.headers {
            for value in values {
                if name.parse::<HeaderName>().is_err() || value.parse::<HeaderValue>().is_err() {
                    return refuse("notifications.endpoints.headers", name, "that is no header");
                }
                headers.push((name.to_lowercase(), value.clone()));
            }
        }
        let mut ignored = Vec::new();
        for text in &self.ignore.actions {
            let action = text.parse::<Action>();
            let hint = "use push, pull, mount or delete";
            ignored.push(
                action
                    .map_err(|_| ConfigError::value("notifications.endpoints.ignore.actions", text, hint))?,
            );
        }
        let all = [Action::Push, Action::Pull, Action::Mount, Action::Delete];
        let actions: Vec<Action> = all
            .into_iter()
            .filter(|action| !ignored.contains(action))
            .collect();
        if actions.is_empty() {
            return refuse(
                "notifications.endpoints.ignore.actions",
                "all",
                "disable the endpoint instead",
            );
        }
        Ok(Target {
            name: self.name,
            url,
            headers,
            secret: self.secret,
            actions,
            repository: None,
            ignored: [self.ignoredmediatypes, self.ignore.mediatypes].concat(),
            // Whoever writes the configuration may reach what this machine reaches.
            private: true,
        })
    }
}
