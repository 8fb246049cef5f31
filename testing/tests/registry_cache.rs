//! A registry that is a cache of another: asked once, kept, and served when the other is away.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use havre_testing::http::{Response, to_tcp};
use havre_testing::{
    Action, Auth, Compression, HavreRegistry, Image, Layer, Registry, S3Server, digest_of, eventually, noise,
    two_architectures,
};
use serde_json::Value;

const UNREACHABLE: u16 = 503;

fn cache_of(root: &Path, upstream: &str, more: &[(&str, &str)]) -> HavreRegistry {
    let mut variables = vec![("REGISTRY_PROXY_REMOTEURL", upstream)];
    variables.extend(more);
    HavreRegistry::configured(root, &variables)
}

fn url(upstream: &Registry) -> String {
    format!("http://{}", upstream.host())
}

fn get(host: &str, target: &str) -> Response {
    to_tcp(host, "GET", target, "", b"").expect("an answer")
}

fn head(host: &str, target: &str) -> Response {
    to_tcp(host, "HEAD", target, "", b"").expect("an answer")
}

fn small() -> Image {
    Image::from_layers([Layer::new().file("hello", b"world\n")])
}

/// What holds a blob back behind so many bytes, and what lets it go on.
fn held(after: usize) -> (Action, Sender<()>) {
    let (go, wait) = channel();
    (Action::HoldAfter(after, Arc::new(Mutex::new(wait))), go)
}

/// Gets all of an image, as clients do; the digests of its blobs.
fn pull(host: &str, repository: &str, reference: &str) -> Vec<String> {
    let answer = get(host, &format!("/v2/{repository}/manifests/{reference}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("docker-content-digest"),
        Some(digest_of(&answer.body).as_str())
    );
    let manifest = answer.json();
    let digests = |key: &str| -> Vec<String> {
        let list = manifest[key].as_array().cloned().unwrap_or_default();
        let digest = |one: &Value| one["digest"].as_str().expect("a digest").to_owned();
        list.iter().map(digest).collect()
    };
    if let Some(first) = digests("manifests").first() {
        return pull(host, repository, first);
    }
    let mut blobs = digests("layers");
    blobs.extend(manifest["config"]["digest"].as_str().map(str::to_owned));
    for digest in &blobs {
        let blob = get(host, &format!("/v2/{repository}/blobs/{digest}"));
        assert_eq!((blob.status, digest_of(&blob.body)), (200, digest.clone()));
    }
    blobs
}

#[test]
fn what_was_pulled_is_kept() {
    let (upstream, root) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    let index = upstream.publish_index("team/app", "1", &two_architectures());
    let cache = cache_of(root.path(), &url(&upstream), &[]);
    let host = cache.host();
    let told = head(host, "/v2/team/app/manifests/1");
    assert_eq!(
        (told.status, told.header("docker-content-digest")),
        (200, Some(index.as_str()))
    );
    let blobs = pull(host, "team/app", "1");
    let asked = upstream.seen("GET", "").len();
    upstream.fail("GET", "", None, Action::error(500, "UNKNOWN", "not again"));
    upstream.fail("HEAD", "", None, Action::error(500, "UNKNOWN", "not again"));
    assert_eq!(pull(host, "team/app", "1"), blobs);
    assert_eq!(pull(host, "team/app", &index), blobs);
    assert_eq!(
        upstream.seen("GET", "").len(),
        asked,
        "nothing is asked for again"
    );
    for digest in &blobs {
        let known = upstream.blob(digest).expect("a blob");
        let told = head(host, &format!("/v2/team/app/blobs/{digest}"));
        assert_eq!(
            told.header("content-length"),
            Some(known.len().to_string().as_str())
        );
    }
    assert_eq!(
        get(host, "/v2/_catalog").json()["repositories"],
        serde_json::json!(["team/app"])
    );
    // The other platform was never asked for.
    let page = get(host, "/r/team/app");
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(
        page.text().contains("amd64") && page.text().contains("arm64"),
        "{}",
        page.text()
    );
    assert!(
        page.text().contains(&format!("kept from {}", url(&upstream))),
        "{}",
        page.text()
    );
    let image = get(host, "/r/team/app/t/1");
    assert!(image.status < 500, "{}", image.text());

    // Changed there only.
    for (method, target) in [
        ("POST", "/v2/team/app/blobs/uploads/"),
        ("PUT", "/v2/team/app/manifests/2"),
        (
            "PATCH",
            "/v2/team/app/blobs/uploads/00000000-0000-4000-8000-000000000000",
        ),
    ] {
        let refused = to_tcp(host, method, target, "", b"{}").expect("an answer");
        assert_eq!(refused.status, 405, "{method} {target}");
        assert!(refused.text().contains(&url(&upstream)), "{}", refused.text());
    }
    // Another process finds it, and so do administrators who look for damage.
    assert_eq!(cache.stop(), Some(0));
    let again = cache_of(root.path(), &url(&upstream), &[]);
    assert_eq!(pull(again.host(), "team/app", "1"), blobs);
    assert_eq!(again.stop(), Some(0));
    HavreRegistry::check(root.path());
}

#[test]
fn many_who_ask_at_once_ask_once() {
    let (upstream, root) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    let image = small().with_layer(&Layer::new().file("noise", noise(1, 20 << 20)));
    upstream.publish("app", "1", &image, Compression::None);
    let cache = cache_of(root.path(), &url(&upstream), &[]);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| pull(cache.host(), "app", "1"));
        }
    });
    assert_eq!(upstream.seen("GET", "/manifests/").len(), 1);
    let blobs = upstream.seen("GET", "/blobs/");
    assert_eq!(blobs.len(), 3, "{blobs:#?}");
}

#[test]
fn a_blob_is_read_while_it_comes() {
    let (upstream, root) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    let blob = noise(1, 3 << 20);
    let digest = digest_of(&blob);
    upstream.put_blobs("app", [blob.clone()]);
    let (hold, go) = held(1 << 20);
    upstream.fail("GET", "/blobs/", Some(1), hold);
    let cache = cache_of(root.path(), &url(&upstream), &[]);
    let begin = || {
        let mut stream = TcpStream::connect(cache.host()).expect("a connection");
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).expect("a timeout");
        write!(
            stream,
            "GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).expect("a head") > 2 {
            line.clear();
        }
        let mut first = vec![0; 512 << 10];
        reader
            .read_exact(&mut first)
            .expect("the first bytes, while the others are held back");
        assert!(first == blob[..first.len()]);
        reader
    };
    // The one who began leaves, the other stays.
    let (gone, mut stays) = (begin(), begin());
    drop(gone);
    drop(go);
    let mut rest = Vec::new();
    stays.read_to_end(&mut rest).expect("the others");
    assert!(rest == blob[512 << 10..]);
    let part = TcpStream::connect(cache.host()).and_then(|mut stream| {
        write!(
            stream,
            "GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\nRange: bytes=5-9\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    });
    let part = part.expect("a part");
    assert!(part.starts_with(b"HTTP/1.1 206 ") && part.ends_with(&blob[5..10]));
    assert_eq!(upstream.seen("GET", "/blobs/").len(), 1);
}

#[test]
fn wrong_bytes_are_never_shown_whole_and_never_kept() {
    let (upstream, root) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    let blob = noise(1, 100_000);
    let (digest, target) = (digest_of(&blob), format!("/v2/app/blobs/{}", digest_of(&blob)));
    upstream.put_blobs("app", [blob.clone()]);
    upstream.fail("GET", "/blobs/", Some(1), Action::Corrupt);
    let cache = cache_of(root.path(), &url(&upstream), &[]);
    let wrong = to_tcp(cache.host(), "GET", &target, "", b"");
    assert!(
        wrong
            .as_ref()
            .map_or(true, |answer| answer.body.len() < blob.len()
                || answer.status != 200),
        "all of it came"
    );
    let right = get(cache.host(), &target);
    assert_eq!((right.status, digest_of(&right.body)), (200, digest));
    // A connection that breaks is gone on with.
    let other = noise(1, 200_000);
    upstream.put_blobs("app", [other.clone()]);
    upstream.fail("GET", "/blobs/", Some(1), Action::CutAfter(70_000));
    let target = format!("/v2/app/blobs/{}", digest_of(&other));
    assert_eq!(get(cache.host(), &target).body, other);
    let ranges: Vec<_> = upstream
        .seen("GET", &digest_of(&other))
        .iter()
        .filter_map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, ["bytes=70000-"]);
    // A manifest that is not what its digest says.
    let manifest = upstream.publish("app", "1", &small(), Compression::Gzip);
    upstream.fail("GET", "/manifests/", Some(1), Action::Corrupt);
    let wrong = get(cache.host(), &format!("/v2/app/manifests/{manifest}"));
    assert_eq!(wrong.status, 502, "{}", wrong.text());
    pull(cache.host(), "app", &manifest);
}

#[test]
fn tags_are_looked_at_again_and_kept_while_upstream_is_away() {
    let (upstream, root) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    let first = upstream.publish("app", "1", &small(), Compression::Gzip);
    let cache = cache_of(root.path(), &url(&upstream), &[("REGISTRY_PROXY_TAGTTL", "0")]);
    let host = cache.host();
    pull(host, "app", "1");
    let read = upstream.seen("GET", "/manifests/").len();
    std::thread::sleep(Duration::from_millis(5));
    pull(host, "app", "1");
    assert_eq!(
        upstream.seen("GET", "/manifests/").len(),
        read,
        "only asked whether it is the same"
    );
    assert_eq!(upstream.seen("HEAD", "/manifests/1").len(), 1);

    let second = upstream.publish("app", "1", &Image::busybox(), Compression::Gzip);
    std::thread::sleep(Duration::from_millis(5));
    let moved = get(host, "/v2/app/manifests/1");
    assert_eq!(moved.header("docker-content-digest"), Some(second.as_str()));
    pull(host, "app", &first);

    // Away, in the ways there are.
    upstream.publish("app", "1", &small(), Compression::Gzip);
    for action in [
        Action::error(503, "UNAVAILABLE", "down"),
        Action::Status(200, Vec::new(), "<html>welcome to the hotel</html>".to_owned()),
    ] {
        upstream.fail("HEAD", "/manifests/", None, action.clone());
        upstream.fail("GET", "/", None, action);
        let stale = get(host, "/v2/app/manifests/1");
        assert_eq!(stale.status, 200, "{}", stale.text());
        assert_eq!(stale.header("docker-content-digest"), Some(second.as_str()));
        assert!(stale.header("warning").is_some(), "{stale:?}");
        let missing = get(host, "/v2/app/manifests/2").status;
        assert!(missing == UNREACHABLE || missing == 502, "{missing}");
        assert_eq!(
            get(host, "/v2/app/tags/list").json()["tags"],
            serde_json::json!(["1"])
        );
        upstream.behave();
    }
    assert_eq!(
        get(host, "/v2/app/manifests/1").header("docker-content-digest"),
        Some(first.as_str())
    );

    // Gone is not away.
    upstream.fail(
        "HEAD",
        "/manifests/1",
        None,
        Action::error(404, "MANIFEST_UNKNOWN", "gone"),
    );
    upstream.fail(
        "GET",
        "/manifests/1",
        None,
        Action::error(404, "MANIFEST_UNKNOWN", "gone"),
    );
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(get(host, "/v2/app/manifests/1").status, 404);
    upstream.behave();
    assert_eq!(get(host, "/v2/app/manifests/1").status, 200);
    assert_eq!(get(host, "/v2/none/manifests/1").status, 404);
    assert_eq!(
        get(host, &format!("/v2/app/blobs/{}", digest_of(b"none"))).status,
        404
    );
}

#[test]
fn an_upstream_that_is_not_there_is_not_waited_for() {
    let (upstream, root) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    upstream.publish("app", "1", &small(), Compression::Gzip);
    let cache = cache_of(root.path(), &url(&upstream), &[("REGISTRY_PROXY_TAGTTL", "0")]);
    let blobs = pull(cache.host(), "app", "1");
    cache.stop();
    // A port that nobody listens at.
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = format!("http://{}", nobody.expect("a port"));
    let cache = cache_of(root.path(), &nobody, &[("REGISTRY_PROXY_TAGTTL", "0")]);
    assert_eq!(pull(cache.host(), "app", "1"), blobs);
    let missing = get(cache.host(), "/v2/app/manifests/2");
    assert_eq!(missing.status, UNREACHABLE);
    assert!(missing.text().contains("cannot be reached"), "{}", missing.text());
    assert_eq!(
        get(cache.host(), "/v2/app/tags/list").json()["tags"],
        serde_json::json!(["1"])
    );
}

#[test]
fn an_upstream_that_asks_for_patience_is_left_alone() {
    let (upstream, root) = (Registry::start(), tempfile::tempdir().expect("a folder"));
    upstream.publish("app", "1", &small(), Compression::Gzip);
    upstream.publish("app", "2", &small(), Compression::Gzip);
    let cache = cache_of(root.path(), &url(&upstream), &[("REGISTRY_PROXY_TAGTTL", "0")]);
    let host = cache.host();
    pull(host, "app", "1");
    let limited =
        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"you have reached your pull rate limit"}]}"#;
    let later = vec![("Retry-After".to_owned(), "3".to_owned())];
    upstream.fail(
        "HEAD",
        "",
        None,
        Action::Status(429, later.clone(), String::new()),
    );
    upstream.fail("GET", "", None, Action::Status(429, later, limited.to_owned()));
    std::thread::sleep(Duration::from_millis(5));
    let stale = get(host, "/v2/app/manifests/1");
    assert_eq!((stale.status, stale.header("warning").is_some()), (200, true));
    let asked = upstream.seen("GET", "").len() + upstream.seen("HEAD", "").len();
    let refused = get(host, "/v2/app/manifests/2");
    assert_eq!(refused.status, 429, "{}", refused.text());
    let wait: u64 = refused
        .header("retry-after")
        .expect("a time")
        .parse()
        .expect("seconds");
    assert!((1..=4).contains(&wait), "{wait}");
    let after = upstream.seen("GET", "").len() + upstream.seen("HEAD", "").len();
    assert_eq!(after, asked, "it is not asked while it wants patience");
    upstream.behave();
    eventually("the pause ends", || {
        get(host, "/v2/app/manifests/2").status == 200
    });
}

#[test]
fn passwords_go_to_upstream_and_its_token_server_only() {
    let login = |user: &str| Auth::Token {
        user: user.to_owned(),
        password: "secret".to_owned(),
    };
    let (upstream, other) = (Registry::start(), Registry::start());
    upstream.publish("app", "1", &small(), Compression::Gzip);
    upstream.require(login("me"));
    other.require(login("me"));
    let known = [
        ("REGISTRY_PROXY_USERNAME", "me"),
        ("REGISTRY_PROXY_PASSWORD", "secret"),
    ];
    let root = tempfile::tempdir().expect("a folder");
    let cache = cache_of(root.path(), &url(&upstream), &known);
    pull(cache.host(), "app", "1");
    cache.stop();

    // Nobody, and somebody else.
    for who in [
        &[][..],
        &[
            ("REGISTRY_PROXY_USERNAME", "you"),
            ("REGISTRY_PROXY_PASSWORD", "x"),
        ],
    ] {
        let root = tempfile::tempdir().expect("a folder");
        let cache = cache_of(root.path(), &url(&upstream), who);
        let refused = get(cache.host(), "/v2/app/manifests/1");
        assert_eq!(refused.status, 502, "{}", refused.text());
        assert!(!refused.text().contains("secret"));
    }

    // Another token server than its own.
    let elsewhere = format!("Bearer realm=\"http://{}/token\",service=\"x\"", other.host());
    let challenge = Action::Status(
        401,
        vec![("WWW-Authenticate".to_owned(), elsewhere)],
        String::new(),
    );
    let root = tempfile::tempdir().expect("a folder");
    upstream.fail("GET", "", None, challenge.clone());
    upstream.fail("HEAD", "", None, challenge);
    let cache = cache_of(root.path(), &url(&upstream), &known);
    let refused = get(cache.host(), "/v2/app/manifests/1");
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert!(
        refused.text().contains("refusing to send credentials"),
        "{}",
        refused.text()
    );
    assert!(other.seen("GET", "").is_empty());
}

#[test]
fn upstream_leads_nowhere_into_this_network() {
    let listener = TcpListener::bind("127.0.0.2:0").expect("a port");
    let inside = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("no waiting");
    let visited = || listener.accept().is_ok();
    let upstream = Registry::start();
    let digest = upstream.publish("app", "1", &small(), Compression::Gzip);
    let redirect = Action::Status(
        307,
        vec![("Location".to_owned(), format!("http://{inside}/secret"))],
        String::new(),
    );
    let challenge = Action::Status(
        401,
        vec![(
            "WWW-Authenticate".to_owned(),
            format!("Bearer realm=\"http://{inside}/token\",service=\"x\""),
        )],
        String::new(),
    );
    for (what, action) in [("/blobs/", redirect), ("/manifests/", challenge)] {
        upstream.fail("GET", what, None, action.clone());
        upstream.fail("HEAD", what, None, action);
        let root = tempfile::tempdir().expect("a folder");
        let cache = cache_of(root.path(), &url(&upstream), &[]);
        let refused = get(cache.host(), &format!("/v2/app{what}{digest}"));
        assert_eq!(refused.status, 502, "{}", refused.text());
        assert!(
            refused.text().contains("address of this network"),
            "{}",
            refused.text()
        );
        assert!(!visited(), "{what}");
        // Where that is wanted.
        let root = tempfile::tempdir().expect("a folder");
        let cache = cache_of(
            root.path(),
            &url(&upstream),
            &[("REGISTRY_PROXY_PRIVATE", "true")],
        );
        let target = format!("/v2/app{what}{digest}");
        let waiting = TcpStream::connect(cache.host()).and_then(|mut stream| {
            write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")?;
            Ok(stream)
        });
        eventually("the way is gone", visited);
        drop(waiting);
        upstream.behave();
    }
}

#[test]
fn caches_of_several_registries_beside_ones_own_images() {
    let (one, two) = (Registry::start(), Registry::start());
    one.publish("app", "1", &small(), Compression::Gzip);
    two.publish("deep/app", "1", &Image::busybox(), Compression::Gzip);
    let root = tempfile::tempdir().expect("a folder");
    let registry = HavreRegistry::configured(
        root.path(),
        &[
            ("REGISTRY_CACHES_ONE_REMOTEURL", &url(&one)),
            ("REGISTRY_CACHES_TWO_REMOTEURL", &url(&two)),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ],
    );
    let host = registry.host();
    pull(host, "one/app", "1");
    pull(host, "two/deep/app", "1");
    assert_eq!(get(host, "/v2/app/manifests/1").status, 404, "that is one's own");
    assert_eq!(get(host, "/v2/two/app/manifests/1").status, 404);
    let begun = to_tcp(host, "POST", "/v2/own/app/blobs/uploads/", "", b"").expect("an answer");
    assert_eq!(begun.status, 202);
    let begun = to_tcp(host, "POST", "/v2/one/app/blobs/uploads/", "", b"").expect("an answer");
    assert_eq!(begun.status, 405);
    // What is kept may be let go, and comes again.
    let deleted = to_tcp(host, "DELETE", "/v2/one/app/manifests/1", "", b"").expect("an answer");
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    pull(host, "one/app", "1");
}

#[test]
fn on_a_bucket_too_and_after_a_crash() {
    let (upstream, bucket) = (Registry::start(), S3Server::start());
    let image = small().with_layer(&Layer::new().file("noise", noise(1, 12 << 20)));
    upstream.publish("app", "1", &image, Compression::None);
    let endpoint = bucket.endpoint();
    let variables = [
        ("REGISTRY_STORAGE", "s3"),
        ("REGISTRY_STORAGE_S3_BUCKET", S3Server::BUCKET),
        ("REGISTRY_STORAGE_S3_REGION", "us-east-1"),
        ("REGISTRY_STORAGE_S3_REGIONENDPOINT", &endpoint),
        ("REGISTRY_STORAGE_S3_ACCESSKEY", S3Server::ACCESS_KEY),
        ("REGISTRY_STORAGE_S3_SECRETKEY", S3Server::SECRET_KEY),
        ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
    ];
    let root = tempfile::tempdir().expect("a folder");
    let cache = cache_of(root.path(), &url(&upstream), &variables);
    // Within a blob.
    let (hold, go) = held(6 << 20);
    upstream.fail("GET", "/blobs/", Some(1), hold);
    let manifest = get(cache.host(), "/v2/app/manifests/1").json();
    let largest = manifest["layers"][1]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let mut client = TcpStream::connect(cache.host()).expect("a connection");
    write!(client, "GET /v2/app/blobs/{largest} HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    client.read_exact(&mut [0; 1000]).expect("the first bytes");
    cache.kill();
    drop(go);
    let cache = cache_of(root.path(), &url(&upstream), &variables);
    let blobs = pull(cache.host(), "app", "1");
    assert_eq!(pull(cache.host(), "app", "1"), blobs);
    // Its end is not waited for by those who serve.
    let (hold, go) = held(1 << 20);
    upstream.put_blobs("app", [noise(1, 3 << 20)]);
    upstream.fail("GET", "/blobs/", Some(1), hold);
    let mut client = TcpStream::connect(cache.host()).expect("a connection");
    let digest = digest_of(&noise(1, 3 << 20));
    write!(client, "GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    client.read_exact(&mut [0; 1000]).expect("the first bytes");
    drop(client);
    assert_eq!(cache.stop(), Some(0));
    drop(go);
}
