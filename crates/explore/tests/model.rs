//! The tree against a model that applies one layer after the other to a map.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use havre_explore::{Change, Entry, Kind, Node, Tree};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

type Layer = BTreeMap<String, (Kind, u64)>;
/// What is there: of which layer, and of what kind and size.
type State = BTreeMap<String, (usize, Kind, u64)>;

const DIRECTORY: Kind = Kind::Directory { opaque: false };

fn entry(path: &str, kind: &Kind, size: u64) -> Entry {
    Entry {
        path: path.into(),
        kind: kind.clone(),
        size,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
        inode: 0,
    }
}

/// A layer as a file system has it: what has something in it is a directory, and is there.
fn whole(names: BTreeMap<String, (Kind, u64)>) -> Layer {
    let mut layer = Layer::new();
    'names: for (path, (kind, size)) in names {
        let parents: Vec<String> = path
            .match_indices('/')
            .map(|(at, _)| path[..at].to_owned())
            .collect();
        for parent in &parents {
            if layer.get(parent).is_some_and(|(kind, _)| !kind.is_dir()) {
                continue 'names;
            }
        }
        for parent in parents {
            layer.entry(parent).or_insert((DIRECTORY, 0));
        }
        layer.insert(path, (kind, size));
    }
    layer
}

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let kind = prop_oneof![
        4 => (1_u64..100).prop_map(|size| (Kind::File, size)),
        2 => Just((DIRECTORY, 0)),
        1 => Just((Kind::Directory { opaque: true }, 0)),
        2 => Just((Kind::Removed, 0)),
        1 => Just((Kind::Link { target: b"x".to_vec() }, 0)),
    ];
    let layer = btree_map("[abc](/[abc]){0,2}", kind, 0..8).prop_map(whole);
    vec(layer, 1..5)
}

fn apply(state: &mut State, number: usize, layer: &Layer) {
    let drop_beneath = |state: &mut State, path: &str| {
        let prefix = format!("{path}/");
        state.retain(|name, (of, ..)| !name.starts_with(&prefix) || *of == number);
    };
    for (path, (kind, size)) in layer {
        match kind {
            Kind::Removed => {
                drop_beneath(state, path);
                state.remove(path);
                continue;
            }
            Kind::Directory { opaque } => {
                let over = state.get(path).is_some_and(|(_, kind, _)| kind.is_dir());
                if *opaque || !over {
                    drop_beneath(state, path);
                }
            }
            _ => drop_beneath(state, path),
        }
        state.insert(path.clone(), (number, kind.clone(), *size));
    }
}

fn tree_of(layers: &[Layer]) -> Tree {
    let mut tree = Tree::new();
    for layer in layers {
        tree.begin_layer();
        tree.add(entry("", &DIRECTORY, 0));
        for (path, (kind, size)) in layer {
            tree.add(entry(path, kind, *size));
        }
    }
    tree
}

fn seen(tree: &Tree, from: usize, upto: usize) -> BTreeMap<String, usize> {
    let comparison = tree.compare(from, upto);
    let present = tree
        .nodes()
        .filter(|node| *node != Node::ROOT && comparison.is_present(*node));
    present
        .map(|node| {
            let path = String::from_utf8(tree.path(node)).unwrap();
            (path, comparison.version(tree, node).unwrap().layer)
        })
        .collect()
}

proptest! {
    #[test]
    fn every_state_is_what_unpacking_gives(layers in layers()) {
        let tree = tree_of(&layers);
        let mut states = vec![State::new()];
        for (number, layer) in layers.iter().enumerate() {
            let mut state = states[number].clone();
            apply(&mut state, number, layer);
            states.push(state);
        }
        for upto in 0..=layers.len() {
            let expected: BTreeMap<String, usize> =
                states[upto].iter().map(|(path, (layer, ..))| (path.clone(), *layer)).collect();
            prop_assert_eq!(seen(&tree, 0, upto), expected);
            let bytes: u64 = states[upto].values().map(|(_, _, size)| size).sum();
            prop_assert_eq!(tree.compare(0, upto).size(Node::ROOT), bytes);
            for from in 0..=upto {
                let comparison = tree.compare(from, upto);
                for node in tree.nodes().skip(1) {
                    let path = String::from_utf8(tree.path(node)).unwrap();
                    let change = match (states[from].get(&path), states[upto].get(&path)) {
                        (None, None) => None,
                        (None, Some(_)) => Some(Change::Added),
                        (Some(_), None) => Some(Change::Removed),
                        (Some(old), Some(new)) if old.0 == new.0 => Some(Change::None),
                        (Some(old), Some(new)) if old.1.is_dir() && new.1.is_dir() => Some(Change::None),
                        _ => Some(Change::Changed),
                    };
                    prop_assert_eq!(comparison.change(node), change, "{} from {} to {}", path, from, upto);
                    if change.is_some_and(|change| change != Change::None) {
                        let mut at = node;
                        while at != Node::ROOT {
                            prop_assert!(comparison.is_touched(at));
                            at = tree.parent(at);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn waste_adds_up(layers in layers()) {
        let tree = tree_of(&layers);
        let waste = tree.waste();
        let stored: u64 = layers.iter().flat_map(BTreeMap::values).map(|(_, size)| size).sum();
        let seen = tree.merged().size(Node::ROOT);
        prop_assert_eq!(waste.total_bytes, stored);
        prop_assert_eq!(waste.hidden_bytes, stored - seen);
        prop_assert!((0.0..=1.0).contains(&waste.efficiency));
        prop_assert_eq!(waste.wasted_bytes, waste.paths.iter().map(|row| row.bytes).sum::<u64>());
        prop_assert_eq!(waste.hidden_bytes, waste.paths.iter().map(|row| row.hidden).sum::<u64>());
        prop_assert!(waste.wasted_bytes >= waste.hidden_bytes && waste.wasted_bytes <= stored);
        prop_assert!(waste.paths.windows(2).all(|pair| pair[0].bytes >= pair[1].bytes));
        if waste.paths.is_empty() {
            prop_assert_eq!(waste.efficiency, 1.0);
        }
        let sums = tree.layer_sums();
        prop_assert_eq!(sums.iter().map(|sum| sum.bytes).sum::<u64>(), stored);
    }

    /// Archives leave out directories, and name things in any order.
    #[test]
    fn the_order_of_a_layer_is_nothing(layers in layers(), seed in any::<u64>()) {
        let expected = tree_of(&layers);
        let mut tree = Tree::new();
        for layer in &layers {
            tree.begin_layer();
            let mut names: Vec<_> = layer.iter().collect();
            let turn = usize::try_from(seed % 7).unwrap().min(names.len());
            names.rotate_left(turn);
            for (path, (kind, size)) in names {
                tree.add(entry(path, kind, *size));
            }
        }
        for upto in 0..=layers.len() {
            prop_assert_eq!(seen(&tree, 0, upto), seen(&expected, 0, upto));
        }
    }
}
