//! Archives of images: saved, loaded, imported, those of other tools, and those that are refused. Needs root.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{Cursor, Read as _};

use havre_image::{ErrorKind, ImportOptions, KeepCompressed, PullOptions, PushOptions, SaveOptions, Silent};
use havre_oci::{Digest, Platform};
use support::images::{import, load, parse, save};
use support::registry::FakeRegistry;
use support::{Bench, Fixture, Told, gzip, tar};

#[tokio::test(flavor = "multi_thread")]
async fn saved_images_load_elsewhere() {
    // An archive has the original manifest only if the compressed layers were kept.
    let (registry, bench) = (
        FakeRegistry::start().await,
        Bench::keeping(KeepCompressed::Always),
    );
    let fixture = Fixture::new(40, 3, 60_000);
    let digest = fixture.publish(&registry, "app", "v1");
    let name = format!("{}/app:v1", registry.host());
    bench
        .images
        .pull(&parse(&name), &PullOptions::default(), &Silent)
        .await
        .unwrap();
    let plain = import(&bench, "plain:1", 41).await;
    bench.images.tag("plain:1", &parse("plain:2")).await.unwrap();

    let archive = save(&bench, &[&name, "plain"]).await;
    assert_eq!(
        archive,
        save(&bench, &[&name, "plain"]).await,
        "the same images give the same bytes"
    );
    let mut names = Vec::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert_eq!(names[..3], ["oci-layout", "index.json", "manifest.json"]);
    assert!(names.contains(&format!("blobs/sha256/{}", fixture.id().hex())));

    for packed in [
        archive.clone(),
        gzip(&archive),
        zstd::encode_all(archive.as_slice(), 1).unwrap(),
    ] {
        let fresh = Bench::keeping(KeepCompressed::Always);
        let loaded = load(&fresh, packed).await.unwrap();
        assert_eq!(
            loaded,
            [
                format!("Loaded image: {name}"),
                "Loaded image: plain:1".into(),
                "Loaded image: plain:2".into()
            ]
        );
        assert_eq!(fresh.images.resolve("plain:2").await.unwrap().id, plain);
        // The loaded image still has its manifest.
        let kept = fresh
            .images
            .inspect(&name, None)
            .await
            .unwrap()
            .manifest
            .map(|kept| kept.digest);
        assert_eq!(kept.as_ref(), Some(&digest));
        let target = format!("{}/loaded:1", registry.host());
        fresh.images.tag(&name, &parse(&target)).await.unwrap();
        let pushed = fresh
            .images
            .push(&parse(&target), &PushOptions::default(), &Silent)
            .await
            .unwrap();
        assert_eq!(pushed[0].digest, digest);
    }
    // By ID there is no name; what a name stood for before is told.
    let archive = save(&bench, &[plain.short()]).await;
    let fresh = Bench::new();
    assert_eq!(
        load(&fresh, archive).await.unwrap(),
        [format!("Loaded image ID: {plain}")]
    );
    let before = import(&fresh, "plain:1", 99).await;
    let told = Told::default();
    let archive = save(&bench, &["plain:1"]).await;
    fresh
        .images
        .load(Cursor::new(archive), Vec::new(), &told)
        .await
        .unwrap();
    let renamed =
        format!("The image plain:1 already exists, renaming the old one with ID {before} to empty string");
    assert!(told.lines().contains(&renamed), "{:?}", told.lines());
    let error = bench
        .images
        .save(&["nosuch".to_owned()], &SaveOptions::default())
        .await
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "No such image: nosuch:latest");
}

/// As Docker before 25 wrote them: a directory per layer, one of them a link.
fn old_archive(fixture: &Fixture, tag: &str) -> Vec<u8> {
    let config = format!("{}.json", fixture.id().hex());
    let names: Vec<String> = (0..fixture.tars.len())
        .map(|index| format!("{index:064x}/layer.tar"))
        .collect();
    let manifest = serde_json::json!([{ "Config": config, "RepoTags": [tag], "Layers": names }]).to_string();
    let mut files: Vec<(&str, &[u8])> = vec![(&config, &fixture.config)];
    for (name, tar) in names.iter().zip(&fixture.tars) {
        files.push((name, tar));
    }
    files.push(("repositories", b"{}"));
    files.push(("manifest.json", manifest.as_bytes()));
    tar(&files)
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_other_tools() {
    let fixture = Fixture::new(50, 2, 30_000);
    let bench = Bench::new();
    let loaded = load(&bench, old_archive(&fixture, "old:1")).await.unwrap();
    assert_eq!(loaded, ["Loaded image: old:1"]);
    assert_eq!(bench.images.resolve("old:1").await.unwrap().id, fixture.id());

    // podman and skopeo: layers named by their digests beside the configuration.
    let bench = Bench::new();
    let config = format!("{}.json", fixture.id().hex());
    let layers: Vec<_> = fixture
        .tars
        .iter()
        .map(|tar| format!("{}.tar", Digest::sha256_of(tar).hex()))
        .collect();
    let manifest =
        serde_json::json!([{ "Config": config, "RepoTags": ["localhost/app:1"], "Layers": layers }])
            .to_string();
    let mut files: Vec<(&str, &[u8])> =
        vec![("manifest.json", manifest.as_bytes()), (&config, &fixture.config)];
    files.extend(
        layers
            .iter()
            .zip(&fixture.tars)
            .map(|(name, tar)| (name.as_str(), tar.as_slice())),
    );
    assert_eq!(
        load(&bench, tar(&files)).await.unwrap(),
        ["Loaded image: localhost/app:1"]
    );

    // An OCI layout, as buildah and skopeo write it, without manifest.json.
    let bench = Bench::new();
    let mut descriptor = fixture.descriptor(&Platform::host());
    descriptor.annotations.insert(
        "org.opencontainers.image.ref.name".into(),
        "docker.io/library/oci:1".into(),
    );
    let index = havre_oci::Index::oci(vec![descriptor]).to_bytes();
    let named = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::sha256_of(bytes).hex());
    let mut owned = vec![
        ("oci-layout".to_owned(), b"{}".as_slice()),
        ("index.json".to_owned(), &index),
    ];
    owned.extend([&fixture.manifest, &fixture.config].map(|bytes| (named(bytes), bytes.as_slice())));
    owned.extend(fixture.blobs.iter().map(|blob| (named(blob), blob.as_slice())));
    let files: Vec<_> = owned
        .iter()
        .map(|(name, bytes)| (name.as_str(), *bytes))
        .collect();
    assert_eq!(load(&bench, tar(&files)).await.unwrap(), ["Loaded image: oci:1"]);
    assert_eq!(
        bench
            .images
            .inspect("oci:1", None)
            .await
            .unwrap()
            .manifest
            .unwrap()
            .digest,
        Digest::sha256_of(&fixture.manifest)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_are_refused() {
    let bench = Bench::new();
    let fixture = Fixture::new(60, 2, 3000);
    let archive = old_archive(&fixture, "x:1");
    let refused = |files: Vec<(String, Vec<u8>)>| {
        let bench = &bench;
        async move {
            let files: Vec<_> = files
                .iter()
                .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
                .collect();
            let error = load(bench, tar(&files)).await.unwrap_err();
            assert!(bench.store.meta().images().unwrap().is_empty());
            error.to_string()
        }
    };
    type Change<'a> = &'a dyn Fn(&str, Vec<u8>) -> Option<Vec<u8>>;
    let rebuilt = |change: Change<'_>| -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.extend(change(&name, bytes).map(|bytes| (name, bytes)));
        }
        files
    };
    let second = format!("{:064x}/layer.tar", 1);
    let error = refused(rebuilt(&|name, bytes| (name != second).then_some(bytes))).await;
    assert_eq!(error, format!("invalid archive: {second:?} is missing"));
    let error = refused(rebuilt(&|name, bytes| {
        Some(if name == second {
            tar(&[("other", b"x")])
        } else {
            bytes
        })
    }))
    .await;
    assert!(
        error.contains("has diff ID") && error.contains("the configuration says"),
        "{error}"
    );
    let error = refused(rebuilt(&|name, bytes| (name != "manifest.json").then_some(bytes))).await;
    assert!(error.contains("neither manifest.json nor index.json"), "{error}");
    let evil = |name: &str, bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).replace(&second, "../../../etc/passwd");
        Some(if name == "manifest.json" {
            text.into_bytes()
        } else {
            bytes
        })
    };
    let error = refused(rebuilt(&evil)).await;
    assert!(error.contains("leads out of the archive"), "{error}");
    let bad_tag = |name: &str, bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).replace("x:1", "X:1");
        Some(if name == "manifest.json" {
            text.into_bytes()
        } else {
            bytes
        })
    };
    let error = refused(rebuilt(&bad_tag)).await;
    assert!(error.contains("must be lowercase"), "{error}");
    // Broken off, not a tar, a broken compression.
    for broken in [
        archive[..2000].to_vec(),
        b"no tar at all".repeat(100),
        gzip(&archive)[..500].to_vec(),
    ] {
        assert!(load(&bench, broken).await.is_err());
    }
    bench.store.collect().unwrap();
    assert!(
        bench.store.content().list().unwrap().is_empty() && bench.store.layers().list().unwrap().is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn import_applies_changes_and_refuses_bad_ones_first() {
    let bench = Bench::new();
    let data = tar(&[("hello", b"hello\n")]);
    let options = ImportOptions {
        reference: Some(parse("imported:1")),
        changes: vec!["ENV A=b".into(), "WORKDIR /w".into()],
        message: "by hand".into(),
        platform: Some(Platform::parse("linux/arm64").unwrap()),
        ..ImportOptions::default()
    };
    let told = Told::default();
    let id = bench
        .images
        .import(Cursor::new(gzip(&data)), options.clone(), &told)
        .await
        .unwrap();
    assert_eq!(told.lines(), [id.to_string()]);
    let inspect = bench.images.inspect("imported:1", None).await.unwrap();
    assert_eq!(
        (inspect.comment.as_str(), inspect.config.config.env[0].as_str()),
        ("by hand", "A=b")
    );
    assert_eq!(inspect.config.architecture, "arm64");
    assert_eq!(inspect.layers, [Digest::sha256_of(&data)]);
    let options = ImportOptions {
        changes: vec!["RUN x".into()],
        ..options
    };
    let error = bench
        .images
        .import(Cursor::new(data), options, &Silent)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Invalid, "RUN is not a valid change command")
    );
}
