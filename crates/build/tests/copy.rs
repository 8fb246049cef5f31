//! `COPY` and `ADD` against a real store. Needs root.

mod support;

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use fs_err as fs;
use havre_build::FailureKind;
use support::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn destinations() {
    let bench = Bench::new();
    bench.file("a.txt", "a");
    bench.file("b.txt", "b");
    bench.file("dir/x", "x");
    bench.file("dir/sub/y", "y");
    symlink("x", bench.context().join("dir/link")).expect("link");
    symlink("a.txt", bench.context().join("top")).expect("link");
    fs::set_permissions(
        bench.context().join("b.txt"),
        std::fs::Permissions::from_mode(0o640),
    )
    .expect("chmod");
    let (id, _) = bench
        .good(
            "FROM scratch\nWORKDIR /w\nCOPY a.txt .\nCOPY a.txt renamed\nCOPY a.txt b.txt /many/\nCOPY *.txt /glob/\nCOPY dir /contents\n\
             COPY dir/ ./deep/er/\nCOPY top /followed\nCOPY a.txt /contents\nCOPY [\"a.txt\", \"/with space\"]\nCOPY --chown=5:6 --chmod=4711 b.txt /owned/new/\n\
             COPY --parents dir/sub/y /p/\nCOPY --exclude=sub --exclude=l* dir /less/\n",
        )
        .await;
    bench
        .files(&id, |root| {
            let read = |path: &str| {
                fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
            };
            for (path, text) in [
                ("w/a.txt", "a"),
                ("w/renamed", "a"),
                ("many/a.txt", "a"),
                ("many/b.txt", "b"),
                ("glob/b.txt", "b"),
                ("contents/x", "x"),
                ("contents/sub/y", "y"),
                ("w/deep/er/sub/y", "y"),
                ("followed", "a"),
                ("contents/a.txt", "a"),
                ("with space", "a"),
                ("p/dir/sub/y", "y"),
                ("less/x", "x"),
            ] {
                assert_eq!(read(path), text, "{path}");
            }
            assert!(!root.join("less/sub").exists() && !root.join("less/link").exists());
            assert_eq!(
                fs::read_link(root.join("contents/link")).expect("link").to_str(),
                Some("x")
            );
            assert!(
                !fs::symlink_metadata(root.join("followed"))
                    .expect("stat")
                    .is_symlink()
            );
            assert_eq!(
                fs::metadata(root.join("many/b.txt")).expect("stat").mode() & 0o7777,
                0o640
            );
            let owned = fs::metadata(root.join("owned/new/b.txt")).expect("stat");
            assert_eq!((owned.uid(), owned.gid(), owned.mode() & 0o7777), (5, 6, 0o4711));
            let parent = fs::metadata(root.join("owned/new")).expect("stat");
            assert_eq!(
                (parent.uid(), parent.gid(), parent.mode() & 0o7777),
                (5, 6, 0o755)
            );
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_the_image_stay_in_the_image() {
    let bench = Bench::new();
    bench.file("run/pid", "1");
    bench.file("f", "f");
    let outside = bench.dir.path().join("outside");
    fs::create_dir(&outside).expect("created");
    symlink("/run", bench.context().join("varrun")).expect("link");
    fs::create_dir(bench.context().join("links")).expect("created");
    symlink("/run", bench.context().join("links/var")).expect("link");
    symlink(&outside, bench.context().join("links/out")).expect("link");
    let (id, _) = bench
        .good("FROM scratch\nCOPY run /run\nCOPY links /l\nCOPY f /l/var/f\nCOPY f /l/out/f\nCOPY f /l/out\n")
        .await;
    bench
        .files(&id, |root| {
            assert!(root.join("run/f").exists(), "/l/var leads to /run of the image");
        })
        .await;
    assert_eq!(
        fs::read_dir(&outside).expect("list").count(),
        0,
        "nothing reached the host"
    );
    // In the context a link leads nowhere outside of it either.
    symlink("/etc", bench.context().join("host")).expect("link");
    let error = bench.bad("FROM scratch\nCOPY host/passwd /\n").await;
    assert_eq!(error.kind(), FailureKind::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_by_name_and_of_stages() {
    let bench = Bench::new();
    bench.file("passwd", "root:x:0:0::/:/\nbob:x:77:88::/:/\n");
    bench.file("group", "staff:x:50:\n");
    bench.file("f", "f");
    let (id, _) = bench
        .good(
            "FROM scratch AS a\nCOPY passwd group /etc/\nCOPY --chown=bob:staff f /f\nFROM scratch\nCOPY --from=a /f /kept\nCOPY --from=a --chown=1:2 --link /f /linked\n",
        )
        .await;
    bench
        .files(&id, |root| {
            let owner = |path: &str| {
                fs::metadata(root.join(path))
                    .map(|stat| (stat.uid(), stat.gid()))
                    .expect("stat")
            };
            assert_eq!(owner("kept"), (77, 50));
            assert_eq!(owner("linked"), (1, 2));
        })
        .await;
    let error = bench.bad("FROM scratch\nCOPY --chown=nobody f /\n").await;
    assert!(error.to_string().contains("no such user: nobody"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_layer_outlives_its_base() {
    let bench = Bench::new();
    bench.file("f", "f");
    let text = |run: &str| format!("FROM scratch\nRUN write /x {run}\nCOPY --link f /deep/f\n");
    bench.good(&text("one")).await;
    let (_, stream) = bench.good(&text("two")).await;
    assert_eq!(stream.matches("Using cache").count(), 1, "{stream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sources() {
    let bench = Bench::new();
    bench.file("a", "a");
    bench.file("b", "b");
    bench.file("secret", "s");
    bench.file(".dockerignore", "secret\n");
    for (line, message) in [
        (
            "COPY missing /",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat missing: file does not exist",
        ),
        (
            "COPY secret /",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat secret: file does not exist",
        ),
        (
            "COPY ../x /",
            "COPY failed: forbidden path outside the build context: ../x ()",
        ),
        ("COPY *.none /", "COPY failed: no source files were specified"),
        (
            "COPY a b /file",
            "When using COPY with more than one source file, the destination must be a directory and end with a /",
        ),
        (
            "COPY --chmod=u+x a /",
            "invalid chmod parameter: 'u+x'. it should be octal string and between 0 and 07777",
        ),
        (
            "ADD https://example.com/x.git /",
            "ADD can't take the git repository https://example.com/x.git: clone it beforehand, or fetch an archive of it by https",
        ),
        ("COPY [ab /", "\"[ab\": syntax error in pattern"),
    ] {
        let error = bench.bad(&format!("FROM scratch\n{line}\n")).await;
        assert_eq!(error.to_string(), message, "{line}");
        assert!(
            error
                .excerpt()
                .expect("excerpt")
                .contains(&format!("   2 | >>> {line}\n")),
            "{line}"
        );
    }
    assert!(bench.store.snapshots().list().expect("list").is_empty());
}

fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = havre_oci::layer::TarWriter::new(Vec::new());
    for (path, content) in entries {
        let entry = havre_oci::layer::Entry {
            path: path.as_bytes().to_vec(),
            mode: 0o644,
            uid: 9,
            size: content.len() as u64,
            ..Default::default()
        };
        writer.entry(&entry, &mut &content[..]).expect("written");
    }
    writer.finish().expect("finished")
}

#[tokio::test(flavor = "multi_thread")]
async fn add_unpacks_local_archives_only() {
    let bench = Bench::new();
    let plain = tar(&[("in/side", b"content")]);
    let mut packed =
        havre_oci::compression::encoder(Vec::new(), havre_oci::Compression::Gzip, None).expect("encoder");
    packed.write_all(&plain).expect("packed");
    fs::write(bench.context().join("a.tar"), &plain).expect("written");
    fs::write(bench.context().join("a.tgz"), packed.finish().expect("packed")).expect("written");
    fs::write(bench.context().join("x.tar.xz"), b"\xfd7zXZ\0rest").expect("written");
    bench.file("not.tar", "text");
    let (id, _) = bench
        .good("FROM scratch\nADD a.tar /plain\nADD a.tgz /gz/\nADD not.tar /text\nCOPY a.tar /kept.tar\nADD --unpack=false a.tar /also.tar\n")
        .await;
    bench
        .files(&id, |root| {
            for path in ["plain/in/side", "gz/in/side"] {
                assert_eq!(fs::read_to_string(root.join(path)).expect(path), "content");
                assert_eq!(fs::metadata(root.join(path)).expect("stat").uid(), 9);
            }
            assert_eq!(fs::read_to_string(root.join("text")).expect("read"), "text");
            assert!(root.join("kept.tar").is_file() && root.join("also.tar").is_file());
        })
        .await;
    let error = bench.bad("FROM scratch\nADD x.tar.xz /\n").await;
    assert!(error.to_string().contains("xz-compressed"), "{error}");
}

/// Serves one text for every path, and 404 for `/missing`.
async fn serve(text: &'static str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("listener");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap_or(0);
            let status = if head[..length].starts_with(b"GET /missing") {
                "404 Not Found"
            } else {
                "200 OK"
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn add_downloads() {
    let bench = Bench::new();
    let base = serve("downloaded").await;
    let digest = havre_oci::Digest::sha256_of(b"downloaded");
    let text = format!(
        "FROM scratch\nADD {base}/some/file.txt?q=1 /dir/\nADD --checksum={digest} --chmod=644 {base}/x /named\n"
    );
    let (id, _) = bench.good(&text).await;
    bench
        .files(&id, |root| {
            assert_eq!(
                fs::read_to_string(root.join("dir/file.txt")).expect("read"),
                "downloaded"
            );
            let stat = fs::metadata(root.join("dir/file.txt")).expect("stat");
            assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o600, 784_111_777));
            assert_eq!(
                fs::metadata(root.join("named")).expect("stat").mode() & 0o7777,
                0o644
            );
        })
        .await;
    let (again, stream) = bench.good(&text).await;
    assert_eq!(again, id);
    assert_eq!(stream.matches("Using cache").count(), 2, "{stream}");
    let error = bench.bad(&format!("FROM scratch\nADD {base}/missing /\n")).await;
    assert_eq!(
        error.to_string(),
        format!("failed to GET {base}/missing with status 404")
    );
    let wrong = havre_oci::Digest::sha256_of(b"other");
    let error = bench
        .bad(&format!("FROM scratch\nADD --checksum={wrong} {base}/x /x\n"))
        .await;
    assert_eq!(
        error.to_string(),
        format!("digest mismatch {digest}: {wrong} was expected")
    );
    let error = bench.bad(&format!("FROM scratch\nADD {base}/ /x/\n")).await;
    assert_eq!(error.to_string(), "cannot determine filename for source /x/");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_directories_do_not_replace_each_other() {
    let bench = Bench::new();
    bench.file("f", "f");
    bench.file("d/f/x", "x");
    bench.file("g/d", "file");
    let error = bench.bad("FROM scratch\nCOPY f /f\nCOPY d /\n").await;
    assert!(
        error
            .to_string()
            .contains("cannot copy a directory over the file"),
        "{error}"
    );
    let error = bench.bad("FROM scratch\nCOPY d/f /d/\nCOPY g /\n").await;
    assert!(
        error
            .to_string()
            .contains("cannot copy a file over the directory"),
        "{error}"
    );
    // The same steps twice make the same layer twice, which is an image like any other.
    let (id, _) = bench
        .good("FROM scratch\nRUN print 1\nRUN print 2\nRUN write /x x\nRUN print 3\n")
        .await;
    bench.files(&id, |root| assert!(root.join("x").exists())).await;
}
