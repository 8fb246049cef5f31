//! Contexts read in place: the same result as from a tar, whatever is in them and whoever writes to them. Needs root.

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use havre_build::context::{self, Claim, IgnoreRules};
use havre_build::{BuildRequest, Context};
use havre_oci::Digest;
use havre_oci::layer::{Entry, Kind, TarWriter};
use support::Bench;

/// What a client sends of a directory: everything its ignore rules leave, times in whole seconds.
fn archive(root: &Path) -> Vec<u8> {
    let rules = fs::read(root.join(".dockerignore")).unwrap_or_default();
    let rules = IgnoreRules::parse(&rules).expect("rules");
    let mut tar = TarWriter::new(Vec::new());
    let mut pending = vec![root.to_path_buf()];
    while let Some(path) = pending.pop() {
        let name = path.strip_prefix(root).expect("inside");
        let status = fs::symlink_metadata(&path).expect("stat");
        let excluded = !name.as_os_str().is_empty() && rules.excludes(&name.to_string_lossy());
        if status.is_dir() {
            let names = fs::read_dir(&path).expect("list");
            pending.extend(names.map(|entry| entry.expect("entry").path()));
        }
        if name.as_os_str().is_empty() || excluded {
            continue;
        }
        let mut entry = Entry {
            path: name.as_os_str().as_bytes().to_vec(),
            mode: status.mode() & 0o7777,
            mtime: status.mtime(),
            ..Entry::default()
        };
        let mut content = Vec::new();
        if status.is_dir() {
            entry.kind = Kind::Dir;
        } else if status.is_symlink() {
            entry.kind = Kind::Symlink;
            let target = fs::read_link(&path).expect("link");
            entry.target = target.as_os_str().as_bytes().to_vec();
        } else {
            content = fs::read(&path).expect("read");
            entry.size = content.len() as u64;
        }
        tar.entry(&entry, &mut content.as_slice()).expect("written");
    }
    tar.finish().expect("finished")
}

/// A build from a tar of the bench's context.
fn from_tar(bench: &Bench, dockerfile: &str) -> BuildRequest {
    bench.file("Dockerfile", dockerfile);
    let bytes = archive(&bench.context());
    let limits = context::Limits::default();
    let context = context::receive(bytes.as_slice(), &bench.store, bench.dir.path(), &limits);
    BuildRequest::new(context.expect("received"))
}

/// A build as a client on the same machine asks for it.
fn from_peer(bench: &Bench, dockerfile: &str) -> BuildRequest {
    bench.file("Dockerfile", dockerfile);
    let claim = Claim::new(&fs::canonicalize(bench.context()).expect("real")).expect("claim");
    let pid = i32::try_from(std::process::id()).expect("a pid");
    BuildRequest::new(Context::of_peer(pid, &claim).expect("seen"))
}

/// Layers and history of what a request builds, and how many steps came from the cache.
async fn layers(bench: &Bench, request: BuildRequest) -> (Vec<Digest>, Vec<String>, usize) {
    let (built, text) = bench.run(request).await;
    let built = built.unwrap_or_else(|error| panic!("{error}\n{text}"));
    let config = bench.config(&built.id).await;
    let history = config.history.into_iter().map(|entry| entry.created_by);
    let cached = text.matches("Using cache").count();
    (config.rootfs.diff_ids, history.collect(), cached)
}

/// A context of everything a directory may hold.
fn rich(bench: &Bench) {
    for (path, text) in [
        ("app/main.rs", "fn main() {}"),
        ("app/empty", ""),
        ("app/deep/er/still/file", "deep"),
        ("app/with space/a\tb\nc", "odd"),
        ("app/.hidden/x", "hidden"),
        ("docs/a.md", "a"),
        ("docs/b.txt", "b"),
        ("docs/keep/c.md", "c"),
        ("node_modules/x/index.js", "x"),
        ("node_modules/keep/this.js", "kept"),
        ("single", "one"),
        (
            ".dockerignore",
            "docs\n!docs/keep\nnode_modules/*\n!node_modules/keep\n*.log\n",
        ),
        ("ignored.log", "log"),
    ] {
        bench.file(path, text);
    }
    let context = bench.context();
    fs::write(context.join(OsStr::from_bytes(b"app/\xff\xfe")), "no text").expect("written");
    let long = "l".repeat(120);
    bench.file(&format!("app/{long}/{long}/{long}"), "far");
    bench.file("app/big", &"0123456789".repeat(200_000));
    symlink("main.rs", context.join("app/relative")).expect("link");
    symlink("/etc/passwd", context.join("app/absolute")).expect("link");
    symlink("nowhere", context.join("app/dangling")).expect("link");
    symlink("deep", context.join("app/directory")).expect("link");
    fs::hard_link(context.join("single"), context.join("app/second name")).expect("link");
    for (path, mode) in [
        ("app/main.rs", 0o4755),
        ("app/deep", 0o1777),
        ("docs", 0o700),
        ("single", 0o600),
    ] {
        fs::set_permissions(context.join(path), PermissionsExt::from_mode(mode)).expect("chmod");
    }
    let _socket = std::os::unix::net::UnixListener::bind(context.join("app/socket")).expect("socket");
    fs::remove_file(context.join("app/socket")).expect("removed");
}

const EVERYTHING: &str = "FROM scratch\nCOPY . /all/\nCOPY app/deep single /some/\nADD single /alone\nCOPY app/r* /links/\n\
     COPY --chown=7:8 --chmod=751 app /owned\nCOPY --parents app/deep/er /parents/\nCOPY --exclude=deep app /less\nRUN --mount=type=bind,source=app,target=/in print x\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_way_gives_the_same_layers() {
    let one = Bench::new();
    rich(&one);
    let other = Bench::new();
    // The same files on another store, sent as a tar.
    let copied = std::process::Command::new("cp")
        .args(["-a", "--"])
        .args([one.context().join("."), other.context()])
        .status();
    assert!(copied.expect("cp runs").success());
    let (here, history, cached) = layers(&one, from_peer(&one, EVERYTHING)).await;
    assert_eq!((here.len(), cached), (8, 0));
    let (sent, sent_history, cached) = layers(&other, from_tar(&other, EVERYTHING)).await;
    assert_eq!(cached, 0);
    assert_eq!(here[..7], sent[..7]);
    assert_eq!(history, sent_history);
    // And the way does not matter to the cache.
    let (again, _, cached) = layers(&one, from_tar(&one, EVERYTHING)).await;
    assert_eq!((again, cached), (here, 8));
    let (again, _, cached) = layers(&other, from_peer(&other, EVERYTHING)).await;
    assert_eq!((again, cached), (sent, 8));

    let (built, _) = one.run(from_peer(&one, EVERYTHING)).await;
    one.files(&built.expect("built").id, |root| {
        let all = root.join("all");
        let read = |path: &str| fs::read_to_string(all.join(path)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read("app/with space/a\tb\nc"), "odd");
        assert_eq!(read("docs/keep/c.md"), "c");
        assert_eq!(read("node_modules/keep/this.js"), "kept");
        for hidden in ["docs/a.md", "docs/b.txt", "node_modules/x", "ignored.log"] {
            assert!(!all.join(hidden).exists(), "{hidden}");
        }
        assert_eq!(
            fs::read(all.join(OsStr::from_bytes(b"app/\xff\xfe"))).expect("read"),
            b"no text"
        );
        assert_eq!(
            fs::read_link(all.join("app/absolute")).expect("link"),
            Path::new("/etc/passwd")
        );
        let mode = |path: &str| fs::metadata(root.join(path)).expect("stat").mode() & 0o7777;
        assert_eq!(mode("all/app/main.rs"), 0o4755);
        assert_eq!(mode("all/app/deep"), 0o1777);
        assert_eq!(
            mode("all/docs"),
            0o755,
            "left out, and there only for what is in it"
        );
        let time = |path: &str| fs::metadata(path).expect("stat").mtime();
        let source = one.context().join("app/deep");
        assert_eq!(
            fs::metadata(root.join("all/app/deep")).expect("stat").mtime(),
            time(source.to_str().expect("text"))
        );
        let owned = fs::metadata(root.join("owned/big")).expect("stat");
        assert_eq!(
            (owned.uid(), owned.gid(), owned.mode() & 0o7777, owned.len()),
            (7, 8, 0o751, 2_000_000)
        );
        assert!(
            root.join("links/relative")
                .symlink_metadata()
                .expect("stat")
                .is_file(),
            "followed"
        );
        assert!(!root.join("less/deep").exists() && root.join("less/main.rs").exists());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_contents_count() {
    let bench = Bench::new();
    bench.file("a", "one");
    bench.file("d/b", "two");
    let text = "FROM scratch\nCOPY . /\n";
    let (first, ..) = layers(&bench, from_peer(&bench, text)).await;
    let time = SystemTime::now() + Duration::from_secs(5000);
    for path in ["a", "d/b"] {
        let file = fs::File::options()
            .append(true)
            .open(bench.context().join(path))
            .expect("open");
        file.file().set_modified(time).expect("touched");
    }
    let (touched, _, cached) = layers(&bench, from_peer(&bench, text)).await;
    assert_eq!((touched, cached), (first.clone(), 1));
    bench.file("d/b", "owt");
    let (changed, _, cached) = layers(&bench, from_peer(&bench, text)).await;
    assert_eq!(cached, 0);
    assert_ne!(changed, first);
    fs::set_permissions(bench.context().join("a"), PermissionsExt::from_mode(0o600)).expect("chmod");
    assert_eq!(
        layers(&bench, from_peer(&bench, text)).await.2,
        0,
        "the mode is content"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_changed_within_a_tick_is_seen() {
    let bench = Bench::new();
    bench.file("f", "start");
    let path = bench.context().join("f");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for round in 0..40 {
        // The same size and modification time each time, as fast as possible.
        fs::write(&path, format!("{round:05}")).expect("written");
        let file = fs::File::options().append(true).open(&path).expect("open");
        file.file().set_modified(time).expect("touched");
        let (built, text) = bench.run(from_peer(&bench, "FROM scratch\nCOPY f /f\n")).await;
        let id = built.unwrap_or_else(|error| panic!("{error}\n{text}")).id;
        let found = bench
            .files(&id, |root| fs::read_to_string(root.join("f")).expect("read"))
            .await;
        assert_eq!(found, format!("{round:05}"));
    }
}

/// Writes to a file until it is dropped.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn start(path: &Path, longest: Duration) -> Writer {
        use std::io::{Seek as _, SeekFrom, Write as _};
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&written));
        let mut file = fs::File::options().write(true).open(path).expect("open");
        let end = std::time::Instant::now() + longest;
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) && std::time::Instant::now() < end {
                let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
                file.seek(SeekFrom::Start(0)).expect("seek");
                file.write_all(&number.to_le_bytes()).expect("written");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Writer {
            stop,
            written,
            thread: Some(thread),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the writer ends");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_rests_is_named() {
    let bench = Bench::new();
    bench.file("still", "x");
    bench.file("logs/busy", &"x".repeat(64 << 20));
    let path = bench.context().join("logs/busy");
    let writer = Writer::start(&path, Duration::from_secs(120));
    let (result, _) = bench.run(from_peer(&bench, "FROM scratch\nCOPY . /\n")).await;
    drop(writer);
    let error = result.expect_err("refused");
    assert_eq!(
        error.to_string(),
        "logs/busy changed whenever it was read: build again when nothing writes to it"
    );
    // What no step needs may change as it likes.
    let writer = Writer::start(&path, Duration::from_secs(120));
    let (result, _) = bench.run(from_peer(&bench, "FROM scratch\nCOPY still /\n")).await;
    drop(writer);
    result.expect("built");
    assert!(bench.store.snapshots().list().expect("list").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_to_rest_is_read_again() {
    let bench = Bench::new();
    bench.file("busy", &"x".repeat(16 << 20));
    let path = bench.context().join("busy");
    let writer = Writer::start(&path, Duration::from_millis(150));
    let (result, text) = bench.run(from_peer(&bench, "FROM scratch\nCOPY . /\n")).await;
    let id = result.unwrap_or_else(|error| panic!("{error}\n{text}")).id;
    let last = writer.written.load(Ordering::Relaxed);
    drop(writer);
    let bytes = bench
        .files(&id, |root| fs::read(root.join("busy")).expect("read"))
        .await;
    assert_eq!(bytes[..8], last.to_le_bytes(), "the last state");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_and_go_do_no_harm() {
    let bench = Bench::new();
    for number in 0..200 {
        bench.file(&format!("d/{number}"), "x");
    }
    let directory = bench.context().join("d");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let churn = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let path = directory.join("temporary");
            fs::write(&path, "x").expect("written");
            std::thread::sleep(Duration::from_micros(300));
            fs::remove_file(&path).expect("removed");
        }
    });
    let mut good = 0;
    for round in 0..20 {
        let text = format!("FROM scratch\nENV X={round}\nCOPY d /{round}\n");
        match bench.run(from_peer(&bench, &text)).await.0 {
            Ok(_) => good += 1,
            Err(error) => assert!(
                error.to_string().contains("temporary changed whenever"),
                "{error}"
            ),
        }
    }
    stop.store(true, Ordering::Relaxed);
    churn.join().expect("ends");
    assert!(good > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_layer_can_hold() {
    let bench = Bench::new();
    bench.file("good/file", "x");
    let context = bench.context();
    fs::create_dir(context.join("bad")).expect("created");
    let fifo = |path: &str| {
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, context.join(path), kind, 0o600.into(), 0).expect("fifo");
    };
    fifo("bad/fifo");
    fifo("good/ignored");
    let listener = std::os::unix::net::UnixListener::bind(context.join("good/socket")).expect("socket");
    bench.file(".dockerignore", "good/ignored\n");
    let (built, _) = bench.run(from_peer(&bench, "FROM scratch\nCOPY good /\n")).await;
    bench
        .files(&built.expect("built").id, |root| {
            let names: Vec<_> = fs::read_dir(root).expect("list").collect();
            assert_eq!(names.len(), 1, "sockets are left out");
        })
        .await;
    drop(listener);
    let refused = async |text: &str| {
        let (result, _) = bench.run(from_peer(&bench, text)).await;
        result.expect_err("refused").to_string()
    };
    assert_eq!(
        refused("FROM scratch\nCOPY bad /\n").await,
        "bad/fifo is a device or a fifo; a context holds only files, directories and links"
    );
    bench.file("white/.wh.file", "x");
    assert_eq!(
        refused("FROM scratch\nCOPY white /w\n").await,
        "/w/.wh.file can't be in a layer: names that begin with \".wh.\" mean deletions there"
    );
    assert!(bench.store.snapshots().list().expect("list").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn links_do_not_lead_out_of_the_context() {
    let bench = Bench::new();
    fs::write(bench.dir.path().join("secret"), "secret").expect("written");
    let context = bench.context();
    symlink("../secret", context.join("up")).expect("link");
    symlink(bench.dir.path(), context.join("out")).expect("link");
    symlink("/proc/self/root/etc", context.join("magic")).expect("link");
    for source in ["up", "out/secret", "magic/passwd", "out/context/up"] {
        let text = format!("FROM scratch\nCOPY {source} /x\n");
        let (result, _) = bench.run(from_peer(&bench, &text)).await;
        let error = result.expect_err(source).to_string();
        assert!(
            error.contains("file not found in build context"),
            "{source}: {error}"
        );
    }
    // As links they are copied.
    let (built, _) = bench.run(from_peer(&bench, "FROM scratch\nCOPY . /\n")).await;
    bench
        .files(&built.expect("built").id, |root| {
            assert_eq!(
                fs::read_link(root.join("up")).expect("link"),
                Path::new("../secret")
            );
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_below_keep_what_they_are() {
    let bench = Bench::new();
    bench.file("f", "f");
    bench.file("tree/usr/lib/x", "x");
    bench.file("tree/etc/conf", "c");
    fs::set_permissions(
        bench.context().join("tree/etc"),
        PermissionsExt::from_mode(0o2750),
    )
    .expect("chmod");
    symlink("usr/lib", bench.context().join("tree/lib")).expect("link");
    bench.file("more/lib/y", "y");
    bench.file("more/etc/new", "n");
    let text = "FROM scratch\nCOPY --chown=3:4 tree /\nCOPY f /etc/sub/dir/f\nCOPY f /lib/f\nCOPY more /\nCOPY f /usr/lib/\nCOPY f /lib\nCOPY f /lib/../top\n";
    let (built, _) = bench.run(from_peer(&bench, text)).await;
    let id = built.expect("built").id;
    let source = fs::metadata(bench.context().join("tree/etc")).expect("stat");
    bench
        .files(&id, |root| {
            let etc = fs::metadata(root.join("etc")).expect("stat");
            assert_eq!((etc.uid(), etc.gid(), etc.mode() & 0o7777), (3, 4, 0o2750));
            assert_eq!(etc.mtime(), source.mtime(), "a new file in it is no news of it");
            let made = fs::metadata(root.join("etc/sub/dir")).expect("stat");
            assert_eq!((made.uid(), made.mode() & 0o7777), (0, 0o755));
            assert!(fs::symlink_metadata(root.join("lib")).expect("stat").is_symlink());
            for path in [
                "usr/lib/f",
                "usr/lib/x",
                "usr/lib/y",
                "etc/conf",
                "etc/new",
                "usr/top",
            ] {
                assert!(root.join(path).is_file(), "{path}");
            }
        })
        .await;
    let error = bench.bad("FROM scratch\nCOPY tree /\nCOPY f /etc/conf/f\n").await;
    assert!(
        error.to_string().contains("/etc/conf: Not a directory"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_directories() {
    let bench = Bench::new();
    let directory = bench.context().join("many");
    fs::create_dir(&directory).expect("created");
    for number in 0..6_000 {
        fs::write(directory.join(format!("{number:05}")), number.to_string()).expect("written");
    }
    let text = "FROM scratch\nCOPY many /many\n";
    let (first, ..) = layers(&bench, from_peer(&bench, text)).await;
    let (second, _, cached) = layers(&bench, from_peer(&bench, text)).await;
    assert_eq!((second, cached), (first.clone(), 1));
    assert_eq!(bench.store.layers().get(&first[0]).expect("layer").entries, 6_001);
    fs::write(directory.join("12345"), "other").expect("written");
    assert_eq!(layers(&bench, from_peer(&bench, text)).await.2, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_kept_beneath_the_store() {
    let bench = Bench::new();
    bench.file("f", "x");
    std::thread::sleep(Duration::from_millis(80));
    layers(&bench, from_peer(&bench, "FROM scratch\nCOPY f /\n")).await;
    let folder = bench.store.layout().root().join("build/contexts");
    let files = || fs::read_dir(&folder).expect("list").count();
    assert_eq!(files(), 1);
    // A tar's directory is gone before anybody could ask again.
    layers(&bench, from_tar(&bench, "FROM scratch\nCOPY f /\n")).await;
    assert_eq!(files(), 1);
}
