//! What the explorer shows, and what keys do to it.

use havre_explore::{Change, Comparison, Kind, Node, shown};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::reader::{Reader, Wanted};
use super::rows::{Rows, Shown};
use crate::explore::{Subject, Summary};

/// What a key asks of the world outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    End,
    Read(Wanted),
}

/// Where keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Layers,
    Files,
}

/// What fills the screen.
#[derive(Debug)]
pub(super) enum View {
    Panes,
    Waste { at: usize, top: usize },
    Reader(Box<Reader>),
    Help { top: usize },
}

pub(super) struct Screen<'a> {
    pub(super) subject: &'a Subject,
    pub(super) summary: Summary<'a>,
    pub(super) layer: usize,
    pub(super) layers_top: usize,
    /// Compared with the lowest layer instead of the one below.
    pub(super) since_base: bool,
    pub(super) comparison: Comparison,
    pub(super) rows: Rows,
    pub(super) pane: Pane,
    pub(super) view: View,
    /// What is being typed after `/`.
    pub(super) typing: Option<String>,
    pub(super) query: String,
    pub(super) message: Option<String>,
    pub(super) colors: bool,
    /// Lines of the pane that moves, as last drawn.
    pub(super) height: usize,
    /// All names in the order of the tree.
    order: Vec<Node>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(subject: &'a Subject, colors: bool) -> Self {
        let mut screen = Self {
            subject,
            summary: Summary::new(subject),
            layer: 0,
            layers_top: 0,
            since_base: false,
            comparison: subject.tree.compare(0, 1),
            rows: Rows::new(),
            pane: Pane::Layers,
            view: View::Panes,
            typing: None,
            query: String::new(),
            message: None,
            colors,
            height: 10,
            order: subject.tree.in_order(),
        };
        screen.rebuild();
        screen
    }

    /// The layers that are compared with those below them: of the tree that is shown, what they brought is marked.
    pub(super) fn range(&self) -> (usize, usize) {
        let from = if self.since_base {
            self.layer.min(1)
        } else {
            self.layer
        };
        (from, self.layer + 1)
    }

    fn compare(&mut self) {
        let (from, upto) = self.range();
        self.comparison = self.subject.tree.compare(from, upto);
        self.rebuild();
    }

    fn rebuild(&mut self) {
        self.rows.rebuild(&self.subject.tree, &self.comparison);
    }

    pub(super) fn tell(&mut self, message: &str) {
        self.message = Some(shown(message.as_bytes()));
    }

    pub(super) fn open(&mut self, reader: Reader) {
        self.view = View::Reader(Box::new(reader));
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        self.message = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Wish::End;
        }
        if self.typing.is_some() {
            self.type_in(key.code);
            return Wish::Nothing;
        }
        if key
            .modifiers
            .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
        {
            return Wish::Nothing;
        }
        match &mut self.view {
            View::Panes => self.in_panes(key.code),
            View::Waste { .. } => self.in_waste(key.code),
            View::Reader(reader) => {
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc | KeyCode::Backspace => self.view = View::Panes,
                    KeyCode::Char('d') if !reader.can_compare() => {
                        self.tell("no lower layer has this file");
                    }
                    KeyCode::Char('d') => {
                        let compares = !reader.compares;
                        reader.compare(compares);
                    }
                    KeyCode::Left | KeyCode::Char('h') => reader.left = reader.left.saturating_sub(8),
                    KeyCode::Right | KeyCode::Char('l') => reader.left = (reader.left + 8).min(4096),
                    code => {
                        let last = reader.lines().len().saturating_sub(self.height);
                        moved(&mut reader.top, code, self.height, last);
                    }
                }
                Wish::Nothing
            }
            View::Help { top } => {
                match key.code {
                    KeyCode::Char('q' | '?') | KeyCode::Esc | KeyCode::Enter => self.view = View::Panes,
                    code => moved(
                        top,
                        code,
                        self.height,
                        super::draw::HELP.len().saturating_sub(self.height),
                    ),
                }
                Wish::Nothing
            }
        }
    }

    fn in_panes(&mut self, code: KeyCode) -> Wish {
        match code {
            KeyCode::Char('q') => return Wish::End,
            KeyCode::Char('?') => self.view = View::Help { top: 0 },
            KeyCode::Tab | KeyCode::BackTab => {
                self.pane = match self.pane {
                    Pane::Layers => Pane::Files,
                    Pane::Files => Pane::Layers,
                };
            }
            KeyCode::Char('w') => self.view = View::Waste { at: 0, top: 0 },
            KeyCode::Char('m') => {
                self.since_base = !self.since_base;
                self.compare();
            }
            KeyCode::Char('[') => self.choose(self.layer.saturating_sub(1)),
            KeyCode::Char(']') => self.choose(self.layer + 1),
            KeyCode::Char('s') => {
                self.rows.by_size = !self.rows.by_size;
                self.rebuild();
            }
            KeyCode::Char('a') => self.filter(|shown| &mut shown.added),
            KeyCode::Char('c') => self.filter(|shown| &mut shown.changed),
            KeyCode::Char('r') => self.filter(|shown| &mut shown.removed),
            KeyCode::Char('u') => self.filter(|shown| &mut shown.unchanged),
            KeyCode::Char('e') => {
                self.rows.unfold_all(&self.subject.tree, &self.comparison);
                self.rebuild();
            }
            KeyCode::Char('x') => {
                self.rows.fold_all();
                self.rebuild();
            }
            KeyCode::Char('/') => self.typing = Some(String::new()),
            KeyCode::Char('n') => self.search(true),
            KeyCode::Char('N') => self.search(false),
            KeyCode::Esc => {
                self.query.clear();
                if self.rows.shown != Shown::ALL {
                    self.rows.shown = Shown::ALL;
                    self.rebuild();
                }
            }
            code if self.pane == Pane::Layers => {
                let mut layer = self.layer;
                match code {
                    KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => self.pane = Pane::Files,
                    code => moved(
                        &mut layer,
                        code,
                        self.height,
                        self.subject.layers.len().saturating_sub(1),
                    ),
                }
                self.choose(layer);
            }
            code => return self.in_files(code),
        }
        Wish::Nothing
    }

    fn choose(&mut self, layer: usize) {
        let layer = layer.min(self.subject.layers.len().saturating_sub(1));
        if layer != self.layer {
            self.layer = layer;
            self.compare();
        }
    }

    fn filter(&mut self, part: impl Fn(&mut Shown) -> &mut bool) {
        let one = part(&mut self.rows.shown);
        *one = !*one;
        self.rebuild();
    }

    fn has_inside(&self, node: Node) -> bool {
        let mut inside = self.subject.tree.children(node);
        inside.any(|child| self.rows.is_kept(child))
    }

    fn in_files(&mut self, code: KeyCode) -> Wish {
        let Some(node) = self.rows.current() else {
            return Wish::Nothing;
        };
        let open = self.rows.is_open(node);
        match code {
            KeyCode::Enter | KeyCode::Char(' ') if self.has_inside(node) => self.fold(node, !open),
            KeyCode::Right | KeyCode::Char('l') if self.has_inside(node) && !open => self.fold(node, true),
            KeyCode::Left | KeyCode::Char('h') if open && self.has_inside(node) => self.fold(node, false),
            KeyCode::Left | KeyCode::Char('h') => {
                let parent = self.subject.tree.parent(node);
                self.rows.go_to(parent);
            }
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => return self.read(node),
            code => {
                let last = self.rows.list.len().saturating_sub(1);
                moved(&mut self.rows.at, code, self.height, last);
            }
        }
        Wish::Nothing
    }

    fn fold(&mut self, node: Node, open: bool) {
        self.rows.fold(node, open);
        self.rebuild();
    }

    /// The contents of a file, as what is shown has it.
    fn read(&mut self, node: Node) -> Wish {
        let tree = &self.subject.tree;
        let Some(version) = self.comparison.version(tree, node) else {
            return Wish::Nothing;
        };
        let layer = version.layer;
        match &version.kind {
            Kind::File => {}
            Kind::Link { target } => {
                let text = format!("a link to {}", shown(target));
                self.tell(&text);
                return Wish::Nothing;
            }
            kind => {
                let text = format!("no contents to show: {}", kind.name());
                self.tell(&text);
                return Wish::Nothing;
            }
        }
        let versions = tree.versions(node).iter().rev();
        let below = versions
            .filter(|one| one.layer < layer && one.kind == Kind::File)
            .map(|one| one.layer);
        Wish::Read(Wanted {
            path: tree.path(node),
            layer,
            below: below.max(),
            size: version.size,
        })
    }

    fn type_in(&mut self, code: KeyCode) {
        let Some(text) = &mut self.typing else { return };
        match code {
            KeyCode::Char(letter) => text.push(letter),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Esc => self.typing = None,
            KeyCode::Enter => {
                self.query = self.typing.take().unwrap_or_default();
                self.pane = Pane::Files;
                self.search(true);
            }
            _ => {}
        }
    }

    /// Goes to the next name with the text that was searched for; letters count alike in both cases.
    fn search(&mut self, forward: bool) {
        if self.query.is_empty() {
            return self.tell("nothing was searched for: / begins a search");
        }
        let wanted = self.query.to_lowercase();
        let tree = &self.subject.tree;
        let here = self.rows.current().unwrap_or(Node::ROOT);
        let start = self.order.iter().position(|node| *node == here).unwrap_or(0);
        let count = self.order.len();
        let found = (1..=count)
            .map(|step| if forward { start + step } else { start + count - step } % count)
            .map(|at| self.order[at])
            .find(|node| {
                *node != Node::ROOT
                    && self.rows.is_kept(*node)
                    && String::from_utf8_lossy(tree.name(*node)).to_lowercase().contains(&wanted)
            });
        match found {
            Some(node) => {
                self.rows.reveal(tree, node);
                self.rebuild();
                self.rows.go_to(node);
            }
            None => {
                let text = format!("no name with {:?} is shown", self.query);
                self.tell(&text);
            }
        }
    }

    fn in_waste(&mut self, code: KeyCode) -> Wish {
        let View::Waste { at, .. } = &mut self.view else {
            return Wish::Nothing;
        };
        match code {
            KeyCode::Char('q' | 'w') | KeyCode::Esc => self.view = View::Panes,
            KeyCode::Enter => {
                let Some(row) = self.summary.waste.paths.get(*at) else {
                    return Wish::Nothing;
                };
                let node = row.node;
                // Where it was last stored or taken away.
                let last = self
                    .subject
                    .tree
                    .versions(node)
                    .last()
                    .map_or(0, |version| version.layer);
                self.view = View::Panes;
                self.pane = Pane::Files;
                self.rows.shown = Shown::ALL;
                self.layer = last;
                self.rows.reveal(&self.subject.tree, node);
                self.compare();
                self.rows.go_to(node);
            }
            code => moved(
                at,
                code,
                self.height,
                self.summary.waste.paths.len().saturating_sub(1),
            ),
        }
        Wish::Nothing
    }

    /// What became of a name, as a letter.
    pub(super) fn mark(change: Option<Change>) -> char {
        match change {
            Some(Change::Added) => 'A',
            Some(Change::Changed) => 'C',
            Some(Change::Removed) => 'R',
            _ => ' ',
        }
    }
}

/// Moves a place among lines by the keys that do so everywhere.
fn moved(at: &mut usize, code: KeyCode, page: usize, last: usize) {
    let page = page.saturating_sub(1).max(1);
    *at = match code {
        KeyCode::Down | KeyCode::Char('j') => *at + 1,
        KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
        KeyCode::PageDown => *at + page,
        KeyCode::PageUp => at.saturating_sub(page),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => last,
        _ => *at,
    }
    .min(last);
}
