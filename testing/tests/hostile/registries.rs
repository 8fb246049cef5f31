//! Registries that are down, refuse, stumble, cut, lie and never end.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::{Action, TestEngine};

use crate::{app, comes_after_all, pull_refused};

#[test]
fn a_registry_that_is_down() {
    let engine = TestEngine::start();
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("address")
        .port();
    // One sentence: what was asked, and what kept it from being asked.
    let host = format!("127.0.0.1:{port}");
    let error = pull_refused(&engine, &format!("{host}/app"), &["connection refused"]);
    assert_eq!(
        error,
        format!(
            "Error response from daemon: Get \"http://{host}/v2/\": dial tcp {host}: connect: connection refused"
        )
    );
    let error = pull_refused(&engine, "registry.invalid/app", &["no such host"]);
    assert_eq!(
        error,
        "Error response from daemon: Get \"https://registry.invalid/v2/\": dial tcp: lookup registry.invalid: no such host"
    );
}

#[test]
fn a_registry_that_denies() {
    let (engine, registry, name, _) = app();
    registry.fail(
        "GET",
        "/manifests/",
        None,
        Action::error(401, "UNAUTHORIZED", "authentication required"),
    );
    registry.fail(
        "HEAD",
        "/manifests/",
        None,
        Action::error(401, "UNAUTHORIZED", "authentication required"),
    );
    pull_refused(&engine, &name, &["unauthorized", "denied"]);
    registry.behave();
    for method in ["GET", "HEAD"] {
        registry.fail(
            method,
            "/manifests/",
            None,
            Action::error(403, "DENIED", "requested access to the resource is denied"),
        );
    }
    pull_refused(&engine, &name, &["denied"]);
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_registry_without_the_blob() {
    let (engine, registry, name, layer) = app();
    registry.fail(
        "GET",
        &layer,
        None,
        Action::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
    );
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        ["blob unknown", "unknown blob", "not found"]
            .iter()
            .any(|words| error.contains(words)),
        "{error}"
    );
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_registry_that_is_busy() {
    let (engine, registry, name, layer) = app();
    let wait = vec![("Retry-After".to_owned(), "1".to_owned())];
    registry.fail("GET", &layer, Some(1), Action::Status(429, wait, "{}".to_owned()));
    if TestEngine::is_dockerd() {
        return;
    }
    let clock = Instant::now();
    engine.ok(["pull", &name]);
    assert!(
        clock.elapsed() >= Duration::from_secs(1),
        "it waited as it was told"
    );
    engine.ok(["rmi", &name]);
    registry.fail(
        "GET",
        "/manifests/",
        None,
        Action::error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit"),
    );
    registry.fail(
        "HEAD",
        "/manifests/",
        None,
        Action::error(429, "TOOMANYREQUESTS", ""),
    );
    pull_refused(
        &engine,
        &name,
        &["toomanyrequests", "rate limit", "too many requests"],
    );
}

#[test]
fn a_registry_that_stumbles_and_one_that_fell() {
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, Some(2), Action::error(500, "UNKNOWN", "stumbled"));
    engine.ok(["pull", &name]);
    engine.ok(["rmi", &name]);
    for method in ["GET", "HEAD"] {
        registry.fail(
            method,
            "/manifests/",
            None,
            Action::error(500, "UNKNOWN", "it fell"),
        );
    }
    pull_refused(&engine, &name, &["500", "it fell", "unknown"]);
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_download_that_is_always_cut() {
    if TestEngine::is_dockerd() {
        return; // It tries for more than a minute.
    }
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, None, Action::CutAfter(0));
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        error.contains("EOF") || error.contains("connection") || error.contains("closed"),
        "{error}"
    );
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_blob_of_another_digest() {
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, None, Action::Corrupt);
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        error.contains("filesystem layer verification failed for digest") || error.contains("digest"),
        "{error}"
    );
    assert_eq!(engine.ok("images -q"), "");
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_truncated_blob() {
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, None, Action::Truncate(100));
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        [
            "digest",
            "size",
            "short",
            "EOF",
            "verification",
            "the manifest says"
        ]
        .iter()
        .any(|word| error.contains(word)),
        "{error}"
    );
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn an_endless_blob() {
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, None, Action::Endless);
    if TestEngine::is_dockerd() {
        return; // It reads on until the disk is full.
    }
    // Refused, or read as far as the manifest says, verified and closed: both end.
    let clock = Instant::now();
    engine.run(["pull", &name]);
    assert!(clock.elapsed() < Duration::from_secs(30));
    let received = format!("/proc/{}/io", engine.daemon_pid());
    let received = fs::read_to_string(received).expect("io");
    let bytes: u64 = received
        .lines()
        .find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
        .expect("a count");
    assert!(bytes < 200 << 20, "it read on: {bytes}");
    engine.run(["rmi", &name]);
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_stalled_download() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, Some(1), Action::Stall);
    // A pull that stalls can be given up: the client goes, and the daemon is as before.
    let running = engine.cmd(["pull", &name]).spawn();
    std::thread::sleep(Duration::from_millis(500));
    running.signal(rustix::process::Signal::INT);
    let output = running.finish();
    assert_ne!(output.code, 0, "{output}");
    comes_after_all(&engine, &registry, &name);
}
