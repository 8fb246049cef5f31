//! As `docker build --check` writes.

use std::fmt::Write;

use havre_explore::shown;

use super::{Report, Subject};
use crate::finding::{Finding, Place};

/// Lines around the one that is meant.
const AROUND: usize = 2;

/// The findings that BuildKit has a check for, and how many they are.
pub fn buildkit(report: &Report) -> (String, usize) {
    let checks: Vec<(&Finding, &str)> = report
        .findings
        .iter()
        .filter_map(|finding| Some((finding, finding.rule.buildkit?)))
        .collect();
    let mut out = match checks.len() {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for (finding, name) in &checks {
        let _ = write!(
            out,
            "\nWARNING: {name} - https://docs.docker.com/go/dockerfile/rule/{}/\n{}\n",
            finding.rule.name,
            shown(finding.message.as_bytes())
        );
        if let (Place::Text(region), Subject::Dockerfile { path, text }) = (&finding.place, &report.subject) {
            let _ = writeln!(
                out,
                "{}:{}\n--------------------",
                shown(path.as_bytes()),
                region.line
            );
            for (index, line) in text.lines().enumerate() {
                let number = index + 1;
                if number + AROUND >= region.line && number <= region.end_line + AROUND {
                    let mark = if (region.line..=region.end_line).contains(&number) {
                        ">>>"
                    } else {
                        "   "
                    };
                    let row = format!(
                        "{number:>4} | {mark} {}",
                        shown(line.replace('\t', "    ").as_bytes())
                    );
                    let _ = writeln!(out, "{}", row.trim_end());
                }
            }
            out.push_str("--------------------\n");
        }
    }
    (out, checks.len())
}
