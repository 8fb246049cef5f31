//! Small things that scripts and people know from Docker.

use std::time::Duration;

use fs_err as fs;
use havre_testing::TestEngine;
use serde_json::json;

#[test]
fn memory_without_a_word_of_swap_is_doubled() {
    let engine = TestEngine::with_busybox();
    let limits = |name: &str| {
        let host = &engine.inspect(name)["HostConfig"];
        (
            host["Memory"].as_i64().unwrap_or(-2),
            host["MemorySwap"].as_i64().unwrap_or(-2),
        )
    };
    let mib = |count: i64| count << 20;
    engine.ok("create --name doubled -m 100m busybox true");
    assert_eq!(limits("doubled"), (mib(100), mib(200)));
    engine.ok("create --name given -m 100m --memory-swap 300m busybox true");
    assert_eq!(limits("given"), (mib(100), mib(300)));
    engine.ok("create --name unlimited -m 100m --memory-swap -1 busybox true");
    assert_eq!(limits("unlimited"), (mib(100), -1));
    engine.ok("create --name none busybox true");
    assert_eq!(limits("none"), (0, 0));

    let update = |memory: i64, swap: i64| {
        let body = json!({"Memory": memory, "MemorySwap": swap});
        engine.post("/containers/doubled/update", &body)
    };
    assert_eq!(update(mib(150), 0).status, 200);
    assert_eq!(limits("doubled"), (mib(150), mib(200)));
    let refused = update(mib(250), 0);
    assert_eq!(
        (refused.status, refused.json()["message"].as_str().unwrap_or_default().contains(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )),
        (409, true),
        "{}",
        refused.text()
    );
    assert_eq!(update(mib(250), mib(250)).status, 200);
    assert_eq!(limits("doubled"), (mib(250), mib(250)));
}

#[test]
fn containers_know_what_they_are() {
    let engine = TestEngine::with_busybox();
    // Whoever the user is, and where nothing can be written.
    for flags in ["--user 1000", "--read-only"] {
        let words = format!("run --rm {flags} busybox ls -l /.dockerenv");
        let line = engine.ok(words);
        assert!(
            line.starts_with("-rwxr-xr-x    1 ") && line.contains(" 0 "),
            "{line}"
        );
    }
    engine.ok("run -d --name box busybox true");
    engine.ok([
        "run",
        "-d",
        "--name",
        "live",
        "busybox",
        "sh",
        "-c",
        "echo x > /made; exec sleep 600",
    ]);
    engine.ok("wait box");
    while engine.run("exec live cat /made").out() != "x" {
        std::thread::sleep(Duration::from_millis(10));
    }
    // It is nobody's change, and no part of an image.
    assert_eq!(engine.ok("diff box"), "");
    assert_eq!(engine.ok("diff live"), "A /made");
    for (container, files) in [("box", ""), ("live", "made")] {
        engine.ok(["commit", container, &format!("of-{container}")]);
        let saved = engine.dir().join(format!("{container}.tar"));
        engine.ok(["save", "-o", &saved.to_string_lossy(), &format!("of-{container}")]);
        let names = names_of_last_layer(&saved);
        assert!(
            !names.iter().any(|name| name.contains("dockerenv")),
            "{container}: {names:?}"
        );
        assert!(
            files.is_empty() || names.iter().any(|name| name == files),
            "{names:?}"
        );
    }
    assert_eq!(engine.ok("exec live ls /.dockerenv"), "/.dockerenv");
    assert_eq!(engine.ok("run --rm of-live ls /.dockerenv"), "/.dockerenv");

    // What a program writes there is its own.
    engine.ok([
        "run",
        "--name",
        "writer",
        "busybox",
        "sh",
        "-c",
        "echo mine > /.dockerenv",
    ]);
    assert!(engine.ok("diff writer").ends_with(" /.dockerenv"));
}

fn names_of_last_layer(saved: &std::path::Path) -> Vec<String> {
    let dir = saved.with_extension("dir");
    fs::create_dir_all(&dir).expect("directory");
    tar::Archive::new(fs::File::open(saved).expect("archive"))
        .unpack(&dir)
        .expect("an archive");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("manifest.json")).expect("manifest")).expect("JSON");
    let layers = manifest[0]["Layers"].as_array().expect("layers");
    let last = dir.join(
        layers
            .last()
            .and_then(serde_json::Value::as_str)
            .expect("a layer"),
    );
    let mut layer = tar::Archive::new(fs::File::open(last).expect("layer"));
    let entries = layer.entries().expect("entries");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            entry.path().expect("a path").to_string_lossy().into_owned()
        })
        .collect()
}

#[test]
fn programs_that_cannot_be_started() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box busybox sleep 600");
    let refused = |program: &str, reasons: &[&str]| {
        let error = engine.fails(1, ["exec", "-d", "box", program]);
        let known = reasons.iter().any(|reason| {
            error
                == format!(
                    "Error response from daemon: OCI runtime exec failed: exec failed: unable to start container process: \
                     exec: \"{program}\": {reason}: unknown"
                )
        });
        assert!(known, "{error}");
    };
    refused("nosuch", &["executable file not found in $PATH"]);
    // runc says the one or the other, by its age.
    refused("/bin", &["is a directory", "permission denied"]);
    // Nobody waits for one that could be started.
    engine.ok("exec -d box false");

    for (instruction, code, words) in [
        (
            r#"RUN ["nosuch"]"#,
            1,
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        (r#"RUN ["/bin"]"#, 1, "exec: \"/bin\": "),
        (
            "USER nosuch\nRUN true",
            1,
            "unable to find user nosuch: no matching entries in passwd file",
        ),
        ("RUN nosuch", 127, "returned a non-zero code: 127"),
        (
            "RUN exit 42",
            42,
            "The command '/bin/sh -c exit 42' returned a non-zero code: 42",
        ),
    ] {
        let dockerfile = format!("FROM busybox\n{instruction}\n");
        let context = engine.files("context", &[("Dockerfile", &dockerfile)]);
        let error = engine.fails(code, ["build", &context.to_string_lossy()]);
        assert!(error.contains(words), "{instruction}: {error}");
    }
}

#[test]
fn a_copy_needs_a_path() {
    let engine = TestEngine::with_busybox();
    engine.ok("create --name box busybox true");
    let file = engine.files("files", &[("file", "x")]).join("file");
    let (file, made) = (file.to_string_lossy().into_owned(), engine.dir().join("made"));
    let made = made.to_string_lossy().into_owned();
    let error = engine.fails(1, ["cp", "box:", &made]);
    assert!(
        error.starts_with("Error response from daemon: bad parameter: path"),
        "{error}"
    );
    let error = engine.fails(1, ["cp", "box:", "-"]);
    assert!(
        error.starts_with("Error response from daemon: bad parameter: path"),
        "{error}"
    );
    assert_eq!(engine.fails(1, ["cp", &file, "box:"]), "no such directory");
    assert_eq!(
        engine.cmd(["cp", "-", "box:"]).stdin("").run().fails(1),
        "destination \"box:\" must be a directory"
    );
    assert_eq!(engine.fails(1, ["cp", "", "box:/"]), "source can not be empty");
    assert_eq!(
        engine.fails(1, ["cp", "box:/", ""]),
        "destination can not be empty"
    );
    assert!(!std::path::Path::new(&made).exists());
}

#[test]
fn a_namespace_without_shared_memory() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box --ipc none busybox sleep 600");
    assert_eq!(engine.inspect("box")["HostConfig"]["IpcMode"], "none");
    engine.fails(1, "exec box ls /dev/shm");
    assert!(!engine.ok("exec box cat /proc/mounts").contains("/dev/shm"));
    let own = fs::read_link("/proc/self/ns/ipc").expect("a link");
    assert_ne!(
        engine.ok("exec box readlink /proc/self/ns/ipc"),
        own.to_string_lossy()
    );
    // A place one asks for oneself is still made.
    let mounts = engine.ok("run --rm --ipc none --tmpfs /dev/shm busybox cat /proc/mounts");
    assert!(mounts.contains(" /dev/shm tmpfs "), "{mounts}");
}
