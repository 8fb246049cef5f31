//! A disk that is full.

use std::process::Command;

use fs_err as fs;
use havre_testing::{Compression, Image, Layer, Registry, TestEngine};

/// An engine whose root is a file system of this size, which ends with it.
struct Small {
    engine: Option<TestEngine>,
    dir: tempfile::TempDir,
}

impl Small {
    fn start(megabytes: u64) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("havre-small-")
            .tempdir_in("/var/tmp")
            .expect("directory");
        let image = dir.path().join("disk");
        let mount = dir.path().join("root");
        fs::File::create(&image)
            .and_then(|file| file.set_len(megabytes << 20))
            .expect("disk");
        fs::create_dir(&mount).expect("directory");
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().expect(program);
            assert!(
                output.status.success(),
                "{program}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        run("mkfs.ext4", &["-q", "-F", &image.to_string_lossy()]);
        run(
            "mount",
            &["-o", "loop", &image.to_string_lossy(), &mount.to_string_lossy()],
        );
        let engine = Some(TestEngine::at(&mount.join("havre")));
        Self { engine, dir }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(self.engine.take());
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path().join("root"))
            .status();
    }
}

#[test]
fn a_full_disk() {
    if TestEngine::is_dockerd() {
        return;
    }
    let small = Small::start(40);
    let engine = small.engine.as_ref().expect("engine");
    engine.load(&Image::busybox(), "busybox:latest");
    let registry = Registry::start();
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..48 << 20)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    let big = Image::busybox().with_layer(&Layer::new().file("big", noise));
    registry.publish("big", "latest", &big, Compression::None);
    let error = engine.fails(1, ["pull", &registry.name("big")]);
    assert!(
        error.contains("no space left on device") || error.contains("No space left on device"),
        "{error}"
    );
    assert_eq!(
        engine.ok("images -q").lines().count(),
        1,
        "the older image is still there"
    );
    let output = engine
        .cmd("load")
        .stdin(big.docker_archive(&["big:latest"]))
        .run();
    assert_ne!(output.code, 0, "{output}");
    assert!(
        output.err().to_lowercase().contains("no space left on device"),
        "{output}"
    );
    let filled = engine.run([
        "run",
        "--name",
        "filler",
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/fill",
        "bs=1M",
        "count=100",
    ]);
    assert_eq!(filled.code, 1, "{filled}");
    engine.ok("rm filler");
    assert_eq!(engine.ok("run --rm busybox echo room again"), "room again");
    engine.kill_daemon();
    engine.start_daemon();
    assert_eq!(engine.ok("run --rm busybox echo alive"), "alive");
}
