//! `--html`: one page that needs nothing else.
//!
//! Script and style stand in the page and are allowed by their digests, everything else is forbidden: no request leaves
//! the page, and no name in an image can become part of it. The data is a block that is never run.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use havre_explore::{Kind, Node, shown};
use havre_oci::Digest;
use serde::Serialize;

use super::Summary;

const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");

/// So many of the largest files have names of their own; the rest is summed up by directory.
const FILES: usize = 20_000;

#[derive(Serialize)]
struct Data<'a> {
    name: String,
    id: &'a str,
    layers: Vec<Layer>,
    total: u64,
    seen: u64,
    efficiency: f64,
    wasted: u64,
    hidden: u64,
    files: u64,
    waste: Vec<Row>,
    tree: Branch,
}

#[derive(Serialize)]
struct Layer {
    digest: String,
    command: String,
    bytes: u64,
    added: u64,
    changed: u64,
    removed: u64,
}

#[derive(Serialize)]
struct Row {
    path: String,
    count: usize,
    bytes: u64,
    hidden: u64,
}

/// A directory, a file, or several small files of one directory.
#[derive(Serialize, Default)]
struct Branch {
    /// Name.
    n: String,
    /// Bytes.
    s: u64,
    /// The layer it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    l: Option<usize>,
    /// What is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<Vec<Branch>>,
    /// Of small files together: how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    m: Option<u64>,
}

impl Summary<'_> {
    /// Writes the page.
    pub(crate) fn page(&self, output: &mut dyn Write) -> io::Result<()> {
        let subject = self.subject;
        let tree = &subject.tree;
        let merged = tree.merged();
        let is_file = |node: &Node| {
            merged.is_present(*node)
                && merged
                    .version(tree, *node)
                    .is_some_and(|one| one.kind == Kind::File)
        };
        let mut largest: Vec<Node> = tree.nodes().filter(is_file).collect();
        let files = largest.len() as u64;
        largest.sort_by_key(|node| std::cmp::Reverse(merged.size(*node)));
        let mut named = vec![false; tree.len()];
        largest
            .iter()
            .take(FILES)
            .for_each(|node| named[node.index()] = true);
        // From the leaves to the root: a directory stands before what is in it.
        let mut branches: Vec<Option<Branch>> = Vec::new();
        branches.resize_with(tree.len(), || None);
        for node in tree.nodes().rev().filter(|node| merged.is_present(*node)) {
            let Some(version) = merged.version(tree, node) else {
                continue;
            };
            let mut branch = Branch {
                n: shown(tree.name(node)),
                s: merged.size(node),
                ..Branch::default()
            };
            if version.kind.is_dir() {
                let mut inside = Vec::new();
                let (mut more, mut bytes) = (0, 0);
                for child in tree.children(node) {
                    match branches[child.index()].take() {
                        Some(child) => inside.push(child),
                        None if is_file(&child) => {
                            more += 1;
                            bytes += merged.size(child);
                        }
                        None => {}
                    }
                }
                if more > 0 {
                    inside.push(Branch {
                        s: bytes,
                        m: Some(more),
                        ..Branch::default()
                    });
                }
                branch.c = Some(inside);
            } else if named[node.index()] {
                branch.l = Some(version.layer);
            } else {
                continue;
            }
            branches[node.index()] = Some(branch);
        }
        let data = Data {
            name: shown(subject.name.as_bytes()),
            id: &subject.id,
            layers: self
                .layers()
                .map(|(_, layer, sum)| Layer {
                    digest: layer.digest.clone(),
                    command: shown(layer.command.as_bytes()),
                    bytes: sum.bytes,
                    added: sum.added,
                    changed: sum.changed,
                    removed: sum.removed,
                })
                .collect(),
            total: self.waste.total_bytes,
            seen: merged.size(Node::ROOT),
            efficiency: self.waste.efficiency,
            wasted: self.waste.wasted_bytes,
            hidden: self.waste.hidden_bytes,
            files,
            waste: self
                .waste
                .paths
                .iter()
                .filter(|row| row.bytes > 0)
                .take(1000)
                .map(|row| Row {
                    path: format!("/{}", shown(&tree.path(row.node))),
                    count: row.count,
                    bytes: row.bytes,
                    hidden: row.hidden,
                })
                .collect(),
            tree: branches[0].take().unwrap_or_default(),
        };
        let json = serde_json::to_string(&data)?;
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
            source(SCRIPT),
            source(STYLE)
        );
        write!(
            output,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n{}\n\
             <script type=\"application/json\" id=\"data\">{}</script>\n<script>{SCRIPT}</script>\n</html>\n",
            escaped(&data.name),
            include_str!("page.html"),
            // Nothing in it may end the block.
            json.replace('<', "\\u003c"),
        )
    }
}

/// A text as a policy names it.
fn source(text: &str) -> String {
    let digest = Digest::sha256_of(text.as_bytes());
    let bytes: Vec<u8> = digest
        .hex()
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    format!("sha256-{}", STANDARD.encode(bytes))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
