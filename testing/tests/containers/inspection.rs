//! What is told of containers: ps and its filters, inspect, diff, top.

use havre_testing::{TestEngine, eventually};
use serde_json::json;

#[test]
fn a_name_that_moved_on_is_shown_as_the_id() {
    let engine = TestEngine::with_busybox();
    let id = engine.ok(["inspect", "-f", "{{.Id}}", "busybox"]);
    let short = id.trim_start_matches("sha256:")[..12].to_owned();
    engine.ok("tag busybox app:1");
    engine.ok("create --name named app:1 true");
    engine.ok(["create", "--name", "by-id", &short, "true"]);
    let image = |name: &str| {
        engine.ok([
            "ps",
            "-a",
            "--format",
            "{{.Image}}",
            "-f",
            &format!("name=^/{name}$"),
        ])
    };
    assert_eq!(
        (image("named"), image("by-id")),
        ("app:1".to_owned(), short.clone())
    );
    engine.ok(["commit", "-m", "another", "named", "app:1"]);
    assert_eq!((image("named"), image("by-id")), (short.clone(), short.clone()));
    engine.ok("rmi app:1");
    assert_eq!(image("named"), short);
}

#[test]
fn a_list_is_filtered() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name up -l tier=web -l other busybox sleep 100");
    engine.ok(["run", "--name", "down", "-l", "tier=db", "busybox", "true"]);
    let names = |filters: &str| engine.ok(format!("ps -a --format {{{{.Names}}}} {filters}"));
    assert_eq!(names("--filter label=tier"), "down\nup");
    assert_eq!(names("--filter label=tier=web"), "up");
    assert_eq!(names("--filter label=other"), "up");
    assert_eq!(names("--filter status=exited"), "down");
    assert_eq!(names("--filter exited=0"), "down");
    assert_eq!(names("--filter name=u"), "up");
    assert_eq!(names("--filter ancestor=busybox"), "down\nup");
    assert_eq!(names("-n 1"), "down");
    assert_eq!(names("--filter label=nosuch"), "");
    let bad = engine.fails(1, "ps --filter nosuch=1");
    assert!(bad.to_lowercase().contains("invalid filter"), "{bad}");
}

#[test]
fn inspect_shows_what_was_asked() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box -e A=1 -l k=v -w /tmp -u user --restart on-failure:3 --memory 64m -v data:/data:ro --read-only --cap-drop ALL busybox sleep 100");
    let all = engine.inspect("box");
    let pointers = [
        ("/Config/Cmd", json!(["sleep", "100"])),
        ("/Config/Image", json!("busybox")),
        ("/Config/Labels/k", json!("v")),
        ("/Config/User", json!("user")),
        ("/Config/WorkingDir", json!("/tmp")),
        ("/HostConfig/Memory", json!(64 << 20)),
        ("/HostConfig/ReadonlyRootfs", json!(true)),
        (
            "/HostConfig/RestartPolicy",
            json!({"Name": "on-failure", "MaximumRetryCount": 3}),
        ),
        ("/HostConfig/CapDrop/0", json!("ALL")),
        ("/HostConfig/Binds/0", json!("data:/data:ro")),
        ("/Mounts/0/Destination", json!("/data")),
        ("/Mounts/0/Name", json!("data")),
        ("/Mounts/0/RW", json!(false)),
        ("/State/Status", json!("running")),
        ("/Path", json!("sleep")),
        ("/Args", json!(["100"])),
        ("/Driver", all["Driver"].clone()),
        ("/Image", engine.inspect("busybox")["Id"].clone()),
    ];
    for (pointer, expected) in pointers {
        assert_eq!(all.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert!(
        all["Config"]["Env"]
            .as_array()
            .expect("env")
            .contains(&json!("A=1"))
    );
    assert_eq!(
        engine.ok(["inspect", "-f", "{{json .Config.Labels}}", "box"]),
        r#"{"k":"v"}"#
    );
}

#[test]
fn changes_and_processes_are_listed() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo x > /etc/new; rm /etc/group; exec sleep 100",
    ]);
    eventually("the changes are there", || {
        engine.ok("diff box").lines().count() == 3
    });
    let mut changes: Vec<_> = engine.ok("diff box").lines().map(str::to_owned).collect();
    changes.sort_unstable();
    assert_eq!(changes, ["A /etc/new", "C /etc", "D /etc/group"]);
    let top = engine.ok("top box");
    assert!(
        top.lines().count() == 2 && top.contains("sleep 100") && top.starts_with("UID"),
        "{top}"
    );
}

#[test]
fn a_linked_container_is_listed_by_its_other_names_too() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name base --label a=b busybox sleep 1000");
    engine.ok("run -d --name web --link base:db --link base:store busybox sleep 1000");
    let names = |engine: &TestEngine, flags: &str| {
        engine.ok(format!("ps {flags} --format {{{{.Names}}}} -f name=base"))
    };
    assert_eq!(names(&engine, "--no-trunc"), "base,web/db,web/store");
    assert_eq!(names(&engine, ""), "base");
    engine.ok("rm -f web");
    assert_eq!(names(&engine, "--no-trunc"), "base");
    // What an event's attributes or labels don't hold has no value.
    let line = "events --since 1h --until 0s -f container=base -f event=start --format {{.Actor.Attributes.nope}}|{{.Actor.Attributes.a}}";
    assert_eq!(engine.ok(line), "<no value>|b");
    assert_eq!(engine.ok("inspect -f {{.Config.Labels.nope}} base"), "<no value>");
}
