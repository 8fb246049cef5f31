//! "Content Discovery": tags and referrers; and Docker's catalog.

use havre_oci::{Descriptor, Digest, media_type};
use serde_json::{Value, json};

use crate::client::{Answer, Registry};

fn strings(answer: &Answer, key: &str) -> Vec<String> {
    serde_json::from_value(answer.json()[key].clone()).unwrap()
}

/// All pages of a list.
async fn pages(registry: &Registry, first: &str, key: &str) -> Vec<Vec<String>> {
    let (mut pages, mut path) = (Vec::new(), first.to_owned());
    loop {
        let page = registry.get(&path).await.is(200);
        pages.push(strings(&page, key));
        let Some(link) = page.headers.get("link") else {
            return pages;
        };
        let link = link.to_str().unwrap();
        let rest = link.strip_prefix('<').unwrap();
        let (next, relation) = rest.split_once('>').unwrap();
        assert_eq!(relation, "; rel=\"next\"");
        path = next.to_owned();
    }
}

#[tokio::test]
async fn tags_are_sorted_and_come_in_pages() {
    let registry = Registry::start().await;
    for tag in ["b", "a", "C", "1.10", "1.9", "_"] {
        registry.push_image("r", tag, b"layer").await;
    }
    let all = ["1.10", "1.9", "C", "_", "a", "b"];
    let listed = registry.get("/v2/r/tags/list").await.is(200);
    assert_eq!(listed.json(), json!({"name": "r", "tags": all}));
    assert!(listed.headers.get("link").is_none());
    assert_eq!(
        pages(&registry, "/v2/r/tags/list?n=4", "tags").await,
        [&all[..4], &all[4..]]
    );
    assert_eq!(pages(&registry, "/v2/r/tags/list?n=6", "tags").await, [&all[..]]);
    assert_eq!(
        pages(&registry, "/v2/r/tags/list?n=2&last=_", "tags").await,
        [&all[4..]]
    );
    assert_eq!(
        strings(&registry.get("/v2/r/tags/list?last=zzz").await.is(200), "tags"),
        [""; 0]
    );
    assert_eq!(
        strings(&registry.get("/v2/r/tags/list?n=0").await.is(200), "tags"),
        [""; 0]
    );
    for n in ["-1", "x", "", "1e3"] {
        let refused = registry.get(&format!("/v2/r/tags/list?n={n}")).await;
        refused.fails(400, "PAGINATION_NUMBER_INVALID");
    }
    registry
        .get("/v2/nobody/tags/list")
        .await
        .fails(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn the_catalog_comes_in_pages() {
    let registry = Registry::start().await;
    assert_eq!(
        registry.get("/v2/_catalog").await.is(200).json(),
        json!({"repositories": []})
    );
    for name in ["b", "a/x", "a-b", "a"] {
        registry.push_image(name, "1", b"layer").await;
    }
    let all = ["a", "a-b", "a/x", "b"];
    assert_eq!(pages(&registry, "/v2/_catalog", "repositories").await, [&all[..]]);
    assert_eq!(
        pages(&registry, "/v2/_catalog?n=3", "repositories").await,
        [&all[..3], &all[3..]]
    );
    let most = registry.get("/v2/_catalog?n=99999999999999999999999").await;
    assert_eq!(strings(&most.is(200), "repositories"), all);
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let registry = Registry::start().await;
    let (subject, bytes) = registry.push_image("r", "1", b"layer").await;
    let list = format!("/v2/r/referrers/{subject}");
    let empty = registry.get(&list).await.is(200);
    assert_eq!(empty.header("content-type"), media_type::OCI_INDEX);
    assert_eq!(
        empty.json(),
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []})
    );
    let mut expected = Vec::new();
    for (number, kind) in [(1, Some("application/x")), (2, Some("application/y")), (3, None)] {
        let mut manifest = registry.image("r", b"about").await;
        manifest.artifact_type = kind.map(str::to_owned);
        manifest.subject = Some(Descriptor::new(
            media_type::OCI_MANIFEST,
            subject.clone(),
            bytes.len() as u64,
        ));
        manifest.annotations.insert("number".into(), number.to_string());
        let bytes = manifest.to_bytes();
        let digest = Digest::sha256_of(&bytes);
        let path = format!("/v2/r/manifests/{digest}");
        registry
            .put(&path, media_type::OCI_MANIFEST, bytes.clone())
            .await
            .is(201);
        expected.push(json!({
            "mediaType": media_type::OCI_MANIFEST,
            "digest": digest,
            "size": bytes.len(),
            // Of an image, what its configuration is.
            "artifactType": kind.unwrap_or(media_type::OCI_CONFIG),
            "annotations": {"number": number.to_string()},
        }));
    }
    let sorted = |answer: &Answer| {
        let mut manifests = answer.json()["manifests"].as_array().unwrap().clone();
        manifests.sort_by_key(|one: &Value| one["annotations"]["number"].to_string());
        manifests
    };
    let all = registry.get(&list).await.is(200);
    assert_eq!(sorted(&all), expected);
    assert!(all.headers.get("oci-filters-applied").is_none());
    for (kind, expected) in [
        ("application/y", &expected[1..2]),
        (media_type::OCI_CONFIG, &expected[2..]),
        ("application/z", &[]),
    ] {
        let some = registry
            .get(&format!("{list}?artifactType={}", kind.replace('+', "%2B")))
            .await
            .is(200);
        assert_eq!(some.header("oci-filters-applied"), "artifactType");
        assert_eq!(sorted(&some), expected);
    }
    // Of what isn't there, and in other repositories, there are none.
    let nobody = Digest::sha256_of(b"nobody");
    for path in [
        format!("/v2/r/referrers/{nobody}"),
        format!("/v2/s/referrers/{subject}"),
    ] {
        assert!(sorted(&registry.get(&path).await.is(200)).is_empty());
    }
    registry
        .get("/v2/r/referrers/x")
        .await
        .fails(400, "DIGEST_INVALID");
}
