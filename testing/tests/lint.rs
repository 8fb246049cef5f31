//! Advice on Dockerfiles and images, as a person asks for it.

use fs_err as fs;
use havre_testing::{Image, Invocation, Layer, TestEngine, eventually};
use serde_json::Value;

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Said {
    fn of(invocation: Invocation) -> Self {
        let output = invocation.run();
        Self {
            code: output.code,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

const BAD: &str = "FROM node\nENV API_TOKEN=hunter2\nCOPY . .\nCMD run it\n";

/// Nothing is asked of an engine for a Dockerfile: the one here is only for its command line.
#[test]
fn a_dockerfile_is_judged_with_its_directory() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let home = tempfile::tempdir().expect("directory");
    fs::write(home.path().join("Dockerfile"), BAD).expect("written");
    fs::write(home.path().join(".env"), "A=b").expect("written");
    let lint = |words: &[&str]| Said::of(engine.cmd(words).dir(home.path()));
    let said = lint(&["lint"]);
    assert_eq!(said.code, 0, "{}", said.stdout);
    for part in [
        "warning[base-untagged]: node has no tag",
        " --> Dockerfile:1:6\n",
        "2 | ENV API_TOKEN=*******\n",
        "everything in the directory is copied, .env among it",
        "= help: CMD [\"run\", \"it\"]\n",
    ] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    assert!(
        !said.stdout.contains("hunter2") && !said.stdout.contains('\x1b'),
        "{}",
        said.stdout
    );
    // By its path alone, nothing is known of the directory.
    assert!(!lint(&["lint", "Dockerfile"]).stdout.contains("dockerignore"));
    assert!(
        lint(&["lint", "-f", "Dockerfile", "."])
            .stdout
            .contains("dockerignore-missing")
    );
    assert!(
        !lint(&["lint", "--ignore", "dockerignore-missing,JSONArgsRecommended"])
            .stdout
            .contains("dockerignore")
    );
    assert_eq!(lint(&["lint", "--fail-on", "warning"]).code, 1);
    assert_eq!(lint(&["image", "lint", "--fail-on", "never"]).code, 0);
    for (words, told) in [
        (&["lint", "--ignore", "none"][..], "unknown rule \"none\""),
        (&["lint", "--fail-on", "none"], "invalid --fail-on \"none\""),
        (&["lint", "--format", "xml"], "invalid --format \"xml\""),
        (&["lint", "-f", "x", "."], "no such file or directory"),
        (
            &["lint", "/proc/self/fd"],
            "there is no Dockerfile in /proc/self/fd",
        ),
    ] {
        let failed = lint(words);
        assert!(
            failed.code == 1 && failed.stderr.contains(told),
            "{words:?}: {}",
            failed.stderr
        );
    }
    let sarif = lint(&["lint", "--format", "sarif", "-o", "out.sarif"]);
    assert_eq!((sarif.code, sarif.stdout.as_str()), (0, ""));
    let sarif: Value =
        serde_json::from_str(&fs::read_to_string(home.path().join("out.sarif")).expect("written"))
            .expect("JSON");
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .expect("rules");
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("index")).expect("small");
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert_eq!(
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            "Dockerfile"
        );
    }
    // The directive is for us and for BuildKit.
    let strict = format!("# check=skip=DockerignoreMissing;error=true\n{BAD}");
    fs::write(home.path().join("Dockerfile"), strict).expect("written");
    let said = lint(&["lint"]);
    assert!(
        said.code == 1 && !said.stdout.contains("dockerignore"),
        "{}",
        said.stdout
    );
    let stdin = engine
        .cmd(["lint", "--format", "json", "-"])
        .stdin("FROM a:1\nRNU x\n");
    let stdin = Said::of(stdin);
    let json: Value = serde_json::from_str(&stdin.stdout).expect("JSON");
    assert_eq!((stdin.code, &json["summary"]["error"]), (1, &Value::from(1)));
}

#[test]
fn a_build_is_checked_without_being_built() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let home = tempfile::tempdir().expect("directory");
    let check = |text: &str, words: &[&str]| {
        fs::write(home.path().join("Dockerfile"), text).expect("written");
        Said::of(engine.cmd(words).dir(home.path()))
    };
    let said = check(BAD, &["build", "--check", "."]);
    assert_eq!(said.code, 1);
    assert!(
        said.stdout
            .starts_with("Check complete, 2 warnings have been found!\n"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains(
        "WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
    ));
    assert!(said.stdout.contains("   4 | >>> CMD run it\n"), "{}", said.stdout);
    let fine = check(
        "FROM a\nCMD [\"a\"]\n",
        &["buildx", "build", "--call", "check", "."],
    );
    assert_eq!(
        (fine.code, fine.stdout.trim()),
        (0, "Check complete, no warnings found.")
    );
    let broken = check("FROM a\nRUNN x\n", &["build", "--check", "."]);
    assert!(
        broken.code == 1
            && broken
                .stderr
                .contains("line 2: unknown instruction: RUNN (did you mean RUN?)"),
        "{}",
        broken.stderr
    );
    assert!(
        engine
            .fails(1, "build --call outline .")
            .contains("--call=outline is not supported")
    );
    assert_eq!(engine.ok("images -q"), "", "nothing is built");
}

#[test]
fn an_image_is_judged_in_the_engine_and_in_an_archive() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    // Put together here, so that no scanner takes this file for a leak.
    let key = format!(
        "-----BEGIN {} KEY-----\n{}\n-----END",
        "RSA PRIVATE",
        "MIIEowIBAAKCAQEA".repeat(4)
    );
    let image = Image::from_layers([
        Layer::new()
            .dir("root")
            .file("root/id_rsa", &key)
            .file("big", "x".repeat(2_000_000))
            .file_with_mode("su", "#!", 0o4755)
            .file_with_mode("open", "x", 0o666),
        Layer::new().whiteout("big").whiteout("root/id_rsa"),
    ]);
    engine.load(&image, "app");
    let rules = |words: &str| -> Vec<(String, Value, Value)> {
        let said = Said::of(engine.cmd(words));
        let json: Value =
            serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.stderr));
        let findings = json["subjects"][0]["findings"]
            .as_array()
            .expect("findings")
            .clone();
        findings
            .into_iter()
            .map(|one| {
                (
                    one["rule"].as_str().expect("rule").to_owned(),
                    one["path"].clone(),
                    one["bytes"].clone(),
                )
            })
            .collect()
    };
    let found = rules("lint --format json app");
    let row = |rule: &str, path: &str, bytes: Value| (rule.to_owned(), Value::from(path), bytes);
    assert!(
        found.contains(&row("deleted-later", "/big", 2_000_000.into())),
        "{found:?}"
    );
    assert!(
        found.contains(&row("secret-file", "/root/id_rsa", Value::Null)),
        "{found:?}"
    );
    for rule in [
        "latest-only",
        "image-name",
        "root-user",
        "setuid-program",
        "world-writable",
        "labels-missing",
    ] {
        assert!(found.iter().any(|(name, ..)| name == rule), "{rule}: {found:?}");
    }
    let home = tempfile::tempdir().expect("directory");
    let archive = home.path().join("saved");
    let archive = archive.to_str().expect("UTF-8");
    engine.ok(["save", "-o", archive, "app"]);
    assert_eq!(rules(&format!("lint --format json {archive}")), found);
    let said = Said::of(engine.cmd("lint app"));
    assert!(
        said.code == 1 && !said.stdout.contains("MIIE"),
        "a key is an error, and not shown: {}",
        said.stdout
    );
    // A tag that names a version and is given to another image, one made from a container at that.
    engine.load(&Image::busybox(), "box:latest");
    engine.ok("tag app reg.example/team/box:1.0");
    engine.ok("run --name made box:latest true");
    engine.ok("commit made reg.example/team/box:1.0");
    eventually("the container's end", || engine.ok("ps -q").is_empty());
    let found = rules("lint --format json reg.example/team/box:1.0");
    for rule in ["version-tag-moved", "committed"] {
        assert!(found.iter().any(|(name, ..)| name == rule), "{rule}: {found:?}");
    }
    assert!(
        !found
            .iter()
            .any(|(name, ..)| name == "latest-only" || name == "image-name")
    );
    assert!(
        engine
            .fails(1, "lint nosuch")
            .contains("No such image: nosuch:latest")
    );
}
