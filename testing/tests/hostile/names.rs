//! Names that are unknown, malformed or taken.

use std::net::TcpListener;

use havre_testing::{Registry, TestEngine};

use crate::pull_refused;

#[test]
fn an_unknown_image() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let name = registry.name("nosuch:tag");
    let error = pull_refused(&engine, &name, &["manifest unknown", "not found"]);
    assert!(TestEngine::is_dockerd() || error.contains("nosuch"), "{error}");
    let error = engine.fails(125, ["run", "--rm", &name, "true"]);
    assert!(
        error.contains(&format!("Unable to find image '{name}' locally")),
        "{error}"
    );
}

#[test]
fn a_bad_reference() {
    let engine = TestEngine::start();
    for (name, expected) in [
        (
            "Upper",
            "invalid reference format: repository name (library/Upper) must be lowercase",
        ),
        ("a:b:c", "invalid reference format"),
        ("name:", "invalid reference format"),
        ("name@sha256:abc", "invalid reference format"),
        ("-name", "invalid reference format"),
        ("a//b", "invalid reference format"),
    ] {
        let error = engine.run(["pull", "--", name]);
        assert_eq!(error.code, 1, "{error}");
        assert!(error.err().contains(expected), "{name}: {error}");
    }
    let long = "a".repeat(300);
    let error = engine.fails(1, ["pull", &long]);
    assert!(
        error.contains("repository name must not be more than 255 characters")
            || error.contains("invalid reference format"),
        "{error}"
    );
    let hex = "0".repeat(64);
    let error = engine.fails(1, ["pull", &hex]);
    assert!(
        error.contains("cannot specify 64-byte hexadecimal strings"),
        "{error}"
    );
}

#[test]
fn a_name_in_use() {
    let engine = TestEngine::with_busybox();
    engine.ok("create --name taken busybox");
    let error = engine.fails(125, "run --name taken busybox true");
    assert!(
        error.contains("Conflict. The container name \"/taken\" is already in use by container"),
        "{error}"
    );
    assert_eq!(engine.ok("ps -aq").lines().count(), 1);
}

#[test]
fn a_port_in_use() {
    let engine = TestEngine::with_busybox();
    let program = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = program.local_addr().expect("address").port();
    let error = engine.fails(125, format!("run --rm -p 127.0.0.1:{port}:80 busybox true"));
    assert!(
        error.contains("address already in use") && error.contains(&port.to_string()),
        "{error}"
    );
}

#[test]
fn a_command_not_found() {
    let engine = TestEngine::with_busybox();
    let error = engine.fails(127, "run --rm busybox nosuch");
    assert!(
        error.contains("exec: \"nosuch\": executable file not found in $PATH"),
        "{error}"
    );
    assert_eq!(engine.ok("ps -aq"), "", "--rm is kept");
}
