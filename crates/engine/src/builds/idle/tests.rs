//! Needs root: the store mounts.

use havre_oci::{Digest, Platform};
use havre_store::{CommitMode, Image, Names, Snapshot};

use super::*;

const REST: Duration = Duration::from_millis(200);

/// A layer as a build step leaves it.
fn step(store: &Store, name: &str) -> Digest {
    let lease = store.lease();
    let Snapshot { id, upper, .. } = store.snapshots().prepare(name, &[]).unwrap();
    fs_err::write(upper.join(name), vec![b'x'; 3 << 20]).unwrap();
    let layer = store.snapshots().commit(&id, CommitMode::Move, &lease).unwrap();
    assert_eq!(layer.form, Form::Directory);
    let id = store.content().put(name.as_bytes(), &lease).unwrap();
    let image = Image {
        id,
        manifest: None,
        layers: vec![layer.diff_id.clone()],
        size: 3,
        created: None,
        platform: Platform::host(),
        added: jiff::Timestamp::now(),
        last_used: None,
        parent: None,
    };
    store
        .meta()
        .publish_image(&image, &Names::default(), "build")
        .unwrap();
    layer.diff_id
}

fn is_directory(store: &Store, layer: &Digest) -> bool {
    store.layers().get(layer).unwrap().form == Form::Directory
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn layers_of_builds_become_files_when_no_build_runs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    if store.layer_form().form == havre_store::LayerForm::Directories {
        return;
    }
    let left = step(&store, "left-by-an-earlier-engine");
    let activity = Activity::with_rest(&store, tokio::runtime::Handle::current(), REST);
    eventually("what was left is converted", || !is_directory(&store, &left));

    let busy = activity.enter();
    let (one, other) = (step(&store, "one"), step(&store, "other"));
    // Something runs on the other.
    let snapshot = store
        .snapshots()
        .prepare("box", std::slice::from_ref(&other))
        .unwrap();
    let merged = store.snapshots().mount(&snapshot).unwrap();
    std::thread::sleep(REST * 3);
    assert!(is_directory(&store, &one), "a build runs");
    drop(busy);
    eventually("a layer of the build is converted", || {
        !is_directory(&store, &one)
    });
    assert!(is_directory(&store, &other));
    assert_eq!(fs_err::read(merged.join("other")).unwrap().len(), 3 << 20);

    store.snapshots().remove("box").unwrap();
    drop(activity.enter());
    eventually("nothing runs on it any more", || !is_directory(&store, &other));
    drop(activity);
    eventually("nothing holds the store", || Arc::strong_count(&store) == 1);
}
