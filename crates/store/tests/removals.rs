//! Removals that can be undone, and every crash on the way.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use fs_err as fs;
use havre_store::{Operation, Store, StoreError, Taken};

fn operation(token: &str) -> Operation {
    Operation {
        token: token.to_owned(),
        command: "volume rm".to_owned(),
    }
}

fn volume(store: &Store, name: &str) -> PathBuf {
    let data = store.layout().volumes().join(name).join("_data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("file"), name).unwrap();
    store
        .meta()
        .put_document("volume", name, Some(name), "{}")
        .unwrap();
    data.join("file")
}

fn taken(name: &str) -> Taken<'_> {
    Taken {
        kind: "volume",
        id: name,
        snapshot: None,
        data: Some(PathBuf::from("volumes").join(name)),
    }
}

#[test]
fn what_is_taken_is_gone_and_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let (one, two) = (volume(&store, "one"), volume(&store, "two"));
    let first = store.removals().take(&operation("a"), &[taken("one")]).unwrap();
    assert_eq!(
        store.removals().take(&operation("a"), &[taken("two")]).unwrap(),
        first,
        "one command is one removal"
    );
    assert!(!one.exists() && !two.exists());
    assert!(store.meta().documents("volume").unwrap().is_empty());
    // The name can be used again meanwhile, and then stands in the way.
    let again = volume(&store, "one");
    let mut removals = store.removals().list().unwrap();
    assert_eq!((removals.len(), removals[0].items.len()), (1, 2));
    store.removals().measure(&mut removals[0]).unwrap();
    assert!(removals[0].items.iter().all(|item| item.bytes() >= 3));
    assert!(store.removals().restore(&removals[0]).is_err());
    assert!(!two.exists(), "all or nothing");
    let second = store.removals().take(&operation("b"), &[taken("one")]).unwrap();
    assert!(second > first && !again.exists());
    let removals = store.removals().list().unwrap();
    assert_eq!([removals[0].id, removals[1].id], [second, first]);
    store.removals().restore(&removals[1]).unwrap();
    assert_eq!(fs::read_to_string(&one).unwrap(), "one");
    assert!(two.exists() && store.meta().find_document("volume", "two").unwrap().is_some());
    store.removals().forget(&removals[0]).unwrap();
    assert!(store.removals().list().unwrap().is_empty());
    assert_eq!(fs::read_dir(root.path().join("removed")).unwrap().count(), 0);
}

#[test]
fn all_or_none_is_taken() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let one = volume(&store, "one");
    let error = store
        .removals()
        .take(&operation("a"), &[taken("one"), taken("nosuch")])
        .unwrap_err();
    assert!(matches!(error, StoreError::DocumentNotFound { .. }), "{error}");
    assert!(one.exists() && store.removals().list().unwrap().is_empty());
    assert!(store.meta().find_document("volume", "one").unwrap().is_some());
}

#[test]
fn a_crash_leaves_it_removed_or_there() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let file = volume(&store, "one");
    store.removals().take(&operation("a"), &[taken("one")]).unwrap();
    let aside = fs::read_dir(root.path().join("removed"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    // Died before the directory was moved, or in the middle of bringing it back.
    fs::rename(&aside, root.path().join("volumes/one")).unwrap();
    fs::create_dir(root.path().join("removed/77")).unwrap();
    drop(store);
    let store = Store::open(root.path()).unwrap();
    assert!(!file.exists() && aside.exists());
    assert!(
        !root.path().join("removed/77").exists(),
        "nobody can bring that back"
    );
    let removal = store.removals().list().unwrap().remove(0);
    store.removals().restore(&removal).unwrap();
    assert!(file.exists());
    // Died after the journal had forgotten it.
    let removal = {
        store.removals().take(&operation("b"), &[taken("one")]).unwrap();
        store.removals().list().unwrap().remove(0)
    };
    let aside = fs::read_dir(root.path().join("removed"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::create_dir(root.path().join("kept")).unwrap();
    fs::rename(&aside, root.path().join("kept/data")).unwrap();
    store.removals().forget(&removal).unwrap();
    fs::rename(root.path().join("kept/data"), &aside).unwrap();
    drop(store);
    let store = Store::open(root.path()).unwrap();
    assert!(!aside.exists() && store.removals().list().unwrap().is_empty());
}

#[test]
fn a_snapshot_waits_with_what_it_belongs_to() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let snapshot = store.snapshots().prepare("box", &[]).unwrap();
    fs::write(snapshot.upper.join("file"), "12345").unwrap();
    store
        .meta()
        .put_document("container", "box", Some("web"), "{}")
        .unwrap();
    let container = Taken {
        kind: "container",
        id: "box",
        snapshot: Some("box"),
        data: None,
    };
    store.removals().take(&operation("a"), &[container]).unwrap();
    assert!(store.removals().keeps_snapshot("box").unwrap());
    drop(store);
    let store = Store::open(root.path()).unwrap();
    assert!(snapshot.upper.join("file").exists());
    let mut removal = store.removals().list().unwrap().remove(0);
    store.removals().measure(&mut removal).unwrap();
    assert_eq!(removal.items[0].bytes(), 5);
    removal.items[0].body = "{\"changed\":true}".to_owned();
    store.removals().restore(&removal).unwrap();
    let document = store
        .meta()
        .find_document_by_name("container", "web")
        .unwrap()
        .unwrap();
    assert_eq!(document.body, "{\"changed\":true}");
    assert!(!store.removals().keeps_snapshot("box").unwrap());
    let container = Taken {
        kind: "container",
        id: "box",
        snapshot: Some("box"),
        data: None,
    };
    store.removals().take(&operation("b"), &[container]).unwrap();
    let removal = store.removals().list().unwrap().remove(0);
    store.removals().forget(&removal).unwrap();
    assert!(store.snapshots().find("box").unwrap().is_none());
}
