//! dive and our explorer on the same images: the same figures, but for what is documented at `havre_explore::Waste`.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use havre_testing::{Image, Layer, TestEngine, installed};
use serde_json::Value;

/// What dive says of an archive.
fn dive(python: &Path, engine: &TestEngine, image: &Image) -> Value {
    let archive = engine.dir().join("image.tar");
    let report = engine.dir().join("dive.json");
    fs::write(&archive, image.docker_archive(&["app:latest"])).expect("archive");
    let mut program = Command::new(python.join("bin/dive"));
    program
        .args(["--source", "docker-archive", "--json"])
        .args([&report, &archive])
        .env("HOME", engine.dir())
        .env_remove("CI");
    if let Err(error) = installed::run(&mut program) {
        panic!("dive: {error}");
    }
    serde_json::from_slice(&fs::read(&report).expect("report")).expect("JSON")
}

fn ours(engine: &TestEngine, image: &Image) -> Value {
    engine.load(image, "app");
    serde_json::from_str(&engine.ok("explore --json - app")).expect("JSON")
}

/// Paths with bytes: how often, how many.
fn paths(report: &Value) -> Vec<(String, u64, u64)> {
    let rows = report["image"]["fileReference"].as_array().expect("list").iter();
    let mut rows: Vec<_> = rows
        .map(|row| {
            let number = |key: &str| row[key].as_u64().expect("a number");
            (
                row["file"].as_str().expect("a path").to_owned(),
                number("count"),
                number("sizeBytes"),
            )
        })
        .filter(|(_, _, bytes)| *bytes > 0)
        .collect();
    rows.sort_unstable();
    rows
}

fn layer_sizes(report: &Value) -> Vec<u64> {
    let layers = report["layer"].as_array().expect("list").iter();
    layers
        .map(|layer| layer["sizeBytes"].as_u64().expect("a size"))
        .collect()
}

fn base() -> Layer {
    Layer::new()
        .dir("etc")
        .file("etc/conf", "x".repeat(1000))
        .file("etc/gone", "y".repeat(300))
        .file("etc/back", "z".repeat(70))
        .hardlink("etc/other", "etc/conf")
        .symlink("link", "etc/conf")
        .dir("lists")
        .file("lists/one", "1".repeat(5000))
        .file("lists/two", "2".repeat(6000))
}

fn busy() -> Image {
    Image::from_layers([
        base(),
        Layer::new()
            .dir("etc")
            .file("etc/conf", "X".repeat(2500))
            .whiteout("etc/gone")
            .whiteout("etc/back"),
        Layer::new()
            .dir("etc")
            .file("etc/conf", "X".repeat(10))
            .file("etc/back", "z".repeat(80))
            .file("new", "n"),
    ])
}

#[test]
fn figures_are_those_of_dive() {
    let Some(python) = installed::python() else { return };
    let engine = TestEngine::start();
    let image = busy();
    let (theirs, ours) = (dive(&python, &engine, &image), ours(&engine, &image));
    for key in ["sizeBytes", "inefficientBytes"] {
        assert_eq!(ours["image"][key], theirs["image"][key], "{key}");
    }
    let score = |report: &Value| report["image"]["efficiencyScore"].as_f64().expect("a share");
    assert!(
        (score(&ours) - score(&theirs)).abs() < 1e-9,
        "{} {}",
        score(&ours),
        score(&theirs)
    );
    assert_eq!(layer_sizes(&ours), layer_sizes(&theirs));
    assert_eq!(paths(&ours), paths(&theirs));
}

#[test]
fn directories_taken_away_count_here_only() {
    let Some(python) = installed::python() else { return };
    let engine = TestEngine::start();
    let image = busy().with_layer(&Layer::new().whiteout("lists"));
    let (theirs, ours) = (dive(&python, &engine, &image), ours(&engine, &image));
    let wasted = |report: &Value| report["image"]["inefficientBytes"].as_u64().expect("bytes");
    assert_eq!(wasted(&ours), wasted(&theirs) + 11_000);
    let mut expected = paths(&theirs);
    expected.push(("/lists".to_owned(), 2, 11_000));
    expected.sort_unstable();
    assert_eq!(paths(&ours), expected);
    assert_eq!(layer_sizes(&ours), layer_sizes(&theirs));
}
