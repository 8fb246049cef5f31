//! What a registry holds, on every storage and database: the same expectations, as two processes that share both.
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

mod shared;

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;
use havre_oci::{Algorithm, Descriptor, Digest, Manifest, media_type};
use havre_registry_store::{How, Identifier, Patience, RegistryStore, RepositoryName, StoreError, Tag};
use havre_testing::noise;

use crate::shared::Shared;

const NONE: Patience = Patience {
    blobs: Duration::ZERO,
    uploads: Duration::ZERO,
};

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn tag(text: &str) -> Identifier {
    Identifier::Tag(text.parse().unwrap())
}

fn push_blob(store: &RegistryStore, name: &RepositoryName, bytes: &[u8]) -> Digest {
    let digest = Digest::sha256_of(bytes);
    let upload = store.begin_upload(name, Algorithm::Sha256).unwrap();
    let mut appending = store.append(name, &upload.id, Some(0)).unwrap();
    appending.write(bytes).unwrap();
    appending.finish(&digest).unwrap();
    digest
}

fn read_blob(store: &RegistryStore, name: &RepositoryName, digest: &Digest) -> Vec<u8> {
    let blob = store.blob(name, digest).unwrap();
    let mut bytes = Vec::new();
    blob.open(0..blob.size).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// One that nobody else has.
fn manifest(of: &str, layer: &[u8]) -> Vec<u8> {
    let layer = Descriptor::of(media_type::OCI_LAYER, layer);
    let mut manifest = Manifest::oci(Descriptor::of(media_type::OCI_CONFIG, b"{}"), vec![layer]);
    manifest.annotations.insert("for".to_owned(), of.to_owned());
    manifest.to_bytes()
}

fn push(store: &RegistryStore, name: &RepositoryName, of: &str, layer: &[u8]) -> Result<Digest, StoreError> {
    push_blob(store, name, b"{}");
    push_blob(store, name, layer);
    let put = store.put_manifest(
        name,
        &tag(of),
        Some(media_type::OCI_MANIFEST),
        &manifest(of, layer),
    )?;
    Ok(put.digest)
}

/// An upload begun by one goes on at the other after every piece, whatever its length, and ends at the first.
fn uploads_go_from_one_to_the_other(shared: &Shared) {
    let (one, other) = (shared.open(), shared.open());
    let (repository, bytes) = (name("team/app"), noise(1, 21 << 20));
    let digest = Digest::sha256_of(&bytes);
    let upload = one.begin_upload(&repository, Algorithm::Sha256).unwrap();
    let mut at = 0_usize;
    for (index, length) in [1, 100, 9 << 20, 0, 4096, 5 << 20, usize::MAX]
        .into_iter()
        .enumerate()
    {
        let store = if index % 2 == 0 { &one } else { &other };
        let end = bytes.len().min(at.saturating_add(length));
        let mut appending = store.append(&repository, &upload.id, Some(at as u64)).unwrap();
        for piece in bytes[at..end].chunks(1 << 20) {
            appending.write(piece).unwrap();
        }
        assert_eq!(appending.pause().unwrap().size, end as u64);
        at = end;
        for store in [&one, &other] {
            assert_eq!(store.upload(&repository, &upload.id).unwrap().size, at as u64);
        }
        let misplaced = other.append(&repository, &upload.id, Some(at as u64 + 1));
        assert!(matches!(misplaced, Err(StoreError::UploadOffset { .. })));
    }
    let last = other.append(&repository, &upload.id, None).unwrap();
    last.finish(&digest).unwrap();
    for store in [&one, &other] {
        assert!(read_blob(store, &repository, &digest) == bytes);
        let part = store.blob(&repository, &digest).unwrap().read(5..4105).unwrap();
        assert!(part == bytes[5..4105]);
        assert!(matches!(
            store.upload(&repository, &upload.id),
            Err(StoreError::UploadUnknown)
        ));
    }
    assert_eq!(shared.objects("_uploads"), 0);
}

/// What is not what it was said to be is nowhere afterwards; who broke off can go on.
fn uploads_that_fail(shared: &Shared) {
    let store = shared.open();
    let (repository, algorithm) = (name("app"), shared.algorithm());
    for length in [3, 9 << 20] {
        let bytes = noise(2, length);
        let upload = store.begin_upload(&repository, algorithm).unwrap();
        let mut appending = store.append(&repository, &upload.id, None).unwrap();
        appending.write(&bytes).unwrap();
        let wrong = Digest::sha256_of(b"something else");
        assert!(matches!(
            appending.finish(&wrong),
            Err(StoreError::DigestMismatch { .. })
        ));
        assert_eq!(store.blob_size(&repository, &wrong).unwrap(), None);

        let upload = store.begin_upload(&repository, algorithm).unwrap();
        let mut appending = store.append(&repository, &upload.id, None).unwrap();
        appending.write(&bytes).unwrap();
        assert!(matches!(
            store.append(&repository, &upload.id, None),
            Err(StoreError::UploadBusy)
        ));
        drop(appending);
        assert_eq!(store.upload(&repository, &upload.id).unwrap().size, length as u64);
        let rest = store
            .append(&repository, &upload.id, Some(length as u64))
            .unwrap();
        let digest = Digest::of(algorithm, &bytes);
        rest.finish(&digest).unwrap();
        assert!(read_blob(&store, &repository, &digest) == bytes);

        let cancelled = store.begin_upload(&repository, Algorithm::Sha256).unwrap();
        let mut appending = store.append(&repository, &cancelled.id, None).unwrap();
        appending.write(&bytes).unwrap();
        drop(appending);
        store.cancel_upload(&repository, &cancelled.id).unwrap();
        assert!(matches!(
            store.upload(&repository, &cancelled.id),
            Err(StoreError::UploadUnknown)
        ));
    }
    assert_eq!(shared.objects("_uploads"), 0);
}

/// Lists are sorted by bytes, a page at a time, for everybody.
fn lists(shared: &Shared) {
    let (one, other) = (shared.open(), shared.open());
    let tags = ["1", "10", "9", "A", "B", "_x", "a", "b-1", "b.1", "b_1"];
    for of in tags.iter().rev() {
        push(&one, &name("app"), of, b"layer").unwrap();
    }
    for repository in ["z", "a/b", "a-b", "a"] {
        push(&one, &name(repository), "1", b"layer").unwrap();
    }
    let mut sorted = tags.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(other.tags(&name("app"), "", 100).unwrap().items, sorted);
    let page = other.tags(&name("app"), "9", 3).unwrap();
    assert_eq!((page.items, page.more), (sorted[3..6].to_vec(), true));
    let mut repositories = ["a", "a-b", "a/b", "app", "z"].map(str::to_owned).to_vec();
    repositories.sort();
    assert_eq!(other.repositories("", 100).unwrap().items, repositories);

    let subject = other.find_manifest(&name("app"), &tag("A")).unwrap();
    let mut about = Manifest::oci(Descriptor::of(media_type::OCI_CONFIG, b"{}"), Vec::new());
    about.subject = Some(Descriptor::new(
        media_type::OCI_MANIFEST,
        subject.digest.clone(),
        subject.size,
    ));
    about.annotations.insert("a".to_owned(), "ü".to_owned());
    let about = about.to_bytes();
    let by_digest = Identifier::Digest(Digest::sha256_of(&about));
    one.put_manifest(&name("app"), &by_digest, None, &about).unwrap();
    let referrers = other.referrers(&name("app"), &subject.digest, None).unwrap();
    assert_eq!(referrers.len(), 1);
    assert_eq!(referrers[0].annotations["a"], "ü");

    other.delete_tag(&name("app"), &"A".parse().unwrap()).unwrap();
    assert!(one.find_manifest(&name("app"), &tag("A")).is_err());
    assert!(
        one.mount(&name("app"), &name("new"), &Digest::sha256_of(b"layer"))
            .unwrap()
    );
    assert!(
        !other
            .mount(&name("z"), &name("new"), &Digest::sha256_of(b"none"))
            .unwrap()
    );
}

/// Summaries, the newest tags, what takes the space; and tags that were deleted by mistake.
fn what_people_look_at(shared: &Shared) {
    let store = shared.open();
    let app = name("team/App-1".to_lowercase().as_str());
    for of in ["1", "2", "3"] {
        push(&store, &app, of, of.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(3));
    }
    push(&store, &name("zoo"), "1", b"1").unwrap();
    let found = store.summaries(&["eam", "app"], "", 9).unwrap();
    assert_eq!((found.len(), found[0].tags, &found[0].name), (1, 3, &app));
    let bytes: usize = ["1", "2", "3"]
        .iter()
        .map(|of| manifest(of, of.as_bytes()).len() + 1)
        .sum();
    assert_eq!(store.summary(&app).unwrap(), found[0]);
    assert_eq!(store.last_pushed(1).unwrap()[0].0, name("zoo"));
    let newest = store.newest_tags(&app, "", None, 2).unwrap();
    assert_eq!([newest[0].tag.as_str(), newest[1].tag.as_str()], ["3", "2"]);
    let last = Some((newest[1].pushed, newest[1].tag.as_str()));
    assert_eq!(store.newest_tags(&app, "", last, 9).unwrap().len(), 1);
    assert_eq!(store.tags_of(&app, &newest[0].digest, 9).unwrap().len(), 1);
    let usage = store.usage(9, 30).unwrap();
    assert_eq!((usage.repositories, usage.tags, usage.manifests), (2, 4, 4));
    assert_eq!(
        usage.bytes,
        (bytes + manifest("1", b"1").len() + 2 - manifest("1", b"1").len()) as u64
    );
    assert_eq!(usage.pushes.iter().map(|(_, pushes)| pushes).sum::<u64>(), 4);
    assert_eq!(store.stored().unwrap(), (usage.blobs, usage.bytes));

    let digest = store.tag(&app, &"2".parse().unwrap()).unwrap().unwrap();
    let tags = [("2".parse().unwrap(), digest)];
    store.delete_tags(&app, &tags).unwrap();
    assert!(store.find_manifest(&app, &tag("2")).is_err());
    let window = Duration::from_secs(60);
    assert_eq!(store.deleted_tags(&app, window, 9).unwrap().len(), 1);
    store.restore_tags(&app, &tags, window).unwrap();
    assert_eq!(store.manifest(&app, &tag("2")).unwrap().1, manifest("2", b"2"));
    assert_eq!(store.deleted_tags(&app, window, 9).unwrap().len(), 0);
}

/// Tags that were deleted come back, all that were chosen or none, unless their names stand for something else by now.
fn deleted_tags_come_back(shared: &Shared) {
    let (one, other) = (shared.open(), shared.open());
    let (app, day) = (name("app"), Duration::from_secs(24 * 3600));
    let pushed = ["a", "b", "c"].map(|of| {
        let digest = push(&one, &app, of, b"layer").unwrap();
        (of.parse::<Tag>().unwrap(), digest)
    });
    let [a, b, c] = &pushed;
    let stands = |of: &str| one.tag(&app, &of.parse().unwrap()).unwrap();
    // One of them is not what it was said to be: all stay.
    let wrong = [a.clone(), (b.0.clone(), a.1.clone())];
    let moved = other.delete_tags(&app, &wrong).unwrap_err();
    assert!(matches!(moved, StoreError::TagMoved(tag) if tag == b.0));
    assert_eq!(stands("a"), Some(a.1.clone()));
    assert_eq!(other.deleted_tags(&app, day, 10).unwrap(), []);

    other.delete_tags(&app, &[a.clone(), b.clone()]).unwrap();
    one.delete_tag(&app, &c.0).unwrap();
    assert_eq!((stands("a"), stands("b"), stands("c")), (None, None, None));
    let gone = one.deleted_tags(&app, day, 10).unwrap();
    assert_eq!(gone[0].tag, c.0);
    assert_eq!(gone.len(), 3);
    assert_eq!(one.deleted_tags(&app, day, 2).unwrap().len(), 2);
    assert_eq!(one.deleted_tags(&app, Duration::ZERO, 10).unwrap(), []);
    let late = one
        .restore_tags(&app, std::slice::from_ref(a), Duration::ZERO)
        .unwrap_err();
    assert!(matches!(late, StoreError::NotDeleted(_)));

    // What was pushed again meanwhile is left alone, and so is what was chosen with it.
    one.put_manifest(&app, &tag("b"), None, &manifest("c", b"layer"))
        .unwrap();
    let taken = other
        .restore_tags(&app, &[a.clone(), b.clone()], day)
        .unwrap_err();
    assert!(matches!(taken, StoreError::TagTaken { by, .. } if by == c.1));
    assert_eq!(stands("a"), None);
    let gone = one.deleted_tags(&app, day, 10).unwrap();
    let taken = gone.iter().find(|gone| gone.tag == b.0).unwrap();
    assert_eq!(taken.taken.as_ref(), Some(&c.1));
    other.restore_tags(&app, &[a.clone(), c.clone()], day).unwrap();
    assert_eq!((stands("a"), stands("c")), (Some(a.1.clone()), Some(c.1.clone())));
    let twice = one.restore_tags(&app, std::slice::from_ref(a), day).unwrap_err();
    assert!(matches!(twice, StoreError::TagTaken { .. }));

    // Without its manifest none comes back.
    one.delete_tags(&app, std::slice::from_ref(a)).unwrap();
    one.delete_manifest(&app, &a.1).unwrap();
    assert!(
        one.deleted_tags(&app, day, 10)
            .unwrap()
            .iter()
            .all(|gone| gone.tag != a.0)
    );
    let without = one.restore_tags(&app, std::slice::from_ref(a), day).unwrap_err();
    assert!(matches!(without, StoreError::ManifestUnknown(_)));
}

/// What people look at says what is there.
fn overviews(shared: &Shared) {
    let store = shared.open();
    assert_eq!(store.usage(5, 3).unwrap().bytes, 0);
    let large = noise(7, 1000);
    for of in ["1", "2", "10"] {
        push(&store, &name("team/app"), of, &large).unwrap();
    }
    push(&store, &name("team/tool"), "1", b"layer").unwrap();
    push(&store, &name("other_app"), "1", &large).unwrap();
    let found = |words: &[&str]| {
        let found = store.summaries(words, "", 10).unwrap();
        found.iter().map(|one| one.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(&[]), ["other_app", "team/app", "team/tool"]);
    assert_eq!(found(&["APP"]), ["other_app", "team/app"]);
    assert_eq!(found(&["app", "team"]), ["team/app"]);
    // No letter stands for another.
    assert_eq!(found(&["r_a"]), ["other_app"]);
    assert_eq!(found(&["m_a"]), [""; 0]);
    assert_eq!(found(&["%"]), [""; 0]);
    let behind = store.summaries(&[], "other_app", 1).unwrap();
    assert_eq!((behind.len(), behind[0].name.as_str()), (1, "team/app"));
    let summary = store.summary(&name("team/app")).unwrap();
    assert_eq!((summary.tags, summary.bytes), (3, 1002));
    assert_eq!(behind[0], summary);
    assert!(matches!(
        store.summary(&name("none")),
        Err(StoreError::NameUnknown(_))
    ));

    let mut seen = Vec::new();
    while let page = {
        let after = seen
            .last()
            .map(|(pushed, tag): &(i64, String)| (*pushed, tag.as_str()));
        store.newest_tags(&name("team/app"), "", after, 1).unwrap()
    } && let [one] = page.as_slice()
    {
        seen.push((one.pushed, one.tag.to_string()));
    }
    assert_eq!(seen.len(), 3);
    assert!(seen.is_sorted_by_key(|(pushed, tag)| (std::cmp::Reverse(*pushed), tag.clone())));
    let with = store.newest_tags(&name("team/app"), "1", None, 10).unwrap();
    assert_eq!(with.len(), 2);
    assert_eq!(with[0].media_type, media_type::OCI_MANIFEST);
    let same = store.tags_of(&name("team/app"), &with[0].digest, 10).unwrap();
    assert_eq!(same, [with[0].tag.clone()]);
    assert_eq!(store.last_pushed(2).unwrap().len(), 2);
    assert_eq!(store.last_pushed(2).unwrap()[0].0, name("other_app"));

    let usage = store.usage(2, 3).unwrap();
    assert_eq!((usage.repositories, usage.tags, usage.manifests), (3, 5, 5));
    let manifests = ["1", "2", "10", "1"].map(|of| manifest(of, &large).len() as u64);
    let manifests: u64 = manifests[..3].iter().sum::<u64>() + manifest("1", b"layer").len() as u64;
    // The manifest of other_app is that of team/app.
    assert_eq!(usage.bytes, 1000 + 5 + 2 + manifests);
    let apart = 1002 + 1002 + 7 + manifests + manifest("1", &large).len() as u64;
    assert_eq!(usage.bytes_apart, apart);
    assert_eq!(usage.largest.len(), 2);
    assert!(
        usage
            .largest
            .iter()
            .all(|share| (share.bytes, share.own) == (1002, 0))
    );
    assert_eq!(usage.pushes.iter().map(|(_, count)| count).sum::<u64>(), 5);
    assert_eq!(usage.pushes.len(), 3);
}

/// What nobody needs goes, with its objects; the dry run said so.
fn collection(shared: &Shared) {
    let store = shared.open();
    let repository = name("app");
    push(&store, &repository, "kept", b"kept").unwrap();
    let going = push(&store, &repository, "going", &noise(3, 9 << 20)).unwrap();
    let stray = push_blob(&store, &repository, b"stray");
    store.delete_manifest(&repository, &going).unwrap();
    let begun = store.begin_upload(&repository, Algorithm::Sha256).unwrap();
    let mut appending = store.append(&repository, &begun.id, None).unwrap();
    appending.write(&noise(4, 9 << 20)).unwrap();
    drop(appending);
    assert!(store.collect(Patience::default()).unwrap().blobs.is_empty());
    std::thread::sleep(Duration::from_millis(5));
    let would = store.collectable(NONE).unwrap();
    let did = store.collect(NONE).unwrap();
    assert_eq!(would.bytes(), did.bytes());
    assert_eq!(
        did.bytes(),
        2 * (9 << 20) + 5 + manifest("going", &noise(3, 9 << 20)).len() as u64
    );
    assert!(did.blobs.iter().any(|(digest, _)| *digest == stray));
    assert_eq!(did.uploads.len(), 1);
    assert_eq!(
        shared.objects("data"),
        3,
        "the manifest, its configuration and its layer"
    );
    assert_eq!(
        store.manifest(&repository, &tag("kept")).unwrap().1,
        manifest("kept", b"kept")
    );
}

/// Damage is found and named; what is mended can be pushed again, and the rest is as it was.
fn damage(shared: &Shared) {
    let store = shared.open();
    let repository = name("app");
    push(&store, &repository, "good", b"good").unwrap();
    push(&store, &repository, "bad", b"broken").unwrap();
    push(&store, &repository, "worse", b"gone").unwrap();
    let lost = push(&store, &name("other"), "lost", b"good").unwrap();
    let sound = store.check(true, &mut |_| {}).unwrap();
    assert_eq!((sound.blobs, sound.damaged.len(), sound.unknown.len()), (8, 0, 0));

    let object = |digest: &Digest| {
        let hex = digest.hex();
        let key = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        shared.folder().join(key)
    };
    let (broken, gone) = (Digest::sha256_of(b"broken"), Digest::sha256_of(b"gone"));
    fs::write(object(&broken), b"BROKEN").unwrap();
    fs::remove_file(object(&gone)).unwrap();
    fs::write(object(&lost), b"{}").unwrap();
    let stray = Digest::sha256_of(b"a crash left it");
    fs::create_dir_all(object(&stray).parent().unwrap()).unwrap();
    fs::write(object(&stray), b"a crash left it").unwrap();

    assert_eq!(
        store.check(false, &mut |_| {}).unwrap().damaged.len(),
        2,
        "not read"
    );
    let checked = store.check(true, &mut |_| {}).unwrap();
    assert_eq!(checked.unknown, [(stray.clone(), 15)]);
    let how = |digest: &Digest| {
        let found = checked.damaged.iter().find(|damage| damage.digest == *digest);
        found.unwrap_or_else(|| panic!("{digest} is not named"))
    };
    assert_eq!(checked.damaged.len(), 3);
    let actual = Digest::sha256_of(b"BROKEN");
    assert_eq!(how(&broken).how, How::Content { actual });
    assert_eq!(how(&broken).repositories, std::slice::from_ref(&repository));
    assert_eq!(how(&gone).how, How::Missing);
    assert_eq!(
        how(&lost).manifests,
        [(name("other"), vec!["lost".parse().unwrap()])]
    );

    store.repair(&checked).unwrap();
    let mended = store.check(true, &mut |_| {}).unwrap();
    assert_eq!((mended.damaged.len(), mended.unknown.len()), (0, 0));
    assert_eq!(
        store.blob_size(&repository, &broken).unwrap(),
        None,
        "clients push it again"
    );
    assert!(store.find_manifest(&name("other"), &tag("lost")).is_err());
    assert_eq!(
        store.manifest(&repository, &tag("good")).unwrap().1,
        manifest("good", b"good")
    );
    push(&store, &repository, "bad", b"broken").unwrap();
    assert_eq!(read_blob(&store, &repository, &broken), b"broken");
    std::thread::sleep(Duration::from_millis(5));
    assert!(store.collect(NONE).unwrap().blobs.contains(&(stray, 15)));
}

/// The storage alone is enough.
fn rebuilding(shared: &Shared) {
    let store = shared.open();
    for (repository, of) in [("a", "1"), ("a", "2"), ("deep/er/b", "1")] {
        push(&store, &name(repository), of, of.as_bytes()).unwrap();
    }
    store.delete_tag(&name("a"), &"2".parse().unwrap()).unwrap();
    let bare = shared.open_without_database();
    assert_eq!(bare.repositories("", 9).unwrap().items, ["a", "deep/er/b"]);
    assert_eq!(bare.tags(&name("a"), "", 9).unwrap().items, ["1"]);
    assert_eq!(
        bare.manifest(&name("a"), &tag("1")).unwrap().1,
        manifest("1", b"1")
    );
    assert_eq!(read_blob(&bare, &name("a"), &Digest::sha256_of(b"2")), b"2");
    let sound = bare.check(true, &mut |_| {}).unwrap();
    assert_eq!((sound.damaged.len(), sound.unknown.len()), (0, 0));

    // A push that only the other knew.
    push(&store, &name("a"), "3", b"3").unwrap();
    assert!(bare.find_manifest(&name("a"), &tag("3")).is_err());
    bare.rebuild().unwrap();
    assert_eq!(
        bare.manifest(&name("a"), &tag("3")).unwrap().1,
        manifest("3", b"3")
    );
}

/// Whoever pushed, and was not told that something is missing, has an image that can be pulled, from everybody.
fn pushes_and_collections_at_once(shared: &Shared) {
    let stores = [shared.open(), shared.open(), shared.open()];
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collectors = stores.iter().map(|store| {
            let ends = &ends;
            scope.spawn(move || {
                let mut rounds = 0;
                while !ends.load(Ordering::Relaxed) {
                    let patience = Patience {
                        blobs: Duration::from_millis(rounds % 30),
                        ..Patience::default()
                    };
                    store.collect(patience).unwrap();
                    // Long enough, now and then, for a push to come between.
                    std::thread::sleep(Duration::from_millis(1 << (rounds % 11)));
                    rounds += 1;
                }
                rounds
            })
        });
        let collectors: Vec<_> = collectors.collect();
        let pushers: Vec<_> = (0..6_u8)
            .map(|thread| {
                let (mine, theirs) = (
                    &stores[usize::from(thread % 3)],
                    &stores[usize::from((thread + 1) % 3)],
                );
                scope.spawn(move || {
                    let mut pushed = 0;
                    for round in 0..20_u8 {
                        // The same bytes again and again, in the same and in other repositories.
                        let repository = name(["x", "y"][usize::from((thread + round) % 2)]);
                        let (layer, of) = ([round % 4], format!("{thread}-{round}"));
                        match push(mine, &repository, &of, &layer) {
                            Err(StoreError::PartUnknown(_)) => {}
                            Err(error) => panic!("{error}"),
                            Ok(digest) => {
                                let (_, bytes) = theirs.manifest(&repository, &tag(&of)).unwrap();
                                assert_eq!(bytes, manifest(&of, &layer));
                                for part in [&b"{}"[..], &layer] {
                                    assert_eq!(
                                        read_blob(theirs, &repository, &Digest::sha256_of(part)),
                                        part
                                    );
                                }
                                pushed += 1;
                                if round % 3 == 0 {
                                    theirs.delete_manifest(&repository, &digest).unwrap();
                                }
                            }
                        }
                    }
                    pushed
                })
            })
            .collect();
        let ended: Vec<_> = pushers.into_iter().map(|pusher| pusher.join()).collect();
        ends.store(true, Ordering::Relaxed);
        let pushed: u32 = ended.into_iter().map(|pushed| pushed.unwrap()).sum();
        assert!(pushed > 0);
        for collector in collectors {
            assert!(collector.join().unwrap() > 0);
        }
    });
    let checked = stores[0].check(true, &mut |_| {}).unwrap();
    assert_eq!(checked.damaged, []);
}

macro_rules! contract {
    ($kind:ident: $($test:ident)*) => {
        mod $kind {
            $(
                #[test]
                fn $test() {
                    super::$test(&super::Shared::$kind());
                }
            )*
        }
    };
    ($($kind:ident)*) => {
        $(contract! { $kind:
            uploads_go_from_one_to_the_other
            uploads_that_fail
            lists
            what_people_look_at
            deleted_tags_come_back
            overviews
            collection
            damage
            rebuilding
            pushes_and_collections_at_once
        })*
    };
}

contract! { folder_and_sqlite folder_and_postgres bucket_and_sqlite bucket_and_postgres }
