//! The store through its public face. Needs root: it mounts and changes owners.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use fs_err as fs;
use havre_oci::{Descriptor, Digest};
use havre_store::{ApplyError, CommitMode, Limits, Lookup, Store, StoreError};
use support::{apply, image, layer_tar, open, put_image};

#[test]
fn a_root_belongs_to_one_process() {
    let (dir, store) = open();
    let error = Store::open(dir.path()).unwrap_err();
    let StoreError::Locked { root, pid } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (root.as_path(), *pid),
        (store.layout().root(), Some(std::process::id()))
    );
    assert!(
        error
            .to_string()
            .contains(&format!("in use by process {}", std::process::id())),
        "{error}"
    );
    drop(store);
    Store::open(dir.path()).unwrap();
    assert_eq!(
        fs::metadata(dir.path()).unwrap().permissions().mode() & 0o7777,
        0o700
    );
}

#[test]
fn unknown_features_are_named() {
    let (dir, store) = open();
    drop(store);
    let format =
        r#"{"version":1,"compatible":["harmless"],"incompatible":["overlay-directories","from-the-future"]}"#;
    fs::write(dir.path().join("format.json"), format).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(
        matches!(&error, StoreError::Incompatible { features, .. } if features == &["from-the-future"]),
        "{error:?}"
    );
    fs::write(dir.path().join("format.json"), "{").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Corrupt { .. })));
}

#[test]
fn blobs_are_put_read_and_bounded() {
    let (_dir, store) = open();
    let lease = store.lease();
    let content = store.content();
    let digest = content.put(b"hello", &lease).unwrap();
    assert_eq!(content.put(b"hello", &lease).unwrap(), digest);
    assert_eq!(
        (
            content.size(&digest),
            content.read(&digest, 5).unwrap().as_slice()
        ),
        (Some(5), b"hello".as_slice())
    );
    assert!(matches!(
        content.read(&digest, 4),
        Err(StoreError::BlobTooLarge {
            size: 5,
            limit: 4,
            ..
        })
    ));
    let missing = Digest::sha256_of(b"missing");
    assert!(matches!(
        content.open(&missing),
        Err(StoreError::BlobNotFound { .. })
    ));
    assert_eq!(content.list().unwrap(), [(digest.clone(), 5)]);
    assert_eq!(
        (content.remove(&digest).unwrap(), content.remove(&digest).unwrap()),
        (5, 0)
    );
    assert!(!content.contains(&digest));
}

#[test]
fn a_blob_of_unknown_digest_is_written() {
    let (dir, store) = open();
    let lease = store.lease();
    let mut writer = store.content().create(&lease).unwrap();
    io::copy(&mut [9; 100_000].as_slice(), &mut writer).unwrap();
    drop(store.content().create(&lease).unwrap());
    let (digest, size) = writer.finish().unwrap();
    assert_eq!(
        (digest.clone(), size),
        (Digest::sha256_of(&[9; 100_000]), 100_000)
    );
    assert_eq!(store.content().size(&digest), Some(size));
    assert_eq!(fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0);
}

#[test]
fn an_ingest_is_resumed_after_a_restart() {
    let (dir, store) = open();
    let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let (digest, size) = (Digest::sha256_of(&bytes), Some(bytes.len() as u64));
    let mut ingest = store.content().ingest(&digest, size, &store.lease()).unwrap();
    ingest.write_all(&bytes[..150_000]).unwrap();
    assert!(matches!(
        store.content().ingest(&digest, size, &store.lease()),
        Err(StoreError::IngestBusy { .. })
    ));
    drop((ingest, store));
    let store = Store::open(dir.path()).unwrap();
    let mut ingest = store.content().ingest(&digest, size, &store.lease()).unwrap();
    assert_eq!(ingest.offset(), 150_000);
    ingest.write_all(&bytes[150_000..]).unwrap();
    ingest.commit().unwrap();
    assert_eq!(store.content().read(&digest, 1 << 20).unwrap(), bytes);
    assert_eq!(fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0);
}

#[test]
fn wrong_bytes_never_become_a_blob() {
    let (dir, store) = open();
    let digest = Digest::sha256_of(b"right");
    let begin = |size| store.content().ingest(&digest, size, &store.lease());
    let mut ingest = begin(Some(5)).unwrap();
    ingest.write_all(b"wrong").unwrap();
    let error = ingest.write_all(b"!").unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::SizeMismatch {
                expected: 5,
                actual: 6,
                ..
            }
        ),
        "{error:?}"
    );
    let error = ingest.commit().unwrap_err();
    assert!(matches!(error, StoreError::DigestMismatch { .. }), "{error:?}");
    // What was wrong is gone, what is merely incomplete stays.
    let mut ingest = begin(Some(5)).unwrap();
    assert_eq!(ingest.offset(), 0);
    ingest.write_all(b"rig").unwrap();
    assert!(matches!(
        ingest.commit(),
        Err(StoreError::SizeMismatch {
            expected: 5,
            actual: 3,
            ..
        })
    ));
    let mut ingest = begin(Some(5)).unwrap();
    assert_eq!(ingest.offset(), 3);
    ingest.restart().unwrap();
    ingest.write_all(b"right").unwrap();
    ingest.commit().unwrap();
    assert!(store.content().contains(&digest));
    // A partial file longer than what is announced now.
    let other = Digest::sha256_of(b"12");
    let mut ingest = store.content().ingest(&other, None, &store.lease()).unwrap();
    ingest.write_all(b"12345").unwrap();
    drop(ingest);
    assert_eq!(
        store
            .content()
            .ingest(&other, Some(2), &store.lease())
            .unwrap()
            .offset(),
        0
    );
    // Sizes no disk has.
    let error = store
        .content()
        .ingest(&Digest::sha256_of(b"huge"), Some(u64::MAX), &store.lease())
        .unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    store
        .content()
        .ingest(&other, None, &store.lease())
        .unwrap()
        .discard()
        .unwrap();
    assert_eq!(fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0);
}

#[test]
fn sha512_blobs_are_verified_too() {
    let (_dir, store) = open();
    let digest = Digest::of(havre_oci::Algorithm::Sha512, b"long");
    let mut ingest = store.content().ingest(&digest, Some(4), &store.lease()).unwrap();
    ingest.write_all(b"long").unwrap();
    ingest.commit().unwrap();
    assert_eq!(store.content().read(&digest, 4).unwrap(), b"long");
    assert_eq!(store.content().list().unwrap(), [(digest, 4)]);
}

#[test]
fn a_tail_reader_follows_to_the_end() {
    let (_dir, store) = open();
    let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::sha256_of(&bytes);
    let mut ingest = store.content().ingest(&digest, None, &store.lease()).unwrap();
    ingest.write_all(&bytes[..1000]).unwrap();
    let mut tail = ingest.tail().unwrap();
    let reader = std::thread::spawn(move || {
        let mut read = Vec::new();
        tail.read_to_end(&mut read).map(|_| read)
    });
    for chunk in bytes[1000..].chunks(7777) {
        ingest.write_all(chunk).unwrap();
    }
    ingest.commit().unwrap();
    assert!(reader.join().unwrap().unwrap() == bytes);
}

#[test]
fn a_tail_reader_of_a_lost_cause_fails() {
    let (_dir, store) = open();
    let begin = || {
        store
            .content()
            .ingest(&Digest::sha256_of(b"x"), None, &store.lease())
            .unwrap()
    };
    let aborted = |error: io::Error| {
        let inner = error.downcast::<StoreError>().unwrap();
        assert!(matches!(inner, StoreError::IngestAborted { .. }), "{inner:?}");
    };
    // Dropped.
    let ingest = begin();
    let mut tail = ingest.tail().unwrap();
    let reader = std::thread::spawn(move || tail.read(&mut [0; 10]).unwrap_err());
    drop(ingest);
    aborted(reader.join().unwrap());
    // Begun anew after something was read; but who hasn't read yet sees the new bytes.
    let mut ingest = begin();
    ingest.write_all(b"abc").unwrap();
    let (mut early, mut late) = (ingest.tail().unwrap(), ingest.tail().unwrap());
    early.read_exact(&mut [0; 2]).unwrap();
    ingest.restart().unwrap();
    ingest.write_all(b"x").unwrap();
    aborted(early.read(&mut [0; 10]).unwrap_err());
    ingest.commit().unwrap();
    let mut text = String::new();
    late.read_to_string(&mut text).unwrap();
    assert_eq!(text, "x");
}

#[test]
fn a_layer_is_verified_and_applied_once() {
    let (dir, store) = open();
    let lease = store.lease();
    let tar = layer_tar("file", b"contents");
    let diff_id = Digest::sha256_of(&tar);
    let mut told = 0;
    let mut progress = |bytes| told = bytes;
    let limits = Limits::default();
    let layer = store
        .layers()
        .apply(tar.as_slice(), Some(&diff_id), &limits, &mut progress, &lease)
        .unwrap();
    assert_eq!(
        (told, layer.tar_size, layer.size, layer.entries),
        (tar.len() as u64, tar.len() as u64, 8, 1)
    );
    assert_eq!(store.layers().find(&diff_id).unwrap(), Some(layer.clone()));
    assert_eq!(apply(&store, &tar, &lease), layer);

    let other = Digest::sha256_of(b"other");
    for (tar, expected) in [(&tar, &other), (&layer_tar("file", b"else"), &diff_id)] {
        let error = store
            .layers()
            .apply(tar.as_slice(), Some(expected), &limits, &mut |_| {}, &lease)
            .unwrap_err();
        assert!(
            matches!(&error, ApplyError::DiffIdMismatch { expected: e, .. } if e == expected),
            "{error:?}"
        );
    }
    let error = store
        .layers()
        .apply(&tar[..515], None, &limits, &mut |_| {}, &lease)
        .unwrap_err();
    assert!(matches!(error, ApplyError::Invalid { .. }), "{error:?}");
    assert_eq!(store.layers().list().unwrap(), [layer]);
    store.wait_for_trash();
    for empty in ["ingest", "trash"] {
        assert_eq!(
            fs::read_dir(dir.path().join(empty)).unwrap().count(),
            0,
            "{empty}"
        );
    }
    let mut rebuilt = Vec::new();
    store
        .layers()
        .tar(&diff_id)
        .unwrap()
        .read_to_end(&mut rebuilt)
        .unwrap();
    assert_eq!(rebuilt, tar);
}

#[test]
fn applies_of_one_layer_at_the_same_time() {
    let (_dir, store) = open();
    let tar = layer_tar("file", &[7; 3_000_000]);
    let lease = store.lease();
    let layers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| apply(&store, &tar, &lease)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(layers.iter().all(|layer| *layer == layers[0]));
    assert_eq!(store.layers().list().unwrap().len(), 1);
}

#[test]
fn snapshots_live_and_become_layers() {
    let (dir, store) = open();
    let lease = store.lease();
    let base = apply(&store, &layer_tar("file", b"base"), &lease).diff_id;
    let missing = Digest::sha256_of(b"no layer");
    assert!(matches!(
        store.snapshots().prepare("one", &[missing]),
        Err(StoreError::LayerNotFound { .. })
    ));
    for bad in ["", ".", "..", "a/b", ".hidden", &"x".repeat(129)] {
        assert!(
            matches!(
                store.snapshots().prepare(bad, &[]),
                Err(StoreError::InvalidId { .. })
            ),
            "{bad}"
        );
        assert!(store.snapshots().remove(bad).is_err());
    }
    let many = vec![base.clone(); 501];
    assert!(matches!(
        store.snapshots().prepare("one", &many),
        Err(StoreError::TooManyLayers { count: 501, .. })
    ));

    let one = store
        .snapshots()
        .prepare("one", std::slice::from_ref(&base))
        .unwrap();
    assert!(matches!(
        store.snapshots().prepare("one", &[]),
        Err(StoreError::SnapshotExists { .. })
    ));
    let merged = store.snapshots().mount(&one).unwrap();
    assert_eq!(store.snapshots().mount(&one).unwrap(), merged);
    fs::write(merged.join("new"), "12345").unwrap();
    fs::hard_link(merged.join("new"), merged.join("same")).unwrap();
    fs::remove_file(merged.join("file")).unwrap();
    assert_eq!(store.snapshots().usage("one").unwrap(), 5);
    let changes: Vec<_> = store
        .snapshots()
        .changes("one")
        .unwrap()
        .into_iter()
        .map(|change| format!("{} {}", change.kind.letter(), change.path.display()))
        .collect();
    assert_eq!(changes, ["D /file", "A /new", "A /same"]);

    let copy = store.snapshots().commit("one", CommitMode::Copy, &lease).unwrap();
    assert_eq!(fs::read_to_string(merged.join("new")).unwrap(), "12345");
    // A daemon that ends leaves mounts; the next one finds them.
    drop((lease, store));
    let store = Store::open(dir.path()).unwrap();
    let lease = store.lease();
    assert_eq!(store.snapshots().list().unwrap(), [one]);
    assert!(matches!(
        store.layers().remove(&base),
        Err(StoreError::LayerInUse { .. })
    ));
    let layer = store.snapshots().commit("one", CommitMode::Move, &lease).unwrap();
    assert_eq!(layer, copy);
    assert_eq!(store.snapshots().find("one").unwrap(), None);
    assert!(!merged.exists());

    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    let view = store
        .snapshots()
        .view(&[base.clone(), layer.diff_id.clone()], &target)
        .unwrap();
    assert_eq!(fs::read_to_string(view.path().join("same")).unwrap(), "12345");
    assert!(!target.join("file").exists());
    assert!(fs::write(target.join("x"), "").is_err());
    drop(lease);
    assert_eq!(store.collect().unwrap().layers, []);
    drop(view);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    assert_eq!(store.collect().unwrap().layers.len(), 2);
}

#[test]
fn a_volatile_mount_can_be_mounted_again() {
    let (_dir, store) = open();
    let step = store.snapshots().prepare("step", &[]).unwrap();
    for n in ["one", "two"] {
        let merged = store.snapshots().mount_volatile(&step, None).unwrap();
        fs::write(merged.join(n), n).unwrap();
        store.snapshots().unmount("step").unwrap();
    }
    let merged = store.snapshots().mount_volatile(&step, None).unwrap();
    assert_eq!(fs::read_dir(&merged).unwrap().count(), 2);
    store.snapshots().remove("step").unwrap();
    assert!(!merged.exists());
}

#[test]
fn a_snapshot_with_mounts_inside_is_removed() {
    let (_dir, store) = open();
    let snapshot = store.snapshots().prepare("busy", &[]).unwrap();
    let merged = store.snapshots().mount(&snapshot).unwrap();
    let shm = snapshot.dir.join("shm");
    fs::create_dir(&shm).unwrap();
    havre_sys::mount::tmpfs(&shm, "size=64k").unwrap();
    let _busy = fs::File::create(merged.join("open")).unwrap();
    store.snapshots().remove("busy").unwrap();
    assert!(!snapshot.dir.exists());
    store.snapshots().remove("busy").unwrap();
}

#[test]
fn images_references_and_their_history() {
    let (_dir, store) = open();
    let lease = store.lease();
    let meta = store.meta();
    let base = apply(&store, &layer_tar("a", b"a"), &lease).diff_id;
    let first = put_image(&store, "first", std::slice::from_ref(&base), &lease);
    let second = put_image(&store, "second", std::slice::from_ref(&base), &lease);
    let absent = Digest::sha256_of(b"absent");
    assert!(matches!(
        meta.put_image(&image("x", std::slice::from_ref(&absent))),
        Err(StoreError::LayerNotFound { .. })
    ));
    let name = "docker.io/library/app:latest";
    assert!(matches!(
        meta.set_reference(name, (&absent, &[]), None, "tag"),
        Err(StoreError::ImageNotFound { .. })
    ));
    let target = Descriptor::new("application/vnd.oci.image.manifest.v1+json", absent.clone(), 7);
    meta.set_reference(name, (&first.id, &[]), Some(&target), "pull")
        .unwrap();
    meta.set_reference(name, (&second.id, &[]), None, "build")
        .unwrap();
    assert_eq!(meta.reference(name).unwrap().unwrap().image, second.id);
    assert_eq!(meta.references_to(&first.id).unwrap(), []);
    assert_eq!(
        meta.reference_names().unwrap(),
        [(name.to_owned(), second.id.clone())]
    );
    assert_eq!(
        meta.named_images(["docker.io/library/nobody:latest", name])
            .unwrap(),
        [None, Some(second.id.clone())]
    );
    assert_eq!(meta.image_count().unwrap(), 2);
    let row = meta
        .image_rows()
        .unwrap()
        .into_iter()
        .find(|row| row.id == second.id)
        .unwrap();
    assert_eq!(
        (row.size, row.created, row.parent),
        (second.size, second.created, second.parent.clone())
    );
    meta.touch_image(&second.id).unwrap();
    assert!(meta.find_image(&second.id).unwrap().unwrap().last_used.is_some());
    // Putting it again keeps what only we know.
    meta.put_image(&second).unwrap();
    let again = meta.find_image(&second.id).unwrap().unwrap();
    assert!(again.last_used.is_some());
    assert_eq!((again.layers, again.added), (second.layers.clone(), second.added));

    meta.add_repo_digest("docker.io/library/app", &absent, &first.id)
        .unwrap();
    meta.add_repo_digest("docker.io/library/app", &absent, &second.id)
        .unwrap();
    assert_eq!(
        meta.find_repo_digest("docker.io/library/app", &absent).unwrap()[0].image,
        second.id
    );
    assert_eq!(meta.repo_digests(&first.id).unwrap().len(), 1);

    assert!(meta.delete_image(&second.id, "rmi").unwrap());
    assert!(!meta.delete_image(&second.id, "rmi").unwrap());
    assert_eq!(meta.references().unwrap(), []);
    assert_eq!(meta.all_repo_digests().unwrap().len(), 1);
    let history: Vec<_> = meta
        .reference_history(name)
        .unwrap()
        .into_iter()
        .map(|line| (line.command, line.image))
        .collect();
    let expected = [
        ("rmi".to_owned(), None),
        ("build".to_owned(), Some(second.id)),
        ("pull".to_owned(), Some(first.id.clone())),
    ];
    assert_eq!(history, expected);

    let hex = first.id.hex();
    assert_eq!(
        meta.find_image_by_prefix(&hex[..12]).unwrap(),
        Lookup::One(first.clone())
    );
    assert_eq!(meta.find_image_by_prefix(hex).unwrap(), Lookup::One(first));
    for nothing in ["", "xyz", "%", "0000000000000000000000"] {
        assert_eq!(meta.find_image_by_prefix(nothing).unwrap(), Lookup::None);
    }
}

#[test]
fn prefixes_may_be_ambiguous() {
    let (_dir, store) = open();
    let lease = store.lease();
    for n in 0..40 {
        put_image(&store, &n.to_string(), &[], &lease);
    }
    let ids: Vec<_> = store
        .meta()
        .images()
        .unwrap()
        .into_iter()
        .map(|image| image.id)
        .collect();
    for digit in "0123456789abcdef".chars() {
        let digit = digit.to_string();
        let count = ids.iter().filter(|id| id.hex().starts_with(&digit)).count();
        match store.meta().find_image_by_prefix(&digit).unwrap() {
            Lookup::None => assert_eq!(count, 0),
            Lookup::One(_) => assert_eq!(count, 1),
            Lookup::Ambiguous(some) => assert_eq!(some.len(), count.min(10)),
        }
    }
}

#[test]
fn names_of_documents_are_unique() {
    let (_dir, store) = open();
    let meta = store.meta();
    meta.put_document("container", "1", Some("web"), "{}").unwrap();
    let error = meta
        .put_document("container", "2", Some("web"), "{}")
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::NameTaken { name, holder } if name == "web" && holder == "1"),
        "{error:?}"
    );
    assert!(matches!(
        meta.put_document("container", "1", None, "{}"),
        Err(StoreError::DocumentExists { .. })
    ));
    meta.put_document("volume", "1", Some("web"), "{}").unwrap();
    meta.put_document("container", "2", None, "{}").unwrap();
    meta.put_document("container", "3", None, "{}").unwrap();
    assert!(matches!(
        meta.rename_document("container", "2", "web", None),
        Err(StoreError::NameTaken { .. })
    ));
    meta.rename_document("container", "1", "web", Some("[1]"))
        .unwrap();
    meta.rename_document("container", "1", "old", None).unwrap();
    meta.rename_document("container", "2", "web", Some("[2]"))
        .unwrap();
    assert_eq!(
        meta.find_document_by_name("container", "web")
            .unwrap()
            .unwrap()
            .id,
        "2"
    );
    assert_eq!(meta.find_document("container", "1").unwrap().unwrap().body, "[1]");
    assert!(matches!(
        meta.update_document("container", "9", "{}"),
        Err(StoreError::DocumentNotFound { .. })
    ));
    assert!(meta.delete_document("container", "1").unwrap());
    assert!(!meta.delete_document("container", "1").unwrap());
    let ids: Vec<_> = meta
        .documents("container")
        .unwrap()
        .into_iter()
        .map(|document| document.id)
        .collect();
    assert_eq!(ids, ["2", "3"]);
}

#[test]
fn the_build_cache_keeps_its_layers() {
    let (_dir, store) = open();
    let lease = store.lease();
    let layer = apply(&store, &layer_tar("step", b"result"), &lease);
    let (layer, size) = (layer.diff_id.clone(), layer.disk_size());
    let record = havre_store::CacheRecord {
        layers: vec![layer.clone()],
        body: "{}".into(),
        size: 6,
    };
    store.meta().cache_put("key", &record).unwrap();
    store.meta().cache_put("key", &record).unwrap();
    drop(lease);
    assert_eq!(store.collect().unwrap(), Default::default());
    assert_eq!(store.meta().cache_get("key").unwrap(), Some(record.clone()));
    assert_eq!(store.meta().cache_get("other").unwrap(), None);
    let entries = store.meta().cache_list().unwrap();
    assert_eq!(
        (entries.len(), entries[0].hits, &entries[0].record),
        (1, 1, &record)
    );
    assert!(store.meta().cache_delete("key").unwrap());
    let freed = store.collect().unwrap();
    assert_eq!((freed.layers, freed.bytes), (vec![layer], size));
    assert!(matches!(
        store.meta().cache_put("key", &record),
        Err(StoreError::LayerNotFound { .. })
    ));
}

#[test]
fn removing_an_image_frees_what_only_it_held() {
    let (_dir, store) = open();
    let lease = store.lease();
    let shared = apply(&store, &layer_tar("shared", b"shared"), &lease).diff_id;
    let own = apply(&store, &layer_tar("own", b"own!"), &lease);
    let (own, size) = (own.diff_id.clone(), own.disk_size());
    let blob = |text: &[u8]| {
        Descriptor::new(
            "layer",
            store.content().put(text, &lease).unwrap(),
            text.len() as u64,
        )
    };
    let (shared_blob, own_blob) = (blob(b"packed shared"), blob(b"packed own"));
    store.meta().add_layer_blob(&shared, &shared_blob).unwrap();
    store.meta().add_layer_blob(&own, &own_blob).unwrap();
    assert_eq!(
        store.meta().layer_of_blob(&own_blob.digest).unwrap(),
        Some(own.clone())
    );
    let first = put_image(&store, "first", std::slice::from_ref(&shared), &lease);
    let second = put_image(&store, "second", &[shared.clone(), own.clone()], &lease);
    drop(lease);
    assert_eq!(store.collect().unwrap(), Default::default());
    let freed = store.remove_image(&second.id).unwrap();
    assert_eq!(freed.layers, std::slice::from_ref(&own));
    assert_eq!(freed.bytes, size + 10 + "config second".len() as u64);
    assert_eq!(store.meta().layer_blobs(&own).unwrap(), []);
    assert_eq!(store.meta().layer_blobs(&shared).unwrap(), [shared_blob]);
    assert_eq!(store.collect().unwrap(), Default::default());
    let freed = store.remove_image(&first.id).unwrap();
    assert_eq!(freed.layers, [shared]);
    assert_eq!(store.content().list().unwrap(), []);
}

#[test]
fn a_removal_of_several_images_is_one() {
    let (_dir, store) = open();
    let lease = store.lease();
    let layers = ["one", "two"].map(|name| apply(&store, &layer_tar(name, b"content"), &lease).diff_id);
    let images = [0, 1].map(|at| put_image(&store, &at.to_string(), &[layers[at].clone()], &lease));
    store
        .meta()
        .set_reference("name:one", (&images[0].id, &[]), None, "tag")
        .unwrap();
    drop(lease);
    // It is called off when the first is gone: both are still there, with all their files.
    let called_off = store.removing(|removing| {
        assert_eq!(
            removing.remove_image(&images[0].id, "rmi")?.layers,
            [layers[0].clone()]
        );
        assert_eq!(store.meta().find_image(&images[0].id)?, None);
        Err::<(), _>(StoreError::ImageNotFound {
            id: images[1].id.clone(),
        })
    });
    assert!(matches!(called_off, Err(StoreError::ImageNotFound { .. })));
    assert!(store.meta().reference("name:one").unwrap().is_some());
    assert_eq!(store.collectable().unwrap(), Default::default());
    for layer in &layers {
        assert!(store.layers().check(layer, &mut |_| {}).unwrap().is_none());
    }
    // What one removal is refused in the middle of stays, the others go.
    let lease = store.lease();
    lease.hold(&layers[1]);
    let freed = store
        .removing(|removing| {
            images
                .iter()
                .map(|image| removing.remove_image(&image.id, "rmi"))
                .collect::<Result<Vec<_>, StoreError>>()
        })
        .unwrap();
    assert_eq!(freed[0].layers, [layers[0].clone()]);
    assert_eq!(freed[1].layers, []);
    assert_eq!(store.content().list().unwrap(), []);
    drop(lease);
    assert_eq!(store.collect().unwrap().layers, [layers[1].clone()]);
}

#[test]
fn collecting_removes_abandoned_downloads_and_keeps_held_ones() {
    let (_dir, store) = open();
    let lease = store.lease();
    let held = Digest::sha256_of(b"held");
    for digest in [&held, &Digest::sha256_of(b"abandoned")] {
        let mut ingest = store.content().ingest(digest, None, &store.lease()).unwrap();
        ingest.write_all(b"part").unwrap();
    }
    lease.hold(&held);
    assert_eq!(store.collectable().unwrap().bytes, 4);
    let freed = store.collect().unwrap();
    assert_eq!(
        (freed.bytes, freed.ingests),
        (4, vec![Digest::sha256_of(b"abandoned")])
    );
    drop(lease);
    assert_eq!(store.collectable().unwrap().bytes, 4, "it is still there");
}

#[test]
fn an_index_keeps_the_documents_it_names() {
    let (_dir, store) = open();
    let lease = store.lease();
    let image = put_image(&store, "app", &[], &lease);
    let manifest = store.content().put(
        format!(r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":10}},"layers":[]}}"#, image.id).as_bytes(),
        &lease,
    ).unwrap();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{manifest}","size":10}}]}}"#
    );
    let index = store.content().put(text.as_bytes(), &lease).unwrap();
    let target = Descriptor::new(
        "application/vnd.oci.image.index.v1+json",
        index.clone(),
        text.len() as u64,
    );
    store
        .meta()
        .set_reference("docker.io/library/app:1", (&image.id, &[]), Some(&target), "pull")
        .unwrap();
    let loose = store.content().put(b"loose", &lease).unwrap();
    drop(lease);
    assert_eq!(store.collect().unwrap().blobs, [loose]);
    assert!(store.content().contains(&manifest) && store.content().contains(&index));
}

#[test]
fn lists_of_a_thousand_images_are_fast() {
    let (_dir, store) = open();
    let lease = store.lease();
    let layers: Vec<_> = (0..10)
        .map(|n| apply(&store, &layer_tar("f", &[n]), &lease).diff_id)
        .collect();
    for n in 0..1000 {
        let image = put_image(&store, &n.to_string(), &layers[..=n % 10], &lease);
        store
            .meta()
            .set_reference(
                &format!("docker.io/library/app:{n}"),
                (&image.id, &[]),
                None,
                "tag",
            )
            .unwrap();
    }
    let begun = std::time::Instant::now();
    assert_eq!(
        (
            store.meta().images().unwrap().len(),
            store.meta().references().unwrap().len()
        ),
        (1000, 1000)
    );
    // It takes a few milliseconds; the bound is for a loaded machine and an unoptimised build.
    assert!(
        begun.elapsed() < std::time::Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn deep_trees_are_deleted() {
    let (dir, store) = open();
    let top = dir.path().join("deep");
    fs::create_dir(&top).unwrap();
    let mut current = rustix::fs::open(&top, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..5000 {
        rustix::fs::mkdirat(&current, "d", rustix::fs::Mode::RWXU).unwrap();
        current = rustix::fs::openat(
            &current,
            "d",
            rustix::fs::OFlags::RDONLY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
    }
    store.discard(&top).unwrap();
    store.wait_for_trash();
    assert_eq!(fs::read_dir(dir.path().join("trash")).unwrap().count(), 0);
}

#[test]
fn parts_may_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Arc<Store>>();
}

#[test]
fn layers_of_a_removed_image_go_with_the_last_snapshot_on_them() {
    let (_dir, store) = open();
    let lease = store.lease();
    let layer = apply(&store, &layer_tar("file", b"text"), &lease);
    let image = put_image(&store, "one", std::slice::from_ref(&layer.diff_id), &lease);
    drop(lease);
    let chain = std::slice::from_ref(&layer.diff_id);
    for id in ["first", "second"] {
        let snapshot = store.snapshots().prepare(id, chain).unwrap();
        store.snapshots().mount(&snapshot).unwrap();
    }
    assert!(store.remove_image(&image.id).unwrap().layers.is_empty());
    store.snapshots().remove("first").unwrap();
    assert!(store.layers().find(&layer.diff_id).unwrap().is_some());
    store.snapshots().remove("second").unwrap();
    assert!(store.layers().find(&layer.diff_id).unwrap().is_none());
    store.wait_for_trash();
    let left: Vec<_> = fs::read_dir(store.layout().root().join("layers"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
