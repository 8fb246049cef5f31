//! A disk that is full.

use havre_testing::{Compression, Image, Layer, Registry, SmallDisk, TestEngine};

#[test]
fn a_full_disk() {
    if TestEngine::is_dockerd() {
        return;
    }
    let small = SmallDisk::ext4(40);
    let engine = small.engine();
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
