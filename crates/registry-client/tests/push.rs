//! Writing to a registry, well-behaved and otherwise.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use havre_oci::{Descriptor, Reference, media_type};
use havre_registry_client::{
    BodyStream, Client, ClientOptions, Credentials, Hosts, MountResult, RegistryError, Repository,
    RetryPolicy,
};
use support::{Auth, FakeRegistry, Fault, content};

fn repository(registry: &FakeRegistry, credentials: &Credentials) -> Repository {
    let options = ClientOptions {
        retry: RetryPolicy {
            attempts: 4,
            base: Duration::from_millis(5),
            cap: Duration::from_secs(2),
        },
        certs_dir: None,
        ..ClientOptions::default()
    };
    let reference = Reference::parse(&format!("{}/app", registry.host())).unwrap();
    Client::new(Hosts::default(), options)
        .unwrap()
        .repository(&reference, credentials)
}

async fn push(repository: &Repository, bytes: &Bytes) -> Result<Vec<u64>, RegistryError> {
    let descriptor = Descriptor::of(media_type::DOCKER_LAYER_GZIP, bytes);
    let told = Mutex::new(Vec::new());
    let bytes = bytes.clone();
    let source = move |offset: u64| -> std::io::Result<BodyStream> {
        let rest = bytes.slice(offset as usize..);
        let pieces: Vec<_> = rest
            .chunks(64 << 10)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Ok(Box::pin(futures_util::stream::iter(pieces)))
    };
    repository
        .push_blob(&descriptor, &source, &|sent| told.lock().unwrap().push(sent))
        .await?;
    Ok(told.into_inner().unwrap())
}

fn has(registry: &FakeRegistry, bytes: &Bytes) -> bool {
    let digest = havre_oci::Digest::sha256_of(bytes);
    registry
        .state
        .lock()
        .unwrap()
        .blobs
        .get(&("app".to_owned(), digest))
        == Some(bytes)
}

#[tokio::test]
async fn small_and_large_blobs_and_manifests() {
    let registry = FakeRegistry::start().await;
    let repository = repository(&registry, &Credentials::None);
    for (length, absolute) in [
        (0, false),
        (1, true),
        (1000, false),
        (3 << 20, false),
        (3 << 20, true),
    ] {
        registry.state.lock().unwrap().absolute = absolute;
        let bytes = content(length, length as u64 + u64::from(absolute));
        let told = push(&repository, &bytes).await.unwrap();
        assert!(has(&registry, &bytes), "{length}");
        assert_eq!(told.last(), Some(&(length as u64)));
        assert!(
            repository
                .blob_exists(&havre_oci::Digest::sha256_of(&bytes))
                .await
                .unwrap()
        );
    }
    assert_eq!(registry.seen("PATCH", "/uploads/").len(), 2);
    let manifest = br#"{"schemaVersion":2}"#.to_vec();
    let digest = repository
        .push_manifest("v1", media_type::DOCKER_MANIFEST, manifest.clone())
        .await
        .unwrap();
    assert_eq!(digest, havre_oci::Digest::sha256_of(&manifest));
    let state = registry.state.lock().unwrap();
    assert_eq!(
        state.manifests[&("app".to_owned(), "v1".to_owned())].0,
        media_type::DOCKER_MANIFEST
    );
}

#[tokio::test]
async fn broken_uploads_are_resumed() {
    let registry = FakeRegistry::start().await;
    let repository = repository(&registry, &Credentials::None);
    let bytes = content(4 << 20, 5);
    registry.fault("/uploads/1", 1, Fault::Cut(1_500_000));
    push(&repository, &bytes).await.unwrap();
    assert!(has(&registry, &bytes));
    let sent: Vec<_> = registry
        .seen("PATCH", "/uploads/1")
        .iter()
        .filter_map(|seen| seen.length)
        .collect();
    assert_eq!(
        sent,
        [4 << 20, (4 << 20) - 1_500_000],
        "the second request sends the rest only"
    );
}

#[tokio::test]
async fn lost_sessions_begin_again_and_refusals_end() {
    let registry = FakeRegistry::start().await;
    let repository = repository(&registry, &Credentials::None);
    let bytes = content(2 << 20, 6);
    registry.status("/uploads/1", 2, 404);
    push(&repository, &bytes).await.unwrap();
    assert!(has(&registry, &bytes));

    let other = content(2 << 20, 8);
    let body = r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#;
    registry.fault("/uploads/", 1, Fault::Status(403, Vec::new(), body.to_owned()));
    let error = push(&repository, &other).await.unwrap_err();
    assert_eq!(error.to_string(), "denied: quota exceeded");
    registry.status("/uploads/", 100, 503);
    let error = push(&repository, &other).await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
}

#[tokio::test]
async fn pieces_for_registries_that_refuse_large_requests() {
    let registry = FakeRegistry::start().await;
    registry.state.lock().unwrap().max_body = Some(9 << 20);
    let repository = repository(&registry, &Credentials::None);
    let bytes = content(20 << 20, 9);
    push(&repository, &bytes).await.unwrap();
    assert!(has(&registry, &bytes));
}

#[tokio::test]
async fn mounts_from_another_repository() {
    let registry = FakeRegistry::start().await;
    let repository = repository(&registry, &Credentials::None);
    let bytes = content(1000, 2);
    let digest = registry.blob("team/base", bytes.clone());
    assert_eq!(
        repository.mount_blob(&digest, "team/base").await.unwrap(),
        MountResult::Mounted
    );
    assert!(has(&registry, &bytes));
    // Not mounted: the session the registry opened is used by the upload.
    let other = content(1000, 3);
    let digest = havre_oci::Digest::sha256_of(&other);
    assert_eq!(
        repository.mount_blob(&digest, "team/base").await.unwrap(),
        MountResult::NotMounted
    );
    push(&repository, &other).await.unwrap();
    assert!(has(&registry, &other));
    assert_eq!(registry.seen("POST", "/uploads/").len(), 2);
}

#[tokio::test]
async fn pushing_needs_its_own_token() {
    let registry = FakeRegistry::start().await;
    registry.state.lock().unwrap().auth = Auth::Bearer {
        realm: None,
        user: "me",
        password: "secret",
        anonymous_pull: true,
    };
    let bytes = content(1000, 4);
    let error = push(&repository(&registry, &Credentials::None), &bytes)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "denied: requested access to the resource is denied"
    );
    let me = Credentials::Basic {
        username: "me".into(),
        password: "secret".into(),
    };
    push(&repository(&registry, &me), &bytes).await.unwrap();
    assert!(has(&registry, &bytes));
    let asked = registry.seen("GET", "/token");
    assert!(
        asked
            .last()
            .unwrap()
            .path
            .contains("scope=repository%3Aapp%3Apull%2Cpush"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_source_that_ends_early_is_an_error() {
    let registry = FakeRegistry::start().await;
    let repository = repository(&registry, &Credentials::None);
    let descriptor = Descriptor::of(media_type::DOCKER_LAYER_GZIP, &content(2 << 20, 1));
    let source = |_: u64| -> std::io::Result<BodyStream> {
        Ok(Box::pin(futures_util::stream::iter([Ok(Bytes::from_static(
            b"short",
        ))])))
    };
    assert!(repository.push_blob(&descriptor, &source, &|_| {}).await.is_err());
    assert!(registry.state.lock().unwrap().blobs.is_empty());
}
