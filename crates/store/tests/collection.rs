//! Collections among everything else: nothing reachable is ever lost, nothing unreachable stays. Needs root (layers).

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use havre_oci::Digest;
use havre_store::{CacheRecord, Lease, Operation, Removal, Store};
use proptest::prelude::*;
use support::{apply, layer_tar, open, put_image};

/// Objects are few, so that steps meet.
const OBJECTS: u8 = 5;

#[derive(Clone, Debug)]
enum Step {
    Lease(u8),
    Release(u8),
    Blob { lease: u8, object: u8 },
    Layer { lease: u8, object: u8 },
    Hold { lease: u8, object: u8 },
    Image { object: u8, layers: Vec<u8> },
    RemoveImage(u8),
    KeepImage(u8),
    RestoreImage(u8),
    ForgetImage(u8),
    Cache { object: u8, layers: Vec<u8> },
    Uncache(u8),
    Prepare { object: u8, layers: Vec<u8> },
    RemoveSnapshot(u8),
    Reopen,
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let object = || 0..OBJECTS;
    let layers = || proptest::collection::vec(0..OBJECTS, 0..3);
    prop_oneof![
        2 => object().prop_map(Step::Lease),
        2 => object().prop_map(Step::Release),
        3 => (object(), object()).prop_map(|(lease, object)| Step::Blob { lease, object }),
        4 => (object(), object()).prop_map(|(lease, object)| Step::Layer { lease, object }),
        1 => (object(), object()).prop_map(|(lease, object)| Step::Hold { lease, object }),
        3 => (object(), layers()).prop_map(|(object, layers)| Step::Image { object, layers }),
        1 => object().prop_map(Step::RemoveImage),
        2 => object().prop_map(Step::KeepImage),
        1 => object().prop_map(Step::RestoreImage),
        1 => object().prop_map(Step::ForgetImage),
        2 => (object(), layers()).prop_map(|(object, layers)| Step::Cache { object, layers }),
        1 => object().prop_map(Step::Uncache),
        2 => (object(), layers()).prop_map(|(object, layers)| Step::Prepare { object, layers }),
        1 => object().prop_map(Step::RemoveSnapshot),
        1 => Just(Step::Reopen),
        3 => Just(Step::Collect),
    ]
}

fn tar(object: u8) -> Vec<u8> {
    layer_tar("file", &[object; 3])
}

fn diff_id(object: u8) -> Digest {
    Digest::sha256_of(&tar(object))
}

fn blob(object: u8) -> Vec<u8> {
    format!("config {object}").into_bytes()
}

/// The removal of an image that is kept.
fn removal(store: &Store, object: u8) -> Removal {
    let id = support::image(&object.to_string(), &[]).id;
    let mut removals = store.removals().list().unwrap();
    removals.retain(|removal| removal.items.iter().any(|item| item.id == id.as_str()));
    assert_eq!(removals.len(), 1);
    removals.remove(0)
}

/// What must be there, by the rules alone.
#[derive(Default)]
struct Model {
    leases: HashMap<u8, (Lease, HashSet<Digest>)>,
    images: HashMap<u8, Vec<u8>>,
    cache: HashMap<u8, Vec<u8>>,
    snapshots: HashMap<u8, Vec<u8>>,
    /// Removed, and can be brought back.
    kept: HashMap<u8, Vec<u8>>,
    /// Stored and perhaps garbage.
    blobs: HashSet<u8>,
    layers: HashSet<u8>,
}

impl Model {
    fn held(&self, digest: &Digest) -> bool {
        self.leases.values().any(|(_, held)| held.contains(digest))
    }
    fn layer_needed(&self, object: u8) -> bool {
        let users = self
            .images
            .values()
            .chain(self.cache.values())
            .chain(self.snapshots.values())
            .chain(self.kept.values());
        self.held(&diff_id(object)) || users.flatten().any(|layer| *layer == object)
    }
    fn blob_needed(&self, object: u8) -> bool {
        let named = self.images.contains_key(&object) || self.kept.contains_key(&object);
        named || self.held(&Digest::sha256_of(&blob(object)))
    }
    /// Nobody has these layers any more, unless others do; how many went.
    fn lose(&mut self, layers: Vec<u8>) -> usize {
        let lost: HashSet<u8> = layers
            .into_iter()
            .filter(|layer| !self.layer_needed(*layer))
            .collect();
        self.layers.retain(|layer| !lost.contains(layer));
        lost.len()
    }
    fn lose_blob(&mut self, object: u8) {
        if !self.blob_needed(object) {
            self.blobs.remove(&object);
        }
    }
    fn collected(&mut self) {
        let layers = std::mem::take(&mut self.layers);
        self.layers = layers
            .into_iter()
            .filter(|layer| self.layer_needed(*layer))
            .collect();
        let blobs = std::mem::take(&mut self.blobs);
        self.blobs = blobs.into_iter().filter(|blob| self.blob_needed(*blob)).collect();
    }
    fn check(&self, store: &Store) {
        let layers: HashSet<_> = store
            .layers()
            .list()
            .unwrap()
            .into_iter()
            .map(|layer| layer.diff_id)
            .collect();
        assert_eq!(layers, self.layers.iter().map(|layer| diff_id(*layer)).collect());
        let blobs: HashSet<_> = store
            .content()
            .list()
            .unwrap()
            .into_iter()
            .map(|(digest, _)| digest)
            .collect();
        assert_eq!(
            blobs,
            self.blobs
                .iter()
                .map(|object| Digest::sha256_of(&blob(*object)))
                .collect()
        );
    }
    /// Layers exist only if they are known; the store refuses others.
    fn known(&self, layers: &[u8]) -> bool {
        layers.iter().all(|layer| self.layers.contains(layer))
    }

    fn run(&mut self, step: Step, mut store: Store, root: &std::path::Path) -> Store {
        let ids = |layers: &[u8]| layers.iter().map(|layer| diff_id(*layer)).collect::<Vec<_>>();
        match step {
            Step::Lease(lease) => drop(self.leases.insert(lease, (store.lease(), HashSet::new()))),
            Step::Release(lease) => drop(self.leases.remove(&lease)),
            Step::Blob { lease, object } => {
                if let Some((lease, held)) = self.leases.get_mut(&lease) {
                    held.insert(store.content().put(&blob(object), lease).unwrap());
                    self.blobs.insert(object);
                }
            }
            Step::Layer { lease, object } => {
                if let Some((lease, held)) = self.leases.get_mut(&lease) {
                    held.insert(apply(&store, &tar(object), lease).diff_id);
                    self.layers.insert(object);
                }
            }
            Step::Hold { lease, object } => {
                if let Some((lease, held)) = self.leases.get_mut(&lease) {
                    for digest in [diff_id(object), Digest::sha256_of(&blob(object))] {
                        lease.hold(&digest);
                        held.insert(digest);
                    }
                }
            }
            Step::Image { object, layers } => {
                if self.known(&layers) {
                    put_image(&store, &object.to_string(), &ids(&layers), &store.lease());
                    self.blobs.insert(object);
                    self.images.insert(object, layers);
                }
            }
            Step::RemoveImage(object) => {
                if let Some(layers) = self.images.remove(&object) {
                    let freed = store
                        .remove_image(&support::image(&object.to_string(), &[]).id)
                        .unwrap();
                    assert_eq!(freed.layers.len(), self.lose(layers));
                    self.lose_blob(object);
                }
            }
            Step::KeepImage(object) => {
                if self.images.contains_key(&object) && !self.kept.contains_key(&object) {
                    let operation = Operation {
                        token: jiff::Timestamp::now().to_string(),
                        command: "image rm".to_owned(),
                    };
                    let id = support::image(&object.to_string(), &[]).id;
                    let kept = store.removing(|removing| {
                        removing.keep_image(&id, &operation, ("name", "rmi"), &[], |_| String::new())
                    });
                    kept.unwrap();
                    self.kept.extend(self.images.remove_entry(&object));
                }
            }
            Step::RestoreImage(object) => {
                if let Some(layers) = self.kept.remove(&object) {
                    store.removals().restore(&removal(&store, object)).unwrap();
                    self.images.insert(object, layers);
                }
            }
            Step::ForgetImage(object) => {
                if let Some(layers) = self.kept.remove(&object) {
                    store.removals().forget(&removal(&store, object)).unwrap();
                    self.lose(layers);
                    self.lose_blob(object);
                }
            }
            Step::Cache { object, layers } => {
                let record = CacheRecord {
                    layers: ids(&layers),
                    body: String::new(),
                    size: 0,
                };
                let put = store.meta().cache_put(&object.to_string(), &record);
                assert_eq!(put.is_ok(), self.known(&layers));
                if put.is_ok() {
                    self.cache.insert(object, layers);
                }
            }
            Step::Uncache(object) => {
                store.meta().cache_delete(&object.to_string()).unwrap();
                self.cache.remove(&object);
            }
            Step::Prepare { object, layers } => {
                let made = store.snapshots().prepare(&object.to_string(), &ids(&layers));
                assert_eq!(
                    made.is_ok(),
                    self.known(&layers) && !self.snapshots.contains_key(&object)
                );
                if made.is_ok() {
                    self.snapshots.insert(object, layers);
                }
            }
            Step::RemoveSnapshot(object) => {
                store.snapshots().remove(&object.to_string()).unwrap();
                let layers = self.snapshots.remove(&object).unwrap_or_default();
                self.lose(layers);
            }
            Step::Reopen => {
                self.leases.clear();
                drop(store);
                store = Store::open(root).unwrap();
            }
            Step::Collect => {
                let foreseen = store.collectable().unwrap();
                assert_eq!(store.collect().unwrap(), foreseen);
                self.collected();
            }
        }
        store
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_needed_stays_and_the_rest_goes(steps in proptest::collection::vec(step(), 1..60)) {
        let (dir, mut store) = open();
        let mut model = Model::default();
        for step in steps {
            store = model.run(step, store, dir.path());
            model.check(&store);
        }
        model.leases.clear();
        store.collect().unwrap();
        model.collected();
        model.check(&store);
    }
}

/// Threads make images of layers they share while another collects all the time.
#[test]
fn collecting_while_others_publish() {
    let (_dir, store) = open();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..4u8)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..40u8 {
                        let lease = store.lease();
                        let layer = apply(store, &tar(round % OBJECTS), &lease);
                        let name = format!("{thread}-{round}");
                        let image = put_image(store, &name, std::slice::from_ref(&layer.diff_id), &lease);
                        drop(lease);
                        // Only the image holds them now.
                        assert_eq!(store.layers().find(&layer.diff_id).unwrap(), Some(layer.clone()));
                        assert!(store.content().contains(&image.id), "{name}");
                        std::io::copy(
                            &mut store.layers().tar(&layer.diff_id).unwrap(),
                            &mut std::io::sink(),
                        )
                        .unwrap();
                        assert!(store.meta().delete_image(&image.id, "rmi").unwrap());
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.collect().unwrap();
            }
        });
        let results: Vec<_> = publishers.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        for result in results {
            result.unwrap();
        }
    });
    store.collect().unwrap();
    assert_eq!(
        (store.layers().list().unwrap(), store.content().list().unwrap()),
        (vec![], vec![])
    );
}
