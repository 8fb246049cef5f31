//! "Error Codes", and names that are none.

use http::Method;

use crate::client::Registry;

#[tokio::test]
async fn names_that_are_none() {
    let registry = Registry::start().await;
    for name in [
        "A",
        "a..b",
        "a/../b",
        "a//b",
        "-a",
        "a%2F..%2Fb",
        &"a".repeat(256),
    ] {
        registry
            .get(&format!("/v2/{name}/tags/list"))
            .await
            .fails(400, "NAME_INVALID");
        registry
            .post(&format!("/v2/{name}/blobs/uploads/"))
            .await
            .fails(400, "NAME_INVALID");
    }
    for tag in [".a", "-a", &"a".repeat(129)] {
        registry
            .get(&format!("/v2/a/manifests/{tag}"))
            .await
            .fails(400, "TAG_INVALID");
    }
    for digest in ["sha256:0", "md5:d41d8cd98f00b204e9800998ecf8427e", "x"] {
        registry
            .get(&format!("/v2/a/blobs/{digest}"))
            .await
            .fails(400, "DIGEST_INVALID");
    }
}

#[tokio::test]
async fn uploads_that_are_none() {
    let registry = Registry::start().await;
    let place = registry.upload("a").await;
    let id = place.rsplit('/').next().unwrap();
    for path in [
        format!("/v2/b/blobs/uploads/{id}"),
        "/v2/a/blobs/uploads/x".to_owned(),
        "/v2/a/blobs/uploads/..".to_owned(),
        "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000".to_owned(),
    ] {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let answer = registry.send(method.clone(), &path, &[], "").await;
            answer.fails(404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    let registry = Registry::start().await;
    for (method, path, allowed) in [
        (Method::PATCH, "/v2/a/manifests/1", "GET, HEAD, PUT, DELETE"),
        (Method::DELETE, "/v2/a/tags/list", "GET, HEAD"),
        (Method::GET, "/v2/a/blobs/uploads/", "POST"),
    ] {
        let answer = registry
            .send(method, path, &[], "")
            .await
            .fails(405, "UNSUPPORTED");
        assert_eq!(answer.header("allow"), allowed);
    }
    registry.get("/v1/_ping").await.fails(404, "UNSUPPORTED");
}
