//! Bind mounts, volumes, temporary file systems, the read-only root.

use fs_err as fs;
use havre_testing::{Image, Layer, TestEngine};
use serde_json::json;

#[test]
fn directories_of_the_host_are_mounted() {
    let engine = TestEngine::with_busybox();
    let host = engine.files("bind", &[("file", "from the host")]);
    let host = host.to_string_lossy().into_owned();
    assert_eq!(
        engine.ok(format!("run --rm -v {host}:/data busybox cat /data/file")),
        "from the host"
    );
    engine.ok([
        "run",
        "--rm",
        "-v",
        &format!("{host}:/data"),
        "busybox",
        "sh",
        "-c",
        "echo back > /data/back",
    ]);
    assert_eq!(
        fs::read_to_string(format!("{host}/back")).expect("file"),
        "back\n"
    );
    let read_only = engine.fails(1, format!("run --rm -v {host}:/data:ro busybox touch /data/x"));
    assert!(read_only.contains("Read-only file system"), "{read_only}");
    assert_eq!(
        engine.ok(format!(
            "run --rm --mount type=bind,source={host},target=/data,readonly busybox cat /data/file"
        )),
        "from the host"
    );
    assert_eq!(
        engine.ok(format!("run --rm -v {host}/file:/one busybox cat /one")),
        "from the host"
    );
    engine.ok(format!("run --rm -v {host}/made:/data busybox true"));
    assert!(
        fs::metadata(format!("{host}/made")).expect("made").is_dir(),
        "-v makes a missing directory"
    );
    let missing = engine.fails(
        125,
        format!("run --rm --mount type=bind,source={host}/nosuch,target=/data busybox true"),
    );
    assert!(missing.contains("bind source path does not exist"), "{missing}");
}

#[test]
fn a_named_volume_lives_on_and_begins_with_the_images_files() {
    let engine = TestEngine::start();
    let image = Image::busybox().with_layer(&Layer::new().dir_with_mode("seed", 0o700).file_of(
        "seed/file",
        "seeded",
        1000,
    ));
    engine.load(&image, "seeded:latest");
    assert_eq!(
        engine.ok("run --rm -v data:/seed seeded cat /seed/file"),
        "seeded"
    );
    assert_eq!(
        engine.ok([
            "run",
            "--rm",
            "-v",
            "data:/seed",
            "seeded",
            "sh",
            "-c",
            "stat -c '%u %a' /seed/file /seed; echo more >> /seed/file"
        ]),
        "1000 644\n0 700"
    );
    assert_eq!(
        engine.ok("run --rm -v data:/elsewhere seeded cat /elsewhere/file"),
        "seededmore"
    );
    assert_eq!(
        engine.ok("run --rm --mount type=volume,source=empty,target=/seed,volume-nocopy seeded ls /seed"),
        ""
    );
    assert_eq!(engine.ok("volume ls -q"), "data\nempty");
    engine.ok("create --name user -v data:/x seeded");
    let used = engine.fails(1, "volume rm data");
    assert!(used.contains("volume is in use"), "{used}");
    engine.ok("rm user");
    assert_eq!(engine.ok("volume rm data"), "data");
    let unknown = engine.fails(1, "volume rm data");
    assert!(
        unknown.contains("no such volume") || unknown.contains("No such volume"),
        "{unknown}"
    );
}

#[test]
fn anonymous_volumes_go_when_they_should() {
    let engine = TestEngine::start();
    engine.load(
        &Image::busybox().with_config("Volumes", json!({"/vol": {}})),
        "vol:latest",
    );
    engine.ok("run --rm vol touch /vol/x");
    assert_eq!(engine.ok("volume ls -q"), "", "--rm takes them along");
    engine.ok("run --name keeps -v /other vol touch /vol/x");
    assert_eq!(engine.ok("volume ls -q").lines().count(), 2);
    engine.ok("rm keeps");
    assert_eq!(
        engine.ok("volume ls -q").lines().count(),
        2,
        "rm alone keeps them"
    );
    engine.ok("volume prune -f");
    assert_eq!(engine.ok("volume ls -q"), "");
}

#[test]
fn temporary_file_systems() {
    let engine = TestEngine::with_busybox();
    let mounts = engine.ok([
        "run",
        "--rm",
        "--tmpfs",
        "/scratch:size=1m,mode=700",
        "busybox",
        "sh",
        "-c",
        "grep ' /scratch ' /proc/mounts; stat -c %a /scratch",
    ]);
    assert!(
        mounts.starts_with("tmpfs /scratch tmpfs ")
            && mounts.contains("size=1024k")
            && mounts.ends_with("\n700"),
        "{mounts}"
    );
    let full = engine.fails(1, "run --rm --mount type=tmpfs,target=/scratch,tmpfs-size=65536 busybox dd if=/dev/zero of=/scratch/x bs=100k count=1");
    assert!(full.contains("No space left on device"), "{full}");
    let shm = engine.ok([
        "run",
        "--rm",
        "--shm-size",
        "2m",
        "busybox",
        "sh",
        "-c",
        "grep ' /dev/shm ' /proc/mounts",
    ]);
    assert!(shm.contains("size=2048k"), "{shm}");
}

#[test]
fn a_read_only_root() {
    let engine = TestEngine::with_busybox();
    let refused = engine.fails(1, "run --rm --read-only busybox touch /x");
    assert!(refused.contains("Read-only file system"), "{refused}");
    engine.ok("run --rm --read-only --tmpfs /tmp busybox touch /tmp/x");
}
