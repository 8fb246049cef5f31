//! Accounts: `accounts: {signup: open, …}`, which the reference registry does not have.

use std::time::Duration;

use havre_hub::{Quota, Settings};
use serde::Deserialize;

use super::{ConfigError, refuse};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Accounts {
    /// open, invitation or closed
    signup: Option<String>,
    /// private or public: what repositories are when they are first pushed to
    visibility: Option<String>,
    /// What tokens are issued by and for.
    service: Option<String>,
    token: Token,
    lockout: Lockout,
    pulls: Pulls,
    quota: Limits,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Token {
    /// ES256 or RS256
    algorithm: Option<String>,
    /// In seconds.
    lifetime: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Lockout {
    failures: Option<u32>,
    minutes: Option<u64>,
}

/// In an hour.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Pulls {
    anonymous: Option<u32>,
    account: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    bytes: Option<u64>,
    repositories: Option<u64>,
}

impl Accounts {
    /// What is configured, or what cannot be.
    pub(super) fn checked(self) -> Result<Settings, ConfigError> {
        let usual = Settings::default();
        let signup = match self.signup.as_deref() {
            None => usual.signup,
            Some(text) => match text.parse() {
                Ok(signup) => signup,
                Err(_) => return refuse("accounts.signup", text, "use open, invitation or closed"),
            },
        };
        let public = match self.visibility.as_deref() {
            None | Some("private") => false,
            Some("public") => true,
            Some(other) => return refuse("accounts.visibility", other, "use private or public"),
        };
        let service = self.service.unwrap_or(usual.service);
        let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'/');
        if service.is_empty() || service.len() > 200 || !service.bytes().all(fits) {
            return refuse("accounts.service", &service, "use letters, digits and . - _ : /");
        }
        let algorithm = match self.token.algorithm.as_deref() {
            None => usual.algorithm,
            Some(text) => match text.parse() {
                Ok(algorithm) => algorithm,
                Err(_) => return refuse("accounts.token.algorithm", text, "use ES256 or RS256"),
            },
        };
        let lifetime = self.token.lifetime.unwrap_or(usual.token_lifetime.as_secs());
        // Some clients take a shorter one for no token; a longer one outlasts what its owner may do.
        if !(60..=3600).contains(&lifetime) {
            return refuse(
                "accounts.token.lifetime",
                &lifetime.to_string(),
                "use 60 to 3600 seconds",
            );
        }
        let failures = self.lockout.failures.unwrap_or(usual.failures);
        if failures == 0 {
            return refuse("accounts.lockout.failures", "0", "use 1 or more");
        }
        let lockout = match self.lockout.minutes {
            None => usual.lockout,
            Some(minutes) if minutes <= 7 * 24 * 60 => Duration::from_secs(minutes * 60),
            Some(minutes) => {
                let hint = "use at most a week, 10080";
                return refuse("accounts.lockout.minutes", &minutes.to_string(), hint);
            }
        };
        Ok(Settings {
            signup,
            public,
            service,
            algorithm,
            token_lifetime: Duration::from_secs(lifetime),
            failures,
            lockout,
            anonymous_pulls: self.pulls.anonymous,
            account_pulls: self.pulls.account,
            quota: Quota {
                bytes: self.quota.bytes,
                repositories: self.quota.repositories,
            },
        })
    }
}
