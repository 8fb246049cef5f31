//! Removals of images and build cache: planned to the byte, carried out as planned, and undone. Needs root.

use std::path::Path;

use fs_err as fs;
use havre_testing::{Image, Layer, TestEngine, eventually};
use serde_json::{Value, json};

/// Bytes of all files below a directory.
fn bytes_below(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        // Gone meanwhile: nothing.
        _ => entry.metadata().map_or(0, |status| status.len()),
    });
    sizes.sum()
}

/// What layers and blobs take on the disk, and what is about to be deleted. Layers that are mounted are seen as files beneath.
fn stored(engine: &TestEngine) -> u64 {
    let root = engine.root();
    let layers = fs::read_dir(root.join("layers"))
        .expect("layers")
        .flatten()
        .map(|entry| {
            let file = entry.path().join("layer.erofs");
            fs::metadata(file).map_or(0, |status| status.len())
        });
    layers.sum::<u64>() + bytes_below(&root.join("content")) + bytes_below(&root.join("trash"))
}

fn plan(engine: &TestEngine, command: &str) -> Value {
    let text = engine.ok(format!("{command} --dry-run --format json"));
    serde_json::from_str(&text).expect("JSON")
}

/// Type, name and reason of what a plan has.
fn planned(plan: &Value) -> Vec<String> {
    let items = plan["Items"].as_array().expect("items").iter();
    let text = |item: &Value, key: &str| item[key].as_str().expect("text").to_owned();
    items
        .map(|item| {
            format!(
                "{} {}: {}",
                text(item, "Type"),
                text(item, "Name"),
                text(item, "Reason")
            )
        })
        .collect()
}

fn size(plan: &Value) -> u64 {
    plan["Size"].as_u64().expect("a size")
}

fn with_file(name: &str, bytes: usize) -> Image {
    Image::busybox().with_layer(&Layer::new().file(name, vec![b'x'; bytes]))
}

/// `base`, and two images above it that share its layers; the first has two names.
fn engine() -> TestEngine {
    let engine = TestEngine::with_config("");
    engine.load(&Image::busybox(), "base:1");
    engine.load(&with_file("one", 100_000), "one:1");
    engine.load(&with_file("two", 50_000), "two:1");
    engine.ok("tag one:1 also:1");
    engine
}

const ONLY: &str = "it has no other name, and no container uses it";
const NAMED: &str = "the image stays: it has other names, or something uses it";

#[test]
fn a_plan_tells_names_layers_and_bytes_and_nothing_else_goes() {
    let engine = engine();
    let before = engine.ok("images --no-trunc");

    let two = plan(&engine, "rmi two:1");
    assert_eq!(planned(&two), [format!("image two:1: {ONLY}")]);
    assert_eq!(two["Items"][0]["References"], json!(["two:1"]));
    assert_eq!(
        two["Items"][0]["Layers"].as_array().map(Vec::len),
        Some(1),
        "the base is shared"
    );
    let one = plan(&engine, "rmi one:1");
    assert_eq!(planned(&one), [format!("image name one:1: {NAMED}")]);
    assert_eq!(size(&one), 0);
    // Each byte once, and those of the base only when nothing has them any more.
    let all = plan(&engine, "rmi base:1 one:1 also:1 two:1");
    assert_eq!(all["Items"].as_array().map(Vec::len), Some(3));
    assert!(size(&all) > size(&two) + 100_000, "{all}");
    assert_eq!(engine.ok("images --no-trunc"), before, "nothing was done");
    let shown = engine.ok("rmi --dry-run two:1");
    assert!(
        shown.contains("Total: 1 object, ") && shown.contains(ONLY),
        "{shown}"
    );

    // What comes back is what was said.
    let there = stored(&engine);
    assert_eq!(there, size(&all), "all there is");
    engine.ok("rmi two:1");
    eventually("the space is free", || stored(&engine) == there - size(&two));
    engine.ok("rmi one:1");
    assert_eq!(stored(&engine), there - size(&two), "only a name went");
    engine.ok("rmi base:1 also:1");
    eventually("all is free", || stored(&engine) == 0);

    for (words, complaint) in [
        ("rmi --dry-run nothing", "No such image: nothing"),
        ("rmi --format json nothing", "--format is for the plan"),
    ] {
        assert!(engine.fails(1, words).contains(complaint), "{words}");
    }
    assert!(
        engine
            .ok("rmi -f --dry-run nothing")
            .contains("Nothing would be removed")
    );
}

#[test]
fn a_plan_refuses_what_the_command_refuses() {
    let engine = engine();
    engine.ok("run -d --name box base:1 sleep 1000");
    let refused = engine.fails(1, "rmi --dry-run base:1");
    assert_eq!(refused, engine.fails(1, "rmi base:1"));
    assert!(
        refused.contains("container") && refused.contains("using"),
        "{refused}"
    );
    engine.ok("create --name still two:1 true");
    let forced = plan(&engine, "rmi -f two:1");
    assert!(
        planned(&forced)[0].contains("uses it and keeps its layers"),
        "{forced}"
    );
    assert_eq!(forced["Items"][0]["Layers"], Value::Null);
}

#[test]
fn prunes_take_their_plan_and_no_more() {
    let engine = engine();
    engine.load(&with_file("dangling", 70_000), "gone:1");
    engine.load(&with_file("new", 10), "gone:1");
    engine.ok("create --name box base:1 true");

    let dangling = plan(&engine, "image prune");
    assert_eq!(planned(&dangling), ["image <none>: dangling"]);
    assert!(size(&dangling) > 70_000);
    let all = plan(&engine, "image prune -a");
    assert_eq!(all["Items"].as_array().map(Vec::len), Some(4));
    assert!(
        !planned(&all).iter().any(|item| item.contains("base:1")),
        "a container uses it: {all}"
    );
    assert_eq!(
        planned(&plan(&engine, "image prune -a --filter until=2001-01-01")),
        [""; 0]
    );

    let there = stored(&engine);
    let pruned = engine.cmd("image prune").stdin("y\n").run().ok();
    assert!(
        pruned.contains("WARNING! This will remove all dangling images."),
        "{pruned}"
    );
    assert!(pruned.contains("Deleted Images:\ndeleted: sha256:"), "{pruned}");
    eventually("the space is free", || stored(&engine) == there - size(&dangling));

    // The world changes between the plan and its execution.
    let body = json!({"Command": "image prune", "All": true});
    let filters = "/havre/plan?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D";
    let made = engine.post(filters, &body).json();
    engine.ok("tag two:1 wanted:1");
    engine.ok("create --name other one:1 true");
    let items = json!({"Command": "image prune", "Items": made["Items"]});
    let applied = engine.post("/havre/plan/apply", &items).json();
    let reasons: Vec<&str> = applied["Skipped"]
        .as_array()
        .expect("some")
        .iter()
        .filter_map(|item| item["Reason"].as_str())
        .collect();
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("it came to be called wanted:1")),
        "{applied}"
    );
    assert!(
        reasons.iter().any(|reason| reason.contains("uses it")),
        "{applied}"
    );
    assert_eq!(applied["Removed"].as_array().map(Vec::len), Some(1));
    assert_eq!(applied["ImagesDeleted"][0]["Untagged"], "gone:1");
    engine.ok("rmi wanted:1");

    // All of it at once; the containers go first and with them what kept images.
    let system = plan(&engine, "system prune -a");
    for item in [
        "container box",
        "container other",
        "image base:1",
        "image two:1",
        "image also:1, one:1",
    ] {
        assert!(
            planned(&system).iter().any(|line| line.starts_with(item)),
            "{item}: {system}"
        );
    }
    let pruned = engine.cmd("system prune -a").stdin("y\n").run().ok();
    for title in [
        "Deleted Containers:",
        "Deleted Images:\nuntagged: ",
        "Total reclaimed space: ",
    ] {
        assert!(pruned.contains(title), "{title}: {pruned}");
    }
    assert_eq!(engine.ok("images -q"), "");
    engine.ok("undo --forget -f");
    eventually("all is free", || stored(&engine) == 0);
}

#[test]
fn build_cache_is_planned_and_pruned_to_the_byte() {
    let engine = TestEngine::with_config("");
    engine.load(&Image::busybox(), "busybox:latest");
    let dockerfile =
        "FROM busybox\nRUN head -c 300000 /dev/zero > /kept\nRUN head -c 200000 /dev/zero > /more\n";
    let context = engine.files("context", &[("Dockerfile", dockerfile)]);
    engine.ok(["build", "-q", "-t", "built", &context.to_string_lossy()]);
    assert_eq!(
        planned(&plan(&engine, "builder prune")),
        [""; 0],
        "an image consists of it"
    );
    let whole = plan(&engine, "builder prune -a");
    assert_eq!(size(&whole), 0, "the image has all of it: {whole}");
    assert!(
        planned(&whole)
            .iter()
            .all(|item| item == "build cache : no build uses it"),
        "{whole}"
    );
    engine.ok("rmi built");
    let whole = plan(&engine, "builder prune -a");
    assert!((500_000..600_000).contains(&size(&whole)), "{whole}");
    let shown = engine.ok("builder prune -a --dry-run");
    assert!(shown.contains("Build cache cannot be brought back"), "{shown}");
    let report = engine.cmd("builder prune -a").stdin("y\n").run().ok();
    assert!(report.contains("Deleted build cache objects:\n"), "{report}");
    assert!(report.contains("Total reclaimed space: 5"), "{report}");
    assert_eq!(planned(&plan(&engine, "builder prune -a")), [""; 0]);
}

#[test]
fn names_come_back_and_images_that_were_kept() {
    let engine = engine();
    let before = engine.ok("images --no-trunc");
    let layers = || {
        fs::read_dir(engine.root().join("layers"))
            .expect("layers")
            .count()
    };
    let all = layers();

    // A name costs nothing.
    engine.ok("rmi also:1");
    assert_eq!(engine.ok("undo --list --format {{.Command}}"), "image rm");
    assert_eq!(engine.ok("undo"), "tag also:1");
    assert_eq!(engine.ok("images --no-trunc"), before);

    // An image gives its space back at once, unless it is to be kept.
    engine.ok("rmi two:1");
    assert_eq!(engine.ok("undo --list -q"), "");
    assert!(layers() < all);
    engine.load(&with_file("two", 50_000), "two:1");
    engine.ok("rmi --keep one:1 also:1 two:1");
    assert_eq!(engine.ok("images -q").lines().count(), 1);
    assert_eq!(layers(), all, "their layers stay");
    let listed = engine.ok("undo --list --format {{.Command}}:{{.Size}}");
    assert!(listed.starts_with("image rm:16"), "{listed}");
    let removed = |column: &str| {
        let rows = engine.ok(format!("system df --format {{{{.Type}}}}:{column}"));
        let row = rows
            .lines()
            .find_map(|row| row.strip_prefix("Removed:").map(str::to_owned));
        row.unwrap_or_else(|| panic!("{rows}"))
    };
    // Two images, and three tags of them.
    assert_eq!(removed("{{.TotalCount}}"), "5");
    let size = removed("{{.Size}}");
    assert!(
        size.starts_with("16") && removed("{{.Reclaimable}}").starts_with(&size),
        "{size}"
    );
    // Nothing takes them for garbage, nor does the next daemon.
    engine.ok("image prune -a -f --filter until=2001-01-01");
    engine.ok("builder prune -a -f");
    engine.kill_daemon();
    engine.start_daemon();
    assert_eq!(layers(), all);
    engine.ok("undo");
    assert_eq!(engine.ok("images --no-trunc"), before);
    assert_eq!(engine.ok("run --rm one:1 wc -c /one"), "100000 /one");
    let checked = engine.ok("system check");
    assert!(checked.contains("All are what their digests say"), "{checked}");

    // Somebody has its name by then.
    engine.ok("rmi --keep two:1");
    engine.ok("tag base:1 two:1");
    let taken = engine.fails(1, "undo");
    assert!(
        taken.contains("tag two:1: image") && taken.contains("is called so"),
        "{taken}"
    );
    engine.ok("rmi two:1");
    let older = engine
        .ok("undo --list -q")
        .lines()
        .last()
        .expect("two removals")
        .to_owned();
    engine.ok(format!("undo {older}"));
    assert_eq!(engine.ok("images --no-trunc"), before);

    // The same image came again meanwhile.
    engine.ok("rmi --keep two:1");
    engine.load(&with_file("two", 50_000), "two:1");
    engine.ok(format!(
        "undo {}",
        engine.ok("undo --list -q").lines().next().expect("a removal")
    ));
    assert_eq!(engine.ok("images --no-trunc"), before);

    engine.ok("undo --forget -f");
    engine.ok("image prune -a -f --filter label=none");
    engine.ok("rmi --keep base:1 one:1 also:1 two:1");
    let held: Value = engine.api("GET", "/havre/undo").expect("an answer").json();
    assert_eq!(held[0]["Size"], stored(&engine), "all there is");
    let freed = engine.ok("undo --forget -f");
    assert!(freed.starts_with("Total reclaimed space: 2."), "{freed}");
    eventually("all is free", || stored(&engine) == 0);
}

#[test]
fn names_of_an_image_that_goes_for_good_are_forgotten() {
    let engine = engine();
    engine.ok("rmi also:1");
    assert_eq!(engine.ok("undo --list -q").lines().count(), 1);
    engine.ok("rmi one:1");
    assert_eq!(
        engine.ok("undo --list -q"),
        "",
        "there is nothing to be called so"
    );
    assert!(engine.fails(1, "undo").contains("there is nothing to undo"));
}

#[test]
fn the_configuration_keeps_images_as_long_as_the_window() {
    let engine = TestEngine::with_config("[undo]\nimages = true\nwindow = \"3s\"");
    engine.load(&with_file("file", 100_000), "one:1");
    let shown = engine.ok("rmi --dry-run one:1");
    assert!(shown.contains("undo' brings it back within 3 seconds"), "{shown}");
    engine.ok("rmi one:1");
    assert!(stored(&engine) > 100_000);
    engine.ok("undo");
    engine.ok("image prune -a -f");
    assert_eq!(engine.ok("undo --list --format {{.Command}}"), "image prune");
    eventually("the window has passed", || stored(&engine) == 0);
    assert_eq!(engine.ok("undo --list -q"), "");

    engine.stop_daemon();
    engine.configure("[undo]\nwindow = \"0\"");
    engine.start_daemon();
    engine.load(&with_file("file", 100_000), "one:1");
    let refused = engine.fails(1, "rmi --keep one:1");
    assert!(
        refused.contains("undo.window of the engine's configuration is 0"),
        "{refused}"
    );
    assert_eq!(engine.ok("images -q").lines().count(), 1);
}

#[test]
fn a_daemon_that_is_killed_has_the_image_or_keeps_it() {
    let engine = engine();
    let before = engine.ok("images --no-trunc");
    for round in 0..8 {
        let removing = engine.cmd("rmi --keep one:1 also:1 two:1 base:1").spawn();
        std::thread::sleep(std::time::Duration::from_millis(round * 3));
        engine.kill_daemon();
        let _ = removing.finish();
        engine.start_daemon();
        let undoing = match engine.ok("images -q").is_empty() {
            true => engine.cmd("undo").spawn(),
            false => engine.cmd("version").spawn(),
        };
        std::thread::sleep(std::time::Duration::from_millis(round * 2));
        engine.kill_daemon();
        let _ = undoing.finish();
        engine.start_daemon();
        if engine.ok("images -q").is_empty() {
            engine.ok("undo");
        }
        assert_eq!(engine.ok("images --no-trunc"), before, "round {round}");
        assert_eq!(engine.ok("undo --list -q"), "", "round {round}");
        assert_eq!(engine.ok("run --rm two:1 wc -c /two"), "50000 /two");
    }
}

#[test]
fn named_images_that_others_were_built_on_are_pruned_with_them() {
    let engine = TestEngine::with_busybox();
    for (from, to) in [("busybox", "child:1"), ("child:1", "grandchild:1")] {
        engine.ok(["create", "--name", "box", from, "true"]);
        engine.ok(["commit", "box", to]);
        engine.ok("rm box");
    }
    // One that a container needs keeps what it stands on, and its name.
    engine.ok("create --name user child:1 true");
    engine.ok("image prune -af");
    let mut left: Vec<_> = engine
        .ok("images --format {{.Repository}}")
        .lines()
        .map(str::to_owned)
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["busybox", "child"]);
    engine.ok("rm user");
    engine.ok("image prune -af");
    assert_eq!(engine.ok("images -aq"), "");
}
