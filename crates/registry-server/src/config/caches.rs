//! Caches of other registries: `proxy` as the reference registry has it, for the whole registry, and `caches`, each beneath a name.

use std::collections::BTreeMap;
use std::time::Duration;

use havre_registry_cache::{Login, Settings};
use serde::Deserialize;
use serde_json::Value;

use super::ConfigError;

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
    let refuse = |key, value: &str, hint| {
        let value = value.to_owned();
        Err(ConfigError::Value { key, value, hint })
    };
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
        let refuse = |key, value: &str, hint| ConfigError::Value {
            key,
            value: value.to_owned(),
            hint,
        };
        let url = self.remoteurl.unwrap_or_default();
        let upstream = url
            .parse()
            .map_err(|_| refuse("proxy.remoteurl", &url, "use https://HOST or https://HOST:PORT"))?;
        let mut settings = Settings::new(upstream);
        settings.login = match (self.username, self.password) {
            (Some(user), Some(password)) => Some(Login { user, password }),
            (None, None) => None,
            (Some(user), None) => return Err(refuse("proxy.username", &user, "say the password, too")),
            (None, Some(_)) => return Err(refuse("proxy.password", "…", "say the username, too")),
        };
        if let Some(value) = &self.ttl {
            settings.keep = match duration(value) {
                Some(Duration::ZERO) => None,
                Some(keep) if keep >= SHORTEST => Some(keep),
                _ => {
                    return Err(refuse(
                        "proxy.ttl",
                        &shown(value),
                        "use 2h or more, or 0 for ever",
                    ));
                }
            };
        }
        if let Some(value) = &self.tagttl {
            let age = duration(value);
            settings.tag_age =
                age.ok_or_else(|| refuse("proxy.tagttl", &shown(value), "use 0, 30s, 5m or 1h"))?;
        }
        if let Some(realm) = &self.realm
            && !crate::access::is_authority(realm)
        {
            return Err(refuse("proxy.realm", realm, "use HOST or HOST:PORT"));
        }
        settings.realm = self.realm;
        settings.private = self.private;
        Ok(settings)
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `168h`, `5m`, `30s`, or 0.
fn duration(value: &Value) -> Option<Duration> {
    let text = shown(value);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let unit = text.chars().last()?;
    let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    Some(Duration::from_secs(u64::from(number) * seconds))
}
