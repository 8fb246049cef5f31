//! kill -9 in the middle of everything, again and again on one root: whatever was acknowledged is there and whole, nothing
//! half-made is left after the next opening. Needs root (it mounts).

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_oci::{Digest, Digester};
use havre_store::{CommitMode, Limits, Store};
use support::{FORMS, layer_tar, open_at, put_image};

/// Where the child works; unset, [`the_child`] is no child and does nothing.
const ROOT: &str = "HAVRE_CRASH_TEST_ROOT";
/// The form of the layers it writes.
const FORM: &str = "HAVRE_CRASH_TEST_FORM";
const ROUNDS: u64 = 30;

fn tar(seed: u64) -> Vec<u8> {
    let mut tar = Vec::new();
    for n in 0..40 {
        let contents = vec![(seed + n) as u8; ((seed * 7919 + n * 104_729) % 90_000) as usize];
        let mut one = layer_tar(&format!("dir-{}/{seed}-{n}", n % 5), &contents);
        // One archive of them all: without the end each has.
        one.truncate(one.len() - 1024);
        tar.extend(one);
    }
    // The same path again, so that files are moved aside too.
    tar.extend(layer_tar(&format!("dir-0/{seed}-0"), b"again"));
    tar
}

fn blob(seed: u64) -> Vec<u8> {
    format!("blob {seed} ").into_bytes().repeat(20_000)
}

/// Works until it is killed, and writes down what was done.
#[test]
fn the_child() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let form = std::env::var(FORM).unwrap().parse().unwrap();
    let store = open_at(&Path::new(&root).join("store"), form);
    let mut done = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(Path::new(&root).join("done"))
        .unwrap();
    let first = fs::read_to_string(done.path()).unwrap().lines().count() as u64;
    for seed in first.. {
        let lease = store.lease();
        let tar = tar(seed);
        let diff_id = Digest::sha256_of(&tar);
        store
            .layers()
            .apply(
                tar.as_slice(),
                Some(&diff_id),
                &Limits::default(),
                &mut |_| {},
                &lease,
            )
            .unwrap();
        let image = put_image(&store, &seed.to_string(), std::slice::from_ref(&diff_id), &lease);
        store
            .meta()
            .set_reference(
                &format!("docker.io/library/crash:{seed}"),
                (&image.id, &[]),
                None,
                "test",
            )
            .unwrap();

        let blob = blob(seed);
        let mut ingest = store
            .content()
            .ingest(&Digest::sha256_of(&blob), Some(blob.len() as u64), &lease)
            .unwrap();
        let offset = ingest.offset() as usize;
        for chunk in blob[offset..].chunks(10_000) {
            ingest.write_all(chunk).unwrap();
        }
        let blob_digest = ingest.digest().clone();
        ingest.commit().unwrap();
        let descriptor = havre_oci::Descriptor::new("layer", blob_digest.clone(), blob.len() as u64);
        store.meta().add_layer_blob(&diff_id, &descriptor).unwrap();

        let id = format!("step-{seed}");
        let step = store
            .snapshots()
            .prepare(&id, std::slice::from_ref(&diff_id))
            .unwrap();
        let merged = store.snapshots().mount(&step).unwrap();
        for n in 0..20 {
            fs::write(merged.join(format!("{seed}-{n}")), vec![n; 5000]).unwrap();
        }
        let mode = if seed % 2 == 0 {
            CommitMode::Move
        } else {
            CommitMode::Copy
        };
        let layer = store.snapshots().commit(&id, mode, &lease).unwrap();
        let result = put_image(
            &store,
            &format!("{seed}-result"),
            &[diff_id, layer.diff_id],
            &lease,
        );
        store.snapshots().remove(&id).unwrap();
        drop(lease);
        writeln!(done, "{} {} {blob_digest}", image.id, result.id).unwrap();
        if seed % 5 == 4 {
            store.collect().unwrap();
        }
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn check(root: &Path, verified: &mut HashSet<Digest>) {
    let store = Store::open(&root.join("store")).unwrap();
    store.wait_for_trash();
    let at = |name: &str| root.join("store").join(name);
    // Only partial downloads may wait in ingest/, under their digest.
    for name in names(&at("ingest")) {
        assert!(name.starts_with("sha256-"), "litter: {name}");
    }
    let layers = store.layers().list().unwrap();
    let known: BTreeSet<String> = layers
        .iter()
        .map(|layer| layer.diff_id.hex().to_owned())
        .collect();
    assert_eq!(names(&at("layers")), known);
    let snapshots: BTreeSet<String> = store
        .snapshots()
        .list()
        .unwrap()
        .into_iter()
        .map(|snapshot| snapshot.id)
        .collect();
    assert_eq!(names(&at("containers")), snapshots);
    assert_eq!(names(&at("trash")).len(), 0);

    for layer in &layers {
        if verified.insert(layer.diff_id.clone()) {
            let mut digester = Digester::sha256();
            std::io::copy(&mut store.layers().tar(&layer.diff_id).unwrap(), &mut digester).unwrap();
            assert_eq!(digester.finish(), layer.diff_id);
        }
        // What a killed process left mounted is recognised, and what it had no time to mount is mounted.
        let target = root.join("view");
        fs::create_dir_all(&target).unwrap();
        let view = store
            .snapshots()
            .view(std::slice::from_ref(&layer.diff_id), &target)
            .unwrap();
        assert!(fs::read_dir(view.path()).unwrap().next().is_some());
    }
    for (digest, _) in store.content().list().unwrap() {
        if verified.insert(digest.clone()) {
            assert_eq!(
                Digest::sha256_of(&store.content().read(&digest, 1 << 30).unwrap()),
                digest
            );
        }
    }
    for line in fs::read_to_string(root.join("done")).unwrap_or_default().lines() {
        let digests: Vec<Digest> = line.split(' ').map(|digest| digest.parse().unwrap()).collect();
        for id in &digests[..2] {
            let image = store
                .meta()
                .find_image(id)
                .unwrap()
                .unwrap_or_else(|| panic!("image {id} is lost"));
            assert!(store.content().contains(id));
            assert!(image.layers.iter().all(|layer| known.contains(layer.hex())));
        }
        assert!(store.content().contains(&digests[2]), "acknowledged blob is lost");
    }
    for snapshot in store.snapshots().list().unwrap() {
        store.snapshots().remove(&snapshot.id).unwrap();
    }
}

/// A form of its own in every round: the store holds layers of all of them.
#[test]
fn killed_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut verified = HashSet::new();
    let begun = Instant::now();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_child", "--exact", "--nocapture"])
            .env(ROOT, dir.path())
            .env(FORM, FORMS[round as usize % FORMS.len()].name())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Moments spread over several of the child's rounds, the same in every run; what they hit is up to the machine.
        std::thread::sleep(Duration::from_millis(20 + (round * 7919) % 400));
        let died = child.try_wait().unwrap();
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            died,
            None,
            "the child failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        check(dir.path(), &mut verified);
        // On a slow machine fewer rounds will do.
        if round >= 10 && begun.elapsed() > Duration::from_secs(40) {
            break;
        }
    }
    let done = fs::read_to_string(dir.path().join("done"))
        .unwrap()
        .lines()
        .count();
    assert!(done > 0, "the child got nothing done between its deaths");
}
