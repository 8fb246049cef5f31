//! "Content Management".

use havre_oci::{Descriptor, Digest, Index, media_type};
use serde_json::json;

use crate::client::Registry;

#[tokio::test]
async fn a_tag_is_deleted_and_the_manifest_stays() {
    let registry = Registry::start().await;
    let (digest, _) = registry.push_image("r", "1", b"layer").await;
    registry.delete("/v2/r/manifests/1").await.is(202);
    registry
        .get("/v2/r/manifests/1")
        .await
        .fails(404, "MANIFEST_UNKNOWN");
    registry.head(&format!("/v2/r/manifests/{digest}")).await.is(200);
    assert_eq!(
        registry.get("/v2/r/tags/list").await.is(200).json(),
        json!({"name": "r", "tags": []})
    );
    registry
        .delete("/v2/r/manifests/1")
        .await
        .fails(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_manifest_is_deleted_with_its_tags() {
    let registry = Registry::start().await;
    let (digest, bytes) = registry.push_image("r", "1", b"layer").await;
    registry.push_image("r", "2", b"layer").await;
    registry.push_image("r", "3", b"other").await;
    let path = format!("/v2/r/manifests/{digest}");
    registry.delete(&path).await.is(202);
    registry.get(&path).await.fails(404, "MANIFEST_UNKNOWN");
    registry.delete(&path).await.fails(404, "MANIFEST_UNKNOWN");
    assert_eq!(
        registry.get("/v2/r/tags/list").await.is(200).json()["tags"],
        json!(["3"])
    );
    // Its blobs are still there, so it can come back.
    registry
        .put("/v2/r/manifests/1", media_type::OCI_MANIFEST, bytes)
        .await
        .is(201);
    registry.get(&path).await.is(200);
}

#[tokio::test]
async fn what_others_need_is_not_deleted() {
    let registry = Registry::start().await;
    let (digest, bytes) = registry.push_image("r", "1", b"layer").await;
    let index = Index::oci(vec![Descriptor::new(
        media_type::OCI_MANIFEST,
        digest.clone(),
        bytes.len() as u64,
    )]);
    let index = index.to_bytes();
    registry
        .put("/v2/r/manifests/all", media_type::OCI_INDEX, index.clone())
        .await
        .is(201);
    let (manifest, layer) = (
        format!("/v2/r/manifests/{digest}"),
        format!("/v2/r/blobs/{}", Digest::sha256_of(b"layer")),
    );
    registry.delete(&manifest).await.fails(409, "DENIED");
    registry.delete(&layer).await.fails(409, "DENIED");
    registry.get(&manifest).await.is(200);
    registry.get(&layer).await.is(200);
    let path = format!("/v2/r/manifests/{}", Digest::sha256_of(&index));
    for path in [&path, &manifest, &layer] {
        registry.delete(path).await.is(202);
        registry.get(path).await.is(404);
    }
}

#[tokio::test]
async fn a_blob_is_deleted_from_its_repository_only() {
    let registry = Registry::start().await;
    let digest = registry.push_blob("a", b"bytes").await;
    registry.push_blob("b", b"bytes").await;
    let path = format!("/v2/a/blobs/{digest}");
    registry.delete(&path).await.is(202);
    registry.get(&path).await.fails(404, "BLOB_UNKNOWN");
    registry.delete(&path).await.fails(404, "BLOB_UNKNOWN");
    registry.get(&format!("/v2/b/blobs/{digest}")).await.is(200);
    registry.push_blob("a", b"bytes").await;
    registry.get(&path).await.is(200);
}
