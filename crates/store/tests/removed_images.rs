//! Images in the journal of removals: held whole, brought back whole, given up whole. Needs root (layers).

#![allow(clippy::unwrap_used)]

mod support;

use havre_oci::{Descriptor, Digest};
use havre_store::{LostName, Operation, Store, StoreError, Taken};
use support::{apply, layer_tar, open, put_image};

const TAG: &str = "example.com/app:1";
const REPOSITORY: &str = "example.com/app";

fn operation(token: &str) -> Operation {
    Operation {
        token: token.to_owned(),
        command: "image rm".to_owned(),
    }
}

fn familiar(lost: &LostName) -> String {
    match lost {
        LostName::Tag(reference) | LostName::Platform(reference, _) => reference.name.clone(),
        LostName::Digest(served) => format!("{}@{}", served.repository, served.digest),
    }
}

/// An image of two layers with a tag and a repository digest, whose documents are blobs; its id, and how many blobs there are.
fn named_image(store: &Store) -> (Digest, usize) {
    let lease = store.lease();
    let layers = [b"one", b"two"].map(|contents| apply(store, &layer_tar("file", contents), &lease).diff_id);
    let image = put_image(store, "app", &layers, &lease);
    let target = store.content().put(b"the target", &lease).unwrap();
    let served = store.content().put(b"the manifest", &lease).unwrap();
    let descriptor = Descriptor::new("application/octet-stream", target, 10);
    store
        .meta()
        .set_reference(TAG, (&image.id, &[]), Some(&descriptor), "pull")
        .unwrap();
    store
        .meta()
        .add_repo_digest(REPOSITORY, &served, &image.id)
        .unwrap();
    (image.id, 3)
}

fn keep(store: &Store, id: &Digest, token: &str) {
    let name = id.short().to_owned();
    store
        .removing(|removing| removing.keep_image(id, &operation(token), (&name, "rmi"), &[], familiar))
        .unwrap();
}

#[test]
fn an_image_is_held_whole_and_comes_back_whole() {
    let (dir, store) = open();
    let (id, blobs) = named_image(&store);
    let before = (
        store.meta().find_image(&id).unwrap(),
        store.meta().reference(TAG).unwrap().unwrap().target,
        store.meta().repo_digests(&id).unwrap(),
    );
    keep(&store, &id, "a");
    assert_eq!(store.meta().find_image(&id).unwrap(), None);
    assert_eq!(store.meta().references().unwrap(), []);
    assert_eq!(store.meta().all_repo_digests().unwrap(), []);
    // Neither a collection nor the next start takes anything of it.
    assert_eq!(store.collect().unwrap().bytes, 0);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.collect().unwrap().bytes, 0);
    assert_eq!(store.layers().list().unwrap().len(), 2);
    assert_eq!(store.content().list().unwrap().len(), blobs);

    let mut removal = store.removals().list().unwrap().remove(0);
    let kinds: Vec<&str> = removal.items.iter().map(|item| item.kind.as_str()).collect();
    assert_eq!(kinds, ["image", "tag", "digest"]);
    store.removals().measure(&mut removal).unwrap();
    let layers = store.layers().list().unwrap();
    let blobs = store.content().list().unwrap();
    let blobs: u64 = blobs.iter().map(|(_, size)| size).sum();
    let size = blobs + layers.iter().map(havre_store::Layer::disk_size).sum::<u64>();
    assert_eq!(removal.items[0].bytes(), size);
    store.removals().restore(&removal).unwrap();
    let after = (
        store.meta().find_image(&id).unwrap(),
        store.meta().reference(TAG).unwrap().unwrap().target,
        store.meta().repo_digests(&id).unwrap(),
    );
    assert_eq!(before, after);
    assert!(store.removals().list().unwrap().is_empty());
}

#[test]
fn given_up_it_goes_whole_but_for_what_others_have() {
    let (_dir, store) = open();
    let (id, _) = named_image(&store);
    let layers = store.meta().find_image(&id).unwrap().unwrap().layers;
    let other = put_image(&store, "other", &layers[..1], &store.lease());
    keep(&store, &id, "a");
    let mut removal = store.removals().list().unwrap().remove(0);
    store.removals().measure(&mut removal).unwrap();
    let blobs = ["config app", "the target", "the manifest"]
        .map(str::len)
        .iter()
        .sum::<usize>() as u64;
    let own = blobs + store.layers().find(&layers[1]).unwrap().unwrap().disk_size();
    assert_eq!(
        removal.items[0].bytes(),
        own,
        "the other layer is another image's"
    );
    store.removals().forget(&removal).unwrap();
    assert!(store.removals().list().unwrap().is_empty());
    let left: Vec<Digest> = store
        .layers()
        .list()
        .unwrap()
        .into_iter()
        .map(|layer| layer.diff_id)
        .collect();
    assert_eq!(left, layers[..1]);
    let blobs: Vec<Digest> = store
        .content()
        .list()
        .unwrap()
        .into_iter()
        .map(|(digest, _)| digest)
        .collect();
    assert_eq!(blobs, [other.id]);
}

#[test]
fn a_name_that_is_taken_brings_nothing_back() {
    let (_dir, store) = open();
    let (id, _) = named_image(&store);
    keep(&store, &id, "a");
    let other = put_image(&store, "other", &[], &store.lease());
    store
        .meta()
        .set_reference(TAG, (&other.id, &[]), None, "tag")
        .unwrap();
    let removal = store.removals().list().unwrap().remove(0);
    let refused = store.removals().restore(&removal).unwrap_err();
    assert!(matches!(refused, StoreError::NameTaken { .. }), "{refused}");
    assert_eq!(store.meta().find_image(&id).unwrap(), None, "all or nothing");
    store.meta().delete_reference(TAG, "rmi").unwrap();
    store.removals().restore(&removal).unwrap();
    assert_eq!(store.meta().reference(TAG).unwrap().unwrap().image, id);
}

#[test]
fn names_go_with_the_image_that_goes_for_good() {
    let (_dir, store) = open();
    let (id, _) = named_image(&store);
    let lose = |token: &str| {
        let lost = store.meta().delete_reference(TAG, "rmi").unwrap().unwrap();
        let names = [(LostName::Tag(Box::new(lost)), TAG.to_owned())];
        store
            .removing(|removing| removing.keep_names(&operation(token), &names))
            .unwrap();
    };
    lose("a");
    let removal = store.removals().list().unwrap().remove(0);
    store.removals().restore(&removal).unwrap();
    assert_eq!(store.meta().reference(TAG).unwrap().unwrap().image, id);
    lose("b");
    // As long as the image is kept so is its name.
    keep(&store, &id, "c");
    assert_eq!(store.removals().list().unwrap().len(), 2);
    let image = store.removals().list().unwrap().remove(0);
    store.removals().forget(&image).unwrap();
    assert!(store.removals().list().unwrap().is_empty());
    assert_eq!(
        (
            store.layers().list().unwrap().len(),
            store.content().list().unwrap().len()
        ),
        (0, 0)
    );
}

#[test]
fn layers_that_only_removed_containers_hold_count_once_with_the_first() {
    let (_dir, store) = open();
    let lease = store.lease();
    let layers = [b"one", b"two"].map(|contents| apply(&store, &layer_tar("file", contents), &lease).diff_id);
    let image = put_image(&store, "app", &layers, &lease);
    drop(lease);
    let size = |layer: &Digest| store.layers().find(layer).unwrap().unwrap().disk_size();
    let both = size(&layers[0]) + size(&layers[1]);
    for (name, written) in [("first", "123"), ("second", "1234567")] {
        let snapshot = store.snapshots().prepare(name, &layers).unwrap();
        fs_err::write(snapshot.upper.join("file"), written).unwrap();
        store
            .meta()
            .put_document("container", name, Some(name), "{}")
            .unwrap();
    }
    let remove = |name| {
        let container = Taken {
            kind: "container",
            id: name,
            snapshot: Some(name),
            data: None,
        };
        store.removals().take(&operation(name), &[container]).unwrap();
    };
    let counted = || -> Vec<u64> {
        let mut removals = store.removals().list().unwrap();
        removals.reverse();
        for removal in &mut removals {
            store.removals().measure(removal).unwrap();
            // As often as one likes.
            store.removals().measure(removal).unwrap();
        }
        removals.iter().map(|removal| removal.items[0].bytes()).collect()
    };
    remove("first");
    assert_eq!(counted(), [3], "the image has the layers");
    store.remove_image(&image.id).unwrap();
    assert_eq!(counted(), [3], "another container has them");
    assert_eq!(store.removals().held_layers().unwrap(), []);
    remove("second");
    assert_eq!(counted(), [3 + both, 7]);
    assert_eq!(store.removals().held_layers().unwrap().len(), 2);
    let lease = store.lease();
    put_image(&store, "other", &layers[..1], &lease);
    assert_eq!(
        counted(),
        [3 + size(&layers[1]), 7],
        "another image has one of them"
    );
    let first = store.removals().list().unwrap().pop().unwrap();
    store.removals().forget(&first).unwrap();
    assert_eq!(counted(), [7 + size(&layers[1])]);
    assert_eq!(store.collect().unwrap().bytes, 0, "nothing was nobody's");
}
