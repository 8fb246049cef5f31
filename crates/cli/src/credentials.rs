//! Credentials for registries: read from the configuration file or a helper, handed to the engine per request.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Call;
use crate::config_file::{AuthEntry, ConfigFile};
use crate::credential_helper::HELPER;
use crate::error::CliError;
use crate::settings::Settings;

/// How configuration files call Docker Hub.
pub(crate) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The user name under which helpers keep a token.
pub(crate) const TOKEN_USER: &str = "<token>";

/// User name with a password, or with a token that stands for it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) identity_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The key of a registry in the configuration file, or of a part of its repositories: `ghcr.io/team`.
pub(crate) fn key(registry: &str) -> String {
    let (is_address, rest) = match registry.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, registry),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let is_whole = is_address || matches!(path, "" | "v1" | "v2");
    match (host, is_whole) {
        ("" | "docker.io" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com", true) => {
            HUB_KEY.to_owned()
        }
        (_, true) => host.to_owned(),
        (_, false) => format!("{host}/{path}"),
    }
}

/// What an image's credentials may be kept under, the nearest first: its repository, what stands above it, its registry.
fn keys_above(repository: &str) -> Vec<String> {
    let mut names = vec![repository];
    while let Some((above, _)) = names.last().and_then(|name| name.rsplit_once('/')) {
        names.push(above);
    }
    names.into_iter().map(key).collect()
}

/// The host of an address given with a scheme or path.
pub(crate) fn host(address: &str) -> String {
    let address = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .unwrap_or(address);
    address.split('/').next().unwrap_or(address).to_owned()
}

/// The credentials of a registry or a part of its repositories, if there are any: `ghcr.io/team/app` has those of
/// `ghcr.io/team`, if it has none of its own, or else those of `ghcr.io`.
pub(crate) fn get(config: &ConfigFile, registry: &str) -> Result<Option<Credentials>, CliError> {
    for key in keys_above(&key(registry).replace(HUB_KEY, "docker.io")) {
        if let Some(found) = kept(config, &key)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The credentials under just this key.
fn kept(config: &ConfigFile, key: &str) -> Result<Option<Credentials>, CliError> {
    // Helpers know registries. One that is responsible for all is asked about parts that were stored with it.
    let has_path = key != HUB_KEY && key.contains('/');
    if let Some(helper) = config.helper(key)
        && (!has_path || config.auths.contains_key(key))
    {
        return from_helper(helper, key);
    }
    let entry = config.auths.get_key_value(key).or_else(|| {
        config
            .auths
            .iter()
            .find(|(name, _)| !has_path && name.contains("://") && host(name) == host(key))
    });
    let Some((name, entry)) = entry else {
        return Ok(None);
    };
    if *entry == AuthEntry::default() {
        return config.vault.get(name);
    }
    if entry.auth.is_empty() && entry.identity_token.is_empty() {
        return Ok(None);
    }
    let (username, password) = decode(&entry.auth)
        .ok_or_else(|| CliError::Invalid(format!("invalid auth configuration for {key} in config.json")))?;
    Ok(Some(Credentials {
        username,
        password,
        identity_token: entry.identity_token.clone(),
    }))
}

fn decode(auth: &str) -> Option<(String, String)> {
    if auth.is_empty() {
        return Some(Default::default());
    }
    let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// `user:password` in base64.
pub(crate) fn encode(username: &str, password: &str) -> String {
    STANDARD.encode(format!("{username}:{password}"))
}

/// The value of `X-Registry-Auth` for a registry or a repository; `None` without credentials.
pub(crate) fn header(settings: &Settings, registry: &str) -> Result<Option<String>, CliError> {
    Ok(get(settings.config()?, registry)?.map(|credentials| header_of(&credentials, &key(registry))))
}

/// The call with the credentials of a registry or a repository, if there are any.
pub(crate) fn sign<'a>(call: Call<'a>, settings: &Settings, registry: &str) -> Result<Call<'a>, CliError> {
    Ok(match header(settings, registry)? {
        Some(header) => call.header("x-registry-auth", header),
        None => call,
    })
}

/// The call with all credentials there are, for one that is about several registries.
pub(crate) fn sign_for_all<'a>(call: Call<'a>, settings: &Settings) -> Result<Call<'a>, CliError> {
    Ok(match all(settings)? {
        Some(header) => call.header("x-registry-config", header),
        None => call,
    })
}

/// The header's value for a push without credentials.
pub(crate) fn nobody() -> String {
    URL_SAFE.encode("{}")
}

fn header_of(credentials: &Credentials, key: &str) -> String {
    URL_SAFE.encode(object(credentials, key).to_string())
}

/// The credentials as the API's object.
pub(crate) fn object(credentials: &Credentials, key: &str) -> Value {
    let mut object = json!({"serveraddress": key});
    if credentials.identity_token.is_empty() {
        object["username"] = json!(credentials.username);
        object["password"] = json!(credentials.password);
    } else {
        object["identitytoken"] = json!(credentials.identity_token);
    }
    object
}

/// The value of `X-Registry-Config` for a build: all credentials the file knows.
pub(crate) fn all(settings: &Settings) -> Result<Option<String>, CliError> {
    let config = settings.config()?;
    let mut map = serde_json::Map::new();
    for name in config.auths.keys().chain(config.cred_helpers.keys()) {
        if let Some(credentials) = get(config, name)? {
            map.insert(key(name), object(&credentials, &key(name)));
        }
    }
    Ok((!map.is_empty()).then(|| URL_SAFE.encode(Value::from(map).to_string())))
}

/// All credentials the file or its helpers know, as a configuration file without helpers has them.
pub(crate) fn auths(settings: &Settings) -> Result<serde_json::Map<String, Value>, CliError> {
    let config = settings.config()?;
    let mut auths = serde_json::Map::new();
    for name in config.auths.keys().chain(config.cred_helpers.keys()) {
        let Some(credentials) = get(config, name)? else {
            continue;
        };
        let entry = match credentials.identity_token.as_str() {
            "" => json!({"auth": encode(&credentials.username, &credentials.password)}),
            token => json!({"auth": encode(&credentials.username, ""), "identitytoken": token}),
        };
        auths.insert(key(name), entry);
    }
    Ok(auths)
}

fn from_helper(helper: &str, key: &str) -> Result<Option<Credentials>, CliError> {
    let output = call_helper(helper, "get", key.as_bytes())?;
    match output {
        Ok(bytes) => {
            let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
                CliError::Invalid(format!("docker-credential-{helper}: unexpected answer: {error}"))
            })?;
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            let (username, secret) = (text("Username"), text("Secret"));
            if username == TOKEN_USER {
                return Ok(Some(Credentials {
                    identity_token: secret,
                    ..Credentials::default()
                }));
            }
            Ok(Some(Credentials {
                username,
                password: secret,
                identity_token: String::new(),
            }))
        }
        Err(message) if message.contains("credentials not found") => Ok(None),
        Err(message) => Err(CliError::Invalid(format!(
            "error getting credentials - err: docker-credential-{helper}: {message}"
        ))),
    }
}

/// Hands credentials to a helper.
pub(crate) fn store_with_helper(helper: &str, key: &str, credentials: &Credentials) -> Result<(), CliError> {
    let (username, secret) = if credentials.identity_token.is_empty() {
        (credentials.username.as_str(), &credentials.password)
    } else {
        (TOKEN_USER, &credentials.identity_token)
    };
    let input = json!({"ServerURL": key, "Username": username, "Secret": secret}).to_string();
    call_helper(helper, "store", input.as_bytes())?
        .map(|_| ())
        .map_err(|message| CliError::Invalid(format!("error storing credentials - err: {message}")))
}

/// Has a helper forget credentials.
pub(crate) fn erase_with_helper(helper: &str, key: &str) -> Result<(), CliError> {
    match call_helper(helper, "erase", key.as_bytes())? {
        Ok(_) => Ok(()),
        Err(message) if message.contains("credentials not found") => Ok(()),
        Err(message) => Err(CliError::Invalid(format!(
            "error erasing credentials - err: {message}"
        ))),
    }
}

/// Runs `docker-credential-HELPER ACTION`; the inner error is what it said.
fn call_helper(helper: &str, action: &str, input: &[u8]) -> Result<Result<Vec<u8>, String>, CliError> {
    if helper.contains('/') {
        return Err(CliError::Invalid(format!(
            "invalid credential helper name {helper:?} in config.json"
        )));
    }
    let program = format!("docker-credential-{helper}");
    let failed =
        |error: std::io::Error| CliError::Invalid(format!("cannot run credential helper {program}: {error}"));
    // This program is one of them, and need not be on the PATH for itself.
    let mut command = match helper {
        HELPER => Command::new("/proc/self/exe"),
        _ => Command::new(&program),
    };
    let mut child = command
        .arg0(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read has its answer looked at all the same.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(Ok(output.stdout));
    }
    Ok(Err(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_registries() {
        assert_eq!(key("docker.io"), HUB_KEY);
        assert_eq!(key("https://index.docker.io/v1/"), HUB_KEY);
        assert_eq!(key("localhost:5000"), "localhost:5000");
        assert_eq!(key("https://r.example/v2/"), "r.example");
        assert_eq!(key("r.example/v2"), "r.example");
        assert_eq!(key("r.example/team/"), "r.example/team");
        assert_eq!(
            key("https://r.example/team"),
            "r.example",
            "an address is a registry's"
        );
        assert_eq!(
            keys_above("docker.io/team/app"),
            ["docker.io/team/app", "docker.io/team", HUB_KEY]
        );
    }

    #[test]
    fn accounts_of_parts_come_before_the_registrys() {
        let mut config = ConfigFile::default();
        for (name, user) in [("r.example", "all"), ("r.example/team", "team"), (HUB_KEY, "hub")] {
            let entry = AuthEntry {
                auth: encode(user, "x"),
                ..AuthEntry::default()
            };
            config.auths.insert(name.to_owned(), entry);
        }
        let user = |name: &str| get(&config, name).unwrap().map(|found| found.username);
        assert_eq!(user("r.example/team/app").as_deref(), Some("team"));
        assert_eq!(user("r.example/teams/app").as_deref(), Some("all"));
        assert_eq!(user("r.example").as_deref(), Some("all"));
        assert_eq!(user("docker.io/library/busybox").as_deref(), Some("hub"));
        assert_eq!(user("other.example/team/app"), None);
    }

    #[test]
    fn credentials_of_the_file() {
        let mut config = ConfigFile::default();
        let entry = AuthEntry {
            auth: encode("me", "p:w"),
            ..AuthEntry::default()
        };
        config.auths.insert("https://r.example".to_owned(), entry);
        let found = get(&config, "r.example").unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("me", "p:w"));
        assert_eq!(get(&config, "other.example").unwrap(), None);
        config.auths.insert(
            "bad".to_owned(),
            AuthEntry {
                auth: "!".to_owned(),
                ..AuthEntry::default()
            },
        );
        assert!(get(&config, "bad").is_err());
    }

    #[test]
    fn tokens_replace_passwords() {
        let credentials = Credentials {
            username: "me".into(),
            password: "pw".into(),
            identity_token: "token".into(),
        };
        assert_eq!(
            object(&credentials, "r"),
            json!({"serveraddress":"r","identitytoken":"token"})
        );
    }
}
