//! No room left on the disk, at every point of what changes images.

use havre_testing::{Compression, Image, Layer, Output, Registry, SmallDisk, TestEngine};

/// How finely the room grows from one try to the next: `HAVRE_TEST_ROOMS` tries, or so many as take some seconds.
fn rooms() -> Vec<u64> {
    let wanted = std::env::var("HAVRE_TEST_ROOMS").ok();
    let count: u32 = wanted.map_or(10, |number| number.parse().expect("HAVRE_TEST_ROOMS is a number"));
    // From nothing, by growing steps, to more than any of the operations needs.
    let largest = f64::from(6 << 20);
    let step = |at: u32| (largest.powf(f64::from(at) / f64::from(count.max(2) - 1)) as u64) & !4095;
    let mut rooms: Vec<u64> = (0..count).map(step).collect();
    rooms.dedup();
    rooms
}

/// What is done, what takes it back, and whether it may never fail: what frees room needs none.
struct Operation {
    name: &'static str,
    words: String,
    back: Vec<String>,
    frees: bool,
}

fn says_why(output: &Output) -> bool {
    // A step of a build says so by itself.
    let said = format!("{}{}", output.err(), String::from_utf8_lossy(&output.stdout)).to_lowercase();
    ["no space left", "disk is full", "the disk is short of space"]
        .iter()
        .any(|why| said.contains(why))
}

/// Each operation meets a disk with a little more room than before: it succeeds, or says that the disk is full. When there is
/// room again, the store is whole and the operation succeeds.
#[test]
fn a_disk_may_be_full_at_every_write() {
    if TestEngine::is_dockerd() {
        return;
    }
    let small = SmallDisk::memory(64);
    let engine = small.engine();
    let registry = Registry::start();
    let base = Image::busybox();
    engine.load(&base, "base");
    let image = base
        .clone()
        .with_layer(&Layer::noise(1, 900_000))
        .with_layer(&Layer::noise(2, 300_000));
    registry.publish("app", "1", &image, Compression::Gzip);
    let archive = engine.dir().join("image.tar");
    let other = base.with_layer(&Layer::noise(3, 1_100_000));
    fs_err::write(&archive, other.docker_archive(&["loaded:1"])).expect("the archive");
    let dockerfile = "FROM base\nCOPY file /file\nRUN dd if=/dev/urandom of=/more bs=1k count=500\n";
    let context = engine.files("context", &[("Dockerfile", dockerfile), ("file", "content\n")]);
    engine.ok([
        "run",
        "--name",
        "filled",
        "base",
        "sh",
        "-c",
        "head -c 800000 /dev/urandom > /filled",
    ]);
    let pulled = registry.name("app:1");
    let saved = small.path().join("saved.tar");
    let words = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let operation = |name, words: String, back: Vec<String>, frees| Operation {
        name,
        words,
        back,
        frees,
    };
    let operations = [
        operation(
            "pull",
            format!("pull -q {pulled}"),
            vec![format!("rmi -f {pulled}")],
            false,
        ),
        operation(
            "load",
            format!("load -q -i {}", archive.display()),
            words(&["rmi -f loaded:1"]),
            false,
        ),
        operation(
            "build",
            format!("build --no-cache -t built:1 {}", context.display()),
            words(&["rmi -f built:1", "image prune -f", "builder prune -af"]),
            false,
        ),
        operation(
            "commit",
            "commit filled committed:1".to_owned(),
            words(&["rmi -f committed:1"]),
            false,
        ),
        operation(
            "squash",
            "image squash -q -t squashed:1 base".to_owned(),
            words(&["rmi -f squashed:1"]),
            false,
        ),
        operation(
            "save",
            format!("save -o {} base", saved.display()),
            Vec::new(),
            false,
        ),
        operation(
            "tag",
            "tag base another:1".to_owned(),
            words(&["rmi another:1"]),
            false,
        ),
        operation("rmi", "rmi --keep extra:1".to_owned(), words(&["undo"]), false),
        operation("remove", "rmi -f extra:1".to_owned(), Vec::new(), true),
        operation("undo", "undo".to_owned(), words(&["rmi --keep extra:1"]), false),
        operation("prune", "image prune -af".to_owned(), Vec::new(), true),
    ];
    for Operation {
        name,
        words,
        back,
        frees,
    } in &operations
    {
        let prepare = || match *name {
            "rmi" | "remove" | "prune" => engine.load(&other, "extra:1"),
            "undo" => {
                engine.load(&other, "extra:1");
                engine.ok("rmi --keep extra:1");
            }
            _ => {}
        };
        for room in rooms() {
            prepare();
            small.leave(room);
            let tried = engine.run(words);
            if tried.code != 0 {
                assert!(says_why(&tried), "{name} with room for {room}: {tried}");
                assert!(!frees, "{name} with room for {room} bytes: {tried}");
            }
            small.clear();
            let checked = engine.run("system check -q");
            assert_eq!(checked.code, 0, "{name} with room for {room}: {checked}");
            if tried.code != 0 {
                engine.ok(words);
            }
            for line in back {
                engine.ok(line);
            }
            let _ = fs_err::remove_file(&saved);
            if matches!(*name, "rmi" | "undo") {
                engine.run("undo");
                engine.run("rmi -f extra:1");
                engine.run("undo --forget --force");
            }
        }
    }
    assert_eq!(engine.ok("run --rm base echo alive"), "alive");
    // A daemon that starts anew finds nothing else than what there is.
    engine.kill_daemon();
    engine.start_daemon();
    engine.ok("system check -q");
}
