//! How the file is written: what the builder refuses, casing, empty lines, old forms, ignored settings.

use std::collections::BTreeMap;

use havre_dockerfile::instructions::Kind;
use havre_dockerfile::parser::json_strings;

use super::page::Page;
use crate::finding::Finding;
use crate::rule;
use crate::secrets::without;

pub(super) fn check(page: &Page<'_>, findings: &mut Vec<Finding>) {
    for item in &page.items {
        if let Err(error) = &item.kind {
            let message = without(&error.source.to_string());
            findings.push(Finding::new(rule::SYNTAX, page.head(&item.node), message));
        }
    }
    if page.stages.is_empty() {
        let place = page.items.last().map(|item| page.head(&item.node));
        findings.extend(place.map(|place| {
            Finding::new(rule::SYNTAX, place, "no build stage: there is no FROM")
                .fix("begin with FROM IMAGE:TAG")
        }));
    } else if let Some(early) = page.items[..page.stages[0].from]
        .iter()
        .find(|item| matches!(&item.kind, Ok(kind) if !matches!(kind, Kind::Arg(_))))
    {
        let message = format!(
            "{} before the first FROM: only ARG may stand there",
            early.node.keyword.to_ascii_uppercase()
        );
        findings.push(Finding::new(rule::SYNTAX, page.head(&early.node), message));
    }
    casing(page, findings);
    for item in &page.items {
        let node = &item.node;
        if node.heredocs.is_empty()
            && let Some(empty) = empty_line(page, node)
        {
            findings.push(
                Finding::new(
                    rule::NO_EMPTY_CONTINUATION,
                    empty,
                    "an empty line in a continued instruction, which a later version may refuse",
                )
                .fix("delete the line, or write a comment there"),
            );
        }
        match &item.kind {
            Ok(Kind::Maintainer(name)) => findings.push(
                Finding::new(rule::MAINTAINER, page.head(node), "MAINTAINER is deprecated")
                    .fix(format!("LABEL org.opencontainers.image.authors={name:?}")),
            ),
            Ok(Kind::Env(pairs) | Kind::Label(pairs)) => {
                // Split as the parser does: the old form is the one whose first word has no equals sign.
                let first = node.rest.split_whitespace().next().unwrap_or_default();
                if let ([(name, value)], false) = (pairs.as_slice(), first.contains('=')) {
                    let keyword = node.keyword.to_ascii_uppercase();
                    let quoted = match value.contains(char::is_whitespace) && !value.starts_with(['"', '\''])
                    {
                        true => format!("\"{}\"", value.replace('"', "\\\"")),
                        false => value.clone(),
                    };
                    findings.push(
                        Finding::new(
                            rule::LEGACY_KEY_VALUE,
                            page.head(node),
                            format!("{keyword} without an equals sign is the old form"),
                        )
                        .fix(format!("{keyword} {name}={quoted}")),
                    );
                }
            }
            _ => {}
        }
        quoting(page, item, findings);
    }
}

fn empty_line(page: &Page<'_>, node: &havre_dockerfile::parser::Node) -> Option<crate::Place> {
    let (start, end) = (*node.lines.start(), *node.lines.end());
    (start + 1..end)
        .find(|number| page.blank(*number))
        .map(|number| crate::Place::Text(page.span(number, None)))
}

/// Keywords in the case that most have; FROM and AS in the same.
fn casing(page: &Page<'_>, findings: &mut Vec<Finding>) {
    let mut counts: BTreeMap<bool, usize> = BTreeMap::new();
    let upper = |text: &str| text.chars().all(|c| c.is_ascii_uppercase());
    let lower = |text: &str| text.chars().all(|c| c.is_ascii_lowercase());
    let known: Vec<_> = page.items.iter().filter(|item| item.kind.is_ok()).collect();
    for item in &known {
        if upper(&item.node.keyword) || lower(&item.node.keyword) {
            *counts.entry(upper(&item.node.keyword)).or_default() += 1;
        }
    }
    let count = |upper| counts.get(&upper).copied().unwrap_or(0);
    let wanted_upper = count(true) >= count(false);
    for item in known {
        let keyword = &item.node.keyword;
        let fits = if wanted_upper {
            upper(keyword)
        } else {
            lower(keyword)
        };
        if !fits {
            let wanted = match wanted_upper {
                true => keyword.to_ascii_uppercase(),
                false => keyword.to_ascii_lowercase(),
            };
            findings.push(
                Finding::new(
                    rule::CONSISTENT_CASING,
                    page.word(&item.node, keyword),
                    format!("{keyword} is not written in the case of the other instructions"),
                )
                .fix(wanted),
            );
        }
        let words: Vec<&str> = item.node.rest.split_whitespace().collect();
        if let (Ok(Kind::From(_)), [_, word, name]) = (&item.kind, words.as_slice()) {
            if (upper(keyword) && !upper(word)) || (lower(keyword) && !lower(word)) {
                let wanted = if upper(keyword) { "AS" } else { "as" };
                findings.push(
                    Finding::new(
                        rule::FROM_AS_CASING,
                        page.word(&item.node, &format!("{word} {name}")),
                        format!("{word} is not written in the case of {keyword}"),
                    )
                    .fix(format!("{wanted} {name}")),
                );
            }
            if !lower(&name.replace(|c: char| !c.is_ascii_alphabetic(), "")) {
                findings.push(
                    Finding::new(
                        rule::STAGE_CASING,
                        page.word(&item.node, name),
                        format!("the name of stage {name} is not in lower case"),
                    )
                    .fix(name.to_ascii_lowercase()),
                );
            }
        }
    }
}

/// `CMD ['a']`, `CMD ["a" "b"]`, `CMD ["a",]`: begins and ends like JSON, is none, and so runs in a shell.
fn quoting(page: &Page<'_>, item: &super::page::Item, findings: &mut Vec<Finding>) {
    let takes = matches!(
        item.kind,
        Ok(Kind::Cmd(_) | Kind::Entrypoint(_) | Kind::Run(_) | Kind::Copy(_) | Kind::Volume(_))
    );
    let rest = item.node.rest.trim();
    let Some(inner) = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return;
    };
    // `[ -f x ]` and `[[ … ]]` are commands of the shell.
    let quoted = inner
        .trim_start()
        .starts_with(['"', '\'', '\u{201c}', '\u{2018}']);
    if !takes || !quoted || json_strings(rest).is_some() {
        return;
    }
    let words = inner
        .split(|c: char| c == ',' || c.is_whitespace())
        .map(|word| word.trim_matches(|c: char| "\"'\u{201c}\u{201d}\u{2018}\u{2019}".contains(c)))
        .filter(|word| !word.is_empty());
    let json = serde_json::to_string(&words.collect::<Vec<_>>())
        .unwrap_or_default()
        .replace("\",\"", "\", \"");
    let keyword = item.node.keyword.to_ascii_uppercase();
    findings.push(
        Finding::new(rule::EXEC_FORM_QUOTING, page.word(&item.node, "["), "this is no JSON, so a shell runs it as it stands: strings want double quotes, with commas between them")
            .fix(format!("{keyword} {json}")),
    );
}
