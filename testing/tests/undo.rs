//! Removals: planned, carried out exactly, and undone. Needs root.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fs_err as fs;
use havre_testing::{Program, SmallDisk, TestEngine, eventually};
use serde_json::Value;

fn plan(engine: &TestEngine, command: &str) -> Value {
    let text = engine.ok(format!("{command} --dry-run --format json"));
    serde_json::from_str(&text).expect("JSON")
}

/// Type and name of what a plan has.
fn planned(plan: &Value) -> Vec<String> {
    let items = plan["Items"].as_array().expect("items").iter();
    items
        .map(|item| {
            let text = |key: &str| item[key].as_str().expect("text").to_owned();
            format!("{} {}", text("Type"), text("Name"))
        })
        .collect()
}

fn held(engine: &TestEngine) -> usize {
    engine.ok("undo --list -q").lines().count()
}

#[test]
fn a_container_comes_back_with_everything() {
    let engine = TestEngine::with_busybox();
    engine.ok("network create back");
    engine.ok([
        "run",
        "--name",
        "web",
        "--network",
        "back",
        "--label",
        "a=b",
        "-v",
        "/data",
        "-v",
        "named:/named",
        "--restart",
        "on-failure:3",
        "busybox",
        "sh",
        "-c",
        "echo written > /file; echo kept > /data/file; echo too > /named/file; echo logged",
    ]);
    let before = engine.inspect("web");
    let plan = plan(&engine, "rm -v web");
    let volume = before["Mounts"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["Destination"] == "/data"))
        .and_then(|one| one["Name"].as_str())
        .expect("an anonymous volume")
        .to_owned();
    assert_eq!(
        planned(&plan),
        ["container web".to_owned(), format!("volume {volume}")]
    );
    assert_eq!(plan["Size"], 8 + 5);
    assert_eq!(engine.ok("ps -aq").lines().count(), 1, "nothing was done");

    assert_eq!(engine.ok("rm -v web"), "web");
    assert_eq!(engine.ok("ps -aq"), "");
    assert_eq!(engine.ok("volume ls -q"), "named");
    // The name is free meanwhile.
    engine.ok("run --rm --name web busybox true");
    let listed = engine.ok("undo --list");
    assert!(
        listed.contains("container rm") && listed.contains("container web"),
        "{listed}"
    );
    let df = engine.ok("system df");
    assert!(
        df.lines()
            .any(|line| line.starts_with("Removed") && line.contains(" 2 ")),
        "{df}"
    );
    // It survives a restart of the daemon.
    engine.kill_daemon();
    engine.start_daemon();
    assert_eq!(engine.ok("undo"), format!("container web\nvolume {volume}"));
    let after = engine.inspect("web");
    for field in ["Id", "Name", "Created", "Config", "HostConfig", "Mounts", "State"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(engine.ok("logs web"), "logged");
    assert_eq!(held(&engine), 0);
    let out = engine.dir().join("out");
    engine.ok(format!("cp web:/file {}", out.display()));
    assert_eq!(fs::read_to_string(&out).expect("file"), "written\n");
    engine.ok("start -a web");
    assert_eq!(engine.ok("logs web"), "logged\nlogged");
    let content = engine.ok("run --rm --volumes-from web busybox cat /data/file /named/file");
    assert_eq!(content, "kept\ntoo");
    assert!(engine.fails(1, "undo").contains("there is nothing to undo"));
}

/// Bytes of the regular files beneath a directory, but for what is mounted there.
fn bytes_beneath(directory: &Path) -> u64 {
    let device = fs::metadata(directory).expect("directory").dev();
    let entries = fs::read_dir(directory).expect("directory");
    entries
        .map(|entry| {
            let path = entry.expect("entry").path();
            let found = fs::symlink_metadata(&path).expect("entry");
            match found.file_type() {
                kind if kind.is_file() => found.len(),
                kind if kind.is_dir() && found.dev() == device => bytes_beneath(&path),
                _ => 0,
            }
        })
        .sum()
}

#[test]
fn what_removed_containers_take_up_is_told_to_the_byte() {
    let engine = TestEngine::with_busybox();
    for (name, size) in [("one", 100_000), ("two", 50_000)] {
        engine.ok([
            "run",
            "--name",
            name,
            "busybox",
            "sh",
            "-c",
            &format!("head -c {size} /dev/zero > /file"),
        ]);
    }
    let told = || {
        let usage = engine.api("GET", "/system/df").expect("answer").json();
        let layers = usage["LayersSize"].as_u64().expect("a number");
        let removed = usage["RemovedUsage"]["TotalSize"].as_u64().unwrap_or(0);
        (layers, removed)
    };
    let (image, nothing) = told();
    assert!(image > 0);
    assert_eq!(nothing, 0);
    engine.ok("rm one");
    let own = bytes_beneath(&engine.root().join("containers"));
    let (layers, removed) = told();
    assert_eq!(layers, image, "the image's layers are not the container's");
    assert!((100_000..own).contains(&removed), "{removed}");
    engine.ok("rm two");
    let own = bytes_beneath(&engine.root().join("containers"));
    assert_eq!(told(), (image, own));
    engine.ok("rmi busybox");
    assert_eq!(
        told(),
        (0, own + image),
        "nothing but the removed containers holds them"
    );
    let beneath = |directory: &str| bytes_beneath(&engine.root().join(directory));
    // A layer that is a directory is told by its archive's size.
    let form = engine.ok(["info", "--format", "{{index .DriverStatus 0}}"]);
    if !form.contains("director") {
        let on_disk = ["layers", "containers", "content", "removed"].map(beneath);
        assert_eq!(own + image, on_disk.iter().sum::<u64>(), "{on_disk:?}");
    }
    engine.ok("undo --forget --force");
    assert_eq!(told(), (0, 0));
}

#[test]
fn one_command_is_one_removal() {
    let engine = TestEngine::with_busybox();
    for name in ["one", "two", "three"] {
        engine.ok(format!("create --name {name} busybox"));
    }
    engine.ok("rm one two");
    engine.ok("rm three");
    assert_eq!(held(&engine), 2);
    let ids = engine.ok("undo --list -q");
    let older = ids.lines().last().expect("two").to_owned();
    let back = engine.ok(format!("undo {older}"));
    let mut back: Vec<_> = back.lines().collect();
    back.sort_unstable();
    assert_eq!(back, ["container one", "container two"]);
    assert_eq!(engine.ok("undo"), "container three");
    // The official client's and others' removals, too.
    engine.cmd_of(Program::Docker, "rm one").run().ok();
    engine.cmd_of(Program::Docker, "container prune -f").run().ok();
    assert_eq!(held(&engine), 2);
    assert_eq!(engine.ok("undo").lines().count(), 2);
    assert_eq!(engine.ok("undo"), "container one");
}

#[test]
fn volumes_and_networks_come_back() {
    let engine = TestEngine::with_busybox();
    engine.ok("volume create --label a=b data");
    engine.ok([
        "run",
        "--rm",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
        "echo mine > /data/file",
    ]);
    engine.ok("network create --subnet 10.231.7.0/24 --label c=d back");
    let (volume, network) = (engine.inspect("data"), engine.inspect("back"));
    engine.ok("volume rm data");
    engine.ok("network rm back");
    assert!(engine.fails(1, "volume inspect data").contains("no such volume"));
    engine.ok("undo");
    engine.ok("undo");
    assert_eq!(engine.inspect("data"), volume);
    assert_eq!(engine.inspect("back"), network);
    assert_eq!(engine.ok("run --rm -v data:/data busybox cat /data/file"), "mine");
    let ip = engine.ok([
        "run",
        "--rm",
        "--network",
        "back",
        "busybox",
        "ip",
        "-4",
        "addr",
        "show",
        "eth0",
    ]);
    assert!(ip.contains("10.231.7."), "{ip}");
}

#[test]
fn what_stands_in_the_way_is_named_and_nothing_is_done() {
    let engine = TestEngine::with_busybox();
    engine.ok("create --name one busybox");
    engine.ok("create --name two busybox");
    engine.ok("volume create data");
    engine.ok("network create --subnet 10.231.8.0/24 back");
    engine.ok("rm one two");
    engine.ok("volume rm data");
    engine.ok("network rm back");
    engine.ok("create --name two busybox");
    engine.ok("volume create data");
    engine.ok("network create --subnet 10.231.8.0/25 other");
    let error = engine.fails(1, "undo");
    assert!(
        error.contains("10.231.8.0/24 overlaps") && error.contains("other"),
        "{error}"
    );
    let ids = engine.ok("undo --list -q");
    let (newest, older) = {
        let mut ids = ids.lines();
        (
            ids.next().expect("three").to_owned(),
            ids.next().expect("three").to_owned(),
        )
    };
    engine.ok("network rm other");
    engine.ok(format!("undo {newest}"));
    let error = engine.fails(1, format!("undo {older}"));
    assert!(
        error.contains("volume data: another volume has its name"),
        "{error}"
    );
    let ids = engine.ok("undo --list -q");
    let oldest = ids.lines().last().expect("some").to_owned();
    let error = engine.fails(1, format!("undo {oldest}"));
    assert!(
        error.contains("container two") && error.contains("rename that first"),
        "{error}"
    );
    assert!(engine.fails(1, "inspect one").contains("No such object"));
    engine.ok("rename two three");
    engine.ok(format!("undo {oldest}"));
    assert_eq!(engine.ok("ps -aq").lines().count(), 3);
    assert!(
        engine
            .fails(1, "undo 999")
            .contains("no removal 999 that can be undone")
    );
}

#[test]
fn a_prune_removes_what_its_plan_says() {
    let engine = TestEngine::with_busybox();
    engine.ok("create --name old --label keep busybox");
    engine.ok("create --name gone busybox");
    engine.ok("run -d --name lives busybox sleep 1000");
    engine.ok("network create idle");
    engine.ok("network create used");
    engine.ok("create --name on --network used busybox");
    engine.ok("volume create named");
    engine.ok("create --name holder -v /anonymous busybox");

    let mut all = planned(&plan(&engine, "container prune --filter label!=keep"));
    all.sort();
    assert_eq!(all, ["container gone", "container holder", "container on"]);
    // The filters are those of the lists.
    assert_eq!(
        planned(&plan(&engine, "container prune --filter name=gone")),
        ["container gone"]
    );
    assert_eq!(
        planned(&plan(&engine, "container prune --filter network=used")),
        ["container on"]
    );
    assert_eq!(planned(&plan(&engine, "network prune")), ["network idle"]);
    assert_eq!(planned(&plan(&engine, "volume prune -a")), ["volume named"]);
    let system = planned(&plan(&engine, "system prune -a --volumes"));
    // What comes free with the containers is in it, too.
    for one in [
        "container gone",
        "container holder",
        "network idle",
        "network used",
    ] {
        assert!(system.contains(&one.to_owned()), "{one}: {system:?}");
    }
    assert_eq!(
        system.iter().filter(|one| one.starts_with("volume ")).count(),
        1,
        "{system:?}"
    );
    assert!(!system.contains(&"container lives".to_owned()) && !system.contains(&"volume named".to_owned()));

    let shown = engine.ok("container prune --dry-run");
    assert!(
        shown.contains("TYPE") && shown.contains("created, never started"),
        "{shown}"
    );
    assert!(
        shown.contains("Total: 4 objects") && shown.contains("within 24 hours"),
        "{shown}"
    );

    let pruned = engine
        .cmd("container prune --filter name=gone")
        .stdin("y\n")
        .run()
        .ok();
    assert!(pruned.contains("Deleted Containers:"), "{pruned}");
    assert_eq!(engine.ok("ps -a --format {{.Names}}").lines().count(), 4);
    let pruned = engine
        .cmd("system prune --volumes --filter label!=keep")
        .stdin("y\n")
        .run()
        .ok();
    for title in [
        "Deleted Containers:",
        "Deleted Networks:\n",
        "Deleted Volumes:",
        "Total reclaimed space:",
    ] {
        assert!(pruned.contains(title), "{title}: {pruned}");
    }
    let mut left: Vec<_> = engine
        .ok("ps -a --format {{.Names}}")
        .lines()
        .map(str::to_owned)
        .collect();
    left.sort();
    assert_eq!(left, ["lives", "old"]);
    let listed = engine.ok("undo --list --format {{.Command}}");
    assert_eq!(listed, "system prune\ncontainer prune");
    // All of it at once.
    engine.ok("undo");
    engine.ok("undo");
    assert_eq!(engine.ok("ps -aq").lines().count(), 5);
    assert_eq!(engine.ok("network ls --filter type=custom -q").lines().count(), 2);
    engine.ok("start on holder");
    engine.ok("rm -f on holder");
}

#[test]
fn plans_refuse_what_the_command_refuses() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box -v data:/data busybox sleep 1000");
    for (command, said) in [
        ("rm --dry-run box", "container is running"),
        ("rm --dry-run nosuch", "No such container"),
        ("volume rm --dry-run data", "volume is in use"),
        ("network rm --dry-run bridge", "pre-defined network"),
        ("container prune --dry-run --filter colour=red", "invalid filter"),
        ("rm --format json box", "use it with --dry-run"),
    ] {
        let error = engine.fails(1, command);
        assert!(error.contains(said), "{command}: {error}");
    }
    let plan = plan(&engine, "rm -f box");
    assert_eq!(plan["Items"][0]["Reason"], "it runs and would be killed");
    assert_eq!(engine.inspect("box")["State"]["Running"], true);
    engine.ok("rm -f box");
    engine.ok("undo");
    assert_eq!(engine.inspect("box")["State"]["ExitCode"], 137);
}

#[test]
fn space_comes_back() {
    let engine = TestEngine::with_config("[undo]\nwindow = \"3s\"");
    engine.load(&havre_testing::Image::busybox(), "busybox:latest");
    let fill = |name: &str| {
        engine.ok([
            "run",
            "--name",
            name,
            "-v",
            "/data",
            "busybox",
            "sh",
            "-c",
            "dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null; dd if=/dev/zero of=/data/big bs=1M count=2 2>/dev/null",
        ]);
    };
    let lying = || {
        let entries = |name: &str| fs::read_dir(engine.root().join(name)).expect("directory").count();
        (entries("containers"), entries("removed"), entries("volumes"))
    };
    fill("one");
    engine.ok("rm -v one");
    assert_eq!(lying(), (1, 1, 0));
    let size = engine.ok("undo --list --format {{.Size}}");
    assert!(size.starts_with("5.2"), "{size}");
    eventually("the window has passed", || lying() == (0, 0, 0));
    assert_eq!(held(&engine), 0);

    engine.stop_daemon();
    engine.configure("[undo]\nquota = \"8m\"");
    engine.start_daemon();
    for name in ["one", "two"] {
        fill(name);
        engine.ok(format!("rm -v {name}"));
    }
    eventually("the older one went", || held(&engine) == 1);
    assert!(engine.ok("undo --list").contains("container two"));
    let freed = engine.ok("undo --forget -f");
    assert!(freed.starts_with("Total reclaimed space: 5.2"), "{freed}");
    assert_eq!(lying(), (0, 0, 0));
    // Those that remove themselves are never kept.
    engine.ok("run --rm -v /data busybox true");
    engine.ok("create --rm --name gone busybox");
    engine.ok("rm gone");
    assert_eq!(held(&engine), 0);

    engine.stop_daemon();
    engine.configure("[undo]\nwindow = \"0\"");
    engine.start_daemon();
    fill("one");
    assert!(!engine.ok("rm --dry-run one").contains("undo"));
    engine.ok("rm -v one");
    eventually("nothing is kept", || lying() == (0, 0, 0));
}

#[test]
fn a_daemon_that_is_killed_leaves_it_removed_or_there() {
    let engine = TestEngine::with_busybox();
    for round in 0..6 {
        engine.ok("run --name box -v /data busybox sh -c true");
        engine.ok([
            "run",
            "--rm",
            "--volumes-from",
            "box",
            "busybox",
            "touch",
            "/data/file",
        ]);
        let removing = engine.cmd("rm -v box").spawn();
        std::thread::sleep(std::time::Duration::from_millis(round * 4));
        engine.kill_daemon();
        let _ = removing.finish();
        engine.start_daemon();
        if engine.ok("ps -aq").is_empty() {
            engine.ok("undo");
        }
        assert_eq!(held(&engine), 0);
        assert_eq!(
            engine.ok("run --rm --volumes-from box busybox ls /data"),
            "file",
            "round {round}"
        );
        engine.ok("rm -v box");
        engine.ok("undo --forget -f");
        assert_eq!(engine.ok("volume ls -q"), "");
    }
}

#[test]
fn a_daemon_that_is_killed_while_it_undoes_loses_nothing() {
    let engine = TestEngine::with_busybox();
    engine.ok("network create back");
    engine.ok("run --name box --network back -v /data busybox touch /data/file");
    for round in 0..8 {
        // Nobody but the container is on it, and it does not run.
        engine.ok("rm -v box");
        engine.ok("network rm back");
        let undoing = engine.cmd("undo").spawn();
        std::thread::sleep(std::time::Duration::from_millis(round * 3));
        engine.kill_daemon();
        let _ = undoing.finish();
        engine.start_daemon();
        while held(&engine) > 0 {
            engine.ok("undo");
        }
        engine.ok("network inspect back");
        assert_eq!(
            engine.ok("run --rm --volumes-from box --network back busybox ls /data"),
            "file",
            "round {round}"
        );
    }
    engine.ok("start -a box");
}

#[test]
fn a_disk_that_runs_full_gets_the_space() {
    let small = SmallDisk::ext4(80);
    let engine = small.engine();
    engine.load(&havre_testing::Image::busybox(), "busybox:latest");
    let fill = |name: &str, megabytes: u32| {
        let count = format!("count={megabytes}");
        engine.run([
            "run",
            "--name",
            name,
            "busybox",
            "dd",
            "if=/dev/zero",
            "of=/big",
            "bs=1M",
            &count,
        ])
    };
    assert_eq!(fill("one", 15).code, 0);
    assert_eq!(fill("two", 15).code, 0);
    engine.ok("rm one");
    engine.ok("rm two");
    assert_eq!(held(engine), 2);
    // As much as is free now, and then what is kept goes, oldest first.
    let _ = fill("three", 60);
    eventually("the oldest is given up", || {
        let left = engine.ok("undo --list --format {{.Objects}}");
        !left.contains("container one")
    });
    engine.ok("rm three");
    // What is kept leaves as much free for what is new.
    eventually("the older one goes too", || held(engine) <= 1);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(fill("four", 25).code, 0);
}
