//! The daemon is killed while images come, change their names, go and come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;
use havre_testing::{Compression, Image, Layer, Registry, TestEngine, two_architectures};

/// How often the daemon is killed: `HAVRE_TEST_KILLS`, or a number that takes some seconds.
fn kills() -> u64 {
    let wanted = std::env::var("HAVRE_TEST_KILLS").ok();
    wanted.map_or(30, |number| number.parse().expect("HAVRE_TEST_KILLS is a number"))
}

/// Numbers that are the same in each run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Everything that changes images: pulls, loads, builds, names, removals that are kept and that are not, prunes, what takes them
/// back. Two clients at a time do it in other orders, so the same tags are set and removed at once. After each kill the next
/// daemon's store is whole, digest by digest; in the end nothing is lost and nothing is left over.
#[test]
fn images_survive_a_daemon_that_is_killed_anywhere() {
    let engine = TestEngine::start();
    let registry = Registry::start();
    let base = Image::busybox().with_layer(&Layer::noise(1, 700_000));
    for (tag, seed) in [("1", 2), ("2", 3)] {
        let image = base.clone().with_layer(&Layer::noise(seed, 900_000));
        registry.publish("app", tag, &image, Compression::Gzip);
    }
    engine.load(
        &base.clone().with_layer(&Layer::new().file("sentinel", "stays\n")),
        "sentinel",
    );
    let archive = engine.dir().join("image.tar");
    let loaded = base.with_layer(&Layer::noise(4, 500_000));
    fs::write(&archive, loaded.docker_archive(&["loaded:1"])).expect("the archive");
    let dockerfile = "FROM sentinel\nCOPY file /file\nRUN echo more > /more\n";
    let context = engine.files("context", &[("Dockerfile", dockerfile), ("file", "content\n")]);
    let (one, two) = (registry.name("app:1"), registry.name("app:2"));
    let platforms = two_architectures();
    let other = format!("linux/{}", platforms[1].architecture);
    registry.publish_index("app", "several", &platforms);
    let several = registry.name("app:several");
    let lines: Vec<String> = [
        format!("pull -q {one}"),
        format!("tag {one} moved:x"),
        format!("build -q --no-cache -t built:1 {}", context.display()),
        "image squash -q -t squashed:1 built:1".to_owned(),
        format!("rmi -f --keep {one}"),
        format!("pull -q {two}"),
        format!("tag {two} moved:x"),
        "undo".to_owned(),
        format!("pull -q --platform {other} {several}"),
        format!("pull -q {several}"),
        format!("tag {several} several:x"),
        format!("rmi -f --keep --platform {other} {several}"),
        "rmi -f --keep several:x".to_owned(),
        "undo".to_owned(),
        format!("load -q -i {}", archive.display()),
        "image restore moved:x@{1}".to_owned(),
        "rmi -f built:1 squashed:1 loaded:1".to_owned(),
        "image prune -af".to_owned(),
        "undo --forget --force".to_owned(),
        "builder prune -af".to_owned(),
    ]
    .into();
    // A container keeps its image from the prunes.
    engine.ok("create --name keeper sentinel true");
    // Undisturbed, all of it works.
    for line in &lines {
        engine.ok(line);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..kills() {
        let stop = AtomicBool::new(false);
        let starts = [0; 2].map(|_| random.below(lines.len() as u64) as usize);
        let moment = Duration::from_millis(random.below(160));
        std::thread::scope(|scope| {
            for start in starts {
                let (stop, lines, engine) = (&stop, &lines, &engine);
                scope.spawn(move || {
                    for line in lines.iter().cycle().skip(start) {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        engine.run(line);
                    }
                });
            }
            std::thread::sleep(moment);
            stop.store(true, Ordering::Relaxed);
            engine.kill_daemon();
        });
        engine.start_daemon();
        let checked = engine.run("system check -q");
        assert_eq!(
            checked.code, 0,
            "round {round}, {starts:?}, {moment:?}: {checked}"
        );
        for id in engine.ok("images -aq --no-trunc").lines() {
            engine.ok(["inspect", id]);
        }
    }
    assert_eq!(engine.ok("run --rm sentinel cat /sentinel"), "stays");
    // All of it can go, and then nothing of it is left.
    engine.ok("system prune -af");
    engine.run("undo --forget --force");
    assert_eq!(engine.ok("images -aq"), "");
    let usage = engine.ok("system df --format {{.Type}}:{{.Size}}");
    assert!(
        usage.contains("Images:0B") && usage.contains("Build Cache:0B"),
        "{usage}"
    );
    let left: Vec<_> = fs::read_dir(engine.root().join("layers"))
        .expect("layers")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
