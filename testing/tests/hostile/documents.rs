//! Manifests and configurations that are too large, not what their digest says, or full of traps.

use fs_err as fs;
use havre_testing::{Action, Compression, Image, Registry, TestEngine};
use serde_json::json;

use crate::{app, comes_after_all, pull_refused};

#[test]
fn a_configuration_of_another_digest() {
    let (engine, registry, name, _) = app();
    let manifest = registry.manifest("app", "latest").expect("manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let config = manifest["config"]["digest"].as_str().expect("digest").to_owned();
    registry.fail(
        "GET",
        &config,
        None,
        Action::Replace(Image::from_layers([]).config_json()),
    );
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        ["digest", "size", "verification", "the manifest says"]
            .iter()
            .any(|words| error.contains(words)),
        "{error}"
    );
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_manifest_of_another_digest() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let digest = registry.publish("app", "latest", &Image::busybox(), Compression::Gzip);
    let (other, _) = Image::from_layers([]).oci_manifest(Compression::Gzip);
    for method in ["GET", "HEAD"] {
        registry.fail(method, "/manifests/", None, Action::Replace(other.clone()));
    }
    pull_refused(
        &engine,
        &registry.name(&format!("app@{digest}")),
        &["digest", "verification failed"],
    );
}

#[test]
fn a_huge_manifest() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let huge = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "x".repeat(100 << 20));
    registry.put_manifest(
        "app",
        "latest",
        "application/vnd.oci.image.manifest.v1+json",
        huge.into_bytes(),
    );
    if TestEngine::is_dockerd() {
        return;
    }
    pull_refused(
        &engine,
        &registry.name("app"),
        &["too large", "larger than", "limit", "exceeds", "more than"],
    );
    let status = fs::read_to_string(format!("/proc/{}/status", engine.daemon_pid())).expect("status");
    let peak: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .expect("a peak");
    assert!(peak < 200 << 10, "the daemon swallowed it: {peak} KiB");
}

#[test]
fn manifests_that_are_none() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let digest = format!("sha256:{}", "a".repeat(64));
    let descriptor =
        json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 2});
    let many: Vec<_> = (0..2_000).map(|_| descriptor.clone()).collect();
    for (at, bytes) in [
        "no json".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        json!({"schemaVersion": 2, "mediaType": kind, "config": {"mediaType": "x", "digest": "sha256:../../etc", "size": 2}, "layers": []}).to_string(),
        json!({"schemaVersion": 2, "mediaType": kind, "config": {"mediaType": "x", "digest": digest, "size": -1}, "layers": []}).to_string(),
        json!({"schemaVersion": 2, "mediaType": kind, "config": descriptor, "layers": many}).to_string(),
        "[".repeat(100_000),
    ]
    .into_iter()
    .enumerate()
    {
        let tag = format!("bad{at}");
        registry.put_manifest("app", &tag, kind, bytes.into_bytes());
        pull_refused(&engine, &registry.name(&format!("app:{tag}")), &[""]);
    }
}

#[test]
fn a_configuration_full_of_traps() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox()
        .with_config(
            "Labels",
            json!({"$(touch /tmp/x)": "; rm -rf /", "\u{1b}[2J": "\n"}),
        )
        .with_config("WorkingDir", json!("../../../../tmp"))
        .with_config("Volumes", json!({"../../../../etc": {}, "/": {}}))
        .with_config("User", json!("../../etc/passwd"));
    registry.publish("traps", "latest", &image, Compression::Gzip);
    let name = registry.name("traps");
    engine.run(["pull", &name]);
    for line in [
        format!("run --rm {name} pwd"),
        format!("run --rm -u root -w /tmp {name} true"),
        format!("inspect {name}"),
        "images".to_owned(),
    ] {
        let output = engine.run(&line);
        assert!(output.code <= 127, "{output}");
        assert!(
            !output.out().contains('\u{1b}'),
            "a terminal's escape from a stranger: {output}"
        );
    }
    engine.run("ps");
}
