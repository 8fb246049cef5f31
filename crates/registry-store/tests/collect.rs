//! What is taken away, and what never is.
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

use std::time::Duration;

use havre_oci::{Algorithm, Descriptor, Digest, Index, Manifest, media_type};
use havre_registry_store::{Identifier, Patience, RegistryStore, RepositoryName, StoreError};

const NONE: Patience = Patience {
    blobs: Duration::ZERO,
    uploads: Duration::ZERO,
};

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn push_blob(store: &RegistryStore, name: &RepositoryName, bytes: &[u8]) -> Digest {
    let digest = Digest::sha256_of(bytes);
    let upload = store.begin_upload(name, Algorithm::Sha256).unwrap();
    let mut appending = store.append(name, &upload.id, Some(0)).unwrap();
    appending.write(bytes).unwrap();
    appending.finish(&digest).unwrap();
    digest
}

/// One that nobody else has.
fn manifest(tag: &str, layer: &[u8]) -> Vec<u8> {
    let layer = Descriptor::of(media_type::OCI_LAYER, layer);
    let mut manifest = Manifest::oci(Descriptor::of(media_type::OCI_CONFIG, b"{}"), vec![layer]);
    manifest.annotations.insert("for".to_owned(), tag.to_owned());
    manifest.to_bytes()
}

fn push(store: &RegistryStore, name: &RepositoryName, tag: &str, layer: &[u8]) -> Result<Digest, StoreError> {
    let wanted = Identifier::Tag(tag.parse().unwrap());
    let put = store.put_manifest(
        name,
        &wanted,
        Some(media_type::OCI_MANIFEST),
        &manifest(tag, layer),
    )?;
    Ok(put.digest)
}

/// Files of the registry that hold bytes.
fn files(dir: &tempfile::TempDir) -> usize {
    let found = std::process::Command::new("find")
        .arg(dir.path().join("docker"))
        .args(["-name", "data", "-type", "f"])
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap().lines().count()
}

#[test]
fn what_nobody_needs_goes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = RegistryStore::open(dir.path()).unwrap();
    let (a, b) = (name("a"), name("b/c"));
    for repository in [&a, &b] {
        push_blob(&store, repository, b"{}");
        push_blob(&store, repository, b"layer");
        push(&store, repository, "1", b"layer").unwrap();
    }
    let stray = push_blob(&store, &a, b"stray");
    let both = push_blob(&store, &a, b"both");
    store.mount(&a, &b, &both).unwrap();
    let begun = store.begin_upload(&b, Algorithm::Sha256).unwrap();
    store.append(&b, &begun.id, None).unwrap().write(b"some").unwrap();

    // Not as long as they may be needed.
    let early = store.collect(Patience::default()).unwrap();
    assert_eq!(early, store.collectable(Patience::default()).unwrap());
    assert_eq!(early.bytes(), 0);
    std::thread::sleep(Duration::from_millis(5));

    let planned = store.collectable(NONE).unwrap();
    let mut unused = vec![
        (a.clone(), stray.clone()),
        (a.clone(), both.clone()),
        (b.clone(), both.clone()),
    ];
    unused.sort_by(|one, other| (&one.0, one.1.as_str()).cmp(&(&other.0, other.1.as_str())));
    assert_eq!(planned.unused, unused);
    let mut blobs = vec![(stray.clone(), 5), (both.clone(), 4)];
    blobs.sort();
    assert_eq!(planned.blobs, blobs);
    assert_eq!(planned.uploads, [(b.clone(), begun.id.clone(), 4)]);
    assert_eq!(planned.bytes(), 13);
    assert_eq!(files(&dir), 6, "a plan takes nothing away");
    let mut done = store.collect(NONE).unwrap();
    done.blobs.sort();
    assert_eq!(done, planned);
    assert_eq!(files(&dir), 3);
    assert_eq!(store.collect(NONE).unwrap().bytes(), 0);
    assert!(matches!(
        store.upload(&b, &begun.id),
        Err(StoreError::UploadUnknown)
    ));
    assert_eq!(store.blob_size(&a, &stray).unwrap(), None);
    assert_eq!(
        store.blob_size(&a, &Digest::sha256_of(b"layer")).unwrap(),
        Some(5)
    );

    // With its manifest a blob goes when no repository needs it, and can come back.
    for (repository, left) in [(&a, 3), (&b, 0)] {
        let digest = store.tag(repository, &"1".parse().unwrap()).unwrap().unwrap();
        store.delete_manifest(repository, &digest).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        store.collect(NONE).unwrap();
        assert_eq!(files(&dir), left);
    }
    push_blob(&store, &a, b"{}");
    push_blob(&store, &a, b"layer");
    push(&store, &a, "1", b"layer").unwrap();
    assert_eq!(files(&dir), 3);
}

#[test]
fn what_deleted_tags_leave_goes_when_they_cannot_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = RegistryStore::open(dir.path()).unwrap();
    let (app, other) = (name("app"), name("other"));
    let by_digest = |bytes: &[u8]| Identifier::Digest(Digest::sha256_of(bytes));
    let put = |wanted: &Identifier, kind: &str, bytes: &[u8]| {
        store
            .put_manifest(&app, wanted, Some(kind), bytes)
            .unwrap()
            .digest
    };
    for layer in [&b"{}"[..], b"shared", b"alone", b"signed"] {
        push_blob(&store, &app, layer);
    }
    // An index of two, one of which another tag stands for; a signature of the index; an image that stays.
    let (shared, alone) = (manifest("shared", b"shared"), manifest("alone", b"alone"));
    let shared = Descriptor::new(
        media_type::OCI_MANIFEST,
        put(&by_digest(&shared), media_type::OCI_MANIFEST, &shared),
        shared.len() as u64,
    );
    let alone = Descriptor::new(
        media_type::OCI_MANIFEST,
        put(&by_digest(&alone), media_type::OCI_MANIFEST, &alone),
        alone.len() as u64,
    );
    let index = Index::oci(vec![shared.clone(), alone.clone()]).to_bytes();
    let index = Descriptor::new(
        media_type::OCI_INDEX,
        put(
            &Identifier::Tag("both".parse().unwrap()),
            media_type::OCI_INDEX,
            &index,
        ),
        index.len() as u64,
    );
    push(&store, &app, "shared", b"shared").unwrap();
    let layer = Descriptor::of(media_type::OCI_LAYER, b"signed");
    let mut signature = Manifest::oci(Descriptor::of(media_type::OCI_CONFIG, b"{}"), vec![layer]);
    signature.subject = Some(index.clone());
    let signature = signature.to_bytes();
    let signature = put(&by_digest(&signature), media_type::OCI_MANIFEST, &signature);
    // The same bytes elsewhere.
    push_blob(&store, &other, b"{}");
    push_blob(&store, &other, b"alone");
    push(&store, &other, "alone", b"alone").unwrap();

    let tag = |text: &str| text.parse().unwrap();
    let all = files(&dir);
    store
        .delete_tags(&app, &[(tag("both"), index.digest.clone())])
        .unwrap();
    let day = Patience::default();
    assert_eq!(
        store.collect(day).unwrap(),
        Default::default(),
        "it may come back"
    );
    store
        .restore_tags(&app, &[(tag("both"), index.digest.clone())], day.blobs)
        .unwrap();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(store.collect(NONE).unwrap(), Default::default(), "it came back");
    store
        .delete_tags(&app, &[(tag("both"), index.digest.clone())])
        .unwrap();
    std::thread::sleep(Duration::from_millis(5));

    let planned = store.collectable(NONE).unwrap();
    let mut manifests = vec![
        (app.clone(), index.digest.clone()),
        (app.clone(), alone.digest.clone()),
        (app.clone(), signature.clone()),
    ];
    manifests.sort();
    assert_eq!(planned.manifests, manifests, "not the one that a tag stands for");
    let mut unused = vec![
        (app.clone(), Digest::sha256_of(b"alone")),
        (app.clone(), Digest::sha256_of(b"signed")),
    ];
    unused.sort();
    assert_eq!(planned.unused, unused);
    let gone: Vec<&Digest> = planned.blobs.iter().map(|(digest, _)| digest).collect();
    assert!(!gone.contains(&&alone.digest), "another repository has it");
    assert_eq!(gone.len(), 3, "{gone:?}");
    let mut done = store.collect(NONE).unwrap();
    done.blobs.sort();
    assert_eq!(done, planned);
    assert_eq!(files(&dir), all - 3);
    assert!(store.deleted_tags(&app, day.blobs, 10).unwrap().is_empty());
    let there = |name: &RepositoryName, digest: &Digest| {
        store.manifest(name, &Identifier::Digest(digest.clone())).is_ok()
    };
    assert!(there(&app, &shared.digest) && there(&other, &alone.digest));
    assert!(!there(&app, &alone.digest) && !there(&app, &signature));
    assert_eq!(store.collect(NONE).unwrap(), Default::default());
}

#[test]
fn what_is_kept_of_another_registry_needs_not_be_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = RegistryStore::open(dir.path()).unwrap();
    let (app, tag) = (name("hub/app"), Identifier::Tag("1".parse().unwrap()));
    let image = manifest("1", b"layer");
    let part = Descriptor::of(media_type::OCI_MANIFEST, &image);
    let index = Index::oci(vec![part.clone()]).to_bytes();
    assert_eq!(store.cached(&app, &tag).unwrap(), None);
    let digest = store
        .put_cached(&app, &tag, media_type::OCI_INDEX, &index)
        .unwrap();
    let cached = store.cached(&app, &tag).unwrap().unwrap();
    assert_eq!((&cached.stored.digest, cached.age.as_secs()), (&digest, 0));
    store
        .put_cached(
            &app,
            &Identifier::Digest(part.digest.clone()),
            media_type::OCI_MANIFEST,
            &image,
        )
        .unwrap();
    let wrong = store.put_cached(
        &app,
        &Identifier::Digest(digest.clone()),
        media_type::OCI_MANIFEST,
        &image,
    );
    assert!(matches!(wrong, Err(StoreError::DigestMismatch { .. })));
    push_blob(&store, &app, b"layer");
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(
        store.collect(NONE).unwrap(),
        Default::default(),
        "they are kept, whole or not"
    );
    let one = "1".parse().unwrap();
    assert!(store.confirm_cached(&app, &one, &digest).unwrap());
    assert!(
        !store
            .confirm_cached(&app, &one, &Digest::sha256_of(b"new"))
            .unwrap()
    );

    // What nobody asks for goes: beneath the name only, and after the time only.
    std::thread::sleep(Duration::from_millis(5));
    assert!(
        store
            .expire_cached(None, Duration::from_secs(60))
            .unwrap()
            .is_empty()
    );
    for elsewhere in ["hu", "hub/app", "hub-b"] {
        assert!(
            store
                .expire_cached(Some(&name(elsewhere)), Duration::ZERO)
                .unwrap()
                .is_empty()
        );
    }
    assert_eq!(
        store
            .expire_cached(Some(&name("hub")), Duration::ZERO)
            .unwrap()
            .len(),
        2
    );
    assert_eq!(store.cached(&app, &tag).unwrap(), None);
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(store.collect(NONE).unwrap().blobs.len(), 3);
    assert_eq!(files(&dir), 0);
    // And comes again; or a tag alone goes.
    store
        .put_cached(&app, &tag, media_type::OCI_INDEX, &index)
        .unwrap();
    store.forget_cached(&app, &one).unwrap();
    assert_eq!(store.cached(&app, &tag).unwrap(), None);
    assert!(store.cached(&app, &Identifier::Digest(digest)).unwrap().is_some());
}
