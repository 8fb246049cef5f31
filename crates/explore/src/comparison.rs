//! Two states of an image side by side.

use crate::{Node, Tree, Version};

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Nothing; of a directory that may still be said of what is in it.
    None,
    Added,
    /// It is stored again, or a directory has other attributes.
    Changed,
    Removed,
}

/// What some layers make of those below them, name by name.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// [`None`] where the name is in neither state; which version counts (of what was removed: which did).
    marks: Vec<(Option<Change>, Option<usize>)>,
    /// Bytes of what is there, with all that is in it.
    sizes: Vec<u64>,
    /// Whether something in it, or itself, is other than before.
    touched: Vec<bool>,
}

impl Comparison {
    pub(crate) fn new(tree: &Tree, marks: Vec<(Option<Change>, Option<usize>)>) -> Self {
        let mut sizes = vec![0; marks.len()];
        let mut touched = vec![false; marks.len()];
        // From the leaves to the root: a directory stands before what is in it.
        for node in tree.nodes().rev() {
            let at = node.index();
            let (change, version) = &marks[at];
            touched[at] |= change.is_some_and(|change| change != Change::None);
            if let (Some(Change::None | Change::Added | Change::Changed), Some(version)) = (change, version) {
                sizes[at] += tree.versions(node)[*version].stored;
            }
            if node != Node::ROOT {
                let parent = tree.parent(node).index();
                sizes[parent] += sizes[at];
                touched[parent] |= touched[at];
            }
        }
        Self {
            marks,
            sizes,
            touched,
        }
    }

    /// [`None`] if the name is in neither state.
    pub fn change(&self, node: Node) -> Option<Change> {
        self.marks[node.index()].0
    }

    /// Whether it is there afterwards.
    pub fn is_present(&self, node: Node) -> bool {
        !matches!(self.change(node), None | Some(Change::Removed))
    }

    /// Whether it or something in it is other than before.
    pub fn is_touched(&self, node: Node) -> bool {
        self.touched[node.index()]
    }

    /// Bytes with all that is in it; of what was removed 0.
    pub fn size(&self, node: Node) -> u64 {
        self.sizes[node.index()]
    }

    /// What is there, or was.
    pub fn version<'t>(&self, tree: &'t Tree, node: Node) -> Option<&'t Version> {
        let (change, version) = self.marks[node.index()];
        change?;
        tree.versions(node).get(version?)
    }
}
