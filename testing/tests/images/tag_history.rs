//! image log, image restore, NAME@{ENTRY}: what tags stood for before. Needs root.

use havre_testing::{Compression, Image, Layer, Program, Registry, TestEngine};
use serde_json::{Value, json};

fn version(text: &str) -> Image {
    Image::busybox().with_layer(&Layer::new().file("version", text))
}

/// Entry, image and what made it, newest first.
fn log(engine: &TestEngine, name: &str) -> Vec<String> {
    let format = "{{.Entry}} {{.ID}} {{.Command}} {{.State}}";
    let text = engine.ok(["image", "log", "--no-trunc", "--format", format, name]);
    text.lines().map(str::to_owned).collect()
}

fn printed(engine: &TestEngine, image: &str) -> String {
    engine.ok(["run", "--rm", image, "cat", "/version"])
}

/// `app:1` was loaded three times.
fn engine() -> (TestEngine, [Image; 3]) {
    let engine = TestEngine::with_config("");
    let images = ["one", "two", "three"].map(version);
    for image in &images {
        engine.load(image, "app:1");
    }
    (engine, images)
}

#[test]
fn what_a_tag_stood_for_is_found_wherever_an_image_is_named() {
    let (engine, [one, two, three]) = engine();
    assert_eq!(
        log(&engine, "app:1"),
        [
            format!("@{{0}} {} load here", three.id()),
            format!("@{{1}} {} load here", two.id()),
            format!("@{{2}} {} load here", one.id()),
        ]
    );
    let table = engine.ok("image log app:1");
    let mut rows = table.lines();
    assert!(
        rows.next().is_some_and(
            |row| row.starts_with("ENTRY     CHANGED") && row.ends_with("IMAGE ID       BY        SIZE")
        ),
        "{table}"
    );
    let row = rows.next().expect("a row");
    assert!(row.starts_with("@{0}") && row.ends_with("MB"), "{table}");
    assert_eq!(engine.ok("image log -q --no-trunc app:1").lines().count(), 3);
    let line = engine.ok("image log --format json app:1");
    let line: Value = serde_json::from_str(line.lines().nth(1).expect("a line")).expect("JSON");
    assert_eq!((&line["Entry"], &line["By"]), (&json!("@{1}"), &Value::Null));
    assert_eq!(line["Command"], "load");

    assert_eq!(printed(&engine, "app:1@{1}"), "two");
    assert_eq!(printed(&engine, "app:1@{2}"), "one");
    engine.ok("create --name box app:1@{2} true");
    assert_eq!(engine.inspect("box")["Image"], one.id());
    assert_eq!(engine.inspect("app:1@{1}")["Id"], two.id());
    assert!(engine.ok("history -q --no-trunc app:1@{2}").contains(&one.id()));
    engine.ok("tag app:1@{1} before:1");
    assert_eq!(engine.inspect("before:1")["Id"], two.id());
    // The official client says nothing against it either, where it asks the engine.
    let theirs = engine.cmd_of(Program::Docker, "image inspect --format {{.Id}} app:1@{1}");
    assert_eq!(theirs.ok(), two.id());
    let listed = engine.ok("images -q --no-trunc --filter since=app:1@{2}");
    assert!(!listed.contains(&one.id()), "{listed}");
    // Another engine finds the image, without a name.
    let archive = engine.dir().join("archive.tar");
    engine.ok(["save", "-o", &archive.to_string_lossy(), "app:1@{2}"]);
    let other = TestEngine::with_config("");
    let loaded = other.ok(["load", "-i", &archive.to_string_lossy()]);
    assert!(
        loaded.contains(&format!("Loaded image ID: {}", one.id())),
        "{loaded}"
    );

    // As of a time.
    assert_eq!(printed(&engine, "app:1@{0s}"), "three");
    let at = |index: usize| {
        let text = engine.ok("image log --format {{.ChangedAt}} app:1");
        text.lines().nth(index).expect("an entry").to_owned()
    };
    for (index, expected) in ["three", "two", "one"].iter().enumerate() {
        assert_eq!(printed(&engine, &format!("app:1@{{{}}}", at(index))), *expected);
    }
}

#[test]
fn what_cannot_be_found_says_why() {
    let (engine, [one, ..]) = engine();
    for (name, complaint) in [
        ("app:1@{3}", "the history of app:1 ends with @{2}"),
        (
            "app:1@{99999999999999999999}",
            "the history of app:1 ends with @{2}",
        ),
        ("app:1@{yesterday}", "the history of app:1 begins at 2"),
        ("app:1@{2001-01-01}", "the history of app:1 begins at 2"),
        ("app:1@{}", "invalid entry @{}: use a number such as @{1}"),
        ("app:1@{-1}", "invalid entry @{-1}"),
        ("app:1@{soon}", "invalid entry @{soon}"),
        ("app:1@{1}@{1}", "invalid entry @{1}@{1}"),
        (
            "other@{1}",
            "other:latest has no history: nothing here was ever called so",
        ),
        ("APP@{1}", "must be lowercase"),
        ("@{1}", "invalid reference format"),
    ] {
        for command in ["image inspect", "image restore", "run"] {
            let code = if command == "run" { 125 } else { 1 };
            let refused = engine.fails(code, format!("{command} {name}"));
            assert!(refused.contains(complaint), "{command} {name}: {refused}");
            assert!(
                !refused.contains("Unable to find image"),
                "nothing is pulled: {refused}"
            );
        }
    }
    let refused = engine.fails(1, "rmi app:1@{2}");
    let id = one.id();
    let short = &id["sha256:".len()..][..12];
    assert!(
        refused.contains(&format!(
            "app:1@{{2}} is an entry of a history, not a name that can be removed: to remove the image, name it by its ID {short}"
        )),
        "{refused}"
    );
    engine.ok(["rmi", short]);
    assert_eq!(log(&engine, "app:1")[2], format!("@{{2}} {id} load gone"));
    let gone = engine.fails(1, "image inspect app:1@{2}");
    assert!(
        gone.contains(&format!(
            "the image of app:1@{{2}}, {short}, was removed and cannot be brought back"
        )),
        "{gone}"
    );
    assert!(
        engine
            .fails(1, "image restore app:1@{2}")
            .contains("cannot be brought back")
    );
    let refused = engine.fails(
        1,
        "image log app@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    );
    assert!(refused.contains("a history belongs to a tag"), "{refused}");
}

#[test]
fn a_tag_is_put_back_and_forth() {
    let (engine, [one, two, three]) = engine();
    let said = engine.ok("image restore app:1@{2}");
    assert_eq!(said, format!("app:1 stands for {} again", &one.id()[7..19]));
    assert_eq!(printed(&engine, "app:1"), "one");
    assert_eq!(
        log(&engine, "app:1")[0],
        format!("@{{0}} {} restore here", one.id())
    );
    // Without an entry, the change is taken back.
    engine.ok("image restore app:1");
    assert_eq!(printed(&engine, "app:1"), "three");
    // Where it stands already, nothing changes.
    engine.ok("image restore app:1@{0}");
    assert_eq!(log(&engine, "app:1").len(), 5);

    // A tag that was removed.
    engine.ok("tag app:1 other:1");
    engine.ok("rmi app:1");
    let lines = log(&engine, "app:1");
    assert_eq!(lines[0], "@{0} <none> rmi untagged");
    let refused = engine.fails(1, "image inspect app:1@{0}");
    assert!(
        refused.contains("the tag was removed at ") && refused.contains("; app:1@{1} is what it was before"),
        "{refused}"
    );
    engine.ok("image restore app:1");
    assert_eq!(engine.inspect("app:1")["Id"], three.id());
    assert_eq!(engine.ok("undo --list -q"), "", "nothing is left to be undone");

    // An image that was removed and kept.
    engine.ok("tag app:1@{0} app:1");
    engine.ok(["rmi", "--keep", &two.id()]);
    let kept = engine.fails(1, ["image", "inspect", "app:1@{5}"]);
    assert!(
        kept.contains("was removed at ")
            && kept.contains("'image restore app:1@{5}' or 'undo 2' brings it back"),
        "{kept}"
    );
    let said = engine.ok("image restore app:1@{5}");
    let short = &two.id()[7..19];
    assert_eq!(
        said,
        format!("image {short} is back\napp:1 stands for {short} again")
    );
    assert_eq!(printed(&engine, "app:1"), "two");
    assert_eq!(engine.ok("undo --list -q"), "");

    // Undo, prune and whatever removes are lines like any other; the history outlives the daemon.
    engine.ok("rmi --keep app:1");
    engine.ok("undo");
    engine.ok("image prune -a -f");
    engine.kill_daemon();
    engine.start_daemon();
    let made: Vec<String> = log(&engine, "app:1")
        .iter()
        .take(4)
        .map(|line| line.split(' ').nth(2).expect("a command").to_owned())
        .collect();
    assert_eq!(made, ["prune", "undo", "rmi", "restore"]);
    assert_eq!(engine.ok("images -q"), "");
    assert!(log(&engine, "app:1").iter().all(|line| !line.ends_with("here")));
    let checked = engine.ok("system check");
    assert!(checked.contains("All are what their digests say"), "{checked}");
}

#[test]
fn every_way_a_tag_changes_is_told() {
    let (engine, registry) = (TestEngine::with_config(""), Registry::start());
    let name = registry.name("app:1");
    let digest = registry.publish("app", "1", &version("pulled"), Compression::Gzip);
    engine.ok(["pull", &name]);
    engine.ok(["pull", &name]);
    let context = engine.files("context", &[("Dockerfile", &format!("FROM {name}\nLABEL a=b\n"))]);
    engine.ok(["build", "-q", "-t", &name, &context.to_string_lossy()]);
    engine.ok(["create", "--name", "box", &name, "true"]);
    engine.ok(["commit", "box", &name]);
    engine.ok(["tag", &format!("{name}@{{2}}"), &name]);
    engine.load(&version("loaded"), &name);
    let import = engine.dir().join("root.tar");
    engine.ok(["export", "-o", &import.to_string_lossy(), "box"]);
    engine.ok(["import", &import.to_string_lossy(), &name]);
    let commands: Vec<String> = log(&engine, &name)
        .iter()
        .map(|line| line.split(' ').nth(2).expect("a command").to_owned())
        .collect();
    assert_eq!(commands, ["import", "load", "tag", "commit", "build", "pull"]);
    let digests = engine.ok(["image", "log", "--format", "{{.Digest}}", &name]);
    assert_eq!(digests.lines().last(), Some(digest.as_str()));

    // What came from a registry can be had from it.
    engine.ok("rm box");
    engine.ok(["rmi", "-f", &name]);
    // First what was built on it.
    engine.ok("image prune -a -f");
    engine.ok("image prune -a -f");
    let gone = engine.fails(1, ["image", "restore", &format!("{name}@{{6}}")]);
    assert!(
        gone.contains(&format!(
            "'pull {}@{digest}' has it from the registry",
            registry.name("app")
        )),
        "{gone}"
    );
    engine.ok(["pull", &format!("{}@{digest}", registry.name("app"))]);
    engine.ok(["image", "restore", &format!("{name}@{{6}}")]);
    assert_eq!(printed(&engine, &name), "pulled");
}

/// Clients that pull, move, remove and put back the same tag at once: whoever comes last has it, and the history tells all of it in
/// the order in which it happened.
#[test]
fn clients_that_do_opposite_things_to_a_tag_leave_one_of_them() {
    let (engine, registry) = (TestEngine::with_config(""), Registry::start());
    let name = registry.name("app:1");
    let images = ["one", "two", "three"].map(version);
    registry.publish("app", "1", &version("four"), Compression::Gzip);
    for image in &images {
        engine.load(image, &name);
        engine.ok(["tag", &image.id(), &format!("keep:{}", &image.id()[7..19])]);
    }
    let mut known: Vec<String> = images.iter().map(Image::id).collect();
    known.push(version("four").id());
    let works = [
        format!("tag {name}@{{1}} {name}"),
        format!("rmi {name}"),
        format!("pull -q {name}"),
        format!("image restore {name}@{{1}}"),
        format!("rmi --keep {name}"),
        format!("image restore {name}"),
        "undo".to_owned(),
    ];
    for round in 0..4 {
        std::thread::scope(|scope| {
            for place in 0..works.len() {
                let (engine, words) = (&engine, &works[(place + round) % works.len()]);
                // Each may come too late for what it wants.
                scope.spawn(move || drop(engine.cmd(words.as_str()).run()));
            }
        });
        let lines = log(&engine, &name);
        let image = |line: &String| line.split(' ').nth(1).expect("an image").to_owned();
        assert!(
            lines.windows(2).all(|pair| image(&pair[0]) != image(&pair[1])),
            "{lines:?}"
        );
        let now = engine.run(["image", "inspect", "--format", "{{.Id}}", &name]);
        match image(&lines[0]).as_str() {
            "<none>" => drop(now.fails(1)),
            id => {
                assert!(known.contains(&id.to_owned()), "{lines:?}");
                assert_eq!(now.ok(), id);
            }
        }
    }
    assert_eq!(engine.ok("images keep -q").lines().count(), 3);
    let checked = engine.ok("system check");
    assert!(checked.contains("All are what their digests say"), "{checked}");
}
