//! Two images side by side: what is in one and not, or otherwise, in the other.

use crate::{Comparison, Kind, Node, Tree, Version};

/// What one image has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side<'t> {
    pub node: Node,
    pub version: &'t Version,
}

/// A path at which two images differ, or may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'t> {
    pub path: Vec<u8>,
    pub old: Option<Side<'t>>,
    pub new: Option<Side<'t>>,
    /// Both are files, and only their contents can tell whether they are the same.
    pub by_contents: bool,
}

/// How files of the same size, owner and permissions from different layers are held to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// If they have the same time of modification.
    Times,
    /// By their contents only.
    Contents,
}

/// The paths at which what a container sees of two images differs, sorted by their components; of a directory that one
/// image lacks, all that is in it, too. `same_layer` says whether a layer of the old image is one of the new.
pub fn differences<'t>(
    old: &'t Tree,
    new: &'t Tree,
    same_layer: &dyn Fn(usize, usize) -> bool,
    trust: Trust,
) -> Vec<Difference<'t>> {
    let (was, is) = (old.merged(), new.merged());
    let mut found = Vec::new();
    let mut waiting = vec![(Vec::new(), Some(Node::ROOT), Some(Node::ROOT))];
    while let Some((path, before, after)) = waiting.pop() {
        let left = before.and_then(|node| side(old, &was, node));
        let right = after.and_then(|node| side(new, &is, node));
        if !path.is_empty() {
            let differ = match (left, right) {
                (None, None) => None,
                (Some(left), Some(right)) => compare(left.version, right.version, same_layer, trust),
                _ => Some(false),
            };
            if let Some(by_contents) = differ {
                found.push(Difference {
                    path: path.clone(),
                    old: left,
                    new: right,
                    by_contents,
                });
            }
        }
        let inside = |tree: &'t Tree, side: Option<Side<'t>>| -> Vec<(&'t [u8], Node)> {
            let Some(side) = side.filter(|side| side.version.kind.is_dir()) else {
                return Vec::new();
            };
            let children = tree.children(side.node);
            children.map(|child| (tree.name(child), child)).collect()
        };
        // Both are sorted by name.
        let (left, right) = (inside(old, left), inside(new, right));
        let (mut one, mut two) = (left.into_iter().peekable(), right.into_iter().peekable());
        let first = waiting.len();
        loop {
            let name = match (one.peek(), two.peek()) {
                (None, None) => break,
                (Some((name, _)), None) | (None, Some((name, _))) => *name,
                (Some((left, _)), Some((right, _))) => (*left).min(*right),
            };
            let left = one.next_if(|(other, _)| *other == name).map(|(_, node)| node);
            let right = two.next_if(|(other, _)| *other == name).map(|(_, node)| node);
            let path = if path.is_empty() {
                name.to_vec()
            } else {
                [&path, &b"/"[..], name].concat()
            };
            waiting.push((path, left, right));
        }
        waiting[first..].reverse();
    }
    found
}

fn side<'t>(tree: &'t Tree, comparison: &Comparison, node: Node) -> Option<Side<'t>> {
    if !comparison.is_present(node) {
        return None;
    }
    let version = comparison.version(tree, node)?;
    Some(Side { node, version })
}

/// [`None`]: the same; else whether contents have to tell.
fn compare(
    old: &Version,
    new: &Version,
    same_layer: &dyn Fn(usize, usize) -> bool,
    trust: Trust,
) -> Option<bool> {
    let attributes = |version: &Version| (version.mode, version.uid, version.gid);
    let same = match (&old.kind, &new.kind) {
        (Kind::Directory { .. }, Kind::Directory { .. }) => attributes(old) == attributes(new),
        // A link's permissions mean nothing.
        (Kind::Link { .. }, Kind::Link { .. }) => {
            old.kind == new.kind && (old.uid, old.gid) == (new.uid, new.gid)
        }
        (Kind::File, Kind::File) => attributes(old) == attributes(new) && old.size == new.size,
        (left, right) => left == right && attributes(old) == attributes(new),
    };
    if !same {
        return Some(false);
    }
    let file = old.kind == Kind::File && old.size > 0;
    let trusted = same_layer(old.layer, new.layer) || trust == Trust::Times && old.mtime == new.mtime;
    (file && !trusted).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    fn tree(files: &[(&str, u64, i64)]) -> Tree {
        let mut tree = Tree::new();
        tree.begin_layer();
        for (path, size, mtime) in files {
            tree.add(Entry {
                path: path.as_bytes().to_vec(),
                kind: Kind::File,
                size: *size,
                mode: 0o644,
                uid: 0,
                gid: 0,
                mtime: *mtime,
                inode: 0,
            });
        }
        tree
    }

    fn told(old: &Tree, new: &Tree, same: bool, trust: Trust) -> Vec<String> {
        let found = differences(old, new, &|_, _| same, trust);
        let line = |one: &Difference<'_>| {
            let sign = match (one.old, one.new) {
                (None, _) => '+',
                (_, None) => '-',
                _ if one.by_contents => '?',
                _ => '~',
            };
            format!("{sign}{}", String::from_utf8_lossy(&one.path))
        };
        found.iter().map(line).collect()
    }

    #[test]
    fn added_removed_changed_and_in_doubt() {
        let old = tree(&[
            ("a/same", 1, 1),
            ("a/touched", 2, 1),
            ("a/grown", 3, 1),
            ("b/gone", 1, 1),
            ("c", 1, 1),
        ]);
        let new = tree(&[
            ("a/same", 1, 1),
            ("a/touched", 2, 9),
            ("a/grown", 4, 1),
            ("c/now/deep", 1, 1),
            ("d", 1, 1),
        ]);
        assert_eq!(
            told(&old, &new, false, Trust::Times),
            [
                "~a/grown",
                "?a/touched",
                "-b",
                "-b/gone",
                "~c",
                "+c/now",
                "+c/now/deep",
                "+d"
            ]
        );
        assert_eq!(told(&old, &old, false, Trust::Times), [""; 0]);
        assert_eq!(told(&old, &old, true, Trust::Contents), [""; 0]);
        assert_eq!(told(&old, &old, false, Trust::Contents).len(), 5);
    }
}
