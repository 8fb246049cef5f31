//! Credentials of registries: kept encrypted, and several accounts at one registry.

use fs_err as fs;
use havre_testing::{Auth, Compression, Image, Output, Program, Registry, TestEngine, havre_binary};
use serde_json::Value;

fn account(user: &str, password: &str) -> Auth {
    Auth::Basic {
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

fn login(engine: &TestEngine, server: &str, user: &str, password: &str) -> Output {
    let login = engine.cmd(["login", "-u", user, "--password-stdin", server]);
    login.stdin(password).run()
}

#[test]
fn credentials_are_kept_encrypted() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    registry.publish("app", "1", &Image::busybox(), Compression::Gzip);
    registry.require(account("me", "hunter2"));
    let name = registry.name("app:1");
    login(&engine, &registry.host(), "me", "hunter2").ok();
    let vault = engine.client_dir().join("havre-credentials");
    let text = fs::read_to_string(&vault).expect("the encrypted file");
    let config = fs::read_to_string(engine.client_dir().join("config.json")).expect("config.json");
    // In base64: `me:hunter2`.
    for secret in ["hunter2", "bWU6aHVudGVyMg"] {
        assert!(
            !text.contains(secret) && !config.contains(secret),
            "{text}\n{config}"
        );
    }
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["auths"][&registry.host()], serde_json::json!({}));
    engine.ok(["pull", "-q", &name]);
    engine.ok(["rmi", &name]);

    // Whoever lacks the key is told, and goes on as nobody: in another user namespace the keyring is another.
    let elsewhere = |environment: &[(&str, &str)]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user"]).arg(havre_binary());
        command.args(["pull", "-q", &name]);
        command
            .env("DOCKER_HOST", engine.host())
            .env("DOCKER_CONFIG", engine.client_dir());
        command.envs(environment.iter().copied());
        let output = command.output().expect("unshare");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    let (pulled, said) = elsewhere(&[]);
    assert!(
        !pulled && said.contains("keyring") && said.contains("no basic auth"),
        "{said}"
    );

    // A passphrase opens it everywhere.
    engine.ok(["logout", &registry.host()]);
    assert!(!vault.exists());
    engine.fails(1, ["pull", &name]);
    let phrase = ("HAVRE_CREDENTIALS_PASSPHRASE", "correct horse");
    let with_phrase = engine.cmd(["login", "-u", "me", "--password-stdin", &registry.host()]);
    with_phrase.env(phrase.0, phrase.1).stdin("hunter2").ok();
    let (pulled, said) = elsewhere(&[phrase]);
    assert!(pulled, "{said}");
    engine.ok(["rmi", &name]);
    let file = engine.dir().join("phrase");
    fs::write(&file, "correct horse\n").expect("the file");
    let (pulled, said) = elsewhere(&[("HAVRE_CREDENTIALS_PASSPHRASE_FILE", &file.to_string_lossy())]);
    assert!(pulled, "{said}");
    let (pulled, said) = elsewhere(&[(phrase.0, "wrong horse")]);
    assert!(!pulled && said.contains("another passphrase"), "{said}");
    let (pulled, said) = elsewhere(&[]);
    assert!(said.contains("passphrase is not given"), "{pulled} {said}");
}

#[test]
fn clear_text_of_others_is_read_and_replaced_at_the_next_login() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    registry.publish("app", "1", &Image::busybox(), Compression::Gzip);
    registry.require(account("me", "hunter2"));
    let theirs = engine.cmd_of(
        Program::Docker,
        ["login", "-u", "me", "--password-stdin", &registry.host()],
    );
    theirs.stdin("hunter2").ok();
    engine.ok(["pull", "-q", &registry.name("app:1")]);
    login(&engine, &registry.host(), "me", "hunter2").ok();
    let config = fs::read_to_string(engine.client_dir().join("config.json")).expect("config.json");
    assert!(!config.contains("bWU6aHVudGVyMg"), "{config}");
    engine.ok(["pull", "-q", &registry.name("app:1")]);
}

#[test]
fn a_part_of_a_registry_has_an_account_of_its_own() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    for repository in ["team/app", "other/app"] {
        registry.publish(repository, "1", &Image::busybox(), Compression::Gzip);
    }
    let host = registry.host();
    registry.require(account("all", "one"));
    login(&engine, &host, "all", "one").ok();
    registry.require(account("team", "two"));
    login(&engine, &format!("{host}/team"), "team", "two").ok();
    engine.ok(["pull", "-q", &registry.name("team/app:1")]);
    engine.fails(1, ["pull", "-q", &registry.name("other/app:1")]);
    let dockerfile = format!("FROM {}\n", registry.name("team/app:1"));
    let context = engine.files("context", &[("Dockerfile", &dockerfile)]);
    engine.ok(["build", "-q", "--pull", &context.to_string_lossy()]);

    registry.require(account("all", "one"));
    engine.ok(["pull", "-q", &registry.name("other/app:1")]);
    engine.fails(1, ["image", "tags", &registry.name("team/app")]);
    engine.ok(["logout", &format!("{host}/team")]);
    engine.ok(["image", "tags", &registry.name("team/app")]);
}

/// Docker's client keeps what it is told in our encrypted file, and finds there what ours was told.
#[test]
fn the_official_client_keeps_its_credentials_with_us() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    registry.publish("app", "1", &Image::busybox(), Compression::Gzip);
    registry.require(account("me", "hunter2"));
    let name = registry.name("app:1");
    let bin = engine.dir().join("bin");
    fs::create_dir(&bin).expect("directory");
    let helper = bin.join("docker-credential-havre");
    std::os::unix::fs::symlink(havre_binary(), &helper).expect("link");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let config = engine.client_dir().join("config.json");
    fs::write(&config, r#"{"credsStore":"havre"}"#).expect("config.json");
    let docker = |words: &[&str]| engine.cmd_of(Program::Docker, words).env("PATH", &path);
    let ask = |action: &str, input: &str| {
        use std::io::Write as _;
        let mut child = std::process::Command::new(&helper)
            .args((!action.is_empty()).then_some(action))
            .env("DOCKER_CONFIG", engine.client_dir())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the helper");
        // One that doesn't read is as good.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("an end");
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.code(), text)
    };

    let host = registry.host();
    docker(&["login", "-u", "me", "--password-stdin", &host])
        .stdin("hunter2")
        .ok();
    for file in [&config, &engine.client_dir().join("havre-credentials")] {
        let text = fs::read_to_string(file).expect("file");
        assert!(
            !text.contains("hunter2") && !text.contains("bWU6aHVudGVyMg"),
            "{text}"
        );
    }
    docker(&["pull", "-q", &name]).ok();
    docker(&["rmi", &name]).ok();
    // Ours doesn't need the link for it.
    engine.ok(["pull", "-q", &name]);
    engine.ok(["rmi", &name]);
    assert_eq!(ask("list", ""), (Some(0), format!(r#"{{"{host}":"me"}}"#)));
    assert_eq!(
        ask("get", &format!("{host}\n")),
        (
            Some(0),
            format!(r#"{{"ServerURL":"{host}","Username":"me","Secret":"hunter2"}}"#)
        )
    );
    docker(&["logout", &host]).ok();
    let not_found = "credentials not found in native keychain".to_owned();
    assert_eq!(ask("get", &host), (Some(1), not_found.clone()));
    assert!(
        engine
            .fails(1, ["pull", &name])
            .contains("no basic auth credentials")
    );

    // What ours keeps without a helper is there as well.
    fs::write(&config, "{}").expect("config.json");
    login(&engine, &host, "me", "hunter2").ok();
    assert_eq!(ask("get", &format!("https://{host}/v2/")).0, Some(0));
    let hub = "https://index.docker.io/v1/";
    let token = format!(r#"{{"ServerURL":"{hub}","Username":"<token>","Secret":"t"}}"#);
    assert_eq!(ask("store", &token), (Some(0), String::new()));
    assert_eq!(
        ask("get", hub),
        (
            Some(0),
            format!(r#"{{"ServerURL":"{hub}","Username":"<token>","Secret":"t"}}"#)
        )
    );
    assert_eq!(ask("erase", hub), (Some(0), String::new()));
    assert_eq!(ask("get", hub), (Some(1), not_found));
    for (action, input, told) in [
        ("get", "", "no credentials server URL"),
        (
            "store",
            r#"{"Username":"x","Secret":"y"}"#,
            "no credentials server URL",
        ),
        (
            "store",
            r#"{"ServerURL":"x","Secret":"y"}"#,
            "no credentials username",
        ),
        (
            "store",
            r#"{"Secret":"hunter2""#,
            "what came on standard input is no JSON of credentials",
        ),
        ("dance", "", "docker-credential-havre: unknown action: dance"),
        (
            "",
            "",
            "Usage: docker-credential-havre <store|get|erase|list|version>",
        ),
    ] {
        assert_eq!(ask(action, input), (Some(1), told.to_owned()), "{action} {input}");
    }
    assert!(
        ask("version", "")
            .1
            .starts_with("docker-credential-havre (havre) ")
    );
}
