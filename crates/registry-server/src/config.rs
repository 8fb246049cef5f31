//! The reference registry's configuration: its `config.yml`, and over that its environment variables, `REGISTRY_HTTP_ADDR` for
//! `http: {addr: …}`. What is not known, or would have no effect that matters, is refused by its name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use accounts::Accounts;
use havre_bucket::BucketSettings;
use havre_hub::Settings;
use havre_registry_events::Target;
use havre_registry_store::Patience;
use havre_tls::Identity;
use serde::Deserialize;
use serde_json::{Map, Value};
pub use token_server::TokenServer;

mod accounts;
mod bucket;
mod caches;
mod duration;
mod health;
mod http;
mod notifications;
mod storage;
mod token_server;

const PREFIX: &str = "REGISTRY_";
/// Connections to a database that is a server.
const CONNECTIONS: u32 = 16;

/// What a registry is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `ADDRESS:PORT`
    pub address: Option<String>,
    /// The folder of what it holds: bytes, unless they are in a bucket, and the database, unless that is a server.
    pub root: Option<PathBuf>,
    pub bucket: Option<BucketSettings>,
    /// The server of the database.
    pub database: Option<DatabaseServer>,
    /// error, warn, info or debug
    pub log_level: Option<String>,
    /// Whether anything may be deleted.
    pub deletes: bool,
    /// Sent with every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who gets in; without, everybody.
    pub htpasswd: Option<HtpasswdFile>,
    /// Who else issues tokens; without, nobody does.
    pub token_server: Option<TokenServer>,
    /// Accounts of its own, with permissions; without, the users of the file or everybody may do everything.
    pub accounts: Option<Settings>,
    /// What it is called from outside: `https://registry.example.com`
    pub host: Option<String>,
    /// Who it says it is; without, it speaks in the clear.
    pub identity: Option<Identity>,
    /// How long what nobody needs is left alone.
    pub patience: Patience,
    /// Where administrators and monitors ask.
    pub debug: Option<Debug>,
    /// Who wants to know what happens, beside webhooks.
    pub notifications: Vec<Target>,
    /// How it looks whether storage and database answer, if it does.
    pub health: Option<HealthCheck>,
    /// Other registries of which it is a cache.
    pub caches: Vec<havre_registry_cache::Settings>,
}

/// A listener of its own, which says how the registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debug {
    /// `ADDRESS:PORT`
    pub address: String,
    /// The path of the metrics, if there are any.
    pub metrics: Option<String>,
}

/// How it is looked whether storage and database answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub interval: Duration,
    /// So many failures in a row say that something is wrong.
    pub threshold: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            threshold: 3,
        }
    }
}

/// A PostgreSQL server. Not a part of the reference registry's configuration, which has no database.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseServer {
    /// `postgresql://USER:PASSWORD@HOST/DATABASE`
    pub url: String,
    /// At most so many connections at once.
    #[serde(default = "connections")]
    pub connections: u32,
}

fn connections() -> u32 {
    CONNECTIONS
}

/// Without the address, which has a password in it.
impl std::fmt::Debug for DatabaseServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseServer")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// A file of users and their passwords.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HtpasswdFile {
    /// What clients show when they ask for a password.
    pub realm: String,
    pub path: PathBuf,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration is not YAML: {0}")]
    Yaml(String),
    #[error("the configuration cannot be used: {0}")]
    Key(serde_json::Error),
    #[error("the configuration has {key} {value:?}: {hint}")]
    Value {
        key: &'static str,
        value: String,
        hint: &'static str,
    },
    #[error("{name} is within {outer}, which is no mapping")]
    Variable { name: String, outer: String },
}

impl ConfigError {
    fn value(key: &'static str, value: &str, hint: &'static str) -> Self {
        let value = value.to_owned();
        Self::Value { key, value, hint }
    }
}

fn refuse<T>(key: &'static str, value: &str, hint: &'static str) -> Result<T, ConfigError> {
    Err(ConfigError::value(key, value, hint))
}

/// As it is written. What is `Value` is accepted without a word on it: it tunes what this registry does not have.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    version: Option<Value>,
    log: Log,
    storage: storage::Storage,
    http: http::Http,
    auth: Auth,
    health: health::Health,
    notifications: notifications::Notifications,
    proxy: caches::Cache,
    database: Option<DatabaseServer>,
    /// What the reference registry does not have.
    accounts: Option<Accounts>,
    caches: BTreeMap<String, caches::Cache>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Log {
    level: Option<String>,
    fields: Value,
    formatter: Option<String>,
    accesslog: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Auth {
    htpasswd: Option<HtpasswdFile>,
    token: Option<token_server::Token>,
}

impl Config {
    /// When nothing is said.
    pub fn usual() -> Self {
        Self {
            deletes: true,
            ..Self::default()
        }
    }

    /// Reads a `config.yml`, if there is one, and variables of the environment. Without either: [`Config::usual`].
    pub fn read(
        file: Option<&str>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut tree = match file {
            Some(text) => {
                serde_saphyr::from_str::<Value>(text).map_err(|error| ConfigError::Yaml(error.to_string()))?
            }
            None => Value::Null,
        };
        let own = |(name, value): (String, String)| Some((name.strip_prefix(PREFIX)?.to_lowercase(), value));
        let mut variables: Vec<(String, String)> = environment.into_iter().filter_map(own).collect();
        // `REGISTRY_AUTH=htpasswd` before what is within it.
        variables.sort();
        if file.is_none() && variables.is_empty() {
            return Ok(Self::usual());
        }
        for (name, value) in variables {
            set(&mut tree, &name, &value)?;
        }
        for section in ["auth", "storage"] {
            if let Some(node) = tree.get_mut(section) {
                to_mapping(node);
            }
        }
        // With nothing below it, it switches them on.
        if let Some(node @ Value::Null) = tree.get_mut("accounts") {
            to_mapping(node);
        }
        let read: File = match tree {
            Value::Null => File::default(),
            tree => serde_json::from_value(without_nulls(tree)).map_err(ConfigError::Key)?,
        };
        read.checked(file.is_none())
    }
}

impl File {
    /// `deletes`: whether things may be deleted if the file doesn't say.
    fn checked(self, deletes: bool) -> Result<Config, ConfigError> {
        if let Some(version) = &self.version
            && !matches!(version.to_string().trim_matches('"'), "0.1")
        {
            return refuse("version", &version.to_string(), "only 0.1 is known");
        }
        if let Some(formatter) = self.log.formatter.as_deref().filter(|one| *one != "text") {
            return refuse("log.formatter", formatter, "only text is written");
        }
        let log_level = match self.log.level.as_deref() {
            None => None,
            Some("warning") => Some("warn".to_owned()),
            Some(level @ ("error" | "warn" | "info" | "debug" | "trace")) => Some(level.to_owned()),
            Some(other) => return refuse("log.level", other, "use error, warn, info or debug"),
        };
        if let Some(DatabaseServer { connections: 0, .. }) = &self.database {
            return refuse("database.connections", "0", "there must be one at least");
        }
        if self.accounts.is_some() && self.auth.htpasswd.is_some() {
            let hint = "accounts have passwords of their own: configure one or the other";
            return refuse("auth", "htpasswd", hint);
        }
        if self.auth.token.is_some() && (self.accounts.is_some() || self.auth.htpasswd.is_some()) {
            let hint = "who gets in is said by one: the other server, accounts, or a file of users";
            return refuse("auth", "token", hint);
        }
        let token_server = self.auth.token.map(token_server::Token::checked).transpose()?;
        let accounts = self.accounts.map(Accounts::checked).transpose()?;
        let caches = caches::checked(self.proxy, self.caches)?;
        if accounts.is_some()
            && let Some(whole) = caches.iter().find(|cache| cache.prefix.is_none())
        {
            let hint = "with accounts, what is cached belongs to a namespace: use caches";
            return refuse("proxy.remoteurl", &whole.upstream.to_string(), hint);
        }
        let (http, storage) = (self.http.checked()?, self.storage.checked()?);
        Ok(Config {
            address: http.address,
            root: storage.root,
            bucket: storage.bucket,
            database: self.database,
            log_level,
            deletes: storage.deletes.unwrap_or(deletes),
            headers: http.headers,
            htpasswd: self.auth.htpasswd,
            token_server,
            accounts,
            host: http.host,
            identity: http.identity,
            patience: storage.patience,
            debug: http.debug,
            notifications: self.notifications.checked()?,
            health: self.health.checked()?,
            caches,
        })
    }
}

/// Lets a variable, whose name is in lower case and without its prefix, say what is at its place.
fn set(tree: &mut Value, name: &str, value: &str) -> Result<(), ConfigError> {
    let mut node = tree;
    let mut outer = String::new();
    for key in name.split('_') {
        to_mapping(node);
        let Value::Object(mapping) = node else {
            let name = format!("{PREFIX}{}", name.to_uppercase());
            return Err(ConfigError::Variable { name, outer });
        };
        if !outer.is_empty() {
            outer.push('.');
        }
        outer.push_str(key);
        node = mapping.entry(key).or_insert(Value::Null);
    }
    *node = serde_saphyr::from_str::<Value>(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok(())
}

/// `htpasswd` is short for a mapping with nothing in it under that name, and nothing for an empty one.
fn to_mapping(node: &mut Value) {
    match node {
        Value::Null => *node = Value::Object(Map::new()),
        Value::String(kind) => {
            let inner = Map::from_iter([(std::mem::take(kind), Value::Null)]);
            *node = Value::Object(inner);
        }
        _ => {}
    }
}

/// Keys without a value are keys that are not there.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(mapping) => Value::Object(
            mapping
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let file = Some(file).filter(|file| !file.is_empty());
        Config::read(file, variables.iter().map(pair))
    }

    #[test]
    fn nothing_said_is_the_usual() {
        assert_eq!(read("", &[("PATH", "/bin")]).unwrap(), Config::usual());
    }

    #[test]
    fn the_file_of_the_reference_registrys_image() {
        let config = read(
            "version: 0.1\nlog:\n  fields:\n    service: registry\nstorage:\n  cache:\n    blobdescriptor: inmemory\n  filesystem:\n    rootdirectory: /var/lib/registry\nhttp:\n  addr: :5000\n  headers:\n    X-Content-Type-Options: [nosniff]\nhealth:\n  storagedriver:\n    enabled: true\n    interval: 10s\n    threshold: 3\n",
            &[],
        )
        .unwrap();
        assert_eq!(config.address.as_deref(), Some("0.0.0.0:5000"));
        assert_eq!(config.root, Some("/var/lib/registry".into()));
        assert!(!config.deletes, "as there, nothing is deleted unless it is said");
        assert_eq!(config.headers.len(), 1);
        assert_eq!(config.htpasswd, None);
        assert_eq!(
            (config.health, config.debug),
            (Some(HealthCheck::default()), None)
        );
        let debug = read("http: {debug: {addr: ':5001', prometheus: {enabled: true}}}", &[])
            .unwrap()
            .debug;
        let expected = Debug {
            address: "0.0.0.0:5001".to_owned(),
            metrics: Some("/metrics".to_owned()),
        };
        assert_eq!(debug, Some(expected));
    }

    #[test]
    fn spans_of_time_in_each_unit() {
        for (text, seconds) in [("168h", 604_800), ("90m", 5400), ("30s", 30), ("0", 0)] {
            let file = format!("storage: {{maintenance: {{uploadpurging: {{age: {text}}}}}}}");
            let config = read(&file, &[]).unwrap();
            assert_eq!(config.patience.uploads, Duration::from_secs(seconds), "{text}");
        }
        let off = read("storage: {maintenance: {uploadpurging: {enabled: false}}}", &[]);
        assert_eq!(off.unwrap().patience.uploads, Duration::MAX);
        let driver = "health: {storagedriver: {enabled: true, interval: 1m, threshold: 0}}";
        let expected = HealthCheck {
            interval: Duration::from_secs(60),
            threshold: 1,
        };
        assert_eq!(read(driver, &[]).unwrap().health, Some(expected));
        let refused = read("health: {storagedriver: {enabled: true, interval: 0s}}", &[]);
        assert!(refused.unwrap_err().to_string().contains("interval"));
    }

    #[test]
    fn variables_alone_and_over_a_file() {
        let htpasswd = [
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
        ];
        let expected = HtpasswdFile {
            realm: "Registry Realm".into(),
            path: "/auth/htpasswd".into(),
        };
        assert_eq!(read("", &htpasswd).unwrap().htpasswd, Some(expected.clone()));
        assert_eq!(
            read("version: 0.1\nauth:\n", &htpasswd).unwrap().htpasswd,
            Some(expected)
        );
        let config = read(
            "version: 0.1\nhttp: {addr: '127.0.0.1:1'}\nlog: {level: warning}",
            &[
                ("REGISTRY_HTTP_ADDR", "127.0.0.1:2"),
                ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
                ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "2h"),
                ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data"),
                ("REGISTRY_HTTP_HEADERS_Access-Control-Allow-Origin", "[\"*\"]"),
            ],
        )
        .unwrap();
        assert_eq!(config.address.as_deref(), Some("127.0.0.1:2"));
        assert_eq!(config.log_level.as_deref(), Some("warn"));
        assert_eq!(config.root, Some("/data".into()));
        assert!(config.deletes);
        assert_eq!(config.patience.uploads, Duration::from_secs(7200));
        assert_eq!(config.headers[0].1, "*");
    }

    #[test]
    fn a_bucket_and_a_database() {
        let config = read(
            "version: 0.1\nstorage:\n  s3:\n    accesskey: key\n    secretkey: secret\n    region: us-east-1\n    \
             regionendpoint: minio:9000\n    secure: false\n    bucket: images\n    rootdirectory: /registry\n    \
             chunksize: 5242880\n  redirect: {disable: true}\n",
            &[("REGISTRY_DATABASE_URL", "postgresql://me:secret@db/registry")],
        )
        .unwrap();
        let bucket = config.bucket.unwrap();
        assert_eq!(bucket.endpoint.as_deref(), Some("http://minio:9000"));
        assert!(bucket.path_style && !bucket.redirect && !bucket.encrypt);
        assert_eq!(bucket.root, "/registry");
        let database = config.database.unwrap();
        assert_eq!(database.connections, CONNECTIONS);
        assert!(!format!("{database:?}").contains("secret"));

        let variables = [
            ("REGISTRY_STORAGE", "s3"),
            ("REGISTRY_STORAGE_S3_BUCKET", "images"),
            ("REGISTRY_STORAGE_S3_REGION", "eu-central-1"),
        ];
        let bucket = read("", &variables).unwrap().bucket.unwrap();
        assert_eq!(
            (bucket.endpoint, bucket.path_style, bucket.redirect),
            (None, false, true)
        );
    }

    #[test]
    fn caches() {
        let variables = [
            ("REGISTRY_PROXY_REMOTEURL", "https://registry-1.docker.io"),
            ("REGISTRY_PROXY_USERNAME", "me"),
            ("REGISTRY_PROXY_PASSWORD", "secret"),
            ("REGISTRY_PROXY_TTL", "0"),
        ];
        let config = read("", &variables).unwrap();
        let [cache] = config.caches.as_slice() else {
            panic!("{:?}", config.caches)
        };
        assert_eq!((&cache.prefix, cache.keep), (&None, None));
        assert!(cache.login.is_some() && !format!("{cache:?}").contains("secret"));
        let config = read(
            "version: 0.1\ncaches:\n  hub: {remoteurl: 'https://docker.io', tagttl: 30s}\n  ghcr: {remoteurl: 'https://ghcr.io', private: true}\n",
            &[("REGISTRY_CACHES_HUB_TTL", "24h")],
        );
        let caches = config.unwrap().caches;
        let [ghcr, hub] = caches.as_slice() else {
            panic!("{caches:?}")
        };
        assert_eq!(hub.upstream.to_string(), "https://registry-1.docker.io");
        assert_eq!(hub.prefix.as_ref().map(|prefix| prefix.as_str()), Some("hub"));
        let times = (hub.tag_age.as_secs(), hub.keep.map(|keep| keep.as_secs()));
        assert_eq!(times, (30, Some(24 * 3600)));
        assert!(ghcr.private && !hub.private);
        assert_eq!(ghcr.keep.map(|keep| keep.as_secs()), Some(168 * 3600));
    }

    #[test]
    fn accounts_and_what_the_registry_is_called() {
        let config = read(
            "version: 0.1\naccounts:\nhttp: {host: 'https://r.example.com/'}",
            &[],
        )
        .unwrap();
        assert_eq!(config.accounts, Some(Settings::default()));
        assert_eq!(config.host.as_deref(), Some("https://r.example.com"));
        assert_eq!(read("version: 0.1", &[]).unwrap().accounts, None);
        let config = read(
            "version: 0.1\naccounts: {signup: invitation, visibility: public, pulls: {anonymous: 100}}",
            &[
                ("REGISTRY_ACCOUNTS_SIGNUP", "open"),
                ("REGISTRY_ACCOUNTS_TOKEN_LIFETIME", "600"),
                ("REGISTRY_ACCOUNTS_TOKEN_ALGORITHM", "RS256"),
                ("REGISTRY_ACCOUNTS_LOCKOUT_FAILURES", "5"),
                ("REGISTRY_ACCOUNTS_LOCKOUT_MINUTES", "30"),
                ("REGISTRY_ACCOUNTS_QUOTA_BYTES", "1000000000"),
            ],
        );
        let settings = config.unwrap().accounts.unwrap();
        assert_eq!(settings.signup, havre_hub::Signup::Open);
        assert!(settings.public);
        assert_eq!(
            (settings.anonymous_pulls, settings.account_pulls),
            (Some(100), None)
        );
        assert_eq!(
            (settings.token_lifetime, settings.failures),
            (Duration::from_secs(600), 5)
        );
        assert_eq!(settings.algorithm, havre_hub::Algorithm::Rs256);
        assert_eq!(settings.lockout, Duration::from_secs(1800));
        assert_eq!(
            (settings.quota.bytes, settings.quota.repositories),
            (Some(1_000_000_000), None)
        );
        let alone = read("", &[("REGISTRY_ACCOUNTS_SIGNUP", "closed")]).unwrap();
        assert!(alone.accounts.is_some() && alone.deletes);
    }

    #[test]
    fn a_server_that_issues_tokens() {
        let variables = [
            ("REGISTRY_AUTH", "token"),
            ("REGISTRY_AUTH_TOKEN_REALM", "https://auth.example.com/token"),
            ("REGISTRY_AUTH_TOKEN_SERVICE", "registry.example.com"),
            ("REGISTRY_AUTH_TOKEN_ISSUER", "Company"),
            ("REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE", "/etc/issuer.pem"),
        ];
        let expected = TokenServer {
            realm: "https://auth.example.com/token".to_owned(),
            service: "registry.example.com".to_owned(),
            issuer: "Company".to_owned(),
            certificates: Some("/etc/issuer.pem".into()),
            key_set: None,
        };
        let config = read("", &variables).unwrap();
        assert_eq!((config.token_server, config.htpasswd), (Some(expected), None));
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (file, variables, named) in [
            ("version: 0.2", &[][..], "0.2"),
            ("redis: {addr: x}", &[], "redis"),
            ("storage: {gcs: {bucket: x}}", &[], "gcs"),
            ("storage: {s3: {region: x}}", &[], "storage.s3.bucket"),
            ("storage: {s3: {bucket: x, skipverify: true}}", &[], "skipverify"),
            ("storage: {s3: {bucket: x, accelerate: true}}", &[], "accelerate"),
            (
                "storage: {s3: {bucket: x, objectacl: public-read}}",
                &[],
                "public-read",
            ),
            (
                "storage: {s3: {bucket: x, storageclass: GLACIER}}",
                &[],
                "GLACIER",
            ),
            ("storage: {s3: {bucket: x, accesskey: key}}", &[], "secretkey"),
            (
                "storage: {s3: {bucket: x}, filesystem: {rootdirectory: z}}",
                &[],
                "filesystem and s3",
            ),
            ("database: {url: x, connections: 0}", &[], "connections"),
            ("auth: {token: {realm: x}}", &[], "service"),
            (
                "auth: {token: {realm: x, service: s, issuer: z, rootcertbundle: b}}",
                &[],
                "auth.token.realm",
            ),
            (
                "auth: {token: {realm: 'http://x/\"', service: s, issuer: z, jwks: b}}",
                &[],
                "auth.token.realm",
            ),
            (
                "auth: {token: {realm: 'http://x', service: 's t', issuer: z, jwks: b}}",
                &[],
                "auth.token.service",
            ),
            (
                "auth: {token: {realm: 'http://x', service: s, issuer: z}}",
                &[],
                "rootcertbundle",
            ),
            (
                "auth: {token: {realm: 'http://x', service: s, issuer: z, jwks: b, autoredirect: true}}",
                &[],
                "autoredirect",
            ),
            (
                "{accounts: {}, auth: {token: {realm: 'http://x', service: s, issuer: z, jwks: b}}}",
                &[],
                "the other server, accounts",
            ),
            ("accounts: {token: {algorithm: HS256}}", &[], "HS256"),
            ("auth: {htpasswd: {realm: x}}", &[], "path"),
            ("http: {tls: {certificate: x}}", &[], "key"),
            ("http: {tls: {letsencrypt: {email: x}}}", &[], "letsencrypt"),
            (
                "http: {tls: {certificate: x, key: z, clientcas: [a, b]}}",
                &[],
                "clientcas",
            ),
            (
                "http: {tls: {certificate: x, key: z, minimumtls: tls1.0}}",
                &[],
                "minimumtls",
            ),
            ("health: {file: [{file: x}]}", &[], "file"),
            (
                "health: {storagedriver: {enabled: true, interval: soon}}",
                &[],
                "soon",
            ),
            (
                "http: {debug: {prometheus: {enabled: true}}}",
                &[],
                "http.debug.addr",
            ),
            ("log: {level: loud}", &[], "loud"),
            ("log: {formatter: json}", &[], "json"),
            (
                "storage: {maintenance: {readonly: {enabled: true}}}",
                &[],
                "readonly",
            ),
            (
                "storage: {maintenance: {uploadpurging: {dryrun: true}}}",
                &[],
                "dryrun",
            ),
            ("storage: {maintenance: {uploadpurging: {age: 1w}}}", &[], "1w"),
            ("http: {headers: {'not a header': [x]}}", &[], "not a header"),
            ("a: [", &[], "YAML"),
            ("accounts: {signup: maybe}", &[], "maybe"),
            ("accounts: {visibility: secret}", &[], "secret"),
            ("accounts: {token: {lifetime: 5}}", &[], "lifetime"),
            ("accounts: {lockout: {failures: 0}}", &[], "failures"),
            ("accounts: {service: 'a\"b'}", &[], "service"),
            ("accounts: {signups: open}", &[], "signups"),
            (
                "accounts: {}\nauth: {htpasswd: {realm: x, path: /users}}",
                &[],
                "htpasswd",
            ),
            ("http: {host: r.example.com}", &[], "r.example.com"),
            ("http: {host: 'https://a/b'}", &[], "https://a/b"),
            ("http: [1]", &[("REGISTRY_HTTP_ADDR", "x")], "REGISTRY_HTTP_ADDR"),
            ("", &[("REGISTRY_PROXY_REMOTEURL", "x")], "proxy.remoteurl"),
            ("proxy: {remoteurl: 'https://a', username: b}", &[], "password"),
            ("proxy: {username: b}", &[], "proxy.remoteurl"),
            ("proxy: {remoteurl: 'https://a', ttl: 5m}", &[], "2h"),
            ("proxy: {remoteurl: 'https://a', tagttl: soon}", &[], "soon"),
            ("proxy: {remoteurl: 'https://a', exec: {command: x}}", &[], "exec"),
            ("proxy: {remoteurl: 'https://a'}\naccounts: {}", &[], "caches"),
            (
                "proxy: {remoteurl: 'https://a'}\ncaches: {b: {remoteurl: 'https://b'}}",
                &[],
                "caches",
            ),
            ("caches: {UPPER: {remoteurl: 'https://b'}}", &[], "UPPER"),
            ("caches: {hub: {}}", &[], "remoteurl"),
        ] {
            let error = read(file, variables).expect_err(file).to_string();
            assert!(error.contains(named), "{file}: {error}");
        }
    }
}
