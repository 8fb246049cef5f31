//! Files in registries: artifacts, and what refers to images.

use std::process::Command;

use fs_err as fs;
use havre_testing::{Action, Auth, DockerRegistry, Registry, TestEngine, digest_of};
use serde_json::{Value, json};

const KIND: &str = "application/vnd.oci.image.manifest.v1+json";

#[test]
fn files_are_pushed_listed_and_pulled() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), DockerRegistry::open());
    let dir = engine.dir().join("work");
    fs::create_dir_all(dir.join("deep")).expect("directory");
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(dir.join("large.bin"), &large).expect("file");
    fs::write(dir.join("deep/report.json"), "{}\n").expect("file");
    fs::write(dir.join("empty"), "").expect("file");
    let name = format!("{}/files:v1", registry.host());
    let run = |words: &[&str]| engine.cmd(words).dir(&dir);
    let told = run(&[
        "artifact",
        "push",
        "--artifact-type",
        "application/vnd.example.bundle",
        "--annotation",
        "by=me",
        &name,
        "large.bin:application/octet-stream",
        "./deep/report.json:application/json",
        "empty",
    ])
    .ok();
    assert!(
        told.contains(&format!("Pushed {name}")) && told.contains("Digest: sha256:"),
        "{told}"
    );
    let again = run(&["artifact", "push", &name, "large.bin"]).ok();
    assert!(again.contains("Already exists"), "{again}");
    run(&[
        "artifact",
        "push",
        "-q",
        "--artifact-type",
        "application/vnd.example.bundle",
        "--annotation",
        "by=me",
        &name,
        "large.bin:application/octet-stream",
        "deep/report.json:application/json",
        "empty",
    ])
    .ok();

    // Others read it.
    let raw = Command::new("skopeo")
        .args([
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{name}"),
        ])
        .output()
        .expect("skopeo");
    let manifest: Value = serde_json::from_slice(&raw.stdout).expect("a manifest");
    assert_eq!(manifest["artifactType"], "application/vnd.example.bundle");
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.empty.v1+json"
    );
    assert_eq!(manifest["config"]["digest"], digest_of(b"{}"));
    assert_eq!(manifest["annotations"]["by"], "me");
    let titles: Vec<&str> = (manifest["layers"].as_array().expect("layers").iter())
        .filter_map(|layer| layer["annotations"]["org.opencontainers.image.title"].as_str())
        .collect();
    assert_eq!(titles, ["large.bin", "deep/report.json", "empty"]);
    assert_eq!(
        manifest["layers"][2]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar"
    );

    assert_eq!(
        engine.ok(["artifact", "ls", "-q", &name]),
        "large.bin\ndeep/report.json\nempty"
    );
    let inspected: Value = serde_json::from_str(&engine.ok(["artifact", "inspect", &name])).expect("JSON");
    assert_eq!(inspected[0]["Manifest"], manifest);
    let out = engine.dir().join("out");
    let pull = |more: &[&str]| {
        let mut words = vec!["artifact", "pull", "-o"];
        let out = out.display().to_string();
        words.push(&out);
        words.extend(more);
        words.push(&name);
        engine.cmd(words.as_slice()).run()
    };
    pull(&[]).ok();
    assert!(fs::read(out.join("large.bin")).expect("file") == large);
    assert_eq!(
        fs::read_to_string(out.join("deep/report.json")).expect("file"),
        "{}\n"
    );
    // Nothing is written over what is there, unless that is wanted.
    fs::write(out.join("empty"), "mine").expect("file");
    let error = pull(&[]).fails(1);
    assert!(
        error.contains("is there already") && error.contains("--force"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(out.join("empty")).expect("file"), "mine");
    pull(&["--force"]).ok();
    assert_eq!(fs::read_to_string(out.join("empty")).expect("file"), "");
    assert_eq!(engine.ok("images -aq"), "");

    for (words, told) in [
        (vec!["artifact", "push", &name, "deep"], "is a directory"),
        (vec!["artifact", "push", &name, "nothing"], "no such file"),
        (
            vec!["artifact", "push", &name, "empty", "../work/empty"],
            "another file has the name empty",
        ),
        (
            vec!["artifact", "push", "--annotation", "x", &name, "empty"],
            "expected key=value",
        ),
        (
            vec!["artifact", "push", "--artifact-type", "x", &name, "empty"],
            "expected a media type",
        ),
        (vec!["artifact", "pull", "127.0.0.1:1/nobody"], "127.0.0.1:1"),
    ] {
        let error = run(&words).run().fails(1);
        assert!(error.to_lowercase().contains(told), "{words:?}: {error}");
    }
}

#[test]
fn what_is_attached_refers_to_its_subject() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let subject = registry.busybox();
    let dir = engine.dir().to_path_buf();
    fs::write(dir.join("sbom.json"), "{\"packages\":[]}").expect("file");
    registry.require(Auth::Basic {
        user: "me".into(),
        password: "secret".into(),
    });
    let attach = |kind: &str| {
        engine
            .cmd([
                "artifact",
                "attach",
                "-q",
                "--artifact-type",
                kind,
                "--subject",
                &subject,
                "sbom.json",
            ])
            .dir(&dir)
    };
    assert!(
        attach("application/vnd.example.sbom")
            .run()
            .fails(1)
            .contains("no basic auth credentials")
    );
    engine.ok(["login", "-u", "me", "-p", "secret", &registry.host()]);
    let (first, second) = (
        attach("application/vnd.example.sbom").ok(),
        attach("application/vnd.example.other").ok(),
    );
    // Both are listed, under the tag of registries that keep no list.
    let listed = engine.ok(["image", "referrers", "--no-trunc", &subject]);
    assert!(listed.contains(&first) && listed.contains(&second), "{listed}");
    assert!(listed.contains("application/vnd.example.sbom"), "{listed}");
    let name = registry.name(&format!("busybox@{first}"));
    engine.ok([
        "artifact",
        "pull",
        "-o",
        &dir.join("out").display().to_string(),
        &name,
    ]);
    assert_eq!(
        fs::read_to_string(dir.join("out/sbom.json")).expect("file"),
        "{\"packages\":[]}"
    );
    // The image is what it was.
    engine.ok(["pull", "-q", &subject]);
}

#[test]
fn hostile_artifacts_write_nowhere_else() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let out = engine.dir().join("out");
    fs::create_dir(&out).expect("directory");
    std::os::unix::fs::symlink("/tmp", out.join("away")).expect("link");
    let publish = |titles: &[&str]| {
        registry.put_blobs("bad", [b"evil".to_vec(), b"{}".to_vec()]);
        let layers: Vec<Value> = (titles.iter())
            .map(|title| {
                json!({"mediaType": "text/plain", "digest": digest_of(b"evil"), "size": 4, "annotations": {"org.opencontainers.image.title": title}})
            })
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": KIND,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2}, "layers": layers});
        registry.put_manifest("bad", "1", KIND, manifest.to_string().into_bytes());
    };
    let pull = || {
        engine
            .cmd([
                "artifact",
                "pull",
                "--force",
                "-o",
                &out.display().to_string(),
                &registry.name("bad:1"),
            ])
            .run()
    };
    for (titles, told) in [
        (vec!["fine", "../evil"], "no name beneath a directory"),
        (vec!["/tmp/evil"], "no name beneath a directory"),
        (vec!["a/../../evil"], "no name beneath a directory"),
        (vec!["\u{1b}[2Jevil"], "no name beneath a directory"),
        (vec!["evil", "evil"], "two files of the artifact have the name"),
        (vec!["away/evil"], "is no directory"),
    ] {
        publish(&titles);
        let error = pull().fails(1);
        assert!(error.contains(told), "{titles:?}: {error}");
    }
    let names = |dir: &std::path::Path| -> Vec<String> {
        let entries = fs::read_dir(dir).expect("directory").flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(names(&out), ["away"], "nothing was written");
    assert!(!std::path::Path::new("/tmp/evil").exists());
    // A link in a file's place is replaced, not followed; other bytes than those promised appear under no name.
    std::os::unix::fs::symlink("/tmp/evil", out.join("link")).expect("link");
    publish(&["link"]);
    pull().ok();
    assert!(fs::symlink_metadata(out.join("link")).expect("file").is_file());
    fs::remove_file(out.join("link")).expect("removed");
    registry.fail("GET", "/blobs/", None, Action::Corrupt);
    let error = pull().fails(1);
    assert!(
        error.contains("verification failed") && error.contains("the registry sent"),
        "{error}"
    );
    assert_eq!(names(&out), ["away"]);
}
