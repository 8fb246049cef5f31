//! `havre registry` with accounts: clients of others and our own log in, push, pull and search. Needs root.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use havre_testing::{HavreRegistry, Image, Layer, Program, TestEngine};

const PASSWORD: &str = "correct horse";

fn run(program: &str, words: &[&str]) -> Output {
    let output = Command::new(program).args(words).output();
    output.unwrap_or_else(|error| panic!("{program} must be installed: {error}"))
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[track_caller]
fn tool(program: &str, words: &[&str]) -> String {
    let output = run(program, words);
    assert!(output.status.success(), "{program} {words:?}: {}", said(&output));
    said(&output)
}

#[track_caller]
fn refused(program: &str, words: &[&str]) -> String {
    let output = run(program, words);
    assert!(!output.status.success(), "{program} {words:?}: {}", said(&output));
    said(&output)
}

/// `havre registry account …`, with a password.
fn account(root: &Path, words: &[&str], password: &str) -> Output {
    let mut child = Command::new(havre_testing::havre_binary())
        .args(["registry", "account", "--password-stdin", "--root"])
        .arg(root)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the havre binary");
    let mut stdin = child.stdin.take().expect("a pipe");
    writeln!(stdin, "{password}").expect("a reader");
    drop(stdin);
    child.wait_with_output().expect("its end")
}

fn start(root: &Path) -> HavreRegistry {
    for words in [&["add", "--admin", "boss"][..], &["add", "me"], &["add", "you"]] {
        let made = account(root, words, PASSWORD);
        assert!(made.status.success(), "{}", said(&made));
    }
    HavreRegistry::configured(root, &[("REGISTRY_ACCOUNTS_SIGNUP", "closed")])
}

fn image(seed: u64) -> Image {
    Image::busybox()
        .with_layer(&Layer::new().file("hello", format!("hello {seed}\n")))
        .with_layer(&Layer::noise(seed, 1 << 20))
}

#[test]
fn our_client_logs_in_pushes_and_pulls_what_is_its_own() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let registry = start(&engine.dir().join("registry"));
    let host = registry.host().to_owned();
    let name = format!("{host}/me/app:1");
    engine.load(&image(1), &name);
    let id = engine.inspect(&name)["Id"].clone();
    engine.fails(1, ["push", &name]);
    let wrong = engine.fails(1, ["login", "-u", "me", "-p", "wrong one", &host]);
    assert!(wrong.contains("unauthorized"), "{wrong}");
    engine.ok(["login", "-u", "me", "-p", PASSWORD, &host]);
    engine.ok(["push", &name]);
    // From one repository of theirs to another without their being sent.
    let other = format!("{host}/me/other:1");
    engine.ok(["tag", &name, &other]);
    let mounted = engine.ok(["push", &other]);
    assert!(mounted.contains("Mounted from me/app"), "{mounted}");
    let theirs = format!("{host}/you/app:1");
    engine.ok(["tag", &name, &theirs]);
    let denied = engine.fails(1, ["push", &theirs]);
    assert!(denied.contains("denied"), "{denied}");
    engine.ok(["rmi", &name, &other, &theirs]);
    engine.ok(["pull", &name]);
    assert_eq!(engine.inspect(&name)["Id"], id);
    let found = engine.ok(["search", &format!("{host}/app")]);
    assert!(found.contains("me/app") && !found.contains("you/app"), "{found}");
    let tags = engine.ok(["image", "tags", &format!("{host}/me/app")]);
    assert!(tags.contains('1'), "{tags}");
    engine.ok(["rmi", &name]);
    engine.ok(["logout", &host]);
    engine.fails(1, ["pull", &name]);
    engine.ok(["login", "-u", "you", "-p", PASSWORD, &host]);
    let missing = engine.fails(1, ["pull", &name]);
    let there = engine.fails(1, ["pull", &format!("{host}/me/none:1")]);
    assert_eq!(
        missing.replace("me/app", "me/none"),
        there,
        "it is as if it were not there"
    );
}

#[test]
fn the_official_client_logs_in_pushes_pulls_and_searches() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let registry = start(&engine.dir().join("registry"));
    let host = registry.host().to_owned();
    let name = format!("{host}/me/app:1");
    engine.load(&image(2), &name);
    let config = engine.dir().join("docker-config");
    let docker = |line: &str| engine.cmd_of(Program::Docker, format!("--config {} {line}", config.display()));
    docker(&format!("push {name}")).run().fails(1);
    let login = docker(&format!("login -u me --password-stdin {host}"))
        .stdin(PASSWORD)
        .ok();
    assert!(login.contains("Login Succeeded"), "{login}");
    let pushed = docker(&format!("push {name}")).ok();
    assert!(pushed.contains("1: digest: sha256:"), "{pushed}");
    docker(&format!("rmi {name}")).ok();
    docker(&format!("pull {name}")).ok();
    assert_eq!(docker(&format!("run --rm {name} cat /hello")).ok(), "hello 2");
    let found = docker(&format!("search {host}/app")).ok();
    assert!(found.contains("me/app"), "{found}");
    docker(&format!("logout {host}")).ok();
    docker(&format!("rmi {name}")).ok();
    docker(&format!("pull {name}")).run().fails(1);
}

#[test]
fn skopeo_podman_and_buildah_work_with_tokens() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let registry = start(&engine.dir().join("registry"));
    let host = registry.host().to_owned();
    let name = format!("{host}/me/app:1");
    engine.load(&image(3), &name);
    engine.ok(["login", "-u", "me", "-p", PASSWORD, &host]);
    engine.ok(["push", &name]);
    let at = |path: &str| format!("docker://{host}/{path}");
    let (me, you) = (format!("me:{PASSWORD}"), format!("you:{PASSWORD}"));
    let layout = format!("dir:{}", engine.dir().join("layout").display());
    let from = ["copy", "--src-tls-verify=false", "--src-creds"];
    tool("skopeo", &[&from[..], &[&me, &at("me/app:1"), &layout]].concat());
    let nothing = format!("dir:{}", engine.dir().join("nothing").display());
    refused(
        "skopeo",
        &[&from[..], &[&you, &at("me/app:1"), &nothing]].concat(),
    );
    refused(
        "skopeo",
        &["inspect", "--tls-verify=false", "--no-creds", &at("me/app:1")],
    );
    let to = ["copy", "--dest-tls-verify=false", "--dest-creds"];
    tool("skopeo", &[&to[..], &[&you, &layout, &at("you/copy:2")]].concat());
    let denied = refused("skopeo", &[&to[..], &[&you, &layout, &at("me/copy:2")]].concat());
    assert!(denied.contains("denied"), "{denied}");
    let list = ["list-tags", "--tls-verify=false", "--creds", &you];
    assert!(tool("skopeo", &[&list[..], &[&at("you/copy")]].concat()).contains("\"2\""));
    let delete = ["delete", "--tls-verify=false", "--creds", &you];
    tool("skopeo", &[&delete[..], &[&at("you/copy:2")]].concat());

    let dir = engine.dir();
    let (storage, auth) = (dir.join("podman"), dir.join("auth.json"));
    let (storage, auth) = (storage.to_string_lossy(), auth.to_string_lossy());
    let common = ["--root", &storage, "--storage-driver", "vfs"];
    let podman = |words: &[&str]| tool("podman", &[&common[..], words].concat());
    podman(&[
        "login",
        "--tls-verify=false",
        "--authfile",
        &auth,
        "-u",
        "me",
        "-p",
        PASSWORD,
        &host,
    ]);
    podman(&["pull", "-q", "--tls-verify=false", "--authfile", &auth, &name]);
    let third = format!("{host}/me/podman:3");
    podman(&["tag", &name, &third]);
    podman(&["push", "-q", "--tls-verify=false", "--authfile", &auth, &third]);
    engine.ok(["pull", &third]);
    assert_eq!(engine.ok(["run", "--rm", &third, "cat", "/hello"]), "hello 3");
    let found = podman(&[
        "search",
        "--tls-verify=false",
        "--authfile",
        &auth,
        "--format",
        "{{.Name}}",
        &format!("{host}/podman"),
    ]);
    // It asks without its credentials: what is private is not found.
    assert!(!found.contains("me/podman"), "{found}");
    let built = format!("{host}/me/buildah:4");
    let buildah = |words: &[&str]| tool("buildah", &[&common[..], words].concat());
    buildah(&["pull", "-q", "--tls-verify=false", "--authfile", &auth, &name]);
    buildah(&[
        "push",
        "-q",
        "--tls-verify=false",
        "--authfile",
        &auth,
        &name,
        &format!("docker://{built}"),
    ]);
    engine.ok(["pull", &built]);
}

#[test]
fn accounts_are_made_and_changed_beside_a_registry_that_serves() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("registry");
    let registry = start(&root);
    let inspect = |creds: &str| {
        let url = format!("http://{}/token?service=havre-registry", registry.host());
        let output = run(
            "curl",
            &["-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", creds, &url],
        );
        said(&output)
    };
    assert_eq!(inspect(&format!("late:{PASSWORD}")), "401");
    let made = account(&root, &["add", "late"], PASSWORD);
    assert!(made.status.success(), "{}", said(&made));
    assert_eq!(inspect(&format!("late:{PASSWORD}")), "200");
    let changed = account(&root, &["password", "late"], "another horse");
    assert!(changed.status.success(), "{}", said(&changed));
    assert_eq!(inspect(&format!("late:{PASSWORD}")), "401");
    assert_eq!(inspect("late:another horse"), "200");
    for (words, password, told) in [
        (&["add", "late"][..], PASSWORD, "exists already"),
        (&["add", "Late"], PASSWORD, "lower case"),
        (&["add", "short"], "short", "at least 8"),
        (&["password", "nobody"], PASSWORD, "does not exist"),
        (&["remove", "late"], PASSWORD, "use add or password"),
    ] {
        let failed = account(&root, words, password);
        assert_eq!(failed.status.code(), Some(1), "{words:?}");
        assert!(said(&failed).contains(told), "{words:?}: {}", said(&failed));
    }
    assert_eq!(registry.stop(), Some(0));
}

#[test]
fn the_first_run_says_how_to_make_an_account() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(havre_testing::havre_binary())
        .args(["registry", "--accounts", "--listen", "127.0.0.1:0"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the havre binary");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("a pipe")));
    let mut line = || lines.next().expect("a line").expect("text");
    let all: Vec<String> = (0..4).map(|_| line()).collect();
    let _ = child.kill();
    let _ = child.wait();
    let all = all.join("\n");
    assert!(all.contains("/sign-up?invitation=havre_setup_"), "{all}");
    assert!(all.contains("registry account add NAME --admin"), "{all}");
}
