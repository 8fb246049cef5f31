//! Caches of other registries: `proxy` as the reference registry has it, for the whole registry, and `caches`, each beneath a name.

use std::collections::BTreeMap;
use std::time::Duration;

use havre_registry_cache::{Login, Settings};
use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, duration, refuse};

/// As `proxy` is written, and every one of `caches`. Without an address there is none.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cache {
    remoteurl: Option<String>,
    username: Option<String>,
    password: Option<String>,
    /// What nobody pulled in so long goes: `168h`; `0`: nothing does.
    ttl: Option<Value>,
    /// Not of the reference registry, which asks every time: how long a tag is taken for what it was. `5m`
    tagttl: Option<Value>,
    /// Not of the reference registry: another host whose token server may have the password.
    realm: Option<String>,
    /// Not of the reference registry: whether upstream may lead into this network.
    private: bool,
}

/// What nobody pulled is looked for every hour, and pulls are noted as often.
const SHORTEST: Duration = Duration::from_secs(2 * 3600);

/// `proxy`: the whole registry; `beneath`: by the names of namespaces.
pub(super) fn checked(proxy: Cache, beneath: BTreeMap<String, Cache>) -> Result<Vec<Settings>, ConfigError> {
    let mut caches = Vec::new();
    if proxy.remoteurl.as_deref().is_some_and(|url| !url.is_empty()) {
        if !beneath.is_empty() {
            return refuse(
                "proxy",
                "caches",
                "a cache as a whole has no others in it: use caches alone",
            );
        }
        caches.push(proxy.checked()?);
    } else if proxy.username.is_some() || proxy.password.is_some() {
        return refuse("proxy.remoteurl", "", "say which registry the user is one of");
    }
    for (name, cache) in beneath {
        let Ok(prefix) = name.parse() else {
            return refuse("caches", &name, "use the name of a namespace: hub");
        };
        let mut settings = cache.checked()?;
        settings.prefix = Some(prefix);
        caches.push(settings);
    }
    Ok(caches)
}

impl Cache {
    fn checked(self) -> Result<Settings, ConfigError> {
        let url = self.remoteurl.unwrap_or_default();
        let upstream = url.parse().map_err(|_| {
            ConfigError::value("proxy.remoteurl", &url, "use https://HOST or https://HOST:PORT")
        })?;
        let mut settings = Settings::new(upstream);
        settings.login = match (self.username, self.password) {
            (Some(user), Some(password)) => Some(Login { user, password }),
            (None, None) => None,
            (Some(user), None) => return refuse("proxy.username", &user, "say the password, too"),
            (None, Some(_)) => return refuse("proxy.password", "…", "say the username, too"),
        };
        if let Some(value) = &self.ttl {
            settings.keep = match duration::read(value) {
                Some(Duration::ZERO) => None,
                Some(keep) if keep >= SHORTEST => Some(keep),
                _ => {
                    return refuse(
                        "proxy.ttl",
                        &duration::shown(value),
                        "use 2h or more, or 0 for ever",
                    );
                }
            };
        }
        if let Some(value) = &self.tagttl {
            let age = duration::read(value);
            settings.tag_age = age.ok_or_else(|| {
                ConfigError::value("proxy.tagttl", &duration::shown(value), "use 0, 30s, 5m or 1h")
            })?;
        }
        if let Some(realm) = &self.realm
            && !crate::access::is_authority(realm)
        {
            return refuse("proxy.realm", realm, "use HOST or HOST:PORT");
        }
        settings.realm = self.realm;
        settings.private = self.private;
        Ok(settings)
    }
}
