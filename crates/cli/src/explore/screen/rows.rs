//! The lines of the file tree: what is unfolded, filtered, sorted, and where the cursor is.

use std::collections::HashSet;

use havre_explore::{Change, Comparison, Node, Tree};

/// Which names are shown, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) unchanged: bool,
    pub(super) added: bool,
    pub(super) changed: bool,
    pub(super) removed: bool,
}

impl Shown {
    pub(super) const ALL: Self = Self {
        unchanged: true,
        added: true,
        changed: true,
        removed: true,
    };

    fn has(self, change: Change) -> bool {
        match change {
            Change::None => self.unchanged,
            Change::Added => self.added,
            Change::Changed => self.changed,
            Change::Removed => self.removed,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) node: Node,
    pub(super) depth: usize,
}

#[derive(Debug)]
pub(super) struct Rows {
    pub(super) shown: Shown,
    pub(super) by_size: bool,
    open: HashSet<Node>,
    pub(super) list: Vec<Row>,
    /// The cursor.
    pub(super) at: usize,
    /// The first line on the screen.
    pub(super) top: usize,
    /// By node: whether it or something in it is shown.
    kept: Vec<bool>,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self {
            shown: Shown::ALL,
            by_size: false,
            open: HashSet::new(),
            list: Vec::new(),
            at: 0,
            top: 0,
            kept: Vec::new(),
        }
    }

    pub(super) fn is_open(&self, node: Node) -> bool {
        self.open.contains(&node)
    }

    pub(super) fn current(&self) -> Option<Node> {
        self.list.get(self.at).map(|row| row.node)
    }

    /// Makes the list anew; the cursor stays where it was, if that is still shown.
    pub(super) fn rebuild(&mut self, tree: &Tree, comparison: &Comparison) {
        let current = self.current();
        self.kept = vec![false; tree.len()];
        for node in tree.nodes().rev() {
            // A directory that is as it was is kept by what is in it.
            let own = comparison
                .change(node)
                .is_some_and(|change| self.shown.has(change));
            self.kept[node.index()] |= own;
            if self.kept[node.index()] {
                self.kept[tree.parent(node).index()] = true;
            }
        }
        self.list.clear();
        let mut waiting: Vec<Row> = self.inside(tree, comparison, Node::ROOT, 0);
        while let Some(row) = waiting.pop() {
            self.list.push(row);
            if self.open.contains(&row.node) {
                waiting.extend(self.inside(tree, comparison, row.node, row.depth + 1));
            }
        }
        let found = current.and_then(|node| self.list.iter().position(|row| row.node == node));
        self.at = found.unwrap_or(self.at).min(self.list.len().saturating_sub(1));
    }

    /// The last first.
    fn inside(&self, tree: &Tree, comparison: &Comparison, node: Node, depth: usize) -> Vec<Row> {
        let kept = tree.children(node).filter(|child| self.kept[child.index()]);
        let mut rows: Vec<Row> = kept.map(|node| Row { node, depth }).collect();
        if self.by_size {
            rows.sort_by_key(|row| std::cmp::Reverse(comparison.size(row.node)));
        }
        rows.reverse();
        rows
    }

    pub(super) fn fold(&mut self, node: Node, open: bool) {
        if open {
            self.open.insert(node);
        } else {
            self.open.remove(&node);
        }
    }

    /// Unfolds everything that is shown, or what was touched if that is less.
    pub(super) fn unfold_all(&mut self, tree: &Tree, comparison: &Comparison) {
        let wanted = |node: &Node| self.shown.unchanged || comparison.is_touched(*node);
        let all: Vec<Node> = tree
            .nodes()
            .filter(|node| tree.children(*node).next().is_some())
            .filter(wanted)
            .collect();
        self.open.extend(all);
    }

    pub(super) fn fold_all(&mut self) {
        self.open.clear();
    }

    /// Unfolds what a name is in.
    pub(super) fn reveal(&mut self, tree: &Tree, node: Node) {
        let mut at = node;
        while at != Node::ROOT {
            at = tree.parent(at);
            self.open.insert(at);
        }
    }

    pub(super) fn go_to(&mut self, node: Node) {
        if let Some(at) = self.list.iter().position(|row| row.node == node) {
            self.at = at;
        }
    }

    pub(super) fn is_kept(&self, node: Node) -> bool {
        self.kept.get(node.index()).copied().unwrap_or(false)
    }
}
