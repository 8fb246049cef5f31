//! What is on the disk is the reference registry's, and what that one left there is served.

use fs_err as fs;
use havre_oci::{Digest, media_type};
use serde_json::json;

use crate::client::Registry;

#[tokio::test]
async fn a_folder_goes_on_without_its_database() {
    let registry = Registry::start().await;
    let (digest, bytes) = registry.push_image("a/b", "1", b"layer").await;
    registry.push_image("a/b", "2", b"other").await;
    registry.delete("/v2/a/b/manifests/2").await.is(202);
    let mut about = registry.image("a/b", b"about").await;
    about.subject = Some(havre_oci::Descriptor::new(
        media_type::OCI_MANIFEST,
        digest.clone(),
        bytes.len() as u64,
    ));
    let about = about.to_bytes();
    let path = format!("/v2/a/b/manifests/{}", Digest::sha256_of(&about));
    registry.put(&path, media_type::OCI_MANIFEST, about).await.is(201);
    let expected = registry.get(&format!("/v2/a/b/referrers/{digest}")).await.json();
    let links = |registry: &Registry| {
        let v2 = registry.dir.path().join("docker/registry/v2/repositories/a/b");
        let link = v2.join("_manifests/tags/1/current/link");
        assert_eq!(fs::read_to_string(link).unwrap(), digest.as_str());
        assert!(!v2.join("_manifests/tags/2").exists());
        let uploads = fs::read_dir(v2.join("_uploads")).unwrap();
        assert_eq!(uploads.count(), 0);
    };
    links(&registry);

    // As the reference registry would have left it: another folder with the same tree and no database.
    let copy = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(registry.dir.path().join("docker"))
        .arg(copy.path())
        .status();
    assert!(copied.unwrap().success());
    let again = Registry::over(copy).await;
    let pulled = again.get("/v2/a/b/manifests/1").await.is(200);
    assert_eq!(pulled.body, bytes);
    assert_eq!(pulled.header("content-type"), media_type::OCI_MANIFEST);
    assert_eq!(
        again.get("/v2/a/b/tags/list").await.json(),
        json!({"name": "a/b", "tags": ["1"]})
    );
    assert_eq!(
        again.get("/v2/_catalog").await.json(),
        json!({"repositories": ["a/b"]})
    );
    assert_eq!(
        again.get(&format!("/v2/a/b/referrers/{digest}")).await.json(),
        expected
    );
    let layer = Digest::sha256_of(b"layer");
    assert_eq!(
        again.get(&format!("/v2/a/b/blobs/{layer}")).await.is(200).body,
        "layer"
    );
    links(&again);
}

#[tokio::test]
async fn damage_is_left_out() {
    let registry = Registry::start().await;
    let (digest, _) = registry.push_image("good", "1", b"layer").await;
    let (bad, _) = registry.push_image("bad", "1", b"other").await;
    let v2 = registry.dir.path().join("docker/registry/v2");
    let blob = v2
        .join("blobs/sha256")
        .join(&bad.hex()[..2])
        .join(bad.hex())
        .join("data");
    fs::write(blob, "{}").unwrap();
    fs::write(v2.join("repositories/good/_manifests/tags/1/current/stray"), "x").unwrap();
    fs::create_dir_all(v2.join("repositories/Not A Name/_manifests")).unwrap();
    fs::create_dir_all(v2.join("repositories/good/_manifests/tags/empty")).unwrap();
    let copy = tempfile::tempdir().unwrap();
    fs::rename(registry.dir.path().join("docker"), copy.path().join("docker")).unwrap();
    let again = Registry::over(copy).await;
    again
        .get("/v2/bad/manifests/1")
        .await
        .fails(404, "MANIFEST_UNKNOWN");
    let good = again.get("/v2/good/manifests/1").await.is(200);
    assert_eq!(good.header("docker-content-digest"), digest.as_str());
    assert_eq!(again.get("/v2/good/tags/list").await.json()["tags"], json!(["1"]));
}

#[tokio::test]
async fn an_upload_goes_on_after_the_registry_was_away() {
    let registry = Registry::start().await;
    let place = registry.upload("a").await;
    registry
        .send(http::Method::PATCH, &place, &[], "first ")
        .await
        .is(202);
    let copy = tempfile::tempdir().unwrap();
    fs::rename(registry.dir.path().join("docker"), copy.path().join("docker")).unwrap();
    let again = Registry::over(copy).await;
    assert_eq!(again.get(&place).await.is(204).header("range"), "0-5");
    again
        .send(http::Method::PATCH, &place, &[("content-range", "6-9")], "then")
        .await
        .is(202);
    let digest = Digest::sha256_of(b"first then");
    again
        .put(
            &format!("{place}?digest={digest}"),
            "application/octet-stream",
            "",
        )
        .await
        .is(201);
}
