//! buildx: builders, where the results of builds go, and indexes of registries.

use fs_err as fs;
use havre_testing::{Compression, Program, Registry, TestEngine, digest_of, two_architectures};
use serde_json::Value;

/// A context whose image holds `/d/f`.
fn context(engine: &TestEngine) -> String {
    let files = [("Dockerfile", "FROM scratch\nCOPY d /d\n"), ("d/f", "hello\n")];
    engine.files("context", &files).to_string_lossy().into_owned()
}

#[test]
fn builders_are_made_chosen_and_removed() {
    let engine = TestEngine::start();
    assert!(engine.ok("buildx version").contains('v'));
    assert!(engine.ok("buildx ls").contains("default*"));
    assert_eq!(engine.ok("buildx create --name multiarch --use"), "multiarch");
    let listed = engine.ok("buildx ls");
    assert!(
        listed.contains("multiarch*") && !listed.contains("default*"),
        "{listed}"
    );
    let shown = engine.ok("buildx inspect multiarch --bootstrap");
    for line in [
        "Name:",
        "Driver:",
        "Status:         running",
        "Platforms:      linux/",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let again = engine.fails(1, "buildx create --name multiarch");
    assert!(again.contains("existing instance for \"multiarch\""), "{again}");
    let far = "buildx create --append --name multiarch --platform linux/arm64 unix:///nowhere/havre.sock";
    engine.ok(far);
    let twice = engine.fails(1, far);
    assert!(twice.contains("invalid duplicate endpoint"), "{twice}");
    let output = engine.run("buildx ls");
    assert!(
        output.out().contains("linux/arm64*") && output.out().contains("inactive"),
        "{output}"
    );
    assert!(output.err().contains("Cannot load builder multiarch"), "{output}");
    engine.fails(1, "buildx inspect multiarch --bootstrap");
    engine.ok("buildx create --name multiarch --leave --node multiarch1");
    let last = engine.fails(1, "buildx create --name multiarch --leave --node multiarch0");
    assert!(last.contains("buildx rm multiarch"), "{last}");

    engine.ok("buildx use default");
    assert!(engine.ok("buildx ls").contains("default*"));
    engine.ok("buildx use multiarch");
    engine.ok("buildx rm");
    assert!(
        engine.ok("buildx ls").contains("default*"),
        "the one in use is gone"
    );
    for (line, reason) in [
        ("buildx rm default", "context builder cannot be removed"),
        ("buildx rm nobody", "no builder \"nobody\" found"),
        ("buildx use nobody", "failed to find instance \"nobody\""),
        ("buildx inspect nobody", "no builder"),
        (
            "buildx create --driver kubernetes",
            "driver \"kubernetes\" is not supported",
        ),
        ("buildx create nowhere", "neither a context nor an address"),
        (
            "buildx create --name default",
            "already exists as context builder",
        ),
        ("buildx create --name ../x", "invalid builder name"),
        ("build --builder nobody .", "no builder"),
    ] {
        let error = engine.fails(1, line);
        assert!(error.contains(reason), "{line}: {error}");
    }
}

#[test]
fn a_builder_builds_with_its_nodes_engine() {
    let (here, there) = (TestEngine::start(), TestEngine::start());
    let context = context(&here);
    here.ok(["buildx", "create", "--name", "there", "--use", &there.host()]);
    here.ok(["buildx", "build", "-q", "-t", "app:1", &context]);
    assert_eq!(here.ok("images -q"), "");
    assert_eq!(there.ok("images --format {{.Repository}}:{{.Tag}}"), "app:1");
    // `build` takes the engine it always took, unless told otherwise.
    here.ok(["build", "-q", "-t", "app:2", &context]);
    assert_eq!(here.ok("images --format {{.Repository}}:{{.Tag}}"), "app:2");
    let told = here
        .cmd(["build", "-q", "-t", "app:3", &context])
        .env("BUILDX_BUILDER", "there");
    told.ok();
    assert!(there.ok("images").contains("3"));
    assert!(here.ok("buildx du").contains("Total:"));
    here.ok("buildx prune -af");
    assert_eq!(
        there
            .ok("buildx du")
            .lines()
            .filter(|line| line.contains("true"))
            .count(),
        0
    );
}

#[test]
fn results_of_builds_go_where_they_are_wanted() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let context = context(&engine);
    let out = engine.dir().join("out");
    let build = |words: &[&str]| {
        let mut all = vec!["buildx", "build", "-q"];
        all.extend_from_slice(words);
        all.push(&context);
        engine.cmd(all.as_slice()).dir(engine.dir()).run()
    };
    build(&["-o", "out"]).ok();
    assert_eq!(fs::read_to_string(out.join("d/f")).expect("the file"), "hello\n");
    build(&["-o", "type=tar,dest=files.tar"]).ok();
    assert!(fs::metadata(engine.dir().join("files.tar")).is_ok_and(|meta| meta.len() > 1024));
    assert_eq!(engine.ok("images -aq"), "", "only the files were wanted");
    assert_eq!(engine.ok("ps -aq"), "");

    build(&["-t", "app:1", "-o", "type=oci,dest=image.tar"]).ok();
    engine.ok("rmi app:1");
    let loaded = engine.cmd("load -i image.tar").dir(engine.dir()).ok();
    assert_eq!(loaded, "Loaded image: app:1");

    let name = registry.name("team/app:v1");
    build(&["-t", &name, "--push", "--metadata-file", "meta.json"]).ok();
    let stored = registry.manifest("team/app", "v1").expect("pushed");
    let text = fs::read_to_string(engine.dir().join("meta.json")).expect("the file");
    let metadata: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(metadata["containerimage.digest"], digest_of(&stored).as_str());
    assert_eq!(metadata["image.name"], name.as_str());

    for (words, reason) in [
        (&["--push"][..], "a name is needed"),
        (&["-o", "type=local"], "dest is missing"),
        (
            &["-o", "type=image,compression=zstd"],
            "compression is not supported",
        ),
        (&["-o", "type=tar,dest=no/such/x.tar"], "does not exist"),
        (&["--provenance=true"], "attestations"),
        (&["--platform", "linux/amd64,linux/arm64"], "need a name"),
    ] {
        let error = build(words).fails(1);
        assert!(error.contains(reason), "{words:?}: {error}");
    }
}

#[test]
fn indexes_are_made_of_what_registries_have() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let [own, other] = two_architectures();
    registry.publish("app", "own", &own, Compression::Gzip);
    registry.publish("app", "other", &other, Compression::Gzip);
    let index = registry.publish_index("both", "latest", &[own.clone(), other.clone()]);
    let name = |rest: &str| registry.name(rest);

    let shown = engine.ok(["buildx", "imagetools", "inspect", &name("both")]);
    assert!(
        shown.contains(&index) && shown.contains("Platform:  linux/arm64"),
        "{shown}"
    );
    let raw = engine.ok(["buildx", "imagetools", "inspect", "--raw", &name("both")]);
    assert_eq!(digest_of(raw.as_bytes()), index);

    let create = |words: &[&str]| {
        let mut all = vec!["buildx", "imagetools", "create"];
        all.extend_from_slice(words);
        engine.cmd(all.as_slice()).run()
    };
    // One index is copied as it is; several images become one.
    create(&["-t", &name("copy:1"), &name("both")]).ok();
    assert_eq!(
        registry.manifest("copy", "1").map(|bytes| digest_of(&bytes)),
        Some(index)
    );
    let dry = create(&["--dry-run", &name("app:own"), &name("app:other")]).ok();
    let dry: Value = serde_json::from_str(&dry).expect("JSON");
    assert_eq!(dry["manifests"].as_array().map(Vec::len), Some(2));
    create(&["-t", &name("made:1"), &name("app:own")]).ok();
    create(&[
        "-t",
        &name("made:1"),
        "--append",
        "--annotation",
        "index:a=b",
        &name("app:other"),
    ])
    .ok();
    let made = registry.manifest("made", "1").expect("pushed");
    let made: Value = serde_json::from_slice(&made).expect("JSON");
    assert_eq!(made["manifests"].as_array().map(Vec::len), Some(2));
    assert_eq!(made["annotations"]["a"], "b");
    // Docker's client takes it.
    engine
        .cmd_of(Program::Docker, ["pull", "-q", &name("made:1")])
        .ok();
    assert_eq!(
        engine.ok(["image", "inspect", "-f", "{{.Architecture}}", &name("made:1")]),
        own.architecture
    );

    for (words, reason) in [
        (vec!["-t", "x:1"], "no sources specified"),
        (vec!["app:1"], "a name for the new image is needed"),
        (
            vec![
                "--dry-run",
                "sha256:0000000000000000000000000000000000000000000000000000000000000000",
            ],
            "names no repository",
        ),
    ] {
        let error = create(&words).fails(1);
        assert!(error.contains(reason), "{words:?}: {error}");
    }
    let missing = name("nothing");
    let error = create(&["-t", &name("x"), &missing]).fails(1);
    assert!(error.contains("not found"), "{error}");
}
