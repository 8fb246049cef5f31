//! Checks, repairs and conversions of the store, end to end. Needs root.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_testing::{Compression, Image, Layer, Registry, Surroundings, TestEngine};
use serde_json::Value;

fn layer_dirs(engine: &TestEngine) -> Vec<PathBuf> {
    let dirs = fs::read_dir(engine.root().join("layers")).expect("layers");
    let mut dirs: Vec<_> = dirs.map(|dir| dir.expect("a layer").path()).collect();
    dirs.sort();
    dirs
}

/// The directory of the layer `position` of an image.
fn layer_dir(engine: &TestEngine, image: &str, position: usize) -> PathBuf {
    let layers = &engine.inspect(image)["RootFS"]["Layers"];
    let diff_id = layers[position].as_str().expect("a diff ID");
    engine
        .root()
        .join("layers")
        .join(diff_id.trim_start_matches("sha256:"))
}

/// The JSON lines a command prints, whatever it ends with.
fn rows(engine: &TestEngine, code: i32, words: &[&str]) -> Vec<Value> {
    let output = engine.run(words);
    assert_eq!(output.code, code, "{output}");
    let text = output.out();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// Changes a file in place.
fn flip(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("a file");
    let mut byte = [0];
    file.file().read_exact_at(&mut byte, offset).expect("a byte");
    file.file()
        .write_all_at(&[byte[0] ^ 0x10], offset)
        .expect("a byte");
}

const CHECK: &[&str] = &["system", "check", "--format", "json"];

#[test]
fn every_kind_of_damage_is_named_and_repaired_from_the_registry_under_running_containers() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox().with_layer(&Layer::noise(1, 3 << 20));
    registry.publish("team/app", "v1", &image, Compression::Gzip);
    let name = registry.name("team/app:v1");
    engine.ok(["pull", "-q", &name]);
    let said = engine.ok("system check");
    assert!(said.contains("All are what their digests say."), "{said}");
    assert_eq!(engine.ok("system check -q"), "");
    let hash = || engine.ok(["run", "--rm", &name, "sha256sum", "/noise"]);
    let expected = hash();

    let dir = layer_dir(&engine, &name, 1);
    let file = dir.join("layer.erofs");
    if !file.exists() {
        // Layers are directories on this machine.
        return;
    }
    type Change = fn(&Path);
    let changes: [(Change, &str); 5] = [
        (|file| flip(file, 4096 + 512 + 100_000), "its contents changed"),
        (
            |file| {
                let end = fs::metadata(file).expect("a layer").len();
                flip(file, end - 200);
            },
            "its metadata changed",
        ),
        (|file| flip(file, 1024 + 4), "its metadata changed"),
        (
            |file| {
                let file = fs::OpenOptions::new().write(true).open(file).expect("a layer");
                file.set_len(100_000).expect("shorter");
            },
            "it has 100000 bytes",
        ),
        (
            |file| fs::remove_file(file).expect("removed"),
            "layer.erofs is missing",
        ),
    ];
    engine.ok(["run", "-d", "--name", "web", &name, "sleep", "1000"]);
    for (change, reason) in changes {
        change(&file);
        let problems = rows(&engine, 1, CHECK);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let problem = &problems[0];
        let digest = format!("sha256:{}", dir.file_name().expect("a name").to_string_lossy());
        assert_eq!(problem["Kind"], "layer");
        assert_eq!(problem["Digest"], digest.as_str());
        assert_eq!(problem["Images"][0], name.as_str());
        assert_eq!(problem["Containers"][0], "web");
        let told = problem["Problem"].as_str().expect("a text");
        assert!(told.contains(reason), "{told}");
        assert_eq!(
            problem["Remedy"],
            format!("fetch from {}", registry.name("team/app")).as_str()
        );

        // Nothing happens without a yes.
        let declined = engine.cmd("system check --repair").stdin("n\n").run();
        assert_eq!(declined.code, 1, "{declined}");
        assert!(
            declined.out().contains("WARNING! This will repair:"),
            "{declined}"
        );
        assert_eq!(rows(&engine, 1, CHECK).len(), 1);

        let repaired = engine.cmd("system check --repair").stdin("y\n").run();
        assert_eq!(repaired.code, 0, "{repaired}");
        let text = repaired.out();
        assert!(text.contains("Everything is repaired."), "{text}");
        assert!(text.contains("until then: web"), "{text}");
        assert_eq!(engine.ok("system check -q"), "");
        assert_eq!(hash(), expected, "after {reason}");
        // The container that ran all the time is not disturbed; restarted it has the new file.
        assert_eq!(engine.ok("exec web echo alive"), "alive");
        engine.ok("restart -t 0 web");
        let again = engine.ok("exec web sha256sum /noise");
        assert_eq!(again.split(' ').next(), expected.split(' ').next());
    }
    // Nothing is left over.
    assert_eq!(
        fs::read_dir(engine.root().join("ingest"))
            .expect("a directory")
            .count(),
        0
    );
}

#[test]
fn documents_and_kept_layers_are_repaired_too() {
    let registry = Registry::start();
    let engine = TestEngine::amid(Surroundings {
        config: "[storage]\nkeep-compressed = \"always\"\n".to_owned(),
        ..Surroundings::default()
    });
    let image = Image::busybox().with_layer(&Layer::noise(2, 1 << 20));
    registry.publish("app", "v1", &image, Compression::Gzip);
    let name = registry.name("app:v1");
    engine.ok(["pull", "-q", &name]);
    // Two layers, their compressed forms, a manifest and a configuration.
    let mut blobs = Vec::new();
    for shelf in fs::read_dir(engine.root().join("content/sha256")).expect("content") {
        for blob in fs::read_dir(shelf.expect("a shelf").path()).expect("blobs") {
            blobs.push(blob.expect("a blob").path());
        }
    }
    assert_eq!(blobs.len(), 4);
    for blob in &blobs {
        flip(blob, 20);
    }
    let problems = rows(&engine, 1, CHECK);
    let mut kinds: Vec<_> = problems
        .iter()
        .map(|problem| problem["Kind"].as_str().expect("a kind"))
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        ["compressed layer", "compressed layer", "config", "manifest"]
    );
    let repaired = rows(
        &engine,
        0,
        &["system", "check", "--repair", "-f", "--format", "json"],
    );
    assert!(
        repaired.iter().all(|one| one["Repaired"] == "yes"),
        "{repaired:?}"
    );
    assert_eq!(engine.ok("system check -q"), "");
    assert_eq!(engine.inspect(&name)["Id"], image.id().as_str());
    assert_eq!(engine.ok(["run", "--rm", &name, "echo", "runs"]), "runs");

    // A missing document is found as well.
    let config = image.id();
    let config = config.trim_start_matches("sha256:");
    let path = engine
        .root()
        .join("content/sha256")
        .join(&config[..2])
        .join(config);
    fs::remove_file(path).expect("the configuration");
    let problems = rows(&engine, 1, CHECK);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["Problem"], "it is missing");
    engine.ok("system check --repair -f");
    assert_eq!(engine.inspect(&name)["Id"], image.id().as_str());

    // With the registry gone, a kept compressed form is enough for a layer.
    engine.ok(["rmi", &name]);
    engine.ok(["pull", "-q", &name]);
    drop(registry);
    let dir = layer_dir(&engine, &name, 1);
    if !dir.join("layer.erofs").exists() {
        return;
    }
    flip(&dir.join("layer.erofs"), 50_000);
    let repaired = rows(
        &engine,
        0,
        &["system", "check", "--repair", "-f", "--format", "json"],
    );
    assert_eq!(repaired.len(), 1);
    assert_eq!(
        repaired[0]["Outcome"],
        "unpacked from the compressed layer kept here"
    );
    assert_eq!(engine.ok("system check -q"), "");
}

#[test]
fn what_has_no_origin_says_what_to_do_and_that_helps() {
    let engine = TestEngine::start();
    let image = Image::busybox().with_layer(&Layer::noise(3, 1 << 20));
    engine.load(&image, "app");
    let dir = layer_dir(&engine, "app", 1);
    if !dir.join("layer.erofs").exists() {
        return;
    }
    flip(&dir.join("layer.erofs"), 50_000);
    let output = engine.run("system check --repair");
    assert_eq!(output.code, 1, "{output}");
    let text = output.out();
    assert!(text.contains("load, import or pull the image again"), "{text}");
    assert!(text.contains("not possible"), "{text}");
    engine.load(&image, "app");
    assert_eq!(engine.ok("system check -q"), "");
}

/// Nothing of that is the work of a crash, so the image stays, and can be had again.
#[test]
fn a_layer_that_vanished_does_not_take_its_image_along() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox().with_layer(&Layer::noise(5, 1 << 20));
    registry.publish("app", "v1", &image, Compression::Gzip);
    let name = registry.name("app:v1");
    engine.ok(["pull", "-q", &name]);
    let dir = layer_dir(&engine, &name, 1);
    if !dir.join("layer.erofs").exists() {
        return;
    }
    engine.stop_daemon();
    for whole in [false, true] {
        if whole {
            fs::remove_dir_all(&dir).expect("removed");
        } else {
            fs::remove_file(dir.join("layer.erofs")).expect("removed");
        }
        engine.start_daemon();
        let refused = engine.run(["run", "--rm", &name, "echo", "runs"]);
        assert_ne!(refused.code, 0, "{refused}");
        assert!(
            refused.err().contains("it is missing; `system check --repair`"),
            "{refused}"
        );
        if whole {
            // The next start knows without a check, and so does a pull.
            engine.ok(["pull", "-q", &name]);
        } else {
            engine.ok("system check --repair -f");
        }
        assert_eq!(engine.ok(["run", "--rm", &name, "echo", "runs"]), "runs");
        assert_eq!(engine.ok("system check -q"), "");
        engine.stop_daemon();
    }
    engine.start_daemon();
}

#[test]
fn a_registry_that_is_gone_or_wants_a_password_is_named() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox().with_layer(&Layer::noise(4, 1 << 20));
    registry.publish("app", "v1", &image, Compression::Gzip);
    let name = registry.name("app:v1");
    engine.ok(["pull", "-q", &name]);
    let dir = layer_dir(&engine, &name, 1);
    if !dir.join("layer.erofs").exists() {
        return;
    }
    flip(&dir.join("layer.erofs"), 50_000);
    // What it has now is another layer.
    registry.fail(
        "GET",
        "/blobs/",
        None,
        havre_testing::Action::error(403, "DENIED", "not for you"),
    );
    let output = engine.run("system check --repair -f");
    assert_eq!(output.code, 1, "{output}");
    let text = output.out();
    assert!(text.contains("1 problem: 0 repaired, 1 not."), "{text}");
    assert!(
        text.contains(&format!("fetch from {}", registry.name("app"))),
        "{text}"
    );
    registry.behave();
    engine.ok("system check --repair -f");
    assert_eq!(engine.ok("system check -q"), "");
}

/// Directories become files, the daemon dies in the middle, the next one finishes it.
#[test]
fn a_migration_survives_kills_and_leaves_running_containers_alone() {
    let directories = "[storage]\nlayers = \"directories\"\n";
    let engine = TestEngine::amid(Surroundings {
        config: directories.to_owned(),
        ..Surroundings::default()
    });
    let images = 4;
    for number in 0..images {
        let mut image = Image::busybox();
        for layer in 0..3 {
            image = image.with_layer(&Layer::noise(100 * number + layer, 2 << 20));
        }
        engine.load(&image, &format!("app{number}"));
    }
    let hashes = || -> Vec<String> {
        (0..images)
            .map(|number| {
                let name = format!("app{number}");
                engine.ok(["run", "--rm", &name, "sha256sum", "/noise"])
            })
            .collect()
    };
    let expected = hashes();
    let count = layer_dirs(&engine).len();
    assert_eq!(count, 13);

    // Loop devices work wherever layers are files at all.
    let plan = rows(
        &engine,
        0,
        &[
            "system",
            "migrate",
            "--to",
            "loop",
            "--dry-run",
            "--format",
            "json",
        ],
    );
    assert_eq!(plan.len(), count);
    assert!(plan.iter().all(|layer| layer["Outcome"] == "planned"), "{plan:?}");
    let files = || {
        let dirs = layer_dirs(&engine);
        dirs.iter().filter(|dir| dir.join("layer.erofs").exists()).count()
    };
    assert_eq!(files(), 0, "a plan changes nothing");

    engine.ok(["run", "-d", "--name", "web", "app0", "sleep", "1000"]);
    let mut kills = 0;
    for _ in 0..4 {
        let mut running = engine.cmd("system migrate --to loop").spawn();
        let begun = files();
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while files() <= begun && std::time::Instant::now() < patience && files() < 9 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        engine.kill_daemon();
        running.stdin = None;
        let output = running.finish();
        kills += usize::from(output.code != 0);
        engine.start_daemon();
    }
    assert!(kills > 0, "no migration was cut off");
    assert_eq!(engine.ok("exec web echo alive"), "alive");
    assert_eq!(engine.ok("system check -q"), "");

    let rest = rows(
        &engine,
        0,
        &["system", "migrate", "--to", "loop", "--format", "json"],
    );
    // Those beneath the container stay: busybox and three more.
    let kept: Vec<_> = rest.iter().filter(|layer| layer["Outcome"] == "in use").collect();
    assert_eq!(kept.len(), 4, "{rest:?}");
    assert!(
        kept.iter().all(|layer| layer["Containers"][0] == "web"),
        "{kept:?}"
    );
    assert_eq!(files(), count - 4);
    assert_eq!(engine.ok("exec web sha256sum /noise"), expected[0]);
    engine.ok("rm -f web");
    let last = engine.ok("system migrate --to loop");
    assert!(last.contains("Converted 4 layers to the form loop"), "{last}");
    assert_eq!(files(), count);
    let nothing = engine.ok("system migrate --to file");
    assert!(nothing.contains("Nothing to convert"), "{nothing}");
    assert_eq!(engine.ok("system check -q"), "");
    assert_eq!(hashes(), expected);
    assert_eq!(
        fs::read_dir(engine.root().join("ingest"))
            .expect("a directory")
            .count(),
        0
    );

    // And back.
    engine.ok("system migrate");
    assert_eq!(files(), 0);
    assert_eq!(engine.ok("system check -q"), "");
    assert_eq!(hashes(), expected);
}

#[test]
fn wrong_words_are_explained() {
    let engine = TestEngine::start();
    let said = engine.fails(1, "system migrate --to tar");
    assert!(
        said.contains("no form of layers") && said.contains("loop-4k"),
        "{said}"
    );
    let said = engine.fails(1, "system check --force");
    assert!(said.contains("--repair"), "{said}");
    let said = engine.fails(1, "system check --repair --format json");
    assert!(said.contains("--force"), "{said}");
    let answer = engine.post(
        "/havre/system/repair",
        &serde_json::json!({"objects": [{"kind": "layer", "digest": "sha256:../../etc"}]}),
    );
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = engine.post(
        "/havre/system/repair",
        &serde_json::json!({"objects": [{"kind": "house", "digest": format!("sha256:{}", "0".repeat(64))}]}),
    );
    assert_eq!(answer.status, 400, "{}", answer.text());
    // Something that isn't there is nobody's problem.
    let answer = engine.post(
        "/havre/system/repair",
        &serde_json::json!({"objects": [{"kind": "layer", "digest": format!("sha256:{}", "0".repeat(64))}]}),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("\"Repaired\":[]"), "{}", answer.text());
}

/// While images come and go.
#[test]
fn a_check_beside_other_work_finds_nothing() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    for number in 0..4 {
        let image = Image::busybox().with_layer(&Layer::noise(1000 + number, 4 << 20));
        registry.publish("app", &format!("v{number}"), &image, Compression::Gzip);
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (done, engine, registry) = (&done, &engine, &registry);
        let checks = scope.spawn(move || {
            let mut checks = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) || checks == 0 {
                let output = engine.run("system check");
                assert_eq!(output.code, 0, "{output}");
                checks += 1;
            }
        });
        for _ in 0..3 {
            for number in 0..4 {
                engine.ok(["pull", "-q", &registry.name(&format!("app:v{number}"))]);
            }
            for number in 0..4 {
                engine.ok(["rmi", &registry.name(&format!("app:v{number}"))]);
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        checks.join().expect("no check failed");
    });
    assert_eq!(layer_dirs(&engine).len(), 0, "no layer was kept by a check");
}
