//! The figures of an image for programs: `--json` in dive's form, with more, and the table of `--ci`.

use std::io::{self, Write};

use havre_explore::{Kind, LayerSum, Node, Version, Waste, shown};
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use super::rules::{Outcome, Rules};
use super::{LayerOf, Subject};
use crate::format::size;

/// How many inefficient paths a table shows.
const ROWS: usize = 20;

/// An image with its figures.
pub(crate) struct Summary<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) waste: Waste,
    pub(crate) sums: Vec<LayerSum>,
}

#[derive(Serialize)]
struct Document<'a> {
    layer: Vec<Layer<'a>>,
    image: Image,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer<'a> {
    index: usize,
    id: &'a str,
    digest_id: &'a str,
    size_bytes: u64,
    command: &'a str,
    added: u64,
    changed: u64,
    removed: u64,
    file_list: Files<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    size_bytes: u64,
    inefficient_bytes: u64,
    efficiency_score: f64,
    user_wasted_percent: f64,
    hidden_bytes: u64,
    file_reference: Vec<Reference>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    count: usize,
    size_bytes: u64,
    hidden_bytes: u64,
    file: String,
}

/// The entries of a layer, written one by one.
struct Files<'a> {
    subject: &'a Subject,
    entries: Vec<(Node, &'a Version)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    path: String,
    /// The letter of a tar archive, as a number; of what is taken away 0.
    type_flag: u8,
    link_name: String,
    size: u64,
    file_mode: u32,
    uid: u32,
    gid: u32,
    is_dir: bool,
    removed: bool,
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tree = &self.subject.tree;
        let mut list = serializer.serialize_seq(Some(self.entries.len()))?;
        for (node, version) in &self.entries {
            let flag = match version.kind {
                Kind::File => b'0',
                Kind::Link { .. } => b'2',
                Kind::Char { .. } => b'3',
                Kind::Block { .. } => b'4',
                Kind::Directory { .. } => b'5',
                Kind::Fifo => b'6',
                Kind::Socket | Kind::Removed => 0,
            };
            list.serialize_element(&File {
                path: shown(&tree.path(*node)),
                type_flag: flag,
                link_name: match &version.kind {
                    Kind::Link { target } => shown(target),
                    _ => String::new(),
                },
                size: version.size,
                file_mode: version.mode,
                uid: version.uid,
                gid: version.gid,
                is_dir: version.kind.is_dir(),
                removed: version.kind == Kind::Removed,
            })?;
        }
        list.end()
    }
}

impl<'a> Summary<'a> {
    pub(crate) fn new(subject: &'a Subject) -> Self {
        Self {
            waste: subject.tree.waste(),
            sums: subject.tree.layer_sums(),
            subject,
        }
    }

    /// Layers with their figures.
    pub(super) fn layers(&self) -> impl Iterator<Item = (usize, &LayerOf, &LayerSum)> {
        let both = self.subject.layers.iter().zip(&self.sums);
        both.enumerate().map(|(at, (layer, sum))| (at, layer, sum))
    }

    pub(crate) fn json(&self, output: &mut dyn Write) -> io::Result<()> {
        let tree = &self.subject.tree;
        let mut entries: Vec<Vec<(Node, &Version)>> = vec![Vec::new(); self.sums.len()];
        for node in tree.in_order().into_iter().filter(|node| *node != Node::ROOT) {
            for version in tree.versions(node) {
                entries[version.layer].push((node, version));
            }
        }
        let layers = self.layers().map(|(index, layer, sum)| Layer {
            index,
            id: layer.digest.split(':').next_back().unwrap_or_default(),
            digest_id: &layer.digest,
            size_bytes: sum.bytes,
            command: &layer.command,
            added: sum.added,
            changed: sum.changed,
            removed: sum.removed,
            file_list: Files {
                subject: self.subject,
                entries: std::mem::take(&mut entries[index]),
            },
        });
        let paths = self.waste.paths.iter().map(|row| Reference {
            count: row.count,
            size_bytes: row.bytes,
            hidden_bytes: row.hidden,
            file: format!("/{}", shown(&tree.path(row.node))),
        });
        let document = Document {
            layer: layers.collect(),
            image: Image {
                size_bytes: self.waste.total_bytes,
                inefficient_bytes: self.waste.wasted_bytes,
                efficiency_score: self.waste.efficiency,
                user_wasted_percent: self.waste.user_wasted_share,
                hidden_bytes: self.waste.hidden_bytes,
                file_reference: paths.collect(),
            },
        };
        serde_json::to_writer_pretty(&mut *output, &document)?;
        output.write_all(b"\n")
    }

    /// The table of `--ci`, and whether all rules are kept.
    pub(crate) fn judge(&self, rules: &Rules) -> (String, bool) {
        let waste = &self.waste;
        let mut text = format!(
            "Image: {}\n  efficiency:         {:.2} %\n  wasted bytes:       {} ({})\n  user wasted:        {:.2} %\n  hidden bytes:       {} ({})\n\n",
            self.subject.name,
            waste.efficiency * 100.0,
            human(waste.wasted_bytes),
            waste.wasted_bytes,
            waste.user_wasted_share * 100.0,
            human(waste.hidden_bytes),
            waste.hidden_bytes,
        );
        let wasteful: Vec<_> = waste.paths.iter().filter(|row| row.bytes > 0).collect();
        if wasteful.is_empty() {
            text.push_str("Inefficient files: none\n\n");
        } else {
            text.push_str("Inefficient files:\n  COUNT   WASTED    HIDDEN    PATH\n");
            for row in wasteful.iter().take(ROWS) {
                text.push_str(&format!(
                    "  {:<8}{:<10}{:<10}/{}\n",
                    row.count,
                    human(row.bytes),
                    human(row.hidden),
                    shown(&self.subject.tree.path(row.node))
                ));
            }
            if wasteful.len() > ROWS {
                text.push_str(&format!("  and {} more: see --json\n", wasteful.len() - ROWS));
            }
            text.push('\n');
        }
        text.push_str("Rules:\n");
        let outcomes = rules.judge(waste);
        for Outcome {
            rule,
            passed,
            message,
        } in &outcomes
        {
            let word = match passed {
                Some(true) => "PASS",
                Some(false) => "FAIL",
                None => "SKIP",
            };
            text.push_str(&format!("  {word}  {rule:<26}{message}\n"));
        }
        let kept = outcomes.iter().all(|outcome| outcome.passed != Some(false));
        text.push_str(&format!("\nResult: {}\n", if kept { "PASS" } else { "FAIL" }));
        (text, kept)
    }
}

pub(super) fn human(bytes: u64) -> String {
    size::short(i64::try_from(bytes).unwrap_or(i64::MAX))
}
