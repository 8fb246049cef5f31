//! The command line as a document, made from the declarations themselves.

use std::fmt::Write as _;

use clap::Command;

use crate::args::Shape;
use crate::catalogue::{self, COMMANDS, Entry, GROUPS};
use crate::help::{self, Flag};
use crate::parse::usage_line;
use crate::roles::ROLES;

const HEAD: &str = "# Commands of havre

Made from the program by `make cli-reference`, and compared with it by `make lint`: don't edit it. Called `docker`, the
program is called so in all of this.

";

/// The whole document, in Markdown.
pub(crate) fn markdown() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("## Global options\n\nThey stand before the command.\n\n");
    table(&mut text, &catalogue::global_flags());
    text.push_str("\n## Commands\n\n| command | what it does |\n|---|---|\n");
    let mut entries: Vec<&Entry> = COMMANDS.iter().collect();
    entries.sort_by_key(|entry| section(entry));
    for entry in &entries {
        row(&mut text, section(entry), summary(entry.shape));
    }
    for role in ROLES {
        row(&mut text, role.name, role.summary());
    }
    for entry in &entries {
        command(
            &mut text,
            section(entry),
            entry.names,
            entry.shape,
            &entry.declaration(),
        );
    }
    for role in ROLES {
        command(
            &mut text,
            role.name,
            &[role.name],
            role.shape,
            &role.declaration(),
        );
    }
    text
}

/// The name a command is found under: that of its group, where it has one.
fn section(entry: &Entry) -> &'static str {
    let in_group = |name: &&&str| {
        GROUPS
            .iter()
            .any(|group| name.starts_with(&format!("{} ", group.name)))
    };
    entry.names.iter().find(in_group).unwrap_or(&entry.names[0])
}

fn summary(shape: &Shape) -> &'static str {
    shape.about.lines().next().unwrap_or_default()
}

fn row(text: &mut String, name: &str, about: &str) {
    let anchor = name.replace(' ', "-");
    let _ = writeln!(text, "| [{name}](#{anchor}) | {} |", cell(about));
}

fn command(text: &mut String, name: &str, names: &[&str], shape: &Shape, declared: &Command) {
    let usage = usage_line(&format!("havre {name}"), shape);
    let _ = write!(text, "\n## {name}\n\n```\n{usage}\n```\n\n{}\n", summary(shape));
    let others: Vec<String> = names
        .iter()
        .filter(|other| **other != name)
        .map(|other| format!("`havre {other}`"))
        .collect();
    if !others.is_empty() {
        let _ = write!(text, "\nAlso {}.\n", others.join(", "));
    }
    let more = shape.about.split_once('\n').map_or("", |(_, more)| more.trim());
    if !more.is_empty() {
        let _ = write!(text, "\n```\n{}\n```\n", more.replace("{program}", "havre"));
    }
    let flags = help::flags(declared);
    if !flags.is_empty() {
        text.push('\n');
        table(text, &flags);
    }
    if !shape.refused.is_empty() {
        let refused: Vec<String> = shape.refused.iter().map(|flag| format!("`--{flag}`")).collect();
        let _ = write!(
            text,
            "\nRefused, for it would have no effect: {}.\n",
            refused.join(", ")
        );
    }
}

fn table(text: &mut String, flags: &[Flag]) {
    text.push_str("| option | value | what it does |\n|---|---|---|\n");
    for flag in flags {
        let short = flag
            .short
            .map(|short| format!("`-{short}`, "))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "| {short}`--{}` | {} | {} |",
            flag.long,
            flag.kind,
            cell(&flag.help)
        );
    }
}

/// Text that ends no cell and opens no element.
fn cell(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines
        .join("<br>\n")
        .replace('|', "\\|")
        .replace(">\n", "> ")
        .replace("<br> ", "<br>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_is_in_it_once() {
        let text = markdown();
        for entry in COMMANDS {
            let heading = format!("\n## {}\n", section(entry));
            assert_eq!(text.matches(&heading).count(), 1, "{heading}");
        }
        assert!(text.contains(
            "\n## container run\n\n```\nhavre container run [OPTIONS] IMAGE [COMMAND] [ARG...]\n```\n"
        ));
        assert!(text.contains("Also `havre run`.\n"));
        assert!(text.contains("| `-v`, `--volume` | list | Bind mount a volume |\n"));
        assert!(text.contains("| `--tlsverify` |  | Use TLS and verify the remote |\n"));
        assert!(
            text.lines()
                .all(|line| !line.contains('\t') || !line.starts_with('|'))
        );
    }

    #[test]
    fn cells_stay_cells() {
        assert_eq!(cell("a|b\n  c   d"), "a\\|b<br>c d");
    }
}
