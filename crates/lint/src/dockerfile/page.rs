//! A parsed Dockerfile with its stages, and where words stand in it.

use std::ops::Range;

use havre_dockerfile::expand::{self, Variables};
use havre_dockerfile::instructions::{self, Kind, LocatedError};
use havre_dockerfile::parser::{Document, Node};

use crate::finding::{Place, Region};

/// One instruction.
pub(super) struct Item {
    pub(super) node: Node,
    pub(super) kind: Result<Kind, LocatedError>,
}

/// Where a stage begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    Stage(usize),
    Image(String),
}

pub(super) struct Stage {
    /// Its FROM, among the items.
    pub(super) from: usize,
    /// What follows.
    pub(super) body: Range<usize>,
    /// As written.
    pub(super) name: Option<String>,
    pub(super) base: Base,
}

pub(super) struct Page<'a> {
    lines: Vec<&'a str>,
    pub(super) document: Document,
    pub(super) items: Vec<Item>,
    pub(super) stages: Vec<Stage>,
    /// ARGs before the first FROM.
    pub(super) globals: Vec<(String, Option<String>)>,
}

/// What builders set by themselves, for FROM and after an ARG in a stage.
pub(super) const PREDEFINED: [(&str, &str); 10] = [
    ("TARGETPLATFORM", "linux/amd64"),
    ("TARGETOS", "linux"),
    ("TARGETARCH", "amd64"),
    ("TARGETVARIANT", ""),
    ("BUILDPLATFORM", "linux/amd64"),
    ("BUILDOS", "linux"),
    ("BUILDARCH", "amd64"),
    ("BUILDVARIANT", ""),
    ("TARGETSTAGE", "default"),
    ("BUILDKIT_SBOM_SCAN_STAGE", ""),
];

/// The global arguments as values.
pub(super) struct Globals<'p>(pub(super) &'p [(String, Option<String>)]);

impl Variables for Globals<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let own = self.0.iter().rev().find(|(own, _)| own == name);
        match own {
            Some((_, Some(value))) => Some(value),
            _ => PREDEFINED
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value),
        }
    }
}

impl<'a> Page<'a> {
    pub(super) fn new(text: &'a str, document: Document) -> Self {
        let escape = document.directives.escape;
        let items: Vec<Item> = document
            .nodes
            .iter()
            .map(|node| Item {
                kind: instructions::read_node(node, escape).map(|read| read.kind),
                node: node.clone(),
            })
            .collect();
        let mut page = Self {
            lines: text.lines().collect(),
            document,
            items,
            stages: Vec::new(),
            globals: Vec::new(),
        };
        for index in 0..page.items.len() {
            match &page.items[index].kind {
                Ok(Kind::Arg(args)) if page.stages.is_empty() => {
                    for arg in args.clone() {
                        let value = arg.default.map(|value| page.expanded(&value));
                        page.globals.push((arg.name, value));
                    }
                }
                Ok(Kind::From(from)) => {
                    let base = page.expanded(&from.base);
                    let words: Vec<&str> = page.items[index].node.rest.split_whitespace().collect();
                    let name = words
                        .get(2)
                        .filter(|_| words.len() == 3)
                        .map(|name| (*name).to_owned());
                    let base = match page.stage_named(&base) {
                        Some(stage) => Base::Stage(stage),
                        None if base == "scratch" => Base::Scratch,
                        None => Base::Image(base),
                    };
                    page.stages.push(Stage {
                        from: index,
                        body: index + 1..index + 1,
                        name,
                        base,
                    });
                }
                _ => {
                    if let Some(stage) = page.stages.last_mut() {
                        stage.body.end = index + 1;
                    }
                }
            }
        }
        page
    }

    /// A word of FROM with the values of global arguments; as written where that is impossible.
    pub(super) fn expanded(&self, word: &str) -> String {
        expand::word(word, &Globals(&self.globals), self.escape()).unwrap_or_else(|_| word.to_owned())
    }

    pub(super) fn escape(&self) -> char {
        self.document.directives.escape
    }

    /// The last stage of that name so far.
    pub(super) fn stage_named(&self, name: &str) -> Option<usize> {
        self.stages.iter().rposition(|stage| {
            stage
                .name
                .as_deref()
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
        })
    }

    /// The stages whose layers are in the image, the last first.
    pub(super) fn shipped(&self) -> Vec<usize> {
        let mut chain = Vec::new();
        let mut next = self.stages.len().checked_sub(1);
        while let Some(stage) = next {
            chain.push(stage);
            next = match self.stages[stage].base {
                // A stage can only be based on one before it.
                Base::Stage(base) if base < stage => Some(base),
                _ => None,
            };
        }
        chain
    }

    /// The instructions of a stage.
    pub(super) fn body(&self, stage: usize) -> &[Item] {
        &self.items[self.stages[stage].body.clone()]
    }

    fn line(&self, number: usize) -> &'a str {
        self.lines
            .get(number.wrapping_sub(1))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn blank(&self, number: usize) -> bool {
        self.line(number).trim().is_empty()
    }

    /// Its first line, from the keyword on.
    pub(super) fn head(&self, node: &Node) -> Place {
        Place::Text(self.span(*node.lines.start(), None))
    }

    /// The first place of a word in an instruction; its first line if it isn't there as written.
    pub(super) fn word(&self, node: &Node, word: &str) -> Place {
        self.find(node, word).unwrap_or_else(|| self.head(node))
    }

    /// The first place where a word stands by itself, else the first at all.
    pub(super) fn find(&self, node: &Node, word: &str) -> Option<Place> {
        let inner = |c: char| c.is_alphanumeric() || "_-".contains(c);
        let mut fallback = None;
        for number in node.lines.clone() {
            let line = self.line(number);
            if word.is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            for (at, _) in line.match_indices(word) {
                let place = (number, at..at + word.len());
                let before = line[..at].chars().next_back().is_none_or(|c| !inner(c));
                let after = line[at + word.len()..].chars().next().is_none_or(|c| !inner(c));
                if before && after {
                    return Some(Place::Text(self.span(number, Some(place.1))));
                }
                fallback.get_or_insert(place);
            }
        }
        fallback.map(|(number, at)| Place::Text(self.span(number, Some(at))))
    }

    /// A place in a line, by bytes.
    pub(super) fn span(&self, number: usize, at: Option<Range<usize>>) -> Region {
        let line = self.line(number);
        let at = at.unwrap_or_else(|| line.len() - line.trim_start().len()..line.trim_end().len());
        region(line, number, at)
    }
}

fn region(line: &str, number: usize, at: Range<usize>) -> Region {
    let start = at.start.min(line.len());
    let column = line[..start].chars().count() + 1;
    let width = line
        .get(start..at.end.max(start))
        .map_or(0, |text| text.chars().count());
    Region {
        line: number,
        column,
        end_line: number,
        end_column: column + width.max(1),
    }
}

/// A whole line of a text.
pub(super) fn line_region(text: &str, number: usize) -> Region {
    let line = text.lines().nth(number.saturating_sub(1)).unwrap_or_default();
    region(
        line,
        number,
        line.len() - line.trim_start().len()..line.trim_end().len(),
    )
}

/// A place in a text, by bytes; what reaches over the end of its first line ends there.
pub(super) fn text_region(text: &str, at: Range<usize>) -> Region {
    let start = text[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let number = text[..start].matches('\n').count() + 1;
    let line = text[start..].lines().next().unwrap_or_default();
    let end = (at.end - start).min(line.len());
    region(line, number, at.start - start..end.max(at.start - start))
}
