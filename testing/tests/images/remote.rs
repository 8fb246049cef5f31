//! Images looked into where they lie: files, contents, layers, without pulling. Bytes are counted, never time.

use fs_err as fs;
use havre_testing::{
    Action, Auth, Compression, DockerRegistry, Image, Layer, Registry, StoredLayer, TestEngine, digest_of,
    two_architectures,
};
use serde_json::Value;

/// Bytes of the large file in each layer.
const LARGE: usize = 6 << 20;

fn noise(seed: u64) -> Vec<u8> {
    let tar = Layer::noise(seed, LARGE).tar();
    tar[512..512 + LARGE].to_vec()
}

/// Three layers, each with a large file between small ones; the upper ones change, take away and hide.
fn layers() -> Vec<Vec<u8>> {
    [
        Layer::new()
            .dir("etc")
            .file("etc/gone", "soon")
            .file("etc/hidden", "below")
            .symlink("etc/os-release", "../usr/lib/os-release")
            .file("large-0", noise(1))
            .dir("usr")
            .dir("usr/lib")
            .file("usr/lib/os-release", "ID=test\n")
            .hardlink("usr/lib/same", "usr/lib/os-release")
            .dir("var")
            .dir("var/lib")
            .file("var/lib/old", "old"),
        Layer::new()
            .dir("etc")
            .file("etc/changed", "first\n")
            .whiteout("etc/gone")
            .file("large-1", noise(2))
            .dir("var")
            .dir("var/lib")
            .file("var/lib/.wh..wh..opq", "")
            .file("var/lib/new", "new\n"),
        Layer::new()
            .file("empty", "")
            .dir("etc")
            .file("etc/changed", "second\n")
            .file("large-2", noise(3))
            .file_with_mode("run.sh", "#!/bin/sh\n", 0o4755)
            .character_device("null", 1, 3),
    ]
    .map(|layer| layer.tar())
    .to_vec()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Plain,
    Gzip,
    Zstd,
    Stargz,
    Chunked,
}

const FORMS: [Form; 5] = [Form::Plain, Form::Gzip, Form::Zstd, Form::Stargz, Form::Chunked];

fn stored(form: Form) -> (Image, Vec<StoredLayer>) {
    let stored: Vec<StoredLayer> = (layers().iter())
        .map(|plain| match form {
            Form::Plain => StoredLayer::new(plain, Compression::None),
            Form::Gzip => StoredLayer::new(plain, Compression::Gzip),
            Form::Zstd => StoredLayer::new(plain, Compression::Zstd),
            Form::Stargz => StoredLayer::stargz(plain, |_| {}),
            Form::Chunked => StoredLayer::zstd_chunked(plain, |_| {}),
        })
        .collect();
    let mut image = Image::from_layers([]);
    image.layers = stored.iter().map(|layer| layer.plain.clone()).collect();
    (image, stored)
}

fn publish(registry: &Registry, form: Form) -> String {
    let (image, layers) = stored(form);
    let name = format!("{form:?}").to_lowercase();
    registry.publish_stored(&name, "1", &image, &layers);
    registry.name(&format!("{name}:1"))
}

/// What is kept for good; nothing may be left of looking.
fn store_of(engine: &TestEngine) -> Vec<String> {
    let mut found = Vec::new();
    for place in ["content", "layers", "ingest"] {
        let mut waiting = vec![engine.root().join(place)];
        while let Some(dir) = waiting.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    waiting.push(entry.path());
                } else {
                    found.push(entry.path().display().to_string());
                }
            }
        }
    }
    found
}

#[test]
fn a_file_costs_no_more_than_what_leads_to_it() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    for form in FORMS {
        let name = publish(&registry, form);
        let in_parts = !matches!(form, Form::Gzip | Form::Zstd);
        for (path, contents) in [
            ("/etc/changed", "second"),
            ("/etc/os-release", "ID=test"),
            ("usr/lib/same", "ID=test"),
            ("/var/lib/new", "new"),
            ("run.sh", "#!/bin/sh"),
            ("empty", ""),
        ] {
            registry.served();
            let printed = engine.ok(["image", "cat", "--remote", &name, path]);
            let served = registry.served();
            assert_eq!(printed, contents, "{form:?} {path}");
            // Of three layers of 6 MiB each.
            assert!(!in_parts || served < 1 << 20, "{form:?} {path}: {served} bytes");
        }
        // A compressed layer is read to the file, those below not at all. What the registry has sent by then is what the
        // sockets hold.
        registry.served();
        engine.ok(["image", "cat", &format!("registry://{name}:/etc/changed")]);
        assert!(registry.served() < (LARGE + (1 << 20)) as u64, "{form:?}");
        for (path, told) in [
            ("/etc/gone", "no such file or directory"),
            ("/var/lib/old", "no such file or directory"),
            ("/etc", "/etc is a directory"),
        ] {
            let error = engine.fails(1, ["image", "cat", "--remote", &name, path]);
            assert!(error.contains(told), "{form:?} {path}: {error}");
        }
        if form == Form::Stargz {
            let table = engine.ok(["image", "cat", "--remote", &name, "stargz.index.json"]);
            assert!(table.contains("large-2"), "{table}");
        }
        let large = engine.cmd(["image", "cat", "--remote", &name, "large-1"]).run();
        assert!(large.stdout == noise(2), "{form:?}: {}", large.err());
    }
    assert_eq!(engine.ok("images -aq"), "");
    assert_eq!(store_of(&engine), [""; 0]);
}

#[test]
fn an_image_looked_at_is_the_image_pulled() {
    if TestEngine::is_dockerd() {
        return;
    }
    let registry = Registry::start();
    for form in FORMS {
        let engine = TestEngine::start();
        let name = publish(&registry, form);
        let remote = format!("registry://{name}");
        let explore = |name: &str| {
            engine
                .ok(["explore", "--json", "-", name])
                .replace("registry://", "")
        };
        let all = |name: &str| engine.ok(["image", "files", "-R", "--format", "json", name]);
        let one = |name: &str| engine.ok(["image", "files", "-R", "--layer", "1", "--format", "json", name]);
        registry.served();
        let (explored, listed, second) = (explore(&remote), all(&remote), one(&remote));
        let served = registry.served();
        let inspected = engine.ok(["image", "inspect", "--remote", &name]);
        let history = engine.ok([
            "history",
            "--remote",
            "--no-trunc",
            "--format",
            "{{.CreatedBy}} {{.Comment}}",
            &name,
        ]);
        let dir = engine.dir().join("remote");
        engine.ok([
            "image",
            "extract",
            "-o",
            &dir.display().to_string(),
            &format!("{remote}:/"),
        ]);
        engine.ok(["pull", "-q", &name]);
        assert_eq!(explored, explore(&name), "{form:?}");
        assert_eq!(listed, all(&name), "{form:?}");
        assert_eq!(second, one(&name), "{form:?}");
        if matches!(form, Form::Stargz | Form::Chunked | Form::Plain) {
            assert!(served < 2 << 20, "{form:?}: {served} bytes");
        }
        let (remote_view, here): (Value, Value) = (
            serde_json::from_str(&inspected).expect("JSON"),
            serde_json::from_str(&engine.ok(["image", "inspect", &name])).expect("JSON"),
        );
        for key in [
            "Id",
            "RepoTags",
            "RepoDigests",
            "Created",
            "Config",
            "Architecture",
            "Os",
            "RootFS",
        ] {
            assert_eq!(remote_view[0][key], here[0][key], "{form:?} {key}");
        }
        assert_eq!(remote_view[0]["Layers"].as_array().map(Vec::len), Some(3));
        assert_eq!(
            history,
            engine.ok([
                "history",
                "--no-trunc",
                "--format",
                "{{.CreatedBy}} {{.Comment}}",
                &name
            ])
        );
        let here = engine.dir().join("here");
        engine.ok(["image", "extract", "-o", &here.display().to_string(), &name, "/"]);
        // diff takes no two devices for the same.
        let same = std::process::Command::new("diff")
            .args(["-r", "--no-dereference", "--exclude=null"])
            .args([&dir, &here])
            .output()
            .expect("diff");
        assert!(
            same.status.success(),
            "{form:?}: {}",
            String::from_utf8_lossy(&same.stdout)
        );
        // What is here is read here.
        registry.served();
        assert_eq!(all(&remote), listed);
        engine.ok(["image", "cat", "--remote", &name, "large-0"]);
        assert!(registry.served() < 64 << 10, "only the configuration");
        let compared = engine.ok(["diff", &remote, &name]);
        assert!(
            compared.contains("Files: the same") && compared.contains("Configuration: the same"),
            "{compared}"
        );
    }
}

#[test]
fn two_images_of_registries_are_compared_by_their_contents() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let files = |changed: usize| {
        (0..40).fold(Layer::new().file("large", noise(9)), |layer, number| {
            let text = if number == changed { "other" } else { "equal" };
            layer.file(&format!("file-{number}"), text)
        })
    };
    for form in [Form::Plain, Form::Gzip, Form::Stargz, Form::Chunked] {
        for (tag, changed) in [("1", 100), ("2", 7)] {
            let plain = files(changed).tar();
            let layer = match form {
                Form::Stargz => StoredLayer::stargz(&plain, |_| {}),
                Form::Chunked => StoredLayer::zstd_chunked(&plain, |_| {}),
                Form::Plain => StoredLayer::new(&plain, Compression::None),
                _ => StoredLayer::new(&plain, Compression::Gzip),
            };
            let mut image = Image::from_layers([]);
            image.layers = vec![layer.plain.clone()];
            registry.publish_stored("pair", tag, &image, &[layer]);
        }
        let name = |tag: &str| registry.name(&format!("pair:{tag}"));
        let told = engine.ok(["image", "diff", "--remote", "--files", &name("1"), &name("2")]);
        let rows: Vec<&str> = told
            .lines()
            .skip(1)
            .filter(|row| !row.contains("stargz.index"))
            .collect();
        assert_eq!(rows.len(), 1, "{form:?}: {told}");
        assert!(rows[0].contains("/file-7 (other contents)"), "{form:?}: {told}");
    }
}

#[test]
fn a_registry_that_sends_everything_is_read_all_the_same() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    registry.serve_no_ranges();
    for form in FORMS {
        let name = publish(&registry, form);
        assert_eq!(
            engine.ok(["image", "cat", "--remote", &name, "/etc/os-release"]),
            "ID=test",
            "{form:?}"
        );
        assert_eq!(
            engine.ok(["image", "files", "-q", "--remote", &name, "var/lib"]),
            "/var/lib/new"
        );
    }
}

#[test]
fn registries_of_others_serve_parts() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, from, to) = (TestEngine::start(), Registry::start(), DockerRegistry::open());
    for form in FORMS {
        let (source, target) = (
            publish(&from, form),
            format!("{}/{}", to.host(), format!("{form:?}").to_lowercase()),
        );
        engine.ok(["copy", &source, &format!("{target}:1")]);
        let name = format!("registry://{target}:1");
        assert_eq!(
            engine.ok(["image", "cat", &name, "/etc/os-release"]),
            "ID=test",
            "{form:?}"
        );
        assert_eq!(
            engine.ok(["image", "files", "-q", "-R", &name]),
            engine.ok(["image", "files", "-q", "-R", "--remote", &source])
        );
    }
}

/// podman and skopeo make zstd:chunked layers; so what they mean by it is what is read.
#[test]
fn tables_of_contents_made_by_skopeo_are_read() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, from, to) = (TestEngine::start(), Registry::start(), DockerRegistry::open());
    let source = publish(&from, Form::Gzip);
    let target = format!("{}/chunked", to.host());
    let copied = std::process::Command::new("skopeo")
        .args([
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--dest-compress-format",
            "zstd:chunked",
        ])
        .args([format!("docker://{source}"), format!("docker://{target}:1")])
        .output()
        .expect("skopeo");
    assert!(
        copied.status.success(),
        "{}",
        String::from_utf8_lossy(&copied.stderr)
    );
    let name = format!("registry://{target}:1");
    let inspected: Value = serde_json::from_str(&engine.ok(["image", "inspect", &name])).expect("JSON");
    let first = &inspected[0]["Layers"][0];
    assert!(
        first["annotations"]
            .to_string()
            .contains("zstd-chunked.manifest-position"),
        "{first}"
    );
    let explored = engine.ok(["explore", "--json", "-", &name]);
    assert_eq!(engine.ok(["image", "cat", &name, "/etc/os-release"]), "ID=test");
    let large = engine.cmd(["image", "cat", &name, "large-0"]).run();
    assert!(large.stdout == noise(1), "{}", large.err());
    engine.ok(["pull", "-q", &format!("{target}:1")]);
    assert_eq!(
        explored.replace("registry://", ""),
        engine.ok(["explore", "--json", "-", &format!("{target}:1")])
    );
}

#[test]
fn what_is_not_what_it_should_be_is_named() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let plain = layers().remove(0);
    let publish = |layer: StoredLayer| {
        let mut image = Image::from_layers([]);
        image.layers = vec![layer.plain.clone()];
        registry.publish_stored("bad", "1", &image, &[layer]);
        registry.name("bad:1")
    };
    let cat = |name: &str| engine.fails(1, ["image", "cat", "--remote", name, "usr/lib/os-release"]);
    type Lie = fn(&mut Value);
    type Maker = fn(&[u8], Lie) -> StoredLayer;
    let makers: [Maker; 2] = [
        |plain, change| StoredLayer::stargz(plain, change),
        |plain, change| StoredLayer::zstd_chunked(plain, change),
    ];
    fn entry(table: &mut Value) -> &mut Value {
        let entries = table["entries"].as_array_mut().expect("entries");
        entries
            .iter_mut()
            .find(|entry| entry["name"] == "usr/lib/os-release")
            .expect("it")
    }
    for make in makers {
        for (lie, told) in [
            (
                (|table| entry(table)["digest"] = digest_of(b"other").into()) as Lie,
                "the contents of a file are not what its table of contents says",
            ),
            (
                |table| entry(table)["size"] = 5.into(),
                "are not what its table of contents says",
            ),
            (
                |table| entry(table)["size"] = (1_u64 << 39).into(),
                "cannot be read",
            ),
            (
                |table| entry(table)["offset"] = (1_u64 << 60).into(),
                "outside of the layer",
            ),
            (
                |table| entry(table)["digest"] = "".into(),
                "the digest of its contents is missing",
            ),
            (
                |table| entry(table)["name"] = "../../etc/shadow".into(),
                "outside of the layer",
            ),
            (
                |table| entry(table)["type"] = "door".into(),
                "of a kind nobody knows",
            ),
            (|table| table["version"] = 7.into(), "version 7 is not known"),
            (|table| table["entries"] = 7.into(), "cannot be read"),
        ] {
            let error = cat(&publish(make(&plain, lie)));
            assert!(
                error.contains(told) && error.contains("sha256:"),
                "{told}: {error}"
            );
        }
        let mut other = make(&plain, |_| {});
        for (key, value) in &mut other.annotations {
            if !key.ends_with("position") {
                *value = digest_of(b"other");
            }
        }
        let error = cat(&publish(other));
        assert!(
            error.contains("its table of contents is not what the manifest says"),
            "{error}"
        );
    }
    let mut cut = StoredLayer::stargz(&plain, |_| {});
    cut.bytes.truncate(cut.bytes.len() - 1);
    let error = cat(&publish(cut));
    assert!(
        error.contains("its table of contents is not where the layer says"),
        "{error}"
    );

    // A layer that is read whole is compared with its digest.
    let name = publish(StoredLayer::new(&plain, Compression::None));
    let gzip = publish(StoredLayer::new(&plain, Compression::Gzip));
    assert_eq!(name, gzip);
    registry.fail("GET", "/blobs/", None, Action::Corrupt);
    let error = engine.fails(1, ["explore", "--json", "-", &format!("registry://{gzip}")]);
    assert!(
        error.contains("verification failed") || error.contains("digest") || error.contains("cannot be read"),
        "{error}"
    );
    registry.behave();
    for (words, told) in [
        (
            vec!["image", "cat", "--remote", "bad name", "x"],
            "invalid reference format",
        ),
        (
            vec!["image", "cat", "--platform", "linux/arm64", "app", "x"],
            "--platform is for images in a registry",
        ),
        (vec!["image", "cat", &name], "no file is named"),
        (
            vec!["image", "files", "--insecure", "app"],
            "--insecure is for images in a registry",
        ),
        (
            vec!["image", "files", "--remote", &registry.name("nobody/here:1")],
            "nobody/here",
        ),
        (
            vec!["image", "files", "--remote", "--layer", "7", &name],
            "has layers 0 to 0, not 7",
        ),
    ] {
        let error = engine.cmd(words.as_slice()).run().fails(1);
        assert!(error.contains(told), "{words:?}: {error}");
    }
}

/// Layers are read two at a time; what comes of one matters only if those above leave the question open.
#[test]
fn what_is_found_in_an_upper_layer_needs_nothing_of_those_below() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let large = |seed: u64, name: &str| {
        let layer = Layer::noise(seed, 6 << 20).file(name, format!("in {name}\n"));
        StoredLayer::new(&layer.tar(), Compression::Gzip)
    };
    let layers = [large(1, "low"), large(2, "middle"), large(3, "high")];
    let digests = layers.each_ref().map(|layer| digest_of(&layer.bytes));
    let mut image = Image::from_layers([]);
    image.layers = layers.iter().map(|layer| layer.plain.clone()).collect();
    registry.publish_stored("high", "1", &image, &layers);
    let name = registry.name("high:1");
    for file in ["low", "middle", "high"] {
        assert_eq!(
            engine.ok(["image", "cat", "--remote", &name, file]),
            format!("in {file}")
        );
    }
    for wrong in [Action::Corrupt, Action::Stall, Action::CutAfter(3 << 20)] {
        registry.fail("GET", &digests[1], None, wrong);
        assert_eq!(engine.ok(["image", "cat", "--remote", &name, "high"]), "in high");
        registry.behave();
    }
    registry.fail("GET", &digests[1], None, Action::Corrupt);
    // The lowest has it, but whether it is seen only the one between can tell.
    let error = engine.fails(1, ["image", "cat", "--remote", &name, "low"]);
    assert!(error.contains(&digests[1]), "{error}");
    registry.behave();
    assert_eq!(engine.ok(["image", "cat", "--remote", &name, "low"]), "in low");
}

#[test]
fn platforms_are_chosen_and_credentials_used() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let [own, other] = two_architectures();
    let other = other.with_layer(&Layer::new().file("other", "here\n"));
    let platform = format!("linux/{}", other.architecture);
    registry.publish_index("app", "1", &[own, other]);
    let name = registry.name("app:1");
    registry.require(Auth::Token {
        user: "me".into(),
        password: "secret".into(),
    });
    let error = engine.fails(1, ["image", "cat", "--remote", &name, "other"]);
    assert!(
        error.contains("authentication") || error.contains("denied") || error.contains("unauthorized"),
        "{error}"
    );
    engine.ok(["login", "-u", "me", "-p", "secret", &registry.host()]);
    let error = engine.fails(1, ["image", "cat", "--remote", &name, "other"]);
    assert!(error.contains("no such file or directory"), "{error}");
    assert_eq!(
        engine.ok([
            "image",
            "cat",
            "--remote",
            "--platform",
            &platform,
            &name,
            "other"
        ]),
        "here"
    );
    let inspected: Value =
        serde_json::from_str(&engine.ok(["image", "inspect", "--remote", "--platform", &platform, &name]))
            .expect("JSON");
    assert_eq!(inspected[0]["Manifests"].as_array().map(Vec::len), Some(2));
    let error = engine.fails(1, ["history", "--remote", "--platform", "linux/s390x", &name]);
    assert!(error.contains("no matching manifest for linux/s390x"), "{error}");
}
