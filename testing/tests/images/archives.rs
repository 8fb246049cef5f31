//! save, load, import, export, commit.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use fs_err as fs;
use havre_testing::{Compression, Image, Layer, Program, TestEngine, digest_of};
use serde_json::json;

#[test]
fn saved_and_loaded_byte_for_byte() {
    let engine = TestEngine::start();
    // Whatever a tar can say that a file system would forget: order, names without their directories.
    let odd = Layer::new()
        .file("b", "second")
        .file("a", "first")
        .dir("d")
        .file("d/f", "")
        .symlink("s", "nowhere");
    let image = Image::busybox().with_layer(&odd);
    engine.load(&image, "app:v1");
    engine.ok("tag app:v1 app:v2");
    let saved = engine.cmd("save app:v1 app:v2").run();
    assert_eq!(saved.code, 0, "{}", saved.err());
    let digests: Vec<String> = tar::Archive::new(&saved.stdout[..])
        .entries()
        .expect("tar")
        .map(|entry| {
            let mut bytes = Vec::new();
            entry.expect("entry").read_to_end(&mut bytes).expect("content");
            digest_of(&bytes)
        })
        .collect();
    for layer in &image.layers {
        assert!(
            digests.contains(&digest_of(layer)),
            "a layer's archive is its very own"
        );
    }
    // Several at once, as one after the other: what can go goes.
    let some = engine.run("rmi app:v1 nosuch app:v2");
    let out = some.out();
    assert!(
        out.starts_with("Untagged: app:v1\n") && out.contains("\nUntagged: app:v2\n"),
        "{out}"
    );
    assert_eq!(
        some.fails(1),
        "Error response from daemon: No such image: nosuch:latest"
    );
    let loaded = engine.cmd("load").stdin(saved.stdout).ok();
    assert_eq!(loaded, "Loaded image: app:v1\nLoaded image: app:v2");
    assert_eq!(engine.inspect("app:v2")["Id"], image.id());
    assert_eq!(engine.ok("run --rm app:v1 cat /b /a"), "secondfirst");
}

#[test]
fn archives_of_every_origin_are_loaded() {
    let engine = TestEngine::start();
    let image = Image::busybox();
    let plain = image.docker_archive(&["plain:latest"]);
    assert_eq!(
        engine.cmd("load").stdin(plain.clone()).ok(),
        "Loaded image: plain:latest"
    );
    let gzip = Compression::Gzip.compress(&plain);
    assert_eq!(engine.cmd("load").stdin(gzip).ok(), "Loaded image: plain:latest");
    let file = engine.dir().join("image.tar");
    fs::write(&file, image.docker_archive(&[])).expect("archive");
    let by_id = engine.ok(["load", "-i", &file.to_string_lossy()]);
    assert_eq!(by_id, format!("Loaded image ID: {}", image.id()));
    assert_eq!(engine.ok(["load", "-q", "-i", &file.to_string_lossy()]), by_id);
    if !TestEngine::is_dockerd() {
        let zstd = Compression::Zstd.compress(&plain);
        assert_eq!(engine.cmd("load").stdin(zstd).ok(), "Loaded image: plain:latest");
        let oci = image.oci_archive("docker.io/library/oci:v1", Compression::Gzip);
        assert_eq!(engine.cmd("load").stdin(oci).ok(), "Loaded image: oci:v1");
        assert_eq!(engine.ok("run --rm oci:v1 echo oci"), "oci");
    }
    let missing = engine.fails(1, "load -i /nosuch/file");
    assert!(
        missing.contains("/nosuch/file") && missing.contains("no such file or directory"),
        "{missing}"
    );
}

#[test]
fn what_other_tools_write_is_loaded() {
    let engine = TestEngine::start();
    let dir = engine.files("layout", &[]);
    let source = dir.join("oci.tar");
    fs::write(&source, Image::busybox().oci_archive("latest", Compression::Gzip)).expect("archive");
    let target = dir.join("docker.tar");
    let copied = std::process::Command::new("skopeo")
        .args(["--insecure-policy", "copy", "-q"])
        .arg(format!("oci-archive:{}", source.display()))
        .arg(format!("docker-archive:{}:skopeo:v1", target.display()))
        .output()
        .expect("skopeo");
    assert!(
        copied.status.success(),
        "{}",
        String::from_utf8_lossy(&copied.stderr)
    );
    assert_eq!(
        engine.ok(["load", "-i", &target.to_string_lossy()]),
        "Loaded image: skopeo:v1"
    );
    assert_eq!(engine.ok("run --rm skopeo:v1 echo runs"), "runs");

    // And the other way: what we save, they read.
    let saved = dir.join("saved.tar");
    engine.ok(["save", "-o", &saved.to_string_lossy(), "skopeo:v1"]);
    let inspected = std::process::Command::new("skopeo")
        .args(["--insecure-policy", "inspect"])
        .arg(format!("docker-archive:{}", saved.display()))
        .output()
        .expect("skopeo");
    assert!(
        inspected.status.success(),
        "{}",
        String::from_utf8_lossy(&inspected.stderr)
    );
}

#[test]
fn imported_and_exported() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo changed > /file; rm /etc/group",
    ]);
    let exported = engine.cmd("export box").run();
    assert_eq!(exported.code, 0, "{}", exported.err());
    let id = engine
        .cmd([
            "import",
            "-c",
            "CMD [\"cat\", \"/file\"]",
            "-c",
            "ENV A=1",
            "-m",
            "by hand",
            "-",
            "flat:v1",
        ])
        .stdin(exported.stdout)
        .ok();
    assert_eq!(engine.inspect("flat:v1")["Id"], id);
    assert_eq!(engine.ok("run --rm flat:v1"), "changed");
    assert_eq!(
        engine.run("run --rm flat:v1 ls /etc/group").code,
        1,
        "what was removed is not exported"
    );
    assert_eq!(
        engine.inspect("flat:v1")["RootFS"]["Layers"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(
        engine.ok(["history", "--format", "{{.Comment}}", "flat:v1"]),
        "by hand"
    );
}

#[test]
fn committed_with_changes() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "--name",
        "box",
        "-e",
        "KEPT=1",
        "busybox",
        "sh",
        "-c",
        "echo new > /new; rm /etc/group; mkdir /d",
    ]);
    let id = engine.ok([
        "commit",
        "-m",
        "a message",
        "-a",
        "somebody",
        "-c",
        "CMD [\"cat\", \"/new\"]",
        "-c",
        "LABEL l=v",
        "box",
        "made:v1",
    ]);
    assert_eq!(engine.inspect("made:v1")["Id"], id);
    assert_eq!(engine.ok("run --rm made:v1"), "new");
    assert_eq!(
        engine.ok([
            "run",
            "--rm",
            "made:v1",
            "sh",
            "-c",
            "ls /etc/group 2>/dev/null; echo $KEPT"
        ]),
        "1"
    );
    let all = engine.inspect("made:v1");
    assert_eq!(all["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&all["Author"], &all["Comment"]),
        (&json!("somebody"), &json!("a message"))
    );
    assert_eq!(all["Config"]["Labels"]["l"], "v");
    engine.ok("run -d --name live busybox sleep 100");
    engine.ok(["exec", "live", "sh", "-c", "echo x > /while-running"]);
    engine.ok("commit live live:v1");
    assert_eq!(engine.ok("run --rm live:v1 cat /while-running"), "x");
    assert_eq!(engine.ok(["ps", "--format", "{{.Names}}"]), "live", "it goes on");
}

#[test]
fn saved_into_a_file() {
    let engine = TestEngine::start();
    engine.load(&Image::busybox().with_layer(&Layer::noise(0, 3 << 20)), "app:v1");
    let streamed = engine.cmd("save app:v1").run().stdout;
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("app.tar");
    let output = path.to_string_lossy().into_owned();
    // An older one is replaced.
    fs::write(&path, "older").expect("written");
    for program in [Program::Havre, Program::Docker] {
        engine.cmd_of(program, ["save", "-o", &output, "app:v1"]).ok();
        assert!(
            fs::read(&path).expect("read") == streamed,
            "{program:?}: the same bytes"
        );
    }
    engine.ok(["save", "-o", &output, "app:v1"]);
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    let error = engine.fails(1, ["save", "-o", &output, "nosuch"]);
    assert!(error.contains("No such image: nosuch"), "{error}");
    assert!(fs::read(&path).expect("read") == streamed, "what was there stays");

    // Where there is no room, nothing is left.
    let small = dir.path().join("small");
    fs::create_dir(&small).expect("directory");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(&small)
        .status();
    assert!(mounted.expect("mount").success());
    let error = engine
        .cmd(["save", "-o", &small.join("app.tar").to_string_lossy(), "app:v1"])
        .run();
    let left = fs::read_dir(&small).expect("read").count();
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert!(error.err().contains("No space left on device"), "{error}");
    assert_eq!((error.code, left), (1, 0), "{error}");
    assert!(unmounted.expect("umount").success());
}

/// Asks for an archive with the header that hands over a file; head and body of the answer.
fn save_to(engine: &TestEngine, header: &str) -> (String, Vec<u8>) {
    let mut stream = UnixStream::connect(engine.socket()).expect("the socket");
    let request = format!(
        "GET /images/app:v1/get HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Havre-Output: {header}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    (head, answer.split_off(end + 4))
}

#[test]
fn a_file_is_handed_over_to_the_engine() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    engine.load(&Image::busybox(), "app:v1");
    let streamed = engine.cmd("save app:v1").run().stdout;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("read");
    let boot = boot.trim();
    let mut file = tempfile::tempfile().expect("a file");
    let meta = file.metadata().expect("a status");
    let (fd, device, inode) = (file.as_raw_fd(), meta.dev(), meta.ino());

    let (head, body) = save_to(
        &engine,
        &format!("boot={boot} fd={fd} device={device} inode={inode}"),
    );
    assert!(
        head.starts_with("http/1.1 200") && head.contains("x-havre-output: written"),
        "{head}"
    );
    assert!(body.is_empty());
    let mut written = Vec::new();
    std::io::Seek::rewind(&mut file).expect("rewound");
    file.read_to_end(&mut written).expect("read");
    assert!(written == streamed, "the same bytes");

    // Another file than the one meant, or another machine's: the client gets the archive to write it by itself.
    for wrong in [
        format!("boot={boot} fd={fd} device={device} inode={}", inode + 1),
        format!("boot=other fd={fd} device={device} inode={inode}"),
    ] {
        let (head, body) = save_to(&engine, &wrong);
        assert!(
            head.starts_with("http/1.1 200") && !head.contains("x-havre-output"),
            "{head}"
        );
        assert!(body.len() > streamed.len(), "in chunks");
    }
    let (head, body) = save_to(&engine, "fd=/etc/passwd");
    assert!(
        head.starts_with("http/1.1 400"),
        "{head} {}",
        String::from_utf8_lossy(&body)
    );
    assert_eq!(file.metadata().expect("a status").len(), streamed.len() as u64);
}

#[test]
fn an_archive_without_what_its_reader_has() {
    let engine = TestEngine::start();
    let base = Image::busybox();
    let app = base.clone().with_layer(&Layer::noise(7, 300_000));
    engine.load(&base, "base:1");
    engine.load(&app, "app:1");
    let whole = engine.cmd("save app:1").run().stdout;
    let delta = engine.cmd("save --since base:1 app:1").run();
    assert_eq!(delta.code, 0, "{}", delta.err());
    let delta = delta.stdout;
    assert!(
        delta.len() < 400_000 && delta.len() + 500_000 < whole.len(),
        "{}",
        delta.len()
    );

    let fresh = TestEngine::start();
    let refused = fresh.cmd("load").stdin(delta.clone()).run().fails(1);
    assert!(
        refused.contains("leaves out layer")
            && refused.contains("base:1 (sha256:")
            && refused.contains("first"),
        "{refused}"
    );
    assert_eq!(fresh.ok("images -aq"), "", "nothing of it stays");
    fresh.load(&base, "base:1");
    assert_eq!(fresh.cmd("load").stdin(delta).ok(), "Loaded image: app:1");
    assert_eq!(fresh.inspect("app:1")["Id"], app.id());
    assert_eq!(fresh.ok("run --rm app:1 echo whole"), "whole");
    assert_eq!(
        fresh.cmd("save app:1").run().stdout,
        whole,
        "and it can be passed on"
    );
    let missing = engine.run("save --since nosuch:1 app:1").fails(1);
    assert!(missing.contains("No such image: nosuch:1"), "{missing}");
}

#[test]
fn an_archive_is_compressed_as_it_is_written() {
    let engine = TestEngine::start();
    engine.load(
        &Image::busybox().with_layer(&Layer::new().file("f", "g".repeat(3_000_000))),
        "app:1",
    );
    let plain = engine.cmd("save app:1").run().stdout;
    let dir = tempfile::tempdir().expect("a directory");
    for (format, program) in [("gzip", "gzip"), ("zstd", "zstd")] {
        let path = dir.path().join(format);
        engine.ok(format!("save --compress {format} -o {} app:1", path.display()));
        let packed = fs::read(&path).expect("an archive");
        assert!(
            packed.len() + 2_000_000 < plain.len(),
            "{format}: {}",
            packed.len()
        );
        // The same once more, on standard output; and another program's idea of it.
        let streamed = engine.cmd(format!("save --compress {format} app:1")).run().stdout;
        assert!(streamed == packed, "{format}: the same images, the same bytes");
        let unpacked = std::process::Command::new(program)
            .args(["-dc", &path.display().to_string()])
            .output()
            .expect("the program");
        assert!(unpacked.status.success() && unpacked.stdout == plain, "{format}");
        engine.ok("rmi app:1");
        assert_eq!(engine.cmd("load").stdin(packed).ok(), "Loaded image: app:1");
    }
    let refused = engine.run("save --compress lz4 app:1").fails(1);
    assert!(refused.contains("use gzip or zstd"), "{refused}");
}
