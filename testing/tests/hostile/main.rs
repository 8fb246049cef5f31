//! Bad input, one test each: it is refused in Docker's words where Docker has words, nothing is lost, no litter is left.
//! Needs root.

mod archives;
mod disk;
mod documents;
mod layers;
mod names;
mod paths;
mod registries;

use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::{Compression, Image, Layer, Registry, TestEngine, digest_of};

/// What a store holds, by path: contents of partial downloads and of images.
fn litter(engine: &TestEngine) -> Vec<String> {
    if TestEngine::is_dockerd() {
        return Vec::new();
    }
    let root = engine.root();
    let mut found = Vec::new();
    for part in ["layers", "content", "containers", "volumes"] {
        collect(&root.join(part), &root, &mut found);
    }
    found
}

fn collect(dir: &Path, root: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            collect(&path, root, found);
        } else {
            found.push(path.strip_prefix(root).unwrap_or(&path).display().to_string());
        }
    }
}

/// Pulls something bad: it fails in these words, soon, and leaves nothing; the daemon goes on.
fn pull_refused(engine: &TestEngine, name: &str, expected: &[&str]) -> String {
    let before = litter(engine);
    let clock = Instant::now();
    let error = engine.fails(1, ["pull", name]);
    assert!(clock.elapsed() < Duration::from_secs(50), "{error}");
    assert!(
        expected
            .iter()
            .any(|words| error.to_lowercase().contains(&words.to_lowercase())),
        "{error}"
    );
    assert_eq!(engine.ok("images -q"), "", "nothing is listed");
    assert_eq!(litter(engine), before, "nothing is left");
    error
}

/// An engine, and a registry with `app:latest` of two layers; the digest of the second is told.
fn app() -> (TestEngine, Registry, String, String) {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox().with_layer(&Layer::new().file("x", "content".repeat(50_000)));
    registry.publish("app", "latest", &image, Compression::Gzip);
    let layer = digest_of(&Compression::Gzip.compress(&image.layers[1]));
    let name = registry.name("app:latest");
    (engine, registry, name, layer)
}

fn comes_after_all(engine: &TestEngine, registry: &Registry, name: &str) {
    registry.behave();
    engine.ok(["pull", name]);
    assert_eq!(engine.ok(["run", "--rm", name, "echo", "whole"]), "whole");
}
