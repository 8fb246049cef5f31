//! Whoever wants to know what happens in a registry is told: endpoints of the configuration, and webhooks.

use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use havre_testing::http::{Request, over_tcp, read_request, to_tcp};
use havre_testing::{HavreRegistry, digest_of, eventually, havre_binary};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Takes whatever is sent, and answers with a status.
struct Receiver {
    url: String,
    taken: Arc<Mutex<Vec<Request>>>,
    status: Arc<AtomicU16>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (taken, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(200)));
        std::thread::spawn({
            let (taken, status) = (Arc::clone(&taken), Arc::clone(&status));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let (taken, status) = (Arc::clone(&taken), Arc::clone(&status));
                    // Connections stay open.
                    std::thread::spawn(move || {
                        let mut reader = BufReader::new(stream);
                        while let Ok(Some(request)) = read_request(&mut reader) {
                            taken.lock().expect("the list").push(request);
                            let status = status.load(Ordering::Relaxed);
                            let answer = format!("HTTP/1.1 {status} As Told\r\nContent-Length: 2\r\n\r\nok");
                            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                                break;
                            }
                        }
                    });
                }
            }
        });
        Self { url, taken, status }
    }

    fn taken(&self) -> Vec<Request> {
        self.taken.lock().expect("the list").clone()
    }

    /// The events with that action.
    fn events(&self, action: &str) -> Vec<serde_json::Value> {
        let events = self.taken().into_iter().map(|request| {
            let mut sent: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
            sent["events"][0].take()
        });
        events.filter(|event| event["action"] == action).collect()
    }
}

fn push(host: &str) -> String {
    let begun = to_tcp(host, "POST", "/v2/team/app/blobs/uploads/", "", b"").expect("an upload");
    let location = begun.header("location").expect("a location").to_owned();
    let target = format!("{location}?digest={}", digest_of(b"{}"));
    assert_eq!(
        to_tcp(host, "PUT", &target, "", b"{}").expect("an answer").status,
        201
    );
    let config = serde_json::json!({
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"{}"), "size": 2,
    });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [],
    });
    let bytes = manifest.to_string().into_bytes();
    let put = to_tcp(host, "PUT", "/v2/team/app/manifests/1", MANIFEST, &bytes).expect("an answer");
    assert_eq!(put.status, 201, "{}", put.text());
    digest_of(&bytes)
}

#[test]
fn endpoints_of_the_configuration_are_told() {
    let (receiver, folder) = (Receiver::start(), tempfile::tempdir().expect("a folder"));
    let endpoints = format!(
        "[{{name: ci, url: '{}', headers: {{Authorization: [Bearer abc]}}, timeout: 1s, threshold: 3, backoff: 1s, \
         ignoredmediatypes: [application/octet-stream], ignore: {{actions: [mount]}}}}]",
        receiver.url
    );
    let registry = HavreRegistry::configured(
        folder.path(),
        &[
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS", &endpoints),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ],
    );
    let digest = push(registry.host());
    eventually("the push to be told", || !receiver.events("push").is_empty());
    let get = over_tcp(
        registry.host(),
        "GET",
        "/v2/team/app/manifests/1",
        Duration::from_secs(9),
    );
    assert_eq!(get.expect("an answer").status, 200);
    let target = format!("/v2/team/app/manifests/{digest}");
    let delete = over_tcp(registry.host(), "DELETE", &target, Duration::from_secs(9));
    assert_eq!(delete.expect("an answer").status, 202);
    eventually("the rest to be told", || {
        !receiver.events("pull").is_empty() && !receiver.events("delete").is_empty()
    });
    let pushes = receiver.events("push");
    assert_eq!(pushes.len(), 1, "blobs are ignored");
    let event = &pushes[0];
    assert_eq!(event["target"]["repository"], "team/app");
    assert_eq!(event["target"]["tag"], "1");
    assert_eq!(event["target"]["digest"], digest.as_str());
    assert_eq!(event["target"]["mediaType"], MANIFEST);
    assert_eq!(event["request"]["method"], "PUT");
    assert_eq!(event["request"]["addr"], "127.0.0.1");
    let url = event["target"]["url"].as_str().expect("an address");
    assert!(url.starts_with("http://") && url.ends_with(&target), "{url}");
    let request = receiver.taken().remove(0);
    assert_eq!(request.header("authorization"), Some("Bearer abc"));
    let kind = "application/vnd.docker.distribution.events.v1+json";
    assert_eq!(request.header("content-type"), Some(kind));
}

#[test]
fn webhooks_are_signed_sent_again_and_kept_from_this_network() {
    let (receiver, folder) = (Receiver::start(), tempfile::tempdir().expect("a folder"));
    let registry = HavreRegistry::over(folder.path());
    let webhook = |words: &[&str]| {
        let mut command = Command::new(havre_binary());
        command
            .args(["registry", "webhook"])
            .args(words)
            .arg("--root")
            .arg(folder.path());
        let output = command.output().expect("the havre binary");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).expect("text"))
    };
    let (made, secret) = webhook(&[
        "add",
        "ci",
        &receiver.url,
        "--private",
        "--action",
        "push",
        "--repository",
        "team",
    ]);
    assert!(made, "{secret}");
    assert!(webhook(&["add", "guarded", &receiver.url]).0);
    assert!(!webhook(&["add", "ci", &receiver.url]).0);
    assert!(
        webhook(&["add", "x", "ftp://example.com"])
            .1
            .contains("https://HOST/PATH")
    );
    let list = webhook(&["ls"]).1;
    assert!(
        list.contains("ci") && list.contains("team") && !list.contains(secret.trim()),
        "{list}"
    );
    // The registry sees within seconds that somebody wants to know.
    receiver.status.store(503, Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(3));
    push(registry.host());
    eventually("two tries of each of two", || receiver.taken().len() >= 4);
    let log = webhook(&["log", "ci"]).1;
    assert!(
        log.contains("push team/app:1") && log.contains("503 ok") && log.contains("waits until"),
        "{log}"
    );
    receiver.status.store(200, Ordering::Relaxed);
    eventually("both to be taken", || {
        webhook(&["log", "ci"]).1.matches("delivered").count() == 2
    });
    for request in receiver.taken() {
        let mut openssl = Command::new("openssl");
        let body = folder.path().join("body");
        fs_err::write(&body, &request.body).expect("a file");
        openssl
            .args(["dgst", "-sha256", "-hmac", secret.trim()])
            .arg(&body);
        let said = String::from_utf8(openssl.output().expect("openssl").stdout).expect("text");
        let expected = said.trim().rsplit(' ').next().expect("a digest").to_owned();
        assert_eq!(
            request.header("x-havre-signature-256"),
            Some(format!("sha256={expected}").as_str())
        );
    }
    let refused = webhook(&["log", "guarded"]).1;
    assert!(refused.contains("not outside this network"), "{refused}");
    let id = webhook(&["log", "ci"])
        .1
        .lines()
        .nth(1)
        .and_then(|line| line.split(' ').next())
        .expect("a delivery")
        .to_owned();
    let before = receiver.taken().len();
    assert!(webhook(&["again", &id]).0);
    eventually("it to come once more", || receiver.taken().len() > before);
    assert!(webhook(&["rm", "ci"]).0);
    assert!(!webhook(&["rm", "ci"]).0);
}
