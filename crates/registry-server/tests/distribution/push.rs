//! "Push".

use havre_oci::{Descriptor, Digest, Index, Manifest, media_type};
use http::Method;
use serde_json::json;

use crate::client::{Registry, sha512};

const OCTETS: &str = "application/octet-stream";

#[tokio::test]
async fn post_then_put() {
    let registry = Registry::start().await;
    let digest = Digest::sha256_of(b"bytes");
    let begun = registry.post("/v2/a/blobs/uploads/").await.is(202);
    assert_eq!(begun.header("range"), "0-0");
    let place = begun.header("location");
    let pushed = registry
        .put(&format!("{place}?digest={digest}"), OCTETS, "bytes")
        .await
        .is(201);
    assert_eq!(pushed.header("docker-content-digest"), digest.as_str());
    assert_eq!(
        registry.get(pushed.header("location")).await.is(200).body,
        "bytes"
    );
    // The upload has ended.
    registry.get(place).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_single_post() {
    let registry = Registry::start().await;
    let digest = Digest::sha256_of(b"bytes");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let pushed = registry.send(Method::POST, &path, &[], "bytes").await.is(201);
    assert_eq!(
        registry.get(pushed.header("location")).await.is(200).body,
        "bytes"
    );
    let wrong = registry.send(Method::POST, &path, &[], "other").await;
    wrong.fails(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn chunks_in_order() {
    let registry = Registry::start().await;
    let digest = Digest::sha256_of(b"0123456789");
    let place = registry.upload("a").await;
    let chunk = async |range: &str, bytes: &'static str| {
        let headers = [("content-range", range), ("content-type", OCTETS)];
        registry.send(Method::PATCH, &place, &headers, bytes).await
    };
    let first = chunk("0-2", "012").await.is(202);
    assert_eq!(first.header("range"), "0-2");
    assert_eq!(first.header("location"), place);
    // Out of order, and what does not follow.
    for (range, bytes) in [("4-5", "45"), ("0-2", "012"), ("2-3", "23")] {
        let refused = chunk(range, bytes).await.fails(416, "RANGE_INVALID");
        assert_eq!(refused.header("range"), "0-2");
    }
    let status = registry.get(&place).await.is(204);
    assert_eq!(status.header("range"), "0-2");
    assert_eq!(status.header("location"), place);
    chunk("3-6", "3456").await.is(202);
    let last = [("content-range", "7-9")];
    let path = format!("{place}?digest={digest}");
    let pushed = registry.send(Method::PUT, &path, &last, "789").await.is(201);
    assert_eq!(
        registry.get(pushed.header("location")).await.is(200).body,
        "0123456789"
    );
}

#[tokio::test]
async fn a_chunk_is_as_long_as_it_says() {
    let registry = Registry::start().await;
    let place = registry.upload("a").await;
    let headers = [("content-range", "0-9")];
    for bytes in ["012345678", "0123456789a"] {
        let wrong = registry.send(Method::PATCH, &place, &headers, bytes).await;
        wrong.fails(400, "SIZE_INVALID");
    }
    for range in ["9-0", "x", "0-18446744073709551615"] {
        let wrong = registry
            .send(Method::PATCH, &place, &[("content-range", range)], "0")
            .await;
        wrong.fails(416, "RANGE_INVALID");
    }
    assert_eq!(registry.get(&place).await.is(204).header("range"), "0-0");
}

#[tokio::test]
async fn streamed_without_ranges_and_closed_without_bytes() {
    let registry = Registry::start().await;
    let digest = Digest::sha256_of(b"streamed");
    let place = registry.upload("a").await;
    registry.send(Method::PATCH, &place, &[], "stream").await.is(202);
    registry.send(Method::PATCH, &place, &[], "ed").await.is(202);
    let path = format!("{place}?digest={digest}");
    registry.send(Method::PUT, &path, &[], "").await.is(201);
    registry.head(&format!("/v2/a/blobs/{digest}")).await.is(200);
}

#[tokio::test]
async fn an_upload_is_cancelled() {
    let registry = Registry::start().await;
    let place = registry.upload("a").await;
    registry.send(Method::PATCH, &place, &[], "bytes").await.is(202);
    registry.delete(&place).await.is(204);
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let answer = registry.send(method, &place, &[], "").await;
        answer.fails(404, "BLOB_UPLOAD_UNKNOWN");
    }
}

#[tokio::test]
async fn bytes_with_another_digest_are_no_blob() {
    let registry = Registry::start().await;
    let digest = Digest::sha256_of(b"expected");
    let place = registry.upload("a").await;
    let wrong = registry
        .put(&format!("{place}?digest={digest}"), OCTETS, "other")
        .await;
    wrong.fails(400, "DIGEST_INVALID");
    registry.head(&format!("/v2/a/blobs/{digest}")).await.is(404);
    for query in [
        "",
        "?digest=",
        "?digest=sha256:1",
        "?digest=md5:0123",
        "?digest=x",
    ] {
        let place = registry.upload("a").await;
        let wrong = registry.put(&format!("{place}{query}"), OCTETS, "bytes").await;
        wrong.fails(400, "DIGEST_INVALID");
    }
}

#[tokio::test]
async fn sha512_is_a_digest_as_good() {
    let registry = Registry::start().await;
    let digest = sha512(b"bytes");
    for query in ["", "?digest-algorithm=sha512", "?digest-algorithm=sha256"] {
        let begun = registry
            .post(&format!("/v2/a/blobs/uploads/{query}"))
            .await
            .is(202);
        let path = format!("{}?digest={digest}", begun.header("location"));
        registry.put(&path, OCTETS, "bytes").await.is(201);
    }
    assert_eq!(
        registry.get(&format!("/v2/a/blobs/{digest}")).await.is(200).body,
        "bytes"
    );
    let bytes = registry.image("a", b"layer").await.to_bytes();
    let path = format!("/v2/a/manifests/{}", sha512(&bytes));
    let pushed = registry
        .put(&path, media_type::OCI_MANIFEST, bytes.clone())
        .await
        .is(201);
    assert_eq!(pushed.header("docker-content-digest"), sha512(&bytes).as_str());
    assert_eq!(registry.get(&path).await.is(200).body, bytes);
    let unknown = registry.post("/v2/a/blobs/uploads/?digest-algorithm=md5").await;
    unknown.fails(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let registry = Registry::start().await;
    let digest = registry.push_blob("from", b"bytes").await;
    let path = format!("/v2/to/blobs/uploads/?mount={digest}&from=from");
    let mounted = registry.post(&path).await.is(201);
    assert_eq!(mounted.header("docker-content-digest"), digest.as_str());
    assert_eq!(
        registry.get(mounted.header("location")).await.is(200).body,
        "bytes"
    );
    // Whichever has it.
    registry
        .post(&format!("/v2/third/blobs/uploads/?mount={digest}"))
        .await
        .is(201);
    // What cannot be mounted is uploaded.
    let other = Digest::sha256_of(b"other");
    for query in [
        format!("mount={other}&from=from"),
        format!("mount={digest}&from=nobody"),
    ] {
        let begun = registry
            .post(&format!("/v2/fourth/blobs/uploads/?{query}"))
            .await
            .is(202);
        let place = begun.header("location");
        assert!(place.starts_with("/v2/fourth/blobs/uploads/"), "{place}");
    }
    let wrong = registry
        .post(&format!("/v2/to/blobs/uploads/?mount={digest}&from=A"))
        .await;
    wrong.fails(400, "NAME_INVALID");
}

#[tokio::test]
async fn a_manifest_is_pushed_under_a_tag_and_moves_it() {
    let registry = Registry::start().await;
    let (first, _) = registry.push_image("a", "1", b"first").await;
    let (second, _) = registry.push_image("a", "1", b"second").await;
    let now = registry.head("/v2/a/manifests/1").await.is(200);
    assert_eq!(now.header("docker-content-digest"), second.as_str());
    registry.head(&format!("/v2/a/manifests/{first}")).await.is(200);
}

#[tokio::test]
async fn a_manifest_says_what_it_is_about() {
    let registry = Registry::start().await;
    let mut manifest = registry.image("a", b"layer").await;
    // Which need not be there.
    let subject = Descriptor::of(media_type::OCI_MANIFEST, b"not here");
    manifest.subject = Some(subject.clone());
    let path = format!("/v2/a/manifests/{}", Digest::sha256_of(&manifest.to_bytes()));
    let pushed = registry
        .put(&path, media_type::OCI_MANIFEST, manifest.to_bytes())
        .await
        .is(201);
    assert_eq!(pushed.header("oci-subject"), subject.digest.as_str());
}

#[tokio::test]
async fn manifests_of_every_kind() {
    let registry = Registry::start().await;
    let image = registry.image("a", b"layer").await;
    let docker = Manifest::docker(
        Descriptor {
            media_type: media_type::DOCKER_CONFIG.into(),
            ..image.config.clone()
        },
        image.layers.clone(),
    );
    let (digest, bytes) = registry.push_image("a", "image", b"layer").await;
    let child = Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64);
    let index = Index::oci(vec![child.clone()]);
    let artifact = json!({
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "artifactType": "application/x",
        "blobs": image.layers,
    });
    for (tag, kind, bytes) in [
        ("docker", media_type::DOCKER_MANIFEST, docker.to_bytes()),
        ("index", media_type::OCI_INDEX, index.to_bytes()),
        (
            "list",
            media_type::DOCKER_MANIFEST_LIST,
            Index {
                media_type: media_type::DOCKER_MANIFEST_LIST.into(),
                ..index.clone()
            }
            .to_bytes(),
        ),
        (
            "artifact",
            "application/vnd.oci.artifact.manifest.v1+json",
            artifact.to_string().into_bytes(),
        ),
        ("nested", media_type::OCI_INDEX, {
            let inner = index.to_bytes();
            Index::oci(vec![Descriptor::of(media_type::OCI_INDEX, &inner)]).to_bytes()
        }),
    ] {
        let path = format!("/v2/a/manifests/{tag}");
        registry.put(&path, kind, bytes.clone()).await.is(201);
        let pulled = registry.get(&path).await.is(200);
        assert_eq!(pulled.header("content-type"), kind);
        assert!(pulled.body == bytes, "{tag}");
    }
}

#[tokio::test]
async fn what_a_manifest_names_must_be_there() {
    let registry = Registry::start().await;
    let mut manifest = registry.image("a", b"layer").await;
    let missing = Descriptor::of(media_type::OCI_LAYER, b"missing");
    manifest.layers.push(missing.clone());
    let path = "/v2/a/manifests/1";
    let refused = registry
        .put(path, media_type::OCI_MANIFEST, manifest.to_bytes())
        .await;
    let refused = refused.fails(400, "MANIFEST_BLOB_UNKNOWN");
    assert!(refused.json().to_string().contains(missing.digest.as_str()));
    registry.head(path).await.is(404);
    // What another repository has isn't in this one.
    let manifest = registry.image("b", b"elsewhere").await;
    let refused = registry
        .put(path, media_type::OCI_MANIFEST, manifest.to_bytes())
        .await;
    refused.fails(400, "MANIFEST_BLOB_UNKNOWN");
    let index = Index::oci(vec![Descriptor::of(media_type::OCI_MANIFEST, b"missing")]);
    let refused = registry.put(path, media_type::OCI_INDEX, index.to_bytes()).await;
    refused.fails(400, "MANIFEST_BLOB_UNKNOWN");
    // Layers that registries do not keep.
    let mut manifest = registry.image("a", b"layer").await;
    let foreign = Descriptor::of(media_type::DOCKER_LAYER_FOREIGN_GZIP, b"foreign");
    manifest.layers.push(foreign);
    registry
        .put(path, media_type::OCI_MANIFEST, manifest.to_bytes())
        .await
        .is(201);
}

#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    let registry = Registry::start().await;
    let manifest = registry.image("a", b"layer").await;
    let bytes = manifest.to_bytes();
    let path = "/v2/a/manifests/1";
    for (kind, bytes) in [
        (media_type::OCI_MANIFEST, b"".to_vec()),
        (media_type::OCI_MANIFEST, b"[]".to_vec()),
        (media_type::OCI_MANIFEST, b"{".to_vec()),
        (media_type::OCI_MANIFEST, b"{}".to_vec()),
        (media_type::OCI_INDEX, bytes.clone()),
        (media_type::DOCKER_MANIFEST, bytes.clone()),
        (
            media_type::DOCKER_SCHEMA1,
            json!({"schemaVersion": 1, "name": "a"}).to_string().into_bytes(),
        ),
        (
            media_type::OCI_MANIFEST,
            json!({"schemaVersion": 2, "config": manifest.config, "manifests": []})
                .to_string()
                .into_bytes(),
        ),
    ] {
        let refused = registry.put(path, kind, bytes).await;
        refused.fails(400, "MANIFEST_INVALID");
    }
    let other = Digest::sha256_of(b"other");
    let refused = registry
        .put(
            &format!("/v2/a/manifests/{other}"),
            media_type::OCI_MANIFEST,
            bytes,
        )
        .await;
    refused.fails(400, "DIGEST_INVALID");
    let large = vec![b' '; (4 << 20) + 1];
    let refused = registry.put(path, media_type::OCI_MANIFEST, large).await;
    refused.fails(413, "MANIFEST_INVALID");
    registry.head(path).await.is(404);
}
