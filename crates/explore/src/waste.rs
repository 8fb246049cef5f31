//! What is stored in vain.

use std::collections::{BTreeMap, HashSet};

use crate::{Kind, Node, Tree};

/// What an image stores in vain.
///
/// A path is *inefficient* if layers store it more than once, or if one stores it and a later one takes it away. The
/// figures are those of dive:
///
/// - [`wasted_bytes`](Self::wasted_bytes): all bytes stored for inefficient paths, those that are seen in the end included.
/// - [`efficiency`](Self::efficiency): for every path the least of its stored sizes (0 if it was taken away), summed up, as
///   a share of all bytes stored.
///
/// They differ from dive's in what concerns directories that are taken away as a whole, or hidden by an opaque one: here
/// everything in them counts as taken away. dive adds the bytes of such a directory to both sides of the efficiency, as if
/// they had been stored once more and well, leaves them out of the wasted bytes, and doesn't know opaque directories.
///
/// [`hidden_bytes`](Self::hidden_bytes) is what would be saved if all layers were one.
#[derive(Debug, Clone, PartialEq)]
pub struct Waste {
    /// From 0 to 1.
    pub efficiency: f64,
    pub wasted_bytes: u64,
    /// Wasted bytes as a share of what the layers above the lowest store, and 0 if they store nothing. May exceed 1.
    pub user_wasted_share: f64,
    pub hidden_bytes: u64,
    /// Bytes of all layers.
    pub total_bytes: u64,
    /// The most wasteful first; then by path.
    pub paths: Vec<Inefficient>,
}

/// A path that is stored in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inefficient {
    pub node: Node,
    /// How often a layer stores it or takes it away.
    pub count: usize,
    /// All that is stored for it; of a directory that was taken away, for what was in it.
    pub bytes: u64,
    /// Of these, what nobody sees.
    pub hidden: u64,
}

impl Waste {
    pub(crate) fn of(tree: &Tree) -> Self {
        let layers = tree.layer_count();
        // By node: layers below this one are hidden beneath it.
        let mut barriers: Vec<usize> = Vec::with_capacity(tree.len());
        let mut seen: HashSet<(usize, u64)> = HashSet::new();
        for node in tree.nodes() {
            let above = match node {
                Node::ROOT => 0,
                _ => barriers[tree.parent(node).index()],
            };
            let versions = tree.versions(node);
            let own = versions
                .iter()
                .rev()
                .find(|version| version.kind != Kind::Directory { opaque: false });
            barriers.push(above.max(own.map_or(0, |version| version.layer)));
            if let Some(last) = versions.last()
                && last.inode != 0
                && last.layer >= above
            {
                seen.insert((last.layer, last.inode));
            }
        }
        let (mut least, mut stored, mut hidden_bytes) = (0, 0, 0);
        let mut rows: BTreeMap<Node, Inefficient> = BTreeMap::new();
        for node in tree.nodes() {
            let versions = tree.versions(node);
            if versions.iter().all(|version| version.kind.is_dir()) {
                continue;
            }
            let above = match node {
                Node::ROOT => 0,
                _ => barriers[tree.parent(node).index()],
            };
            let bytes: u64 = versions.iter().map(|version| version.stored).sum();
            let hidden = versions.iter().enumerate().filter(|(at, version)| {
                let last = at + 1 == versions.len();
                (!last || version.layer < above) && !seen.contains(&(version.layer, version.inode))
            });
            let hidden: u64 = hidden.map(|(_, version)| version.stored).sum();
            let brings = |kind: &Kind| !matches!(kind, Kind::Removed | Kind::Directory { .. });
            let first = versions.iter().position(|version| brings(&version.kind));
            let removed = first.is_some_and(|first| {
                versions[first].layer < above
                    || versions[first..].iter().any(|version| !brings(&version.kind))
            });
            stored += bytes;
            hidden_bytes += hidden;
            let Some(first) = first else { continue };
            if !removed {
                let sizes = versions[first..].iter().map(|version| version.stored);
                least += sizes.min().unwrap_or(0);
            }
            let count = versions.len() - first;
            if count > 1 {
                rows.insert(
                    node,
                    Inefficient {
                        node,
                        count,
                        bytes,
                        hidden,
                    },
                );
            } else if versions[first].layer < above {
                let directory = outermost(tree, node, versions[first].layer, layers);
                let row = rows.entry(directory).or_insert(Inefficient {
                    node: directory,
                    count: 2,
                    bytes: 0,
                    hidden: 0,
                });
                row.bytes += bytes;
                row.hidden += hidden;
            }
        }
        let mut paths: Vec<Inefficient> = rows.into_values().collect();
        let mut order: Vec<(std::cmp::Reverse<u64>, Vec<u8>, usize)> = paths
            .iter()
            .enumerate()
            .map(|(at, row)| (std::cmp::Reverse(row.bytes), tree.path(row.node), at))
            .collect();
        order.sort_unstable();
        paths = order.into_iter().map(|(_, _, at)| paths[at].clone()).collect();
        let wasted_bytes = paths.iter().map(|row| row.bytes).sum();
        let user: u64 = tree.layer_sums().iter().skip(1).map(|sum| sum.bytes).sum();
        Self {
            efficiency: share(least, stored).unwrap_or(1.0),
            wasted_bytes,
            user_wasted_share: share(wasted_bytes, user).unwrap_or(0.0),
            hidden_bytes,
            total_bytes: stored,
            paths,
        }
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The outermost directory with which something of `layer` was taken away.
fn outermost(tree: &Tree, node: Node, layer: usize, layers: usize) -> Node {
    let mut found = node;
    let mut at = node;
    while at != Node::ROOT {
        at = tree.parent(at);
        let hides = |version: &crate::Version| {
            (layer + 1..layers).contains(&version.layer) && version.kind != Kind::Directory { opaque: false }
        };
        if tree.versions(at).iter().any(hides) {
            found = at;
        }
    }
    found
}
