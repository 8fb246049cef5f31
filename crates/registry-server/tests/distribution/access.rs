//! Who gets in, and what a configuration allows.

use fs_err as fs;
use havre_registry_server::{Config, HtpasswdFile};
use http::{HeaderName, HeaderValue, Method};

use crate::client::Registry;

#[tokio::test]
async fn only_users_of_the_file_get_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    fs::write(&path, format!("me:{}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
    let htpasswd = Some(HtpasswdFile {
        realm: "a \"realm\"".into(),
        path,
    });
    let config = Config {
        htpasswd,
        ..Config::usual()
    };
    let registry = Registry::configured(dir, config).await;
    for path in [
        "/v2/",
        "/v2/_catalog",
        "/v2/a/tags/list",
        "/nothing",
        "/v2/A/tags/list",
    ] {
        let refused = registry.get(path).await.fails(401, "UNAUTHORIZED");
        assert_eq!(refused.header("www-authenticate"), "Basic realm=\"a realm\"");
        // me:wrong, you:secret
        for wrong in ["Basic bWU6d3Jvbmc=", "Basic eW91OnNlY3JldA==", "Bearer x"] {
            let headers = [("authorization", wrong)];
            let refused = registry.send(Method::GET, path, &headers, "").await;
            refused.fails(401, "UNAUTHORIZED");
        }
    }
    let me = [("authorization", "Basic bWU6c2VjcmV0")];
    registry.send(Method::GET, "/v2/", &me, "").await.is(200);
    let begun = registry.send(Method::POST, "/v2/a/blobs/uploads/", &me, "").await;
    begun.is(202);
}

#[tokio::test]
async fn nothing_is_deleted_where_that_is_off_and_headers_are_sent() {
    let config = Config {
        deletes: false,
        headers: vec![(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        )],
        ..Config::usual()
    };
    let registry = Registry::configured(tempfile::tempdir().unwrap(), config).await;
    let (digest, _) = registry.push_image("a", "1", b"layer").await;
    for path in [
        "/v2/a/manifests/1".to_owned(),
        format!("/v2/a/manifests/{digest}"),
        format!("/v2/a/blobs/{digest}"),
    ] {
        registry.delete(&path).await.fails(405, "UNSUPPORTED");
    }
    let kept = registry.get("/v2/a/manifests/1").await.is(200);
    assert_eq!(kept.header("x-content-type-options"), "nosniff");
    // An upload is nobody's yet.
    let place = registry.upload("a").await;
    registry.delete(&place).await.is(204);
}
