//! `havre registry`: with clients of others, over folders of the reference registry, and killed. Needs root.

use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::http::{over_tcp, to_tcp};
use havre_testing::{
    Authority, DockerRegistry, HavreRegistry, Image, Layer, Pair, TestEngine, digest_of, havre_binary,
};

#[track_caller]
fn tool(program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
    assert!(
        output.status.success(),
        "{program} {words:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn image(seed: u64) -> Image {
    Image::busybox()
        .with_layer(&Layer::new().file("hello", format!("hello {seed}\n")))
        .with_layer(&Layer::noise(seed, 2 << 20))
}

#[test]
fn clients_push_pull_list_and_delete() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let root = engine.dir().join("registry");
    let registry = HavreRegistry::over(&root);
    let host = registry.host().to_owned();
    let name = format!("{host}/team/app:1");
    engine.load(&image(1), &name);
    let pushed = engine.ok(["push", &name]);
    assert!(pushed.contains("1: digest: sha256:"), "{pushed}");
    let again = engine.ok(["push", &name]);
    assert!(again.contains("Layer already exists"), "{again}");
    let id = engine.inspect(&name)["Id"].clone();
    engine.ok(["rmi", &name]);
    engine.ok(["pull", &name]);
    assert_eq!(engine.inspect(&name)["Id"], id);
    assert_eq!(engine.ok(["run", "--rm", &name, "cat", "/hello"]), "hello 1");
    // Another repository gets the layers without their being sent.
    let other = format!("{host}/team/other:1");
    engine.ok(["tag", &name, &other]);
    let mounted = engine.ok(["push", &other]);
    assert!(mounted.contains("Mounted from team/app"), "{mounted}");

    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let copy = |from: &str, to: &str| tool("skopeo", &["copy", plain[0], plain[1], from, to]);
    let at = |path: &str| format!("docker://{host}/{path}");
    let layout = engine.dir().join("layout");
    let layout = format!("dir:{}", layout.display());
    copy(&at("team/app:1"), &layout);
    copy(&layout, &at("skopeo/app:2"));
    let listed = tool("skopeo", &["list-tags", "--tls-verify=false", &at("skopeo/app")]);
    assert!(listed.contains("\"2\""), "{listed}");
    let from_skopeo = format!("{host}/skopeo/app:2");
    engine.ok(["pull", &from_skopeo]);
    assert_eq!(engine.inspect(&from_skopeo)["Id"], id);
    let digest = tool(
        "skopeo",
        &[
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &at("skopeo/app:2"),
        ],
    );
    tool("skopeo", &["delete", "--tls-verify=false", &at("skopeo/app:2")]);
    let gone = engine.fails(1, ["pull", &format!("{host}/skopeo/app@{}", digest.trim())]);
    assert!(
        gone.contains("not found") || gone.contains("manifest unknown"),
        "{gone}"
    );

    let storage = engine.dir().join("podman");
    let storage = storage.to_string_lossy();
    let podman = |words: &[&str]| {
        let mut all = vec!["--root", &storage, "--storage-driver", "vfs"];
        all.extend_from_slice(words);
        tool("podman", &all)
    };
    podman(&["pull", "-q", "--tls-verify=false", &name]);
    let third = format!("{host}/podman/app:3");
    podman(&["tag", &name, &third]);
    podman(&["push", "-q", "--tls-verify=false", &third]);
    engine.ok(["pull", &third]);
    assert_eq!(engine.ok(["run", "--rm", &third, "cat", "/hello"]), "hello 1");

    let tags = engine.ok(["image", "tags", &format!("{host}/team/app")]);
    assert!(tags.contains('1'), "{tags}");
    assert_eq!(registry.stop(), Some(0));
}

#[test]
fn a_folder_of_the_reference_registry_is_served_and_goes_back() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let root = engine.dir().join("registry");
    let push = |host: &str, path: &str, seed: u64| {
        let name = format!("{host}/{path}");
        engine.load(&image(seed), &name);
        engine.ok(["push", &name]);
        let id = engine.inspect(&name)["Id"].clone();
        engine.ok(["rmi", &name]);
        id
    };
    let pull = |host: &str, path: &str| {
        let name = format!("{host}/{path}");
        engine.ok(["pull", &name]);
        let id = engine.inspect(&name)["Id"].clone();
        engine.ok(["rmi", &name]);
        id
    };
    let theirs = DockerRegistry::over(&root);
    let first = push(&theirs.host(), "a/b/c:1", 1);
    let moved = push(&theirs.host(), "a/b/c:2", 2);
    drop(theirs);

    let ours = HavreRegistry::over(&root);
    assert_eq!(pull(ours.host(), "a/b/c:1"), first);
    assert_eq!(pull(ours.host(), "a/b/c:2"), moved);
    let moved = push(ours.host(), "a/b/c:2", 3);
    let new = push(ours.host(), "new:1", 4);
    ours.stop();

    let theirs = DockerRegistry::over(&root);
    for (path, id) in [("a/b/c:1", &first), ("a/b/c:2", &moved), ("new:1", &new)] {
        assert_eq!(pull(&theirs.host(), path), *id, "{path}");
    }
}

#[test]
fn users_of_a_file_log_in() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let users = engine.dir().join("htpasswd");
    // `htpasswd -nbB me secret`
    let line = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
    fs::write(&users, line).expect("a file");
    let path = users.to_string_lossy();
    let registry = HavreRegistry::configured(
        &engine.dir().join("registry"),
        &[
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", &path),
        ],
    );
    let host = registry.host().to_owned();
    let name = format!("{host}/app:1");
    engine.load(&image(1), &name);
    let refused = engine.fails(1, ["push", &name]);
    assert!(
        refused.contains("no basic auth credentials") || refused.contains("authentication required"),
        "{refused}"
    );
    let wrong = engine.fails(1, ["login", "-u", "me", "-p", "wrong", &host]);
    assert!(wrong.contains("401 Unauthorized"), "{wrong}");
    engine.ok(["login", "-u", "me", "-p", "secret", &host]);
    engine.ok(["push", &name]);
    engine.ok(["rmi", &name]);
    engine.ok(["pull", &name]);
    let credentials = ["--tls-verify=false", "--creds", "me:secret"];
    let at = format!("docker://{name}");
    let inspected = tool("skopeo", &[&["inspect"], &credentials[..], &[&at]].concat());
    assert!(inspected.contains("Digest"), "{inspected}");
    engine.ok(["logout", &host]);
    engine.fails(1, ["pull", &name]);
}

/// A certificate that is renewed counts without a restart.
#[test]
fn over_tls_with_a_certificate_that_changes() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let dir = engine.dir();
    let place = |pair: &Pair| {
        for (name, text) in [("server.crt", &pair.certificate), ("server.key", &pair.key)] {
            fs::write(dir.join(name), text).expect("a file");
        }
    };
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    place(&authority.issue(&["127.0.0.1"]));
    let (certificate, key) = (dir.join("server.crt"), dir.join("server.key"));
    let registry = HavreRegistry::configured(
        &dir.join("registry"),
        &[
            ("REGISTRY_HTTP_TLS_CERTIFICATE", &certificate.to_string_lossy()),
            ("REGISTRY_HTTP_TLS_KEY", &key.to_string_lossy()),
        ],
    );
    let asks = |authority: &Authority| {
        let trusted = dir.join("ca.crt");
        fs::write(&trusted, authority.certificate()).expect("a file");
        let url = format!("https://{}/v2/", registry.host());
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
            .arg(&trusted)
            .arg(url)
            .output()
            .expect("curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(asks(&authority), "200");
    assert_eq!(asks(&other), "000");
    place(&other.issue(&["127.0.0.1"]));
    havre_testing::eventually("the new certificate", || asks(&other) == "200");
    assert_eq!(asks(&authority), "000");
}

#[test]
fn one_that_has_nothing_to_listen_on_or_to_serve_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |words: &[&str]| {
        let output = Command::new(havre_testing::havre_binary())
            .arg("registry")
            .args(words)
            .current_dir(dir.path())
            .output()
            .expect("the havre binary");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let error = run(&["--listen", &address]);
    assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
    fs::write(dir.path().join("file"), "").expect("a file");
    let error = run(&["--root", "file"]);
    assert!(error.contains("file"), "{error}");
    let config = dir.path().join("config.yml");
    fs::write(&config, "version: 0.1\nredis: {addr: there}\n").expect("a file");
    let error = run(&["--config", "config.yml"]);
    assert!(error.contains("config.yml") && error.contains("redis"), "{error}");
    let error = run(&["--config", "nowhere.yml"]);
    assert!(error.contains("nowhere.yml"), "{error}");
}

/// What was acknowledged is there after every kill, and whole.
#[test]
fn killed_while_images_come() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let root = engine.dir().join("registry");
    let (mut acknowledged, mut cut) = (Vec::new(), 0);
    // What one takes that is left alone: the kills are spread over it.
    let mut whole = Duration::ZERO;
    for round in 0..9_u32 {
        let registry = HavreRegistry::over(&root);
        let host = registry.host().to_owned();
        for (path, id) in &acknowledged {
            let name = format!("{host}/{path}");
            engine.ok(["pull", "-q", &name]);
            assert_eq!(engine.inspect(&name)["Id"], *id, "{path}");
            engine.ok(["rmi", &name]);
        }
        let path = format!("app:{round}");
        let name = format!("{host}/{path}");
        let image = Image::busybox().with_layer(&Layer::noise(u64::from(round), 12 << 20));
        engine.load(&image, &name);
        let id = engine.inspect(&name)["Id"].clone();
        let push = std::thread::scope(|scope| {
            let started = Instant::now();
            let push = scope.spawn(|| engine.run(["push", &name]));
            if round == 0 {
                let push = push.join().expect("the push");
                whole = started.elapsed();
                return push;
            }
            std::thread::sleep(whole * (round - 1) / 8);
            registry.kill();
            // Nobody answers any more: it would try for a while.
            push.join().expect("the push")
        });
        match push.code {
            0 => acknowledged.push((path, id)),
            _ => cut += 1,
        }
        engine.ok(["rmi", &name]);
    }
    assert!(cut > 0, "no push was cut");
    assert!(!acknowledged.is_empty(), "no push was acknowledged");
}

/// A file system in memory, which ends with it.
struct Room(tempfile::TempDir);

impl Room {
    fn new(megabytes: u32) -> Self {
        let room = Self(tempfile::tempdir().expect("a folder"));
        let path = room.0.path().to_string_lossy();
        tool(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs", &path],
        );
        room
    }

    fn grow(&self, megabytes: u32) {
        let path = self.0.path().to_string_lossy();
        tool("mount", &["-o", &format!("remount,size={megabytes}m"), &path]);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Pushes an image of one layer of 3 MB in three requests; the status of the last that was answered.
fn push_raw(host: &str, number: u64) -> u16 {
    let layer = Layer::noise(number, 3 << 20).tar();
    let mut blobs = Vec::new();
    for (kind, bytes) in [
        (
            "application/vnd.oci.image.config.v1+json",
            format!("{{\"number\":{number}}}").into_bytes(),
        ),
        ("application/vnd.oci.image.layer.v1.tar", layer),
    ] {
        let target = format!("/v2/app/blobs/uploads/?digest={}", digest_of(&bytes));
        let put = to_tcp(host, "POST", &target, "", &bytes).expect("an answer");
        if put.status != 201 {
            assert_eq!(put.status, 507, "{}", put.text());
            assert!(put.text().contains("disk is full"), "{}", put.text());
            return put.status;
        }
        blobs.push(serde_json::json!({"mediaType": kind, "digest": digest_of(&bytes), "size": bytes.len()}));
    }
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        serde_json::json!({"schemaVersion": 2, "mediaType": kind, "config": blobs[0], "layers": [blobs[1]]});
    let target = format!("/v2/app/manifests/{number}");
    let put = to_tcp(host, "PUT", &target, kind, manifest.to_string().as_bytes());
    put.expect("an answer").status
}

/// What was acknowledged is there when the disk is full, what was not is not there in part, and with room it goes on.
#[test]
fn a_full_disk_loses_nothing() {
    let room = Room::new(24);
    let root = room.0.path().join("registry");
    let registry = HavreRegistry::over(&root);
    let host = registry.host().to_owned();
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    for number in 0..16 {
        match push_raw(&host, number) {
            201 => acknowledged.push(number),
            status => refused.push((number, status)),
        }
    }
    assert!(
        acknowledged.len() >= 5 && refused.len() >= 5,
        "{acknowledged:?} {refused:?}"
    );
    let whole = |host: &str, numbers: &[u64]| {
        let list = over_tcp(host, "GET", "/v2/app/tags/list", Duration::from_secs(20)).expect("a list");
        let mut tags: Vec<String> = numbers.iter().map(u64::to_string).collect();
        tags.sort();
        assert_eq!(list.json()["tags"], serde_json::json!(tags));
        for number in numbers {
            let manifest = to_tcp(host, "GET", &format!("/v2/app/manifests/{number}"), "", b"");
            let manifest = manifest.expect("a manifest").json();
            for part in [&manifest["config"], &manifest["layers"][0]] {
                let digest = part["digest"].as_str().expect("a digest");
                let blob = to_tcp(host, "GET", &format!("/v2/app/blobs/{digest}"), "", b"");
                assert_eq!(digest_of(&blob.expect("a blob").body), digest);
            }
        }
    };
    whole(&host, &acknowledged);
    for (number, _) in &refused {
        let missing = over_tcp(
            &host,
            "GET",
            &format!("/v2/app/manifests/{number}"),
            Duration::from_secs(20),
        );
        assert_eq!(missing.expect("an answer").status, 404);
    }
    // What has no room takes none.
    let uploads = root.join("docker/registry/v2/repositories/app/_uploads");
    assert_eq!(fs::read_dir(&uploads).expect("uploads").count(), 0);
    room.grow(96);
    for (number, _) in &refused {
        assert_eq!(push_raw(&host, *number), 201);
        acknowledged.push(*number);
    }
    whole(&host, &acknowledged);
    registry.kill();
    let registry = HavreRegistry::over(&root);
    whole(registry.host(), &acknowledged);
    HavreRegistry::check(&root);
}

/// What a registry holds, looked after from the command line while it serves.
#[test]
fn looked_after_while_it_serves() {
    use havre_database::{Database, Sqlite};

    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("registry");
    let registry = HavreRegistry::over(&root);
    let push = |bytes: &[u8]| {
        let begun =
            to_tcp(registry.host(), "POST", "/v2/team/app/blobs/uploads/", "", b"").expect("an upload");
        let location = begun.header("location").expect("a location");
        let target = format!("{location}?digest={}", digest_of(bytes));
        let put = to_tcp(registry.host(), "PUT", &target, "", bytes).expect("an answer");
        assert_eq!(put.status, 201, "{}", put.text());
    };
    let havre = |words: &[&str]| {
        let output = Command::new(havre_binary())
            .arg("registry")
            .args(words)
            .arg("--root")
            .arg(&root)
            .output()
            .expect("the havre binary");
        (
            output.status.code(),
            String::from_utf8(output.stdout).expect("text"),
        )
    };
    push(b"nobody needs this");
    let would = havre(&["gc", "--dry-run"]);
    assert_eq!(
        would,
        (Some(0), "Would reclaim 0B. Nothing was changed.\n".to_owned())
    );
    // As if it had been pushed long ago.
    let database: Box<dyn Database> =
        Box::new(Sqlite::open(&root.join("havre-registry.db")).expect("a database"));
    let age = database.writing(|connection| {
        connection.execute("UPDATE repository_blobs SET touched = 0", &[])?;
        connection.execute("UPDATE blobs SET touched = 0", &[])
    });
    age.expect("an older blob");
    push(b"this is new");
    let (_, would) = havre(&["gc", "--dry-run"]);
    assert!(
        would.contains("team/app") && would.ends_with("Would reclaim 17B. Nothing was changed.\n"),
        "{would}"
    );
    let lines = havre(&["gc", "--dry-run", "--format", "{{.Kind}} {{.Digest}} {{.Bytes}}"]).1;
    let digest = digest_of(b"nobody needs this");
    assert_eq!(lines, format!("unused blob {digest} 0\nbytes {digest} 17\n"));
    let (status, did) = havre(&["gc"]);
    assert_eq!(
        (status, did.ends_with("Total reclaimed space: 17B\n")),
        (Some(0), true),
        "{did}"
    );

    let (status, said) = havre(&["check"]);
    assert_eq!(
        (status, said.as_str()),
        (Some(0), "1 blobs and manifests read, 11B: nothing is wrong.\n")
    );
    let hex = digest_of(b"this is new")["sha256:".len()..].to_owned();
    let data = root.join(format!(
        "docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    ));
    fs::write(&data, b"this is NEW").expect("damage");
    assert_eq!(havre(&["check", "--quick"]).0, Some(0), "it has its size");
    let (status, said) = havre(&["check"]);
    assert_eq!(status, Some(1));
    assert!(said.contains(&hex[..12]) && said.contains("1 damaged"), "{said}");
    assert_eq!(havre(&["check", "--repair"]).0, Some(0));
    assert_eq!(havre(&["check"]).0, Some(0));
    let target = format!("/v2/team/app/blobs/sha256:{hex}");
    let head = over_tcp(registry.host(), "HEAD", &target, Duration::from_secs(9)).expect("an answer");
    assert_eq!(head.status, 404, "so that clients push it again");
    push(b"this is new");
}

/// Called `htpasswd`, the program writes the file of users, and the registry lets them in, at once.
#[test]
fn users_are_made_with_htpasswd() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("htpasswd");
    fs_err::os::unix::fs::symlink(havre_binary(), &program).expect("a link");
    let users = folder.path().join("users");
    let file = users.to_str().expect("text");
    let run = |words: &[&str], input: &str| {
        let mut child = Command::new(&program)
            .args(words)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("htpasswd");
        std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), input.as_bytes()).expect("input");
        let output = child.wait_with_output().expect("its end");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).expect("text"))
    };
    // As the reference registry's documentation has it.
    let (done, line) = run(&["-Bbn", "ann", "first"], "");
    assert!(done && line.starts_with("ann:$2y$10$"), "{line}");
    fs::write(&users, line).expect("a file");
    let registry = HavreRegistry::configured(
        &folder.path().join("registry"),
        &[
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", file),
        ],
    );
    let status = |user: &str, password: &str| {
        let name = format!("{user}:{password}");
        let url = format!("http://{}/v2/", registry.host());
        tool(
            "curl",
            &["-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", &name, &url],
        )
    };
    assert_eq!(
        (status("ann", "first"), status("ann", "second")),
        ("200".into(), "401".into())
    );
    assert!(
        run(&["-iBC5", file, "bob"], "of bob\n")
            .1
            .contains("Adding password for user bob")
    );
    assert!(
        run(&["-b", file, "ann", "second"], "")
            .1
            .contains("Updating password for user ann")
    );
    havre_testing::eventually("the file to be read again", || status("ann", "second") == "200");
    assert_eq!(
        (status("ann", "first"), status("bob", "of bob")),
        ("401".into(), "200".into())
    );
    assert!(run(&["-vb", file, "bob", "of bob"], "").0);
    assert!(!run(&["-vb", file, "bob", "of ann"], "").0);
    assert!(run(&["-D", file, "bob"], "").0);
    havre_testing::eventually("the file to be read again", || status("bob", "of bob") == "401");
    let (done, said) = run(&["-m", file, "bob"], "");
    assert!(!done && said.contains("bcrypt"), "{said}");
    let (done, said) = run(&["-b", &format!("{file}-not"), "bob", "x"], "");
    assert!(!done && said.contains("-c"), "{said}");
}
