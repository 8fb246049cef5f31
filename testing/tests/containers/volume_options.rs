//! Volumes of the local driver with options, and parts of volumes.

use fs_err as fs;
use havre_testing::{Image, Layer, TestEngine, eventually};

/// What of the host's mounts lies beneath a directory.
fn mounted(engine: &TestEngine) -> Vec<String> {
    let volumes = format!(
        "{}/volumes/",
        fs::canonicalize(engine.root()).expect("root").display()
    );
    let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    targets
        .filter_map(|target| target.strip_prefix(&volumes))
        .map(str::to_owned)
        .collect()
}

/// A volume that shows `host`.
fn bind(engine: &TestEngine, name: &str, host: &str) {
    let device = format!("device={host}");
    let words = [
        "volume",
        "create",
        "--opt",
        "type=none",
        "--opt",
        "o=bind",
        "--opt",
        &device,
        name,
    ];
    assert_eq!(engine.ok(words), name);
}

const TMPFS: [&str; 6] = [
    "--opt",
    "type=tmpfs",
    "--opt",
    "device=tmpfs",
    "--opt",
    "o=size=1m,uid=1000",
];

fn seeded(engine: &TestEngine) {
    let layer = Layer::new().dir("seed").file_of("seed/file", "seeded", 1000);
    engine.load(&Image::busybox().with_layer(&layer), "seeded:latest");
}

#[test]
fn a_tmpfs_lives_as_long_as_somebody_uses_it() {
    let engine = TestEngine::with_busybox();
    engine.ok([["volume", "create"].as_slice(), &TMPFS, &["scratch"]]
        .concat()
        .as_slice());
    let options = engine.ok([
        "volume",
        "inspect",
        "-f",
        "{{json .Options}} {{.Mountpoint}}",
        "scratch",
    ]);
    assert!(
        options.starts_with(r#"{"device":"tmpfs","o":"size=1m,uid=1000","type":"tmpfs"} "#)
            && options.ends_with("/volumes/scratch/_data"),
        "{options}"
    );
    assert!(mounted(&engine).is_empty());
    engine.ok("run -d --name first -v scratch:/x busybox sleep 1000");
    let shown = engine.ok([
        "exec",
        "first",
        "sh",
        "-c",
        "echo kept > /x/file; grep ' /x ' /proc/mounts",
    ]);
    assert!(
        shown.starts_with("tmpfs /x tmpfs rw") && shown.contains("size=1024k,uid=1000"),
        "{shown}"
    );
    // Another one shares it, also by the first one's name.
    engine.ok("run -d --name second --volumes-from first busybox sleep 1000");
    engine.ok("rm -f first");
    assert_eq!(engine.ok("run --rm -v scratch:/y busybox cat /y/file"), "kept");
    assert_eq!(mounted(&engine), ["scratch/_data"]);
    engine.ok("stop -t 0 second");
    assert!(mounted(&engine).is_empty(), "unmounted when stop returns");
    engine.ok("start second");
    assert_eq!(engine.ok("exec second ls /x"), "", "what was in it is gone");
    engine.ok("restart -t 0 second");
    assert_eq!(mounted(&engine), ["scratch/_data"]);
    engine.ok("kill second");
    eventually("it is unmounted", || mounted(&engine).is_empty());
    // Copied from while it does not run.
    assert!(engine.cmd("cp second:/x -").run().out().contains("x/"));
    assert!(mounted(&engine).is_empty());
}

#[test]
fn a_directory_of_the_host_is_shown_and_never_deleted() {
    let engine = TestEngine::start();
    seeded(&engine);
    let host = engine.files("host", &[("precious", "kept")]);
    let host = host.to_string_lossy().into_owned();
    bind(&engine, "shown", &host);
    assert_eq!(engine.ok("run --rm -v shown:/x seeded cat /x/precious"), "kept");
    assert_eq!(
        engine.ok("run --rm -v shown:/seed seeded ls /seed"),
        "precious",
        "nothing is copied into what has files"
    );
    let empty = format!("{host}/empty");
    fs::create_dir(&empty).expect("directory");
    bind(&engine, "empty", &empty);
    engine.ok("run --rm --mount type=volume,src=empty,dst=/seed,volume-nocopy seeded true");
    assert!(!fs::exists(format!("{empty}/file")).expect("file"));
    engine.ok("create --name made -v empty:/seed seeded");
    assert_eq!(
        fs::read_to_string(format!("{empty}/file")).expect("copied up"),
        "seeded"
    );
    assert!(mounted(&engine).is_empty());
    engine.ok("rm made");

    // Neither counted nor pruned: what is in it is not the engine's.
    let usage = engine.ok("system df -v");
    assert!(!usage.contains("shown"), "{usage}");
    engine.ok("volume prune -a -f");
    assert_eq!(engine.ok("volume ls -q"), "empty\nshown");
    engine.ok("volume rm shown empty");
    assert_eq!(engine.ok("volume ls -q"), "");
    engine.ok("undo");
    assert_eq!(engine.ok("volume ls -q"), "empty\nshown");
    assert_eq!(engine.ok("run --rm -v shown:/x seeded cat /x/precious"), "kept");
    engine.ok("volume rm shown empty");
    engine.ok("undo --forget -f");
    eventually("it is deleted", || {
        fs::read_dir(engine.root().join("trash"))
            .expect("trash")
            .next()
            .is_none()
    });
    assert_eq!(
        fs::read_to_string(format!("{host}/precious")).expect("file"),
        "kept"
    );
}

#[test]
fn mounts_are_counted_across_daemons() {
    let engine = TestEngine::with_busybox();
    let host = engine.files("host", &[("precious", "kept")]);
    bind(&engine, "shown", &host.to_string_lossy());
    engine.ok([["volume", "create"].as_slice(), &TMPFS, &["scratch"]]
        .concat()
        .as_slice());
    engine.ok("run -d --name stays -v scratch:/x -v shown:/y busybox sleep 1000");
    engine.ok("run -d --name ends -v shown:/y busybox sleep 1000");
    engine.ok(["exec", "stays", "sh", "-c", "echo kept > /x/file"]);
    engine.kill_daemon();
    engine.start_daemon();
    assert_eq!(engine.ok("run --rm -v scratch:/z busybox cat /z/file"), "kept");
    engine.ok("rm -f ends");
    assert_eq!(mounted(&engine).len(), 2, "the other one still uses it");
    // It ends while nobody looks.
    let pid = engine.inspect("stays")["State"]["Pid"].as_i64().expect("pid");
    engine.kill_daemon();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("pid")).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
    engine.start_daemon();
    eventually("nothing stays mounted", || mounted(&engine).is_empty());
    engine.ok("start stays");
    engine.stop_daemon();
    assert_eq!(
        mounted(&engine).len(),
        2,
        "an orderly end leaves them to the containers, too"
    );
    engine.start_daemon();
    engine.ok("rm -f stays");
    assert!(mounted(&engine).is_empty());
    assert_eq!(fs::read_to_string(host.join("precious")).expect("file"), "kept");
}

#[test]
fn a_mount_asks_for_its_own_volume() {
    let engine = TestEngine::with_busybox();
    let options = "volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=64k";
    let shown = engine.ok([
        "run",
        "--rm",
        "--mount",
        &format!("type=volume,src=scratch,dst=/x,{options}"),
        "busybox",
        "grep",
        " /x ",
        "/proc/mounts",
    ]);
    assert!(shown.contains("size=64k"), "{shown}");
    let inspected = engine.ok(["volume", "inspect", "-f", "{{.Options.o}}", "scratch"]);
    assert_eq!(inspected, "size=64k");
    // A name that is taken means that volume, whatever options come with it.
    engine.ok("run --rm --mount type=volume,src=scratch,dst=/x,volume-opt=type=none,volume-opt=device=/nowhere busybox true");
    assert_eq!(
        engine.ok("volume create --opt type=none --opt device=/nowhere scratch"),
        "scratch"
    );
    assert_eq!(
        engine.ok(["volume", "inspect", "-f", "{{.Options.o}}", "scratch"]),
        "size=64k"
    );
    // One without a name goes with its container.
    engine.ok(format!(
        "run --rm --mount type=volume,dst=/x,{options} busybox true"
    ));
    assert_eq!(engine.ok("volume ls -q"), "scratch");
    assert!(mounted(&engine).is_empty());
}

#[test]
fn what_cannot_be_mounted_is_named() {
    let engine = TestEngine::start();
    seeded(&engine);
    for (options, said) in [
        ("--opt foo=bar", "create data: invalid option: \"foo\""),
        (
            "--opt type=tmpfs",
            "create data: missing required option: \"device\"",
        ),
        (
            "--opt o=bind --opt device=/x",
            "create data: missing required option: \"type\"",
        ),
        (
            "--opt size=10m",
            "create data: quota size requested but no quota support",
        ),
    ] {
        let refused = engine.fails(1, format!("volume create {options} data"));
        assert!(refused.contains(said), "{refused}");
    }
    let data = |name: &str| {
        let root = fs::canonicalize(engine.root()).expect("root");
        format!("{}/volumes/{name}/_data", root.display())
    };
    bind(&engine, "missing", "/no/where");
    // The client takes what is missing for a missing program, as Docker's does.
    let refused = engine.fails(127, "run --rm -v missing:/x seeded true");
    let place = data("missing");
    assert!(
        refused.contains(&format!(
            "error while mounting volume '{place}': failed to mount local volume: mount /no/where:{place}, flags: 0x1000: \
             no such file or directory"
        )),
        "{refused}"
    );
    // Where there is something to copy, it is missed at once.
    engine.fails(1, "create -v missing:/seed seeded");
    engine.ok("volume create --opt type=nosuchfs --opt device=foo --opt o=password=hidden odd");
    let refused = engine.fails(125, "run --rm -v odd:/x seeded true");
    assert!(
        refused.contains("data: password=********: no such device") && !refused.contains("hidden"),
        "{refused}"
    );
    engine.ok("volume create --opt type=nfs --opt device=:/export --opt o=addr=no-such-host.invalid remote");
    let refused = engine.fails(125, "run --rm -v remote:/x seeded true");
    assert!(
        refused.contains("error resolving passed in network volume address: lookup no-such-host.invalid: "),
        "{refused}"
    );
    assert!(mounted(&engine).is_empty());
    assert_eq!(engine.ok("ps -aq"), "");
    engine.ok("volume rm missing odd remote");
}

#[test]
fn parts_of_volumes() {
    let engine = TestEngine::start();
    seeded(&engine);
    engine.ok([
        "run",
        "--rm",
        "-v",
        "data:/d",
        "seeded",
        "sh",
        "-c",
        "mkdir -p /d/a/b /d/empty; echo inside > /d/a/b/file; ln -s a/b /d/link; ln -s / /d/root; ln -s ../../.. /d/up",
    ]);
    let part = |subpath: &str| format!("type=volume,src=data,dst=/x,volume-subpath={subpath}");
    let read = |subpath: &str, file: &str| {
        engine.ok(["run", "--rm", "--mount", &part(subpath), "seeded", "cat", file])
    };
    assert_eq!(read("a/b", "/x/file"), "inside");
    assert_eq!(read("link", "/x/file"), "inside");
    assert_eq!(read("a/b/file", "/x"), "inside");
    // The client takes what is missing for a missing program, as Docker's does.
    for (outside, code) in [("root", 125), ("up", 125), ("nothing", 127)] {
        let refused = engine.fails(code, ["run", "--rm", "--mount", &part(outside), "seeded", "true"]);
        assert!(refused.contains("cannot access path "), "{outside}: {refused}");
    }
    let refused = engine.fails(
        125,
        ["run", "--rm", "--mount", &part("../../etc"), "seeded", "true"],
    );
    assert!(
        refused.contains("subpath must be a relative path within the volume"),
        "{refused}"
    );
    // The image's files go into an empty part.
    let mount = "type=volume,src=data,dst=/seed,volume-subpath=empty";
    engine.ok(["run", "--rm", "--mount", mount, "seeded", "true"]);
    assert_eq!(
        engine.ok("run --rm -v data:/d seeded cat /d/empty/file"),
        "seeded"
    );

    engine.ok([
        "run",
        "-d",
        "--name",
        "long",
        "--mount",
        &part("a"),
        "seeded",
        "sleep",
        "1000",
    ]);
    let parts = engine
        .root()
        .join("containers")
        .join(engine.ok("ps -q --no-trunc"))
        .join("parts");
    let parts = fs::canonicalize(parts).expect("parts");
    let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
    assert!(
        !mounts.contains(&*parts.to_string_lossy()),
        "only while it is made"
    );
    engine.ok("restart -t 0 long");
    engine.ok("stop -t 0 long");
    let archive = engine.cmd("cp long:/x/b/file -").run();
    assert!(archive.out().contains("inside"));
    engine.ok("rm long");
}
