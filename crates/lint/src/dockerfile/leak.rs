//! Secrets in the text. Only here the text is seen as it is.

use std::ops::Range;

use havre_dockerfile::instructions::Kind;
use havre_dockerfile::parser::Node;

use super::page::{Page, text_region};
use crate::finding::{Finding, Place};
use crate::rule;
use crate::secrets::{Secret, is_secret_name, is_secret_value};

const PASS_BY_MOUNT: &str = "leave it out of the Dockerfile: give it to the container when it runs, or mount a file of the context in the one step that needs it: RUN --mount=type=bind,source=FILE,target=PATH …; and change it, for it is known now";

/// Tokens, keys and passwords in URLs, wherever they stand.
pub(super) fn tokens(text: &str, found: &[Secret]) -> Vec<Finding> {
    found
        .iter()
        .map(|secret| {
            let place = Place::Text(text_region(text, secret.at.clone()));
            Finding::new(
                rule::SECRET_IN_TEXT,
                place,
                format!("{} in plain text", secret.kind),
            )
            .fix(PASS_BY_MOUNT)
        })
        .collect()
}

/// `ARG` and `ENV` called like secrets. Their values are hidden.
pub(super) fn variables(page: &Page<'_>, text: &str, hidden: &mut Vec<Secret>, findings: &mut Vec<Finding>) {
    for item in &page.items {
        let (keyword, pairs): (_, Vec<(&str, Option<&str>)>) = match &item.kind {
            Ok(Kind::Arg(args)) => {
                let pair =
                    |arg: &'_ havre_dockerfile::instructions::Arg| (arg.name.clone(), arg.default.clone());
                let owned: Vec<_> = args.iter().map(pair).collect();
                let pairs = owned
                    .into_iter()
                    .filter(|(name, _)| is_secret_name(name))
                    .collect::<Vec<_>>();
                each(page, text, &item.node, "ARG", &pairs, hidden, findings);
                continue;
            }
            Ok(Kind::Env(pairs)) => (
                "ENV",
                pairs
                    .iter()
                    .map(|(name, value)| (name.as_str(), Some(value.as_str())))
                    .collect(),
            ),
            _ => continue,
        };
        let pairs: Vec<_> = pairs
            .into_iter()
            .filter(|(name, _)| is_secret_name(name))
            .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
            .collect();
        each(page, text, &item.node, keyword, &pairs, hidden, findings);
    }
}

fn each(
    page: &Page<'_>,
    text: &str,
    node: &Node,
    keyword: &str,
    pairs: &[(String, Option<String>)],
    hidden: &mut Vec<Secret>,
    findings: &mut Vec<Finding>,
) {
    for (name, value) in pairs {
        let written = value.as_deref().filter(|value| is_secret_value(name, value));
        let variable = value.as_deref().is_some_and(|value| value.contains('$'));
        let asked_for = keyword == "ARG" && value.is_none();
        if written.is_none() && !variable && !asked_for {
            continue;
        }
        let what = match (keyword, written.is_some()) {
            ("ARG", false) => format!("the value of ARG {name} stays in the history of the image"),
            ("ARG", true) => {
                format!("ARG {name} has a secret as its default, for everybody who has the file or the image")
            }
            _ => format!("the value of ENV {name} is in the image, for everybody who has it"),
        };
        findings.push(
            Finding::new(rule::SECRET_IN_ENV, page.word(node, name), what).fix(match keyword {
                "ARG" => {
                    "mount it in the step that needs it: RUN --mount=type=bind,source=FILE,target=PATH …"
                        .to_owned()
                }
                _ => format!(
                    "set it when the container is made: docker run --env {name} …, or --env-file FILE"
                ),
            }),
        );
        if let Some(value) = written {
            hidden.push(Secret {
                at: place(text, node, name, value),
                kind: "a value",
            });
        }
    }
}

/// Where the value of a variable stands; in doubt all behind its name.
fn place(text: &str, node: &Node, name: &str, value: &str) -> Range<usize> {
    let mut start = 0;
    let mut end = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index + 1 < *node.lines.start() {
            start += line.len();
        }
        if index < *node.lines.end() {
            end += line.len();
        }
    }
    let piece = &text[start..end];
    let named = [format!("{name}="), format!("{name} "), format!("{name}\t")];
    let from = named
        .iter()
        .find_map(|named| Some(piece.find(named.as_str())? + named.len()));
    let from = from.unwrap_or(0);
    match piece[from..].find(value) {
        Some(at) => start + from + at..start + from + at + value.len(),
        None => start + from..start + piece.trim_end().len().max(from),
    }
}
