//! Help texts in the layout of Docker's client.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};
use unicode_width::UnicodeWidthStr;

use crate::args::Shape;
use crate::parse::usage_line;

/// The text of `docker COMMAND --help`.
pub(crate) fn command(path: &str, shape: &Shape, command: &Command, columns: usize) -> String {
    let program = path.split(' ').next().unwrap_or_default();
    let about = shape.about.replace("{program}", program);
    let mut text = format!("Usage:  {}\n\n{about}\n", usage_line(path, shape));
    if !shape.aliases.is_empty() {
        let names: Vec<String> = shape
            .aliases
            .iter()
            .map(|alias| format!("{program} {alias}"))
            .collect();
        let _ = write!(text, "\nAliases:\n  {}\n", names.join(", "));
    }
    let flags = flags(command);
    if !flags.is_empty() {
        let _ = write!(text, "\nOptions:\n{}", flag_usages(&flags, columns));
    }
    text
}

/// One flag of a help text.
#[derive(Debug, Clone)]
pub(crate) struct Flag {
    /// Letter.
    pub(crate) short: Option<char>,
    /// Name without hyphens.
    pub(crate) long: String,
    /// Type of its value, empty for booleans.
    pub(crate) kind: String,
    /// What it does.
    pub(crate) help: String,
}

pub(crate) fn flags(command: &Command) -> Vec<Flag> {
    let mut flags: Vec<Flag> = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set())
        .map(flag)
        .collect();
    flags.sort_by(|a, b| a.long.cmp(&b.long));
    flags
}

fn flag(arg: &Arg) -> Flag {
    let boolean = arg.is_require_equals_set() || matches!(arg.get_action(), ArgAction::SetTrue);
    let kind = if boolean {
        String::new()
    } else {
        arg.get_value_names()
            .and_then(<[_]>::first)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    Flag {
        short: arg.get_short(),
        long: arg.get_long().unwrap_or_default().to_owned(),
        kind,
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Flags in two columns, wrapped to the width of the terminal as Go's pflag wraps them.
pub(crate) fn flag_usages(flags: &[Flag], columns: usize) -> String {
    let heads: Vec<String> = flags
        .iter()
        .map(|flag| {
            let mut head = match flag.short {
                Some(short) => format!("  -{short}, --{}", flag.long),
                None => format!("      --{}", flag.long),
            };
            if !flag.kind.is_empty() {
                head.push(' ');
                head.push_str(&flag.kind);
            }
            head
        })
        .collect();
    let indent = heads.iter().map(|head| head.width()).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (head, flag) in heads.iter().zip(flags) {
        let _ = writeln!(
            text,
            "{head:indent$}{}",
            wrap(indent, columns.saturating_sub(1), &flag.help)
        );
    }
    text
}

const SLOP: usize = 5;

fn wrap(mut indent: usize, width: usize, text: &str) -> String {
    let mut result = String::new();
    let mut room = width.saturating_sub(indent);
    if room < 24 {
        indent = 16;
        room = width.saturating_sub(indent);
        result.push('\n');
        result.push_str(&" ".repeat(indent));
    }
    let newline = format!("\n{}", " ".repeat(indent));
    if room < 24 {
        return text.replace('\n', &newline);
    }
    let room = room - SLOP;
    let (line, mut rest) = wrap_line(room, text);
    result.push_str(&line.replace('\n', &newline));
    while !rest.is_empty() {
        let (line, after) = wrap_line(room, rest);
        result.push_str(&newline);
        result.push_str(&line.replace('\n', &newline));
        rest = after;
    }
    result
}

fn wrap_line(room: usize, text: &str) -> (&str, &str) {
    if room + SLOP > text.len() || !text.is_char_boundary(room) {
        return (text, "");
    }
    let head = &text[..room];
    let Some(blank) = head.rfind([' ', '\t', '\n']).filter(|at| *at > 0) else {
        return (text, "");
    };
    match head.rfind('\n').filter(|at| *at > 0 && *at < blank) {
        Some(newline) => (&text[..newline], &text[newline + 1..]),
        None => (&text[..blank], &text[blank + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Declaration;
    use crate::args::container::exec::Exec;
    use crate::args::container::export::Export;
    use crate::args::container::ls::Ls;
    use crate::args::image::tag::Tag;
    use crate::parse::declare;

    #[test]
    fn a_command_without_flags() {
        let text = command("docker tag", &Tag::SHAPE, &declare::<Tag>(), 80);
        assert_eq!(
            text,
            "Usage:  docker tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\n\
             Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE\n\n\
             Aliases:\n  docker image tag, docker tag\n"
        );
    }

    /// Taken from the official client, version 28.
    #[test]
    fn flags_wrap_as_dockers() {
        let text = command("docker exec", &Exec::SHAPE, &declare::<Exec>(), 80);
        assert_eq!(text, include_str!("../tests/help/exec.txt"));
        let text = command("docker ps", &Ls::SHAPE, &declare::<Ls>(), 80);
        assert_eq!(text, include_str!("../tests/help/ps.txt"));
        let text = command("docker export", &Export::SHAPE, &declare::<Export>(), 80);
        assert_eq!(text, include_str!("../tests/help/export.txt"));
    }
}
