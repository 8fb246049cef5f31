//! testcontainers with a real database, and development containers.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use havre_testing::{TestEngine, eventually, havre_binary};
use serde_json::Value;

use havre_testing::installed;

/// An archive with PostgreSQL on Debian, built by an engine of its own from Debian's packages.
fn postgres() -> Option<PathBuf> {
    let sources = installed::data("clients/postgres");
    let key = ["Dockerfile", "start.sh"].map(|file| fs::read(sources.join(file)).expect("the sources"));
    let dir = installed::once("postgres", &key.concat(), |dir| {
        fs::create_dir_all(dir).map_err(|error| error.to_string())?;
        let engine = TestEngine::start();
        let havre = || {
            let mut command = Command::new(havre_binary());
            command.env("DOCKER_HOST", engine.host());
            command.env("DOCKER_CONFIG", engine.client_dir());
            command
        };
        // Minutes each, which is more than the harness has patience for.
        installed::run(havre().args(["image", "bootstrap", "debian:bookworm"]))?;
        installed::run(havre().args(["build", "-t", "postgres:15"]).arg(&sources))?;
        installed::run(
            havre()
                .args(["save", "postgres:15", "-o"])
                .arg(dir.join("image.tar")),
        )
    })?;
    Some(dir.join("image.tar"))
}

#[test]
fn testcontainers_run_a_real_database() {
    let (Some(python), Some(archive)) = (installed::python(), postgres()) else {
        return;
    };
    let engine = TestEngine::with_busybox();
    engine.ok(["load", "-q", "-i", &archive.to_string_lossy()]);
    let mut program = Command::new(python.join("bin/python"));
    program
        .arg(installed::data("clients/python/database.py"))
        .arg("postgres:15")
        .env("DOCKER_HOST", engine.host())
        .env("DOCKER_CONFIG", engine.client_dir())
        // The helper that removes what a killed test leaves is an image of another registry.
        .env("TESTCONTAINERS_RYUK_DISABLED", "true");
    if let Err(error) = installed::run(&mut program) {
        panic!("{error}");
    }
    assert_eq!(engine.ok("ps -aq"), "", "nothing is left");
}

/// `devcontainer up` and `exec` with a client of Docker's grammar.
fn development(docker: &Path) {
    let Some(node) = installed::node() else { return };
    let engine = TestEngine::with_busybox();
    let image = installed::data("clients/devcontainer/Dockerfile");
    let nothing = engine.files("nothing", &[]);
    engine.ok([
        "build",
        "-q",
        "-t",
        "base:local",
        "-f",
        &image.to_string_lossy(),
        &nothing.to_string_lossy(),
    ]);
    let config =
        fs::read_to_string(installed::data("clients/devcontainer/devcontainer.json")).expect("the data");
    let workspace = engine.files(
        "workspace",
        &[(".devcontainer/devcontainer.json", &config), ("file", "text")],
    );

    let run = |command: &str, words: &[&str]| {
        let output = Command::new("node")
            .arg(node.join("node_modules/@devcontainers/cli/devcontainer.js"))
            .args([command, "--docker-path"])
            .arg(docker)
            .arg("--workspace-folder")
            .arg(&workspace)
            .arg("--user-data-folder")
            .arg(engine.dir().join("data"))
            .args(words)
            .env("DOCKER_HOST", engine.host())
            .env("DOCKER_CONFIG", engine.client_dir())
            .env("HOME", engine.dir())
            .output()
            .expect("node must be installed");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{command} {words:?}\n{out}\n{err}");
        out.trim_end().to_owned()
    };
    let said = run("up", &[]);
    let outcome: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!(
        (&outcome["outcome"], &outcome["remoteUser"]),
        (&"success".into(), &"dev".into()),
        "{said}"
    );
    let inside = |script: &str| run("exec", &["sh", "-c", script]);
    assert_eq!(
        inside("id -un; hostname; echo $FROM_CONFIG; pwd; cat file"),
        "dev\nworkspace\nyes\n/workspaces/workspace\ntext"
    );
    assert_eq!(
        inside("cat /tmp/created /tmp/started; ls /tmp/one /tmp/two; ls -d /history"),
        "created\nstarted\n/tmp/one\n/tmp/two\n/history"
    );
    // The same container again after it was stopped; only what belongs to a start runs again.
    let id = outcome["containerId"].as_str().expect("an id");
    engine.ok(["stop", "-t", "0", id]);
    run("up", &[]);
    assert_eq!(engine.ok("ps -q --no-trunc"), id);
    assert_eq!(
        inside("cat /tmp/created /tmp/started"),
        "created\nstarted\nstarted"
    );
    run("up", &["--remove-existing-container"]);
    eventually("another container took its place", || {
        engine.ok("ps -q --no-trunc") != id
    });
}

#[test]
fn development_containers_with_the_official_client() {
    development(Path::new("docker"));
}

#[test]
fn development_containers_with_our_client() {
    development(&havre_binary());
}
