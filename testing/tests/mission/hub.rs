//! The images of the stand-in for Docker Hub.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use havre_testing::{Image, Layer, Registry, TestEngine, havre_binary, installed};

use crate::Student;

/// Names by the target of the Dockerfile that makes them.
const DEBIAN: [(&str, &[&str]); 7] = [
    ("debian", &["debian:latest"]),
    ("python", &["python:latest", "python:3.9", "python:3.11"]),
    ("mysql", &["mysql:latest", "mysql:5.7", "wordpress:latest"]),
    ("nginx", &["nginx:1.25", "nginx:latest", "nginx:stable"]),
    ("node", &["node:18"]),
    ("registry", &["registry:2"]),
    ("dive", &["wagoodman/dive:latest"]),
];
/// Versions of a system of which several tags are one image.
const ALPINE: [(&str, &[&str]); 4] = [
    ("3.5.2", &["3.5"]),
    ("3.6.5", &["3.6"]),
    ("3.8.0", &["3.8", "latest"]),
    ("3.9_alpha", &["edge"]),
];

/// An archive with the images of Debian's programs, built by an engine of its own.
pub(crate) fn images() -> Option<PathBuf> {
    let sources = installed::data("mission");
    let key = fs::read(sources.join("Dockerfile")).expect("the sources");
    let dir = installed::once("mission", &key, |dir| {
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
        let mut names = Vec::new();
        for (target, tags) in DEBIAN {
            let mut build = havre();
            build.args(["build", "-q", "--target", target]);
            for tag in tags {
                build.args(["-t", tag]);
                names.push(*tag);
            }
            installed::run(build.arg(&sources))?;
        }
        installed::run(
            havre()
                .arg("save")
                .args(names)
                .arg("-o")
                .arg(dir.join("images.tar")),
        )
    })?;
    Some(dir.join("images.tar"))
}

/// Puts everything there, and leaves the student's engine empty.
pub(crate) fn fill(student: &Student, hub: &Registry, archive: &Path) {
    student.types(&format!("docker load -q -i {}", archive.display()));
    for (_, tags) in DEBIAN {
        for tag in tags {
            student.types(&format!("docker push -q {tag}"));
        }
    }
    student.types("docker system prune -af && docker undo --forget --force");
    assert_eq!(student.types("docker images -aq"), "");

    let publish = |name: &str, tags: &[&str], images: &[Image]| {
        for tag in tags {
            hub.publish_index(name, tag, images);
        }
    };
    for (version, tags) in ALPINE {
        publish("library/alpine", tags, &both(&busybox(version)));
    }
    let web = busybox("3.19.1")
        .with_layer(
            &Layer::new()
                .dir("usr/")
                .dir("usr/share/")
                .dir("usr/share/nginx/")
                .dir("usr/share/nginx/html/")
                .file("usr/share/nginx/html/index.html", "<h1>Welcome to nginx!</h1>\n"),
        )
        .with_config("ExposedPorts", serde_json::json!({"80/tcp": {}}))
        .with_config(
            "Cmd",
            serde_json::json!(["httpd", "-f", "-p", "80", "-h", "/usr/share/nginx/html"]),
        );
    publish("library/nginx", &["alpine", "1.25-alpine"], &both(&web));
    let small = |what: &str| both(&busybox("3.19.1").with_layer(&Layer::new().file("what", what)));
    publish("library/redis", &["alpine", "7"], &small("redis"));
    publish("library/postgres", &["15-alpine"], &small("postgres"));
    publish("library/node", &["18-alpine"], &small("node"));
    publish("linuxserver/wikijs", &["latest"], &small("wikijs"));
    publish("joxit/docker-registry-ui", &["latest"], &both(&web));
}

/// A small system that calls itself Alpine.
fn busybox(version: &str) -> Image {
    let release = format!(
        "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID={version}\nPRETTY_NAME=\"Alpine Linux v{version}\"\n"
    );
    Image::busybox().with_layer(&Layer::new().dir("etc/").file("etc/os-release", release))
}

/// The image for this machine's architecture and another.
fn both(image: &Image) -> [Image; 2] {
    let other = match std::env::consts::ARCH {
        "aarch64" => "amd64",
        _ => "arm64",
    };
    [image.clone(), image.clone().with_architecture(other)]
}
