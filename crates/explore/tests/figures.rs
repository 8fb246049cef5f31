//! Figures of small images, worked out by hand; where dive says otherwise, it is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use havre_explore::{Entry, Kind, LayerSum, Tree};

fn entry(path: &str, kind: Kind, size: u64) -> Entry {
    Entry {
        path: path.into(),
        kind,
        size,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 0,
        inode: 0,
    }
}

fn file(path: &str, size: u64) -> Entry {
    entry(path, Kind::File, size)
}

fn tree(layers: &[&[Entry]]) -> Tree {
    let mut tree = Tree::new();
    for layer in layers {
        tree.begin_layer();
        layer.iter().for_each(|entry| tree.add(entry.clone()));
    }
    tree
}

fn rows(tree: &Tree) -> Vec<(String, usize, u64, u64)> {
    let rows = tree.waste().paths.into_iter();
    rows.map(|row| {
        let path = String::from_utf8(tree.path(row.node)).unwrap();
        (path, row.count, row.bytes, row.hidden)
    })
    .collect()
}

#[test]
fn a_file_that_is_written_again() {
    let tree = tree(&[&[file("a", 10), file("b", 5)], &[file("a", 30)]]);
    let waste = tree.waste();
    assert_eq!(waste.efficiency, 15.0 / 45.0);
    assert_eq!((waste.wasted_bytes, waste.hidden_bytes), (40, 10));
    assert_eq!(waste.user_wasted_share, 40.0 / 30.0);
    assert_eq!(rows(&tree), [("a".to_owned(), 2, 40, 10)]);
}

#[test]
fn a_file_that_is_taken_away() {
    let tree = tree(&[&[file("a", 10), file("b", 5)], &[entry("a", Kind::Removed, 0)]]);
    assert_eq!(tree.waste().efficiency, 5.0 / 15.0);
    assert_eq!(rows(&tree), [("a".to_owned(), 2, 10, 10)]);
    let sums = tree.layer_sums();
    assert_eq!(
        sums[1],
        LayerSum {
            removed: 1,
            ..LayerSum::default()
        }
    );
}

/// dive: efficiency 1, nothing wasted.
#[test]
fn a_directory_that_is_taken_away() {
    let tree = tree(&[
        &[file("lists/a", 10), file("lists/deep/b", 5), file("c", 5)],
        &[entry("lists", Kind::Removed, 0)],
        &[file("lists/new", 1)],
    ]);
    let waste = tree.waste();
    assert_eq!(waste.efficiency, 6.0 / 21.0);
    assert_eq!(rows(&tree), [("lists".to_owned(), 2, 15, 15)]);
    assert_eq!(waste.total_bytes, 21);
}

#[test]
fn names_of_one_file_take_its_bytes_once() {
    let named = |path: &str, inode| Entry {
        inode,
        ..file(path, 10)
    };
    let first = [named("bin/a", 1), named("bin/b", 1), named("bin/other", 2)];
    let one = tree(&[&first]);
    assert_eq!(one.waste().total_bytes, 20);
    assert_eq!(one.waste().efficiency, 1.0);
    // The contents are still there by the other name.
    let two = tree(&[&first, &[entry("bin/a", Kind::Removed, 0)]]);
    assert_eq!(two.waste().hidden_bytes, 0);
    let three = tree(&[&first, &[entry("bin", Kind::Removed, 0)]]);
    assert_eq!(three.waste().hidden_bytes, 20);
}

#[test]
fn what_a_layer_says_last_counts() {
    let opaque = || entry("d", Kind::Directory { opaque: true }, 0);
    let tree = tree(&[
        &[file("d/old", 7), file("x", 1)],
        &[
            file("d/new", 2),
            opaque(),
            file("x", 3),
            entry("x", Kind::Removed, 0),
            file("y/z", 1),
            file("y", 4),
        ],
    ]);
    let merged = tree.merged();
    let present = |path: &str| {
        tree.find(path.as_bytes())
            .is_some_and(|node| merged.is_present(node))
    };
    assert!(present("d/new") && present("x") && present("y"));
    assert!(!present("d/old") && !present("y/z"));
    assert_eq!(merged.size(havre_explore::Node::ROOT), 2 + 3 + 4);
}

#[test]
fn hostile_depth_and_names() {
    let deep = vec![&b"d"[..]; 2000].join(&b'/');
    let mut tree = Tree::new();
    tree.begin_layer();
    tree.add(Entry {
        path: deep.clone(),
        ..file("", 3)
    });
    tree.add(file("", 9));
    tree.add(Entry {
        path: b"//a\xff//".to_vec(),
        ..file("", 1)
    });
    assert_eq!(tree.path(tree.find(&deep).unwrap()), deep);
    assert!(tree.waste().total_bytes >= 3);
}
