//! "Pull".

use havre_oci::{Digest, media_type};
use http::Method;

use crate::client::Registry;

#[tokio::test]
async fn the_base_says_that_the_api_is_there() {
    let registry = Registry::start().await;
    registry.get("/v2/").await.is(200);
    registry.get("/v2").await.is(200);
    registry.post("/v2/").await.fails(405, "UNSUPPORTED");
}

#[tokio::test]
async fn a_manifest_is_pulled_by_tag_and_by_digest() {
    let registry = Registry::start().await;
    let (digest, bytes) = registry.push_image("a/b", "1.0", b"layer").await;
    for reference in ["1.0", digest.as_str()] {
        let path = format!("/v2/a/b/manifests/{reference}");
        let pulled = registry.get(&path).await.is(200);
        assert_eq!(pulled.body, bytes);
        let known = registry.head(&path).await.is(200);
        for answer in [&pulled, &known] {
            assert_eq!(answer.header("docker-content-digest"), digest.as_str());
            assert_eq!(answer.header("content-type"), media_type::OCI_MANIFEST);
            assert_eq!(answer.header("content-length"), bytes.len().to_string());
        }
        let etag = pulled.header("etag").to_owned();
        let headers = [("if-none-match", etag.as_str())];
        let unchanged = registry.send(Method::GET, &path, &headers, "").await.is(304);
        assert!(unchanged.body.is_empty());
    }
}

#[tokio::test]
async fn a_manifest_that_is_not_there_is_404() {
    let registry = Registry::start().await;
    registry.push_image("a", "1", b"layer").await;
    let other = Digest::sha256_of(b"other");
    for path in [
        "/v2/a/manifests/2".to_owned(),
        format!("/v2/a/manifests/{other}"),
        "/v2/b/manifests/1".to_owned(),
    ] {
        registry.get(&path).await.fails(404, "MANIFEST_UNKNOWN");
        registry.head(&path).await.is(404);
    }
}

#[tokio::test]
async fn a_blob_is_pulled() {
    let registry = Registry::start().await;
    // Larger than what is read at once.
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    for bytes in [&bytes[..], b"small", b""] {
        let digest = registry.push_blob("a", bytes).await;
        let path = format!("/v2/a/blobs/{digest}");
        let pulled = registry.get(&path).await.is(200);
        assert!(pulled.body == bytes);
        let known = registry.head(&path).await.is(200);
        for answer in [&pulled, &known] {
            assert_eq!(answer.header("docker-content-digest"), digest.as_str());
            assert_eq!(answer.header("content-length"), bytes.len().to_string());
        }
    }
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_404() {
    let registry = Registry::start().await;
    let digest = registry.push_blob("a", b"here").await;
    let other = Digest::sha256_of(b"other");
    for path in [format!("/v2/a/blobs/{other}"), format!("/v2/b/blobs/{digest}")] {
        registry.get(&path).await.fails(404, "BLOB_UNKNOWN");
        registry.head(&path).await.is(404);
    }
}

#[tokio::test]
async fn parts_of_a_blob_are_pulled() {
    let registry = Registry::start().await;
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = registry.push_blob("a", &bytes).await;
    let path = format!("/v2/a/blobs/{digest}");
    let total = bytes.len();
    for (range, expected) in [
        ("bytes=0-9", 0..10),
        ("bytes=5-", 5..total),
        ("bytes=-7", total - 7..total),
        ("bytes=1000000-99999999", 1_000_000..total),
        ("bytes=10-1500000", 10..1_500_001),
    ] {
        let part = registry
            .send(Method::GET, &path, &[("range", range)], "")
            .await
            .is(206);
        assert!(part.body == bytes[expected.clone()], "{range}");
        assert_eq!(
            part.header("content-range"),
            format!("bytes {}-{}/{total}", expected.start, expected.end - 1)
        );
        assert_eq!(part.header("content-length"), expected.len().to_string());
    }
    let none = [("range", "bytes=2000000-")];
    let nothing = registry.send(Method::GET, &path, &none, "").await;
    assert_eq!(
        nothing.fails(416, "RANGE_INVALID").header("content-range"),
        "bytes */2000000"
    );
}
