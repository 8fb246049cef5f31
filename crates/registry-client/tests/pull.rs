//! Reading from a registry, well-behaved and otherwise.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use havre_oci::{Descriptor, Digest, Manifest, Reference, media_type};
use havre_registry_client::{
    Client, ClientOptions, Credentials, ErrorKind, HostConfig, Hosts, HostsConfig, RegistryError, Repository,
    RetryPolicy, Source,
};
use support::{Auth, FakeRegistry, Fault, content};

fn options() -> ClientOptions {
    ClientOptions {
        retry: RetryPolicy {
            attempts: 4,
            base: Duration::from_millis(5),
            cap: Duration::from_secs(2),
        },
        stall_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_secs(2),
        certs_dir: None,
        ..ClientOptions::default()
    }
}

fn client(config: HostsConfig) -> Client {
    Client::new(Hosts::new(config).unwrap(), options()).unwrap()
}

fn repository(registry: &FakeRegistry) -> Repository {
    with(registry, &Credentials::None)
}

fn with(registry: &FakeRegistry, credentials: &Credentials) -> Repository {
    let reference = Reference::parse(&format!("{}/app", registry.host())).unwrap();
    client(HostsConfig::default()).repository(&reference, credentials)
}

fn user(username: &str, password: &str) -> Credentials {
    Credentials::Basic {
        username: username.into(),
        password: password.into(),
    }
}

fn image(registry: &FakeRegistry) -> (Digest, Vec<u8>) {
    let config = Descriptor::of(media_type::DOCKER_CONFIG, b"{}");
    let bytes = Manifest::docker(config, Vec::new()).to_bytes();
    let digest = registry.manifest("app", "latest", media_type::DOCKER_MANIFEST, bytes.clone());
    (digest, bytes)
}

async fn read(
    repository: &Repository,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<Vec<u8>, RegistryError> {
    let mut stream = repository.fetch_blob(descriptor, offset, Source::Any).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn blob(registry: &FakeRegistry, length: usize) -> (Descriptor, Bytes) {
    let bytes = content(length, 7);
    registry.blob("app", bytes.clone());
    (Descriptor::of(media_type::DOCKER_LAYER_GZIP, &bytes), bytes)
}

#[tokio::test]
async fn resolves_by_tag_and_digest_over_plain_http_on_loopback() {
    let registry = FakeRegistry::start().await;
    let (digest, bytes) = image(&registry);
    let repository = repository(&registry);
    for selector in ["latest", digest.as_str()] {
        let resolved = repository.resolve(selector).await.unwrap();
        assert_eq!(resolved.bytes, bytes);
        assert_eq!(
            resolved.descriptor,
            Descriptor::new(media_type::DOCKER_MANIFEST, digest.clone(), bytes.len() as u64)
        );
    }
    let head = repository.head_manifest("latest").await.unwrap().unwrap();
    assert_eq!(head.digest, digest);
    assert_eq!(repository.head_manifest("other").await.unwrap(), None);
}

#[tokio::test]
async fn missing_things_have_dockers_words() {
    let registry = FakeRegistry::start().await;
    image(&registry);
    let repository = repository(&registry);
    let error = repository.resolve("nosuch").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let host = registry.host();
    assert_eq!(
        error.to_string(),
        format!("manifest for {host}/app:nosuch not found: manifest unknown: manifest unknown")
    );
    let lost = Descriptor::of(media_type::DOCKER_LAYER_GZIP, b"lost");
    assert!(matches!(
        read(&repository, &lost, 0).await,
        Err(RegistryError::BlobUnknown { .. })
    ));
    assert!(matches!(
        repository.resolve("a/../b").await,
        Err(RegistryError::ManifestUnknown { .. })
    ));
}

#[tokio::test]
async fn a_registry_that_is_down_is_named() {
    let registry = FakeRegistry::start().await;
    let repository = repository(&registry);
    let host = registry.host();
    drop(registry);
    let begun = Instant::now();
    let error = repository.resolve("latest").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.to_string(),
        format!("Get \"http://{host}/v2/\": dial tcp {host}: connect: connection refused")
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn temporary_failures_are_repeated_and_lasting_ones_reported() {
    let registry = FakeRegistry::start().await;
    let (digest, _) = image(&registry);
    let repository = repository(&registry);
    for status in [429, 500, 503] {
        registry.status("/manifests/", 2, status);
        assert_eq!(
            repository.resolve("latest").await.unwrap().descriptor.digest,
            digest,
            "{status}"
        );
    }
    registry.status("/manifests/", 4, 500);
    let before = registry.seen("GET", "/manifests/").len();
    let error = repository.resolve("latest").await.unwrap_err();
    assert_eq!(registry.seen("GET", "/manifests/").len() - before, 4);
    assert!(
        error
            .to_string()
            .ends_with("received unexpected HTTP status: 500 Internal Server Error"),
        "{error}"
    );
}

#[tokio::test]
async fn retry_after_is_honoured_within_reason() {
    let registry = FakeRegistry::start().await;
    image(&registry);
    let repository = repository(&registry);
    let busy = |seconds: &str| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
        Fault::Status(429, vec![("retry-after", seconds.to_owned())], body.to_owned())
    };
    registry.fault("/manifests/", 1, busy("1"));
    let begun = Instant::now();
    repository.resolve("latest").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));

    registry.fault("/manifests/", 1, busy("3600"));
    let error = repository.resolve("latest").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(
        error.to_string(),
        "toomanyrequests: slow down (retry after 3600 seconds)"
    );
}

#[tokio::test]
async fn huge_and_wrong_manifests_are_refused_early() {
    let registry = FakeRegistry::start().await;
    let (digest, _) = image(&registry);
    let repository = repository(&registry);
    registry.fault("/manifests/", 1, Fault::Endless);
    assert!(matches!(
        repository.resolve("latest").await,
        Err(RegistryError::ManifestTooLarge { .. })
    ));

    registry.manifest("app", "huge", media_type::DOCKER_MANIFEST, vec![b' '; 100 << 20]);
    let begun = Instant::now();
    assert!(matches!(
        repository.resolve("huge").await,
        Err(RegistryError::ManifestTooLarge { .. })
    ));
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );

    registry.fault("/manifests/", 1, Fault::Wrong);
    let error = repository.resolve(digest.as_str()).await.unwrap_err();
    assert!(matches!(error, RegistryError::ManifestMismatch { expected, .. } if expected == digest));
    registry.manifest("app", "garbage", "text/html", "<html>");
    assert!(matches!(
        repository.resolve("garbage").await,
        Err(RegistryError::InvalidManifest { .. })
    ));
    // Broken off in the middle, and whole at the next attempt.
    registry.fault("/manifests/", 1, Fault::Cut(10));
    assert_eq!(
        repository.resolve("latest").await.unwrap().descriptor.digest,
        digest
    );
}

#[tokio::test]
async fn blobs_are_resumed_where_the_connection_broke() {
    let registry = FakeRegistry::start().await;
    let (descriptor, bytes) = blob(&registry, 500_000);
    let repository = repository(&registry);
    assert_eq!(read(&repository, &descriptor, 0).await.unwrap(), bytes);
    assert_eq!(
        read(&repository, &descriptor, 400_000).await.unwrap(),
        bytes[400_000..]
    );

    // More breaks than attempts: what counts is progress.
    registry.fault("/blobs/", 7, Fault::Cut(60_000));
    assert_eq!(read(&repository, &descriptor, 0).await.unwrap(), bytes);
    let ranges: Vec<_> = registry
        .seen("GET", "/blobs/")
        .into_iter()
        .filter_map(|seen| seen.range)
        .collect();
    assert!(
        ranges.len() >= 7 && ranges.iter().any(|range| range != "bytes=400000-"),
        "{ranges:?}"
    );

    // A server that stalls, and then one that ignores ranges.
    registry.fault("/blobs/", 1, Fault::Stall(100_000));
    registry.fault("/blobs/", 1, Fault::NoRange);
    assert_eq!(read(&repository, &descriptor, 0).await.unwrap(), bytes);
}

#[tokio::test]
async fn lasting_breaks_end_with_an_error() {
    let registry = FakeRegistry::start().await;
    let (descriptor, _) = blob(&registry, 100_000);
    let repository = repository(&registry);
    registry.fault("/blobs/", 100, Fault::Cut(0));
    let error = read(&repository, &descriptor, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(registry.seen("GET", "/blobs/").len() <= 5);
}

#[tokio::test]
async fn blobs_of_the_wrong_size_are_noticed_and_endless_ones_cut() {
    let registry = FakeRegistry::start().await;
    let (descriptor, bytes) = blob(&registry, 100_000);
    let repository = repository(&registry);
    registry.fault("/blobs/", 1, Fault::Short);
    let error = read(&repository, &descriptor, 0).await.unwrap_err();
    assert!(
        matches!(
            error,
            RegistryError::BlobSize {
                expected: 100_000,
                actual: 50_000,
                ..
            }
        ),
        "{error}"
    );
    registry.fault("/blobs/", 1, Fault::Endless);
    assert_eq!(read(&repository, &descriptor, 0).await.unwrap(), bytes);
    registry.fault("/blobs/", 1, Fault::Wrong);
    let error = repository.read_blob(&descriptor, 1 << 20).await.unwrap_err();
    assert!(matches!(error, RegistryError::BlobMismatch { .. }), "{error}");
    let error = repository.read_blob(&descriptor, 10).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::BlobTooLarge { limit: 10, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn credentials_do_not_follow_redirects_to_other_hosts() {
    let registry = FakeRegistry::start().await;
    let storage = FakeRegistry::start().await;
    registry.state.lock().unwrap().auth = Auth::Basic("me", "secret");
    let (descriptor, bytes) = blob(&registry, 50_000);
    storage.blob("app", bytes.clone());
    let target = format!(
        "http://{}/v2/app/blobs/{}?signature=x",
        storage.host(),
        descriptor.digest
    );
    registry.fault("/blobs/", 2, Fault::Redirect(target));
    let repository = with(&registry, &user("me", "secret"));
    assert_eq!(
        read(&repository, &descriptor, 20_000).await.unwrap(),
        bytes[20_000..]
    );
    let there = storage.seen("GET", "/blobs/");
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].authorization, None);
    assert_eq!(there[0].range.as_deref(), Some("bytes=20000-"));

    let itself = format!("http://{}/v2/app/blobs/{}", registry.host(), descriptor.digest);
    registry.state.lock().unwrap().faults.clear();
    registry.fault("/blobs/", 100, Fault::Redirect(itself));
    assert!(matches!(
        read(&repository, &descriptor, 0).await,
        Err(RegistryError::Protocol { .. })
    ));
}

#[tokio::test]
async fn basic_and_bearer_authentication() {
    let registry = FakeRegistry::start().await;
    let (digest, _) = image(&registry);
    registry.state.lock().unwrap().auth = Auth::Basic("me", "secret");
    let error = repository(&registry).resolve("latest").await.unwrap_err();
    assert!(
        error.to_string().ends_with("no basic auth credentials"),
        "{error}"
    );
    let error = with(&registry, &user("me", "wrong"))
        .resolve("latest")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: authentication required");
    let resolved = with(&registry, &user("me", "secret"))
        .resolve("latest")
        .await
        .unwrap();
    assert_eq!(resolved.descriptor.digest, digest);

    let bearer = |anonymous_pull, realm| Auth::Bearer {
        realm,
        user: "me",
        password: "secret",
        anonymous_pull,
    };
    registry.state.lock().unwrap().auth = bearer(true, None);
    let anonymous = repository(&registry);
    for _ in 0..3 {
        anonymous.resolve("latest").await.unwrap();
    }
    let asked = registry.seen("GET", "/token");
    assert_eq!(asked.len(), 1, "the token is kept");
    assert!(
        asked[0].path.contains("scope=repository%3Aapp%3Apull") && asked[0].path.contains("service=test")
    );

    registry.state.lock().unwrap().auth = bearer(false, None);
    let error = repository(&registry).resolve("latest").await.unwrap_err();
    let host = registry.host();
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {host}/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
        )
    );
    let error = with(&registry, &user("me", "wrong"))
        .resolve("latest")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: incorrect username or password");
    with(&registry, &user("me", "secret"))
        .resolve("latest")
        .await
        .unwrap();

    // A foreign token server over plain HTTP gets no password; without one it may be asked.
    registry.state.lock().unwrap().auth = bearer(
        true,
        Some(format!("http://localhost:{}/token", registry.address.port())),
    );
    let error = with(&registry, &user("me", "secret"))
        .resolve("latest")
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::UnsafeRealm { .. }), "{error}");
    repository(&registry).resolve("latest").await.unwrap();
}

#[tokio::test]
async fn mirrors_first_then_the_registry() {
    let (registry, mirror) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let bytes = content(90_000, 3);
    let descriptor = Descriptor::of(media_type::DOCKER_LAYER_GZIP, &bytes);
    for server in [&registry, &mirror] {
        server.blob("library/debian", bytes.clone());
    }
    let manifest = Manifest::docker(descriptor.clone(), Vec::new()).to_bytes();
    let digest = registry.manifest("library/debian", "12", media_type::DOCKER_MANIFEST, manifest);
    let host = HostConfig {
        endpoint: Some(format!("http://{}", registry.host())),
        mirrors: vec![format!("http://{}", mirror.host())],
        insecure: false,
    };
    let client = client(HostsConfig {
        registry: [("docker.io".to_owned(), host)].into(),
        ..HostsConfig::default()
    });
    let repository = client.repository(&Reference::parse("debian:12").unwrap(), &user("me", "secret"));
    // The mirror doesn't have the manifest, but the blob; then it breaks for good.
    assert_eq!(repository.resolve("12").await.unwrap().descriptor.digest, digest);
    assert_eq!(mirror.seen("GET", "/v2/library/debian/manifests/12").len(), 1);
    assert_eq!(read(&repository, &descriptor, 0).await.unwrap(), bytes);
    assert!(registry.seen("GET", "/blobs/").is_empty());
    assert!(
        mirror
            .seen("GET", "/")
            .iter()
            .all(|seen| seen.authorization.is_none())
    );
    mirror.fault("/blobs/", 100, Fault::Cut(30_000));
    mirror
        .state
        .lock()
        .unwrap()
        .faults
        .push(("/manifests/".into(), 100, Fault::Wrong));
    assert_eq!(read(&repository, &descriptor, 0).await.unwrap(), bytes);
    mirror.state.lock().unwrap().faults.clear();
    mirror.fault("/blobs/", 100, Fault::Status(503, Vec::new(), String::new()));
    assert_eq!(read(&repository, &descriptor, 0).await.unwrap(), bytes);
    assert!(!registry.seen("GET", "/blobs/").is_empty());
    // A mirror that lies is left out when the consumer says so.
    mirror.state.lock().unwrap().faults.clear();
    mirror.fault("/blobs/", 100, Fault::Wrong);
    assert_eq!(repository.read_blob(&descriptor, 1 << 20).await.unwrap(), bytes);
}

#[tokio::test]
async fn all_pages_of_tags() {
    let registry = FakeRegistry::start().await;
    for tag in ["a", "b", "c", "d", "e"] {
        registry.manifest("app", tag, media_type::DOCKER_MANIFEST, "{}");
    }
    assert_eq!(
        repository(&registry).tags().await.unwrap(),
        ["a", "b", "c", "d", "e"]
    );
    let empty = FakeRegistry::start().await;
    let error = repository(&empty).tags().await.unwrap_err();
    assert!(error.to_string().contains("not found: name unknown"), "{error}");
}

#[tokio::test]
async fn login_and_search() {
    let registry = FakeRegistry::start().await;
    let client = client(HostsConfig::default());
    let host = registry.host();
    registry.manifest("team/web", "latest", media_type::DOCKER_MANIFEST, "{}");
    registry.manifest("team/db", "latest", media_type::DOCKER_MANIFEST, "{}");
    let found = client
        .search(&format!("{host}/web"), 25, &Credentials::None)
        .await
        .unwrap();
    assert_eq!(
        found.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(),
        ["team/web"]
    );

    registry.state.lock().unwrap().auth = Auth::Basic("me", "secret");
    assert_eq!(
        client.login(&host, "me", "secret").await.unwrap().status,
        "Login Succeeded"
    );
    let error = client.login(&host, "me", "wrong").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("login attempt to http://{host}/v2/ failed with status: 401 Unauthorized")
    );
    registry.state.lock().unwrap().auth = Auth::Bearer {
        realm: None,
        user: "me",
        password: "secret",
        anonymous_pull: true,
    };
    let login = client
        .login(&format!("http://{host}/"), "me", "secret")
        .await
        .unwrap();
    assert_eq!(login.identity_token.as_deref(), Some("refresh-me"));
    let error = client.login(&host, "me", "wrong").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Get \"http://{host}/v2/\": unauthorized: incorrect username or password")
    );
}
