//! What names stood for before: one line for each change, bounded, and names that are put back. Needs root (layers).

#![allow(clippy::unwrap_used)]

mod support;

use havre_oci::{Descriptor, Digest};
use havre_store::{LostName, Operation, Store};
use rusqlite::Connection;
use support::{apply, layer_tar, open, put_image};

const NAME: &str = "docker.io/library/app:1";
const REPOSITORY: &str = "docker.io/library/app";

/// Command and image of each line, newest first.
fn lines(store: &Store, name: &str) -> Vec<(String, Option<Digest>)> {
    let history = store.meta().reference_history(name).unwrap();
    history
        .into_iter()
        .map(|line| (line.command, line.image))
        .collect()
}

fn line(command: &str, image: Option<&Digest>) -> (String, Option<Digest>) {
    (command.to_owned(), image.cloned())
}

fn database(root: &std::path::Path) -> Connection {
    Connection::open(root.join("meta.db")).unwrap()
}

#[test]
fn a_line_is_a_change() {
    let (_dir, store) = open();
    let (meta, lease) = (store.meta(), store.lease());
    let [one, two] = ["one", "two"].map(|name| put_image(&store, name, &[], &lease).id);
    let target = Descriptor::new("application/octet-stream", Digest::sha256_of(b"target"), 6);
    meta.set_reference(NAME, (&one, &[]), None, "build").unwrap();
    // The same again, and the same from a registry: no change, but from where it can be had is remembered.
    meta.set_reference(NAME, (&one, &[]), None, "tag").unwrap();
    meta.set_reference(NAME, (&one, &[]), Some(&target), "pull")
        .unwrap();
    meta.set_reference(NAME, (&one, &[]), None, "tag").unwrap();
    assert_eq!(lines(&store, NAME), [line("build", Some(&one))]);
    assert_eq!(meta.reference_history(NAME).unwrap()[0].target, Some(target));
    meta.set_reference(NAME, (&two, &[]), None, "tag").unwrap();
    meta.delete_reference(NAME, "rmi").unwrap();
    meta.delete_reference(NAME, "rmi").unwrap();
    meta.set_reference(NAME, (&two, &[]), None, "undo").unwrap();
    meta.delete_image(&two, "prune").unwrap();
    assert_eq!(
        lines(&store, NAME),
        [
            line("prune", None),
            line("undo", Some(&two)),
            line("rmi", None),
            line("tag", Some(&two)),
            line("build", Some(&one)),
        ]
    );
    assert_eq!(lines(&store, "docker.io/library/other:1"), []);
}

#[test]
fn fifty_lines_of_a_name_stay_and_names_that_are_gone_go_first() {
    let (dir, store) = open();
    let lease = store.lease();
    let images = ["one", "two"].map(|name| put_image(&store, name, &[], &lease).id);
    store
        .meta()
        .set_reference("a:1", (&images[0], &[]), None, "pull")
        .unwrap();
    store
        .meta()
        .set_reference("b:1", (&images[0], &[]), None, "pull")
        .unwrap();
    store.meta().delete_reference("b:1", "rmi").unwrap();
    for turn in 0..60 {
        store
            .meta()
            .set_reference(NAME, (&images[turn % 2], &[]), None, "tag")
            .unwrap();
    }
    let history = lines(&store, NAME);
    assert_eq!(history.len(), 50);
    assert_eq!(history[0], line("tag", Some(&images[1])));
    assert_eq!(lines(&store, "b:1").len(), 2);

    // As after many builds with a tag each, all of them removed.
    drop((lease, store));
    let numbered = "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 22000)";
    database(dir.path())
        .execute_batch(&format!(
            "INSERT INTO ref_history (seq, name, image, target, command, at)
             {numbered} SELECT i, 'gone:' || i, NULL, NULL, 'rmi', 0 FROM n"
        ))
        .unwrap();
    let store = Store::open(dir.path()).unwrap();
    for turn in 0..256 {
        store
            .meta()
            .set_reference("c:1", (&images[turn % 2], &[]), None, "tag")
            .unwrap();
    }
    assert_eq!(
        lines(&store, "a:1"),
        [line("pull", Some(&images[0]))],
        "it stands for it"
    );
    assert_eq!(lines(&store, "b:1"), []);
    assert_eq!(lines(&store, NAME), history[..1]);
    assert_eq!(lines(&store, "gone:22000").len(), 1);
    drop(store);
    let left: i64 = database(dir.path())
        .query_row("SELECT count(*) FROM ref_history", [], |row| row.get(0))
        .unwrap();
    assert!((19_000..=20_300).contains(&left), "{left}");
}

#[test]
fn a_history_of_before_is_cleaned_up() {
    let (dir, store) = open();
    let image = put_image(&store, "one", &[], &store.lease()).id;
    drop(store);
    let other = Digest::sha256_of(b"other");
    let mut sql = String::new();
    for turn in 0..200 {
        // Each stands there twice, as a pull of the same image left it.
        let image = if turn / 2 % 2 == 0 { &image } else { &other };
        sql.push_str(&format!(
            "INSERT INTO ref_history (name, image, command, at) VALUES ('{NAME}', '{image}', 'pull', {turn});"
        ));
    }
    sql.push_str("INSERT INTO ref_history (name, image, command, at) VALUES ('b:1', NULL, 'rmi', 1);");
    sql.push_str("DROP TABLE ref_platforms; DROP TABLE image_blobs; PRAGMA user_version = 5;");
    database(dir.path()).execute_batch(&sql).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let history = store.meta().reference_history(NAME).unwrap();
    assert_eq!(history.len(), 50);
    assert_eq!(history[0].image, Some(other));
    assert_eq!(history[0].at.as_nanosecond(), 198, "since when");
    assert!(history.windows(2).all(|pair| pair[0].image != pair[1].image));
    assert_eq!(lines(&store, "b:1").len(), 1);
}

#[test]
fn a_name_is_put_back_with_its_image_and_the_journal_forgets_both() {
    let (dir, store) = open();
    let lease = store.lease();
    let layer = apply(&store, &layer_tar("file", b"one"), &lease).diff_id;
    let image = put_image(&store, "app", &[layer], &lease);
    let target = store.content().put(b"the target", &lease).unwrap();
    let target = Descriptor::new("application/octet-stream", target, 10);
    store
        .meta()
        .set_reference(NAME, (&image.id, &[]), Some(&target), "pull")
        .unwrap();
    store
        .meta()
        .set_reference("also:1", (&image.id, &[]), None, "tag")
        .unwrap();
    store
        .meta()
        .add_repo_digest(REPOSITORY, &target.digest, &image.id)
        .unwrap();
    drop(lease);
    let operation = Operation {
        token: "a".to_owned(),
        command: "image rm".to_owned(),
    };
    let familiar = |lost: &LostName| match lost {
        LostName::Tag(reference) | LostName::Platform(reference, _) => reference.name.clone(),
        LostName::Digest(served) => served.repository.clone(),
    };
    store
        .removing(|removing| removing.keep_image(&image.id, &operation, ("app", "rmi"), &[], familiar))
        .unwrap();
    let kept = store.meta().kept_image(&image.id).unwrap().unwrap();
    assert_eq!(
        (kept.removal, kept.size),
        (store.removals().list().unwrap()[0].id, image.size)
    );

    let restore = |store: &Store| {
        store.removing(|removing| removing.restore_reference(NAME, &image.id, Some(&target), "restore"))
    };
    assert!(restore(&store).unwrap(), "it was brought back");
    assert_eq!(store.meta().kept_image(&image.id).unwrap(), None);
    assert_eq!(
        store.meta().find_image(&image.id).unwrap().unwrap().layers,
        image.layers
    );
    assert_eq!(store.meta().repo_digests(&image.id).unwrap().len(), 1);
    assert_eq!(
        store.meta().reference(NAME).unwrap().unwrap().target,
        Some(target.clone())
    );
    assert_eq!(
        lines(&store, NAME),
        [
            line("restore", Some(&image.id)),
            line("rmi", None),
            line("pull", Some(&image.id))
        ]
    );
    // What it was called beside is left for an undo.
    let left = store.removals().list().unwrap();
    let left: Vec<&str> = left[0].items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(left, ["also:1"]);
    assert_eq!(store.collect().unwrap().bytes, 0);
    store
        .removals()
        .restore(&store.removals().list().unwrap()[0])
        .unwrap();
    assert_eq!(store.meta().references_to(&image.id).unwrap().len(), 2);

    // There is nothing to be brought back any more, and nothing that could be.
    assert!(!restore(&store).unwrap());
    store.remove_image(&image.id).unwrap();
    assert!(restore(&store).is_err());
    assert_eq!(store.meta().reference(NAME).unwrap(), None);
    drop(store);
    let empty: i64 = database(dir.path())
        .query_row("SELECT count(*) FROM removals", [], |row| row.get(0))
        .unwrap();
    assert_eq!(empty, 0);
}
