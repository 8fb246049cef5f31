//! docker-py and dockerode: each test is one job of the scripts in `testing/data/clients`, on an engine of its own.

use std::process::Command;

use havre_testing::{DockerRegistry, TestEngine};

use havre_testing::installed;

/// Runs one job of a script; everything it needs to know is in the environment.
fn job(engine: &TestEngine, mut program: Command, name: &str) {
    let registry = DockerRegistry::open();
    program
        .arg(name)
        .env("DOCKER_HOST", engine.host())
        .env("DOCKER_CONFIG", engine.client_dir())
        .env("REGISTRY", registry.host())
        .env_remove("DOCKER_API_VERSION");
    if let Err(error) = installed::run(&mut program) {
        panic!("{name}: {error}");
    }
}

fn docker_py(name: &str) {
    let Some(python) = installed::python() else { return };
    let mut program = Command::new(python.join("bin/python"));
    program.arg(installed::data("clients/python/docker_py.py"));
    job(&TestEngine::with_busybox(), program, name);
}

fn dockerode(name: &str) {
    let Some(node) = installed::node() else { return };
    let mut program = Command::new("node");
    program.arg(installed::data("clients/node/dockerode.js"));
    program.env("NODE_PATH", node.join("node_modules"));
    job(&TestEngine::with_busybox(), program, name);
}

#[test]
fn docker_py_containers() {
    docker_py("containers");
}

#[test]
fn docker_py_exec() {
    docker_py("exec");
}

#[test]
fn docker_py_attach() {
    docker_py("attach");
}

#[test]
fn docker_py_stats() {
    docker_py("stats");
}

#[test]
fn docker_py_files() {
    docker_py("files");
}

#[test]
fn docker_py_images() {
    docker_py("images");
}

#[test]
fn docker_py_volumes() {
    docker_py("volumes");
}

#[test]
fn docker_py_networks() {
    docker_py("networks");
}

#[test]
fn docker_py_events() {
    docker_py("events");
}

#[test]
fn docker_py_system() {
    docker_py("system");
}

#[test]
fn dockerode_containers() {
    dockerode("containers");
}

#[test]
fn dockerode_streams() {
    dockerode("streams");
}

#[test]
fn dockerode_images() {
    dockerode("images");
}

#[test]
fn dockerode_surroundings() {
    dockerode("surroundings");
}
