//! One language for choosing images: images, rmi, image prune and save by the same filters; sorting; containers by filters. Needs root.

use havre_testing::{Image, Layer, Program, TestEngine, eventually};
use serde_json::Value;

fn version(number: usize, bytes: usize) -> Image {
    let layer = Layer::new().file(&format!("file{number}"), vec![b'x'; bytes]);
    Image::busybox()
        .with_layer(&layer)
        .with_created(&format!("2024-01-{number:02}T00:00:00Z"))
}

/// `app:1` to `app:4`, of which 4 is the newest and the smallest and is `app:latest`, too; 2 is `team/other:2` as well.
fn engine() -> TestEngine {
    let engine = TestEngine::with_config("");
    for number in 1..=4 {
        engine.load(
            &version(number, 5_000_000 - number * 1_000_000),
            &format!("app:{number}"),
        );
    }
    engine.ok("tag app:4 app:latest");
    engine.ok("tag app:2 team/other:2");
    engine
}

fn names(engine: &TestEngine, words: &str) -> String {
    let text = engine.ok(format!(
        "images --format {{{{.Repository}}}}:{{{{.Tag}}}} {words}"
    ));
    text.lines().collect::<Vec<_>>().join(" ")
}

/// Names and reasons of what would go.
fn planned(engine: &TestEngine, command: &str) -> Vec<String> {
    let text = engine.ok(format!("{command} --dry-run --format json"));
    let plan: Value = serde_json::from_str(&text).expect("JSON");
    let text = |item: &Value, key: &str| item[key].as_str().expect("text").to_owned();
    let items = plan["Items"].as_array().expect("items");
    items
        .iter()
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

const ONLY: &str = "it has no other name, and no container uses it";
const NAMED: &str = "the image stays: it has other names, or something uses it";

#[test]
fn a_list_by_filters_and_in_an_order() {
    let engine = engine();
    let all = "app:4 app:latest app:3 app:2 team/other:2 app:1";
    for (words, expected) in [
        ("", all),
        ("--sort created", all),
        (
            "--sort created:asc",
            "app:1 app:2 team/other:2 app:3 app:4 app:latest",
        ),
        ("--sort size", "app:1 app:2 team/other:2 app:3 app:4 app:latest"),
        ("--sort=size:asc", all),
        (
            "--sort name:desc",
            "team/other:2 app:latest app:4 app:3 app:2 app:1",
        ),
        ("--filter keep=2", "app:2 app:1"),
        ("--filter keep=1 --filter reference=app:[12]", "app:1"),
        (
            "--filter reference=app:[12] --filter reference=team/*",
            "app:2 team/other:2 app:1",
        ),
        ("--filter before=app:3", "app:2 team/other:2 app:1"),
        ("--filter since=app:3", "app:4 app:latest"),
        ("--filter until=2024-01-02", "app:1"),
        ("--filter last-used=30d", ""),
        ("--filter size>=1TB", ""),
        ("--filter size<1TB --filter keep=3", "app:1"),
        ("--filter platform=linux/s390x", ""),
        ("--filter unused=false", ""),
    ] {
        assert_eq!(names(&engine, words), expected, "{words}");
    }
    let bytes: u64 = engine
        .api(
            "GET",
            "/images/json?filters=%7B%22reference%22%3A%5B%22app%3A2%22%5D%7D",
        )
        .expect("an answer")
        .json()[0]["Size"]
        .as_u64()
        .expect("a size");
    assert_eq!(names(&engine, &format!("--filter size>{bytes}")), "app:1");
    assert_eq!(
        names(&engine, &format!("--filter size>={bytes}B")),
        "app:2 team/other:2 app:1"
    );
    assert_eq!(
        names(&engine, &format!("--filter size<{bytes}")),
        "app:4 app:latest app:3"
    );

    // What is used comes first.
    engine.ok("create --name box app:1 true");
    assert!(names(&engine, "--sort last-used").starts_with("app:1 "));
    assert!(names(&engine, "--sort last-used:asc").ends_with(" app:1"));
    assert_eq!(names(&engine, "--filter unused=false"), "app:1");
    assert!(
        !names(&engine, "--filter last-used=0s").contains("app:1"),
        "a container uses it"
    );
    engine.ok("rm box");
    assert!(names(&engine, "--filter last-used=0s").contains("app:1"));
    let context = engine.files("context", &[("Dockerfile", "FROM app:3\nLABEL built=yes\n")]);
    engine.ok(["build", "-q", "-t", "built:1", &context.to_string_lossy()]);
    let sorted = names(&engine, "--sort last-used");
    let place = |name: &str| sorted.find(name).expect("a name");
    assert!(
        place("app:3") < place("app:1") && place("app:1") < place("app:4"),
        "{sorted}"
    );
    assert_eq!(names(&engine, "--filter label=built=yes"), "built:1");
    let used = engine.ok("images --format {{.LastUsed}} built:1");
    assert!(used.ends_with(" ago"), "{used}");

    // The official client has the same filters, as far as it splits them at an equals sign.
    let theirs = |words: &str| {
        engine
            .cmd_of(Program::Docker, format!("images -q {words}").as_str())
            .run()
    };
    assert_eq!(
        theirs("--filter keep=3 --filter reference=app").ok(),
        engine.ok("images -q app:1 --filter keep=0")
    );
    assert_eq!(theirs("--filter size>=1TB").ok(), "");
    assert_eq!(
        theirs(&format!("--filter size=>{bytes} --filter label!=built"))
            .ok()
            .lines()
            .count(),
        1
    );
    for (words, complaint) in [
        ("--filter colour=red", "invalid filter 'colour'"),
        ("--filter keep=some", "invalid filter 'keep=some': use the number"),
        ("--filter size=1GB", "invalid filter 'size=1GB': use size>1GB"),
        ("--filter last-used=soon", "invalid filter 'last-used=soon'"),
        ("--filter before=nothing", "No such image: nothing"),
    ] {
        for command in ["images", "rmi --dry-run", "image prune -f", "save -o /dev/null"] {
            let refused = engine.fails(1, format!("{command} {words}"));
            assert!(refused.contains(complaint), "{command} {words}: {refused}");
        }
    }
    for bad in ["colour", "size:", "size:up"] {
        let refused = engine.fails(1, format!("images --sort {bad}"));
        assert!(
            refused.contains(&format!("invalid --sort {bad}: use size, ")),
            "{refused}"
        );
    }
}

#[test]
fn removals_by_filters_are_planned_and_take_the_names_that_are_meant() {
    let engine = engine();
    assert_eq!(
        planned(&engine, "rmi --filter reference=app --filter keep=2"),
        [
            format!("image name app:2: its name matches app; not among the newest 2 of app; {NAMED}"),
            format!("image app:1: its name matches app; not among the newest 2 of app; {ONLY}"),
        ]
    );
    // Nothing has happened; then just that does, and it can be undone as far as names go.
    let before = engine.ok("images --no-trunc");
    let removed = engine.ok("rmi --keep --filter reference=app --filter keep=2");
    let lines: Vec<&str> = removed.lines().collect();
    assert_eq!(
        (lines[0], lines[1]),
        (
            "Untagged: app:1",
            &*format!("Deleted: {}", version(1, 4_000_000).id())
        )
    );
    assert!(removed.contains("Untagged: app:2"), "{removed}");
    assert_eq!(
        names(&engine, "--sort name"),
        "app:3 app:4 app:latest team/other:2"
    );
    assert_eq!(
        engine.ok("image log --format {{.Command}} app:1").lines().next(),
        Some("rmi")
    );
    engine.ok("undo");
    assert_eq!(engine.ok("images --no-trunc"), before);

    // What containers use stays; by force, not what stopped ones do.
    engine.ok("create --name box app:1 true");
    engine.ok("run -d --name busy app:3 sleep 1000");
    assert_eq!(
        planned(&engine, "rmi --filter until=2024-01-04"),
        [format!(
            "image app:2, team/other:2: made at 2024-01-02T00:00:00Z; {ONLY}"
        )]
    );
    let forced = planned(&engine, "rmi -f --filter until=2024-01-04");
    assert_eq!(forced.len(), 2, "{forced:?}");
    assert!(
        forced[1].contains("app:1: made at") && forced[1].contains("uses it and keeps its layers"),
        "{forced:?}"
    );
    engine.ok("rmi -f --filter until=2024-01-04");
    assert_eq!(names(&engine, ""), "app:4 app:latest app:3");
    assert_eq!(
        engine.ok("rmi --filter until=2001-01-01"),
        "",
        "there is nothing to do"
    );
    assert!(
        engine
            .ok("rmi --dry-run --filter until=2001-01-01")
            .contains("Nothing would be removed")
    );
    let refused = engine.fails(1, "rmi --filter dangling=true app:4");
    assert!(
        refused.contains("by names or by filters, not by both"),
        "{refused}"
    );
    assert!(engine.fails(1, "rmi").contains("requires at least 1 argument"));

    // The world changes between the plan and its execution.
    let plan = engine
        .post(
            "/havre/plan?filters=%7B%22reference%22%3A%5B%22app%3Alatest%22%5D%7D",
            &serde_json::json!({"Command": "image rm"}),
        )
        .json();
    assert_eq!(plan["Items"][0]["Type"], "image name");
    engine.ok("tag app:3 app:latest");
    let body = serde_json::json!({"Command": "image rm", "Items": plan["Items"]});
    let applied = engine.post("/havre/plan/apply", &body).json();
    let reason = applied["Skipped"][0]["Reason"]
        .as_str()
        .expect("a reason")
        .to_owned();
    assert!(reason.contains("app:latest came to stand for"), "{applied}");
    assert_eq!(names(&engine, "app:latest"), "app:latest");
}

#[test]
fn prunes_keep_the_newest_and_what_is_otherwise_named() {
    let engine = engine();
    engine.load(&version(5, 10), "app:1");
    // The image that was app:1 is dangling by now, and of the others 2 is in another repository the newest.
    assert_eq!(
        planned(&engine, "image prune -a --filter keep=3"),
        ["image <none>: dangling".to_owned(),]
    );
    assert_eq!(
        planned(
            &engine,
            "image prune -a --filter keep=0 --filter reference=app:[23]"
        ),
        ["image app:3: its name matches app:[23]; not among the newest 0 of app; no container uses it",]
    );
    let pruned = engine.ok("image prune -a -f --filter keep=2 --filter last-used=0s");
    assert!(pruned.contains("untagged: app:3"), "{pruned}");
    assert_eq!(
        names(&engine, "--sort name"),
        "app:1 app:2 app:4 app:latest team/other:2"
    );
    assert_eq!(engine.ok("images -q --filter dangling=true"), "");
    let theirs = engine
        .cmd_of(Program::Docker, "image prune -a -f --filter last-used=30d")
        .ok();
    assert!(theirs.contains("Total reclaimed space: 0B"), "{theirs}");
}

#[test]
fn archives_by_filters() {
    let engine = engine();
    let archive = engine.dir().join("archive.tar");
    let path = archive.to_string_lossy().into_owned();
    engine.ok([
        "save",
        "-o",
        &path,
        "--filter",
        "reference=app",
        "--filter",
        "keep=3",
    ]);
    let other = TestEngine::with_config("");
    other.ok(["load", "-i", &path]);
    assert_eq!(names(&other, ""), "app:1");
    let refused = engine.fails(1, ["save", "-o", &path, "--filter", "keep=9"]);
    assert!(
        refused.contains("no image is meant by these filters"),
        "{refused}"
    );
    let refused = engine.fails(1, ["save", "-o", &path, "--filter", "keep=1", "app:1"]);
    assert!(
        refused.contains("by names or by filters, not by both"),
        "{refused}"
    );
    assert!(
        engine
            .fails(1, ["save", "-o", &path])
            .contains("requires at least 1 argument")
    );
}

#[test]
fn containers_by_filters() {
    let engine = engine();
    engine.ok("create --name one --label group=a app:1 true");
    engine.ok("create --name two --label group=b app:1 true");
    engine.ok("run -d --name three --label group=a app:1 sleep 1000");
    let container = |name: &str| format!("container {name}: created, never started");
    assert_eq!(planned(&engine, "rm --filter label=group=a"), [container("one")]);
    assert_eq!(planned(&engine, "rm -f --filter label=group=a").len(), 2);
    let id = engine.ok("ps -aq --no-trunc --filter name=one");
    assert_eq!(engine.ok("rm --filter label=group=a"), id);
    assert_eq!(engine.ok("ps -a --format {{.Names}}").lines().count(), 2);
    engine.ok("undo");
    engine.ok("rm -f --filter label=group=a --filter ancestor=app:1");
    assert_eq!(engine.ok("ps -a --format {{.Names}}"), "two");
    assert_eq!(engine.ok("rm --filter label=group=a"), "");
    assert!(
        engine
            .fails(1, "rm --filter label=a two")
            .contains("by names or by filters, not by both")
    );
    assert!(
        engine
            .fails(1, "rm --filter colour=red")
            .contains("invalid filter 'colour'")
    );
    assert!(engine.fails(1, "rm").contains("requires at least 1 argument"));
}

#[test]
fn a_tree_of_names_and_platforms() {
    let engine = engine();
    engine.ok("create --name box app:4 true");
    let tree = engine.ok("images --tree app");
    let lines: Vec<&str> = tree.lines().collect();
    let platform = format!("└─ linux/{}", havre_testing::Image::busybox().architecture);
    assert!(
        lines[0].starts_with("IMAGE")
            && lines[0].ends_with("ID             DISK USAGE   CONTENT SIZE   EXTRA"),
        "{tree}"
    );
    assert_eq!(lines[1], "app:4");
    assert!(
        lines[2].starts_with("app:latest ") && lines[2].ends_with("MB   U"),
        "{tree}"
    );
    assert!(
        lines[3].starts_with(&platform) && lines[3].ends_with("MB   U"),
        "{tree}"
    );
    assert!(
        lines[5].starts_with("app:3 ") && lines[5].ends_with("MB"),
        "{tree}"
    );
    assert!(
        lines.contains(&"U  In Use") && !tree.contains("unknown"),
        "{tree}"
    );
    let theirs = engine.cmd_of(Program::Docker, "image ls --tree app").ok();
    for name in ["app:4", "app:latest", "app:3", &platform] {
        assert!(theirs.contains(name), "{theirs}");
    }
    // Both say what takes up how much, and that is what lies there.
    let of = |text: &str, name: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .expect("a line");
        let cells: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        cells[1..4].join(" ")
    };
    assert_eq!(of(&theirs, "app:3"), of(&tree, "app:3"));
    let answer = engine
        .api("GET", "/v1.47/images/json?manifests=1")
        .expect("an answer")
        .json();
    let totals = answer
        .as_array()
        .expect("images")
        .iter()
        .map(|image| &image["Manifests"][0]["Size"]["Total"]);
    assert!(
        totals
            .into_iter()
            .all(|total| total.as_u64().is_some_and(|bytes| bytes > 1_000_000)),
        "{answer}"
    );
    assert!(
        engine
            .fails(1, "images --tree -q")
            .contains("--quiet is not yet supported with --tree")
    );
    assert_eq!(
        engine
            .ok("images --tree --sort size")
            .lines()
            .nth(1)
            .map(|line| &line[..5]),
        Some("app:1")
    );
    eventually("the container is gone", || engine.run("rm -f box").ok() == "box");
    assert!(!engine.ok("images --tree").contains("In Use"));
}
