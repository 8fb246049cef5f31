//! What is taken away, and what never is.
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

use std::time::Duration;

use havre_oci::{Algorithm, Descriptor, Digest, Manifest, media_type};
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
