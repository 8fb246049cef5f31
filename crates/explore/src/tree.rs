//! All paths of all layers in one tree: each name once, with what every layer says of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::{Change, Comparison, Entry, Kind, Waste};

/// A name in a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub(crate) u32);

impl Node {
    /// The root directory.
    pub const ROOT: Self = Self(0);

    /// Its place among [`Tree::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one layer says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// From 0, the lowest.
    pub layer: usize,
    pub kind: Kind,
    /// Bytes of a file.
    pub size: u64,
    /// Bytes this name takes in its layer: of a file with several names, those of the first name only.
    pub stored: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub(crate) inode: u64,
}

impl Version {
    /// A directory of which nothing tells.
    fn implied(layer: usize) -> Self {
        Self {
            layer,
            kind: Kind::Directory { opaque: false },
            size: 0,
            stored: 0,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            inode: 0,
        }
    }

    /// Whether what lower layers have beneath the name is hidden by it.
    fn hides(&self) -> bool {
        self.kind != Kind::Directory { opaque: false }
    }

    fn same_directory(&self, other: &Self) -> bool {
        self.kind.is_dir()
            && other.kind.is_dir()
            && (self.mode, self.uid, self.gid) == (other.mode, other.uid, other.gid)
    }
}

/// What a layer brings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerSum {
    /// Bytes of its files.
    pub bytes: u64,
    /// Names that were not there below; directories count.
    pub added: u64,
    /// Files that were there and are stored again, and directories with other attributes.
    pub changed: u64,
    /// Names taken away; a directory counts once.
    pub removed: u64,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) name: Arc<[u8]>,
    pub(crate) parent: Node,
    pub(crate) children: BTreeMap<Arc<[u8]>, Node>,
    /// By layer, the lowest first.
    pub(crate) versions: Vec<Version>,
}

impl Held {
    /// What the layers below `upto` say last.
    fn last(&self, upto: usize) -> Option<usize> {
        let count = self.versions.partition_point(|version| version.layer < upto);
        count.checked_sub(1)
    }

    /// The last of the layers below `upto` that hides what is beneath the name in lower ones.
    fn barrier(&self, upto: usize) -> usize {
        let versions = self.versions.iter().rev();
        let mut below = versions.filter(|version| version.layer < upto);
        below
            .find(|version| version.hides())
            .map_or(0, |version| version.layer)
    }
}

/// All paths of all layers. Layers are added from the lowest up: [`begin_layer`](Self::begin_layer), then its entries in any
/// order in which later ones count.
///
/// A name below a number of layers is there if the last of them that says something of it doesn't remove it, and no later
/// layer hides a directory it is in (by removing it, by something else in its place, or by making it opaque).
#[derive(Debug)]
pub struct Tree {
    /// A directory stands before what is in it.
    nodes: Vec<Held>,
    sums: Vec<LayerSum>,
    /// Files with several names of which the current layer has had the first.
    met: HashSet<u64>,
    /// Where the last entry was, as most entries are beside or beneath it.
    cursor: (Vec<u8>, Node),
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    pub fn new() -> Self {
        let root = Held {
            name: Arc::from(&b""[..]),
            parent: Node::ROOT,
            children: BTreeMap::new(),
            versions: Vec::new(),
        };
        Self {
            nodes: vec![root],
            sums: Vec::new(),
            met: HashSet::new(),
            cursor: (Vec::new(), Node::ROOT),
        }
    }

    /// The entries that follow are of the next layer; its number.
    pub fn begin_layer(&mut self) -> usize {
        self.sums.push(LayerSum::default());
        self.met.clear();
        self.cursor = (Vec::new(), Node::ROOT);
        let layer = self.sums.len() - 1;
        if layer == 0 {
            self.put(Node::ROOT, Version::implied(layer));
        }
        layer
    }

    /// Adds an entry to the last layer; the root is always a directory. Directories on its way that nothing tells of are made, as unpacking would.
    pub fn add(&mut self, entry: Entry) {
        if self.sums.is_empty() {
            self.begin_layer();
        }
        let layer = self.sums.len() - 1;
        let path = trimmed(&entry.path);
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        let node = if name.is_empty() {
            if !entry.kind.is_dir() {
                return;
            }
            Node::ROOT
        } else {
            if self.cursor.0 != parent {
                let found = self.directory(parent, layer);
                self.cursor = (parent.to_vec(), found);
            }
            self.child(self.cursor.1, name)
        };
        let stored = match entry.kind {
            Kind::File if entry.inode == 0 || self.met.insert(entry.inode) => entry.size,
            _ => 0,
        };
        let mut entry = entry;
        if entry.kind == Kind::Removed {
            // What tells of nothing has nothing to tell of itself.
            (entry.mode, entry.uid, entry.gid, entry.mtime) = (0, 0, 0, 0);
        }
        let version = Version {
            layer,
            kind: entry.kind,
            size: entry.size,
            stored,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            inode: entry.inode,
        };
        self.put(node, version);
    }

    fn directory(&mut self, path: &[u8], layer: usize) -> Node {
        let mut node = Node::ROOT;
        let mut barrier = self.nodes[0].barrier(layer + 1);
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            node = self.child(node, name);
            let held = &self.nodes[node.index()];
            let last = held.versions.last();
            if last.is_none_or(|last| !last.kind.is_dir() || last.layer < barrier) {
                self.put(node, Version::implied(layer));
            }
            barrier = barrier.max(self.nodes[node.index()].barrier(layer + 1));
        }
        node
    }

    fn child(&mut self, parent: Node, name: &[u8]) -> Node {
        if let Some(found) = self.nodes[parent.index()].children.get(name) {
            return *found;
        }
        let node = Node(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let name: Arc<[u8]> = Arc::from(name);
        self.nodes[parent.index()]
            .children
            .insert(Arc::clone(&name), node);
        self.nodes.push(Held {
            name,
            parent,
            children: BTreeMap::new(),
            versions: Vec::new(),
        });
        node
    }

    /// The same as unpacking one entry after the other: what a layer says last of a name counts.
    fn put(&mut self, node: Node, mut version: Version) {
        let versions = &mut self.nodes[node.index()].versions;
        let Some(there) = versions.last_mut().filter(|there| there.layer == version.layer) else {
            // Most names are in one layer: room for just that.
            versions.reserve_exact(1);
            versions.push(version);
            return;
        };
        match (&mut there.kind, &mut version.kind) {
            (Kind::Directory { opaque }, Kind::Removed) => *opaque = true,
            // What a layer brings it doesn't remove.
            (kind, Kind::Removed) if *kind != Kind::Removed => {}
            (Kind::Directory { opaque: was }, Kind::Directory { opaque }) => {
                *opaque |= *was;
                *there = version;
            }
            (Kind::Removed, Kind::Directory { opaque }) => {
                *opaque = true;
                *there = version;
            }
            (Kind::Directory { .. }, _) => {
                let layer = version.layer;
                *there = version;
                self.forget_beneath(node, layer);
            }
            _ => *there = version,
        }
    }

    /// Takes back what a layer has said of what is beneath a name.
    fn forget_beneath(&mut self, node: Node, layer: usize) {
        let mut waiting: Vec<Node> = self.nodes[node.index()].children.values().copied().collect();
        while let Some(node) = waiting.pop() {
            let held = &mut self.nodes[node.index()];
            held.versions.retain(|version| version.layer != layer);
            waiting.extend(held.children.values());
        }
    }

    pub fn layer_count(&self) -> usize {
        self.sums.len()
    }

    /// Names of all layers, the root among them.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// All names; a directory comes before what is in it.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = Node> + use<> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(Node)
    }

    /// All names as a listing has them: a directory right before what is in it, names sorted by bytes.
    pub fn in_order(&self) -> Vec<Node> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut waiting = vec![Node::ROOT];
        while let Some(node) = waiting.pop() {
            order.push(node);
            waiting.extend(self.held(node).children.values().rev());
        }
        order
    }

    pub(crate) fn held(&self, node: Node) -> &Held {
        &self.nodes[node.index()]
    }

    /// The last part of its path.
    pub fn name(&self, node: Node) -> &[u8] {
        &self.held(node).name
    }

    /// The directory it is in; of the root the root.
    pub fn parent(&self, node: Node) -> Node {
        self.held(node).parent
    }

    /// What is in it in any layer, names sorted by bytes.
    pub fn children(&self, node: Node) -> impl Iterator<Item = Node> + '_ {
        self.held(node).children.values().copied()
    }

    /// What each layer says of it, the lowest first.
    pub fn versions(&self, node: Node) -> &[Version] {
        &self.held(node).versions
    }

    pub fn path(&self, node: Node) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = node;
        while at != Node::ROOT {
            names.push(&*self.held(at).name);
            at = self.parent(at);
        }
        names.reverse();
        names.join(&b'/')
    }

    pub fn find(&self, path: &[u8]) -> Option<Node> {
        let mut node = Node::ROOT;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            node = *self.held(node).children.get(name)?;
        }
        Some(node)
    }

    /// What each layer brings.
    pub fn layer_sums(&self) -> Vec<LayerSum> {
        let mut sums = vec![LayerSum::default(); self.sums.len()];
        for node in self.nodes() {
            for (at, version) in self.versions(node).iter().enumerate() {
                let Some(sum) = sums.get_mut(version.layer) else {
                    continue;
                };
                sum.bytes += version.stored;
                if node == Node::ROOT {
                    continue;
                }
                let below = at.checked_sub(1).map(|at| &self.versions(node)[at]);
                let below = below.filter(|below| {
                    below.kind != Kind::Removed && below.layer >= self.barrier_above(node, version.layer)
                });
                match (below, &version.kind) {
                    (None, Kind::Removed) => {}
                    (Some(_), Kind::Removed) => sum.removed += 1,
                    (None, _) => sum.added += 1,
                    (Some(below), _) if below.same_directory(version) => {}
                    (Some(_), _) => sum.changed += 1,
                }
            }
        }
        sums
    }

    /// The last of the layers below `upto` that hides what lower ones have beneath a directory the name is in.
    pub(crate) fn barrier_above(&self, node: Node, upto: usize) -> usize {
        let mut barrier = 0;
        let mut at = node;
        while at != Node::ROOT {
            at = self.parent(at);
            barrier = barrier.max(self.held(at).barrier(upto));
        }
        barrier
    }

    /// What the layers from `from` on, below `upto`, make of those below `from`.
    pub fn compare(&self, from: usize, upto: usize) -> Comparison {
        let mut before = States::new(self, from);
        let mut after = States::new(self, upto);
        let mut marks = Vec::with_capacity(self.nodes.len());
        for node in self.nodes() {
            let (old, new) = (before.next(node), after.next(node));
            let versions = self.versions(node);
            let change = match (old, new) {
                (None, None) => None,
                (None, Some(_)) => Some(Change::Added),
                (Some(_), None) => Some(Change::Removed),
                (Some(old), Some(new)) if old == new => Some(Change::None),
                (Some(old), Some(new)) if versions[old].same_directory(&versions[new]) => Some(Change::None),
                (Some(_), Some(_)) => Some(Change::Changed),
            };
            marks.push((change, new.or(old)));
        }
        Comparison::new(self, marks)
    }

    /// What a container sees: all layers, compared with none.
    pub fn merged(&self) -> Comparison {
        self.compare(0, self.sums.len())
    }

    /// What is stored in vain. See [`Waste`].
    pub fn waste(&self) -> Waste {
        Waste::of(self)
    }
}

/// Without slashes at either end.
fn trimmed(mut path: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] | [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

/// What is there below a number of layers, asked for in the order of [`Tree::nodes`].
struct States<'t> {
    tree: &'t Tree,
    upto: usize,
    /// By node: which layers' versions beneath it are hidden, those below this one.
    barriers: Vec<usize>,
}

impl<'t> States<'t> {
    fn new(tree: &'t Tree, upto: usize) -> Self {
        Self {
            tree,
            upto,
            barriers: Vec::with_capacity(tree.len()),
        }
    }

    /// The version of the node that counts.
    fn next(&mut self, node: Node) -> Option<usize> {
        let held = self.tree.held(node);
        let above = match node {
            Node::ROOT => 0,
            _ => self.barriers[held.parent.index()],
        };
        self.barriers.push(above.max(held.barrier(self.upto)));
        let last = held.last(self.upto)?;
        let version = &held.versions[last];
        (version.layer >= above && version.kind != Kind::Removed).then_some(last)
    }
}
