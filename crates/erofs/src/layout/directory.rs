//! Directories: their names in order, and how these fall into blocks.

use super::Layout;
use crate::format::DIRENT;
use crate::tree::Tree;
use crate::tree::record::UNNAMED;

/// Puts the names of each directory together, sorted by their bytes: the directory's `data` and `size` become first and number
/// of its children in the list returned. Names in directories that are gone are in it too, where nothing leads.
pub(super) fn gather(tree: &mut Tree) -> Vec<u32> {
    let all = tree.records.len() as u32;
    // The root has no name; what lost its name is in no directory.
    let named = |tree: &Tree, number: u32| {
        let record = &tree.records[number];
        (number > 0 && !record.has(UNNAMED)).then_some(record.parent)
    };
    let mut total = 0;
    for number in 0..all {
        if let Some(parent) = named(tree, number) {
            tree.records[parent].size += 1;
            total += 1;
        }
    }
    let mut first = 0;
    for number in 0..all {
        let record = &mut tree.records[number];
        if record.is_dir() {
            record.data = first;
            first += record.size;
        }
    }
    let mut children = vec![0; total];
    // While they are filled, `data` counts up.
    for number in 0..all {
        if let Some(parent) = named(tree, number) {
            let place = &mut tree.records[parent].data;
            children[*place as usize] = number;
            *place += 1;
        }
    }
    for number in 0..all {
        let record = &mut tree.records[number];
        if !record.is_dir() {
            continue;
        }
        record.data -= record.size;
        let range = record.data as usize..(record.data + record.size) as usize;
        let (records, texts) = (&tree.records, &tree.texts);
        let name = |child: &u32| texts.get(records[*child].name);
        children[range].sort_unstable_by(|a, b| name(a).cmp(name(b)));
    }
    children
}

/// What is listed under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    Itself,
    Parent,
    Child(u32),
}

/// The names of a directory as they lie in it: `.` and `..` are sorted like all others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing<'l> {
    layout: &'l Layout,
    children: &'l [u32],
    /// Places of `.` and `..`.
    itself: usize,
    parent: usize,
}

impl<'l> Listing<'l> {
    pub(super) fn new(layout: &'l Layout, directory: u32) -> Self {
        let children = layout.children(directory);
        let before = |name: &[u8]| children.partition_point(|child| layout.name(*child) < name);
        Self {
            layout,
            children,
            itself: before(b"."),
            parent: before(b"..") + 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.children.len() + 2
    }

    pub(super) fn get(&self, at: usize) -> (Listed, &'l [u8]) {
        if at == self.itself {
            return (Listed::Itself, b".");
        }
        if at == self.parent {
            return (Listed::Parent, b"..");
        }
        let child = self.children[at - usize::from(at > self.itself) - usize::from(at > self.parent)];
        (Listed::Child(child), self.layout.name(child))
    }

    /// Where the block ends that begins with the name `first`, and how many bytes of it are used.
    pub(super) fn block(&self, first: usize) -> (usize, u64) {
        let block = self.layout.block().bytes() as usize;
        let (mut at, mut used) = (first, 0);
        while at < self.len() {
            let more = DIRENT + self.get(at).1.len();
            if used + more > block {
                break;
            }
            used += more;
            at += 1;
        }
        (at, used as u64)
    }

    /// Bytes of the directory: whole blocks, and what is used of the last.
    pub(super) fn size(&self) -> u64 {
        let (mut at, mut size) = (0, 0);
        loop {
            let (end, used) = self.block(at);
            if end == self.len() {
                return size + used;
            }
            size += self.layout.block().bytes();
            at = end;
        }
    }
}
