//! For people, as compilers write.

use std::fmt::Write;

use havre_explore::shown;

use super::{Report, Subject, counts};
use crate::finding::{Finding, Place, Region};
use crate::rule::Severity;

/// Columns of a line that are shown.
const WIDEST: usize = 160;

/// The findings with the lines they are about, and how many there are.
pub fn text(reports: &[Report], colour: bool) -> String {
    let paint = Paint(colour);
    let mut out = String::new();
    for report in reports {
        for finding in &report.findings {
            one(report, finding, paint, &mut out);
        }
    }
    let names: Vec<&str> = reports.iter().map(Report::name).collect();
    let parts: Vec<String> = counts(reports)
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| {
            let word = match (severity, count) {
                (Severity::Info, 1) => "remark",
                (Severity::Info, _) => "remarks",
                (Severity::Warning, 1) => "warning",
                (Severity::Warning, _) => "warnings",
                (Severity::Error, 1) => "error",
                (Severity::Error, _) => "errors",
            };
            format!("{count} {word}")
        })
        .collect();
    let said = if parts.is_empty() {
        "nothing to say".to_owned()
    } else {
        parts.join(", ")
    };
    let _ = writeln!(out, "{}: {said}", shown(names.join(", ").as_bytes()));
    out
}

/// Escape sequences, on a terminal.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    fn severity(severity: Severity) -> &'static str {
        match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Info => "1;36",
        }
    }
}

fn one(report: &Report, finding: &Finding, paint: Paint, out: &mut String) {
    let code = Paint::severity(finding.severity);
    let head = format!("{}[{}]", finding.severity.name(), finding.rule.name);
    let _ = writeln!(
        out,
        "{}{}",
        paint.with(code, &head),
        paint.with("1", &format!(": {}", shown(finding.message.as_bytes())))
    );
    let name = shown(report.name().as_bytes());
    let margin = match (&finding.place, &report.subject) {
        (Place::Text(region), Subject::Dockerfile { text, .. }) => {
            excerpt(&name, text, region, code, paint, out)
        }
        _ => {
            let _ = writeln!(
                out,
                "  {} {name}: {}",
                paint.with("1;34", "-->"),
                report.place(finding)
            );
            let layer = match finding.place {
                Place::Layer(layer) | Place::File { layer, .. } => report.layer(layer),
                _ => None,
            };
            if let Some(layer) = layer.filter(|layer| !layer.command.is_empty()) {
                let _ = writeln!(
                    out,
                    "   {} {}",
                    paint.with("1;34", "|"),
                    short(&shown(layer.command.trim().as_bytes()))
                );
            }
            3
        }
    };
    if let Some(fix) = &finding.fix {
        let _ = writeln!(
            out,
            "{:margin$}{} {}: {}",
            "",
            paint.with("1;34", "="),
            paint.with("1", "help"),
            shown(fix.as_bytes())
        );
    }
    out.push('\n');
}

fn short(line: &str) -> String {
    match line.char_indices().nth(WIDEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// The line with what is meant underlined; how wide its margin is.
fn excerpt(name: &str, text: &str, region: &Region, code: &str, paint: Paint, out: &mut String) -> usize {
    let number = region.line.to_string();
    let margin = number.len() + 1;
    let line = text
        .lines()
        .nth(region.line.saturating_sub(1))
        .unwrap_or_default();
    let bar = paint.with("1;34", "|");
    let _ = writeln!(
        out,
        "{:margin$}{} {name}:{}:{}",
        "",
        paint.with("1;34", "-->"),
        region.line,
        region.column
    );
    let _ = writeln!(out, "{:margin$}{bar}", "");
    // As wide as it is shown: a tab is one blank, and what a terminal could obey is written out.
    let piece = |from: usize, to: usize| -> String {
        let text: String = line.chars().skip(from).take(to.saturating_sub(from)).collect();
        shown(text.replace('\t', " ").as_bytes())
    };
    let (start, end) = (region.column - 1, region.end_column - 1);
    let before = piece(0, start);
    let meant = piece(start, end);
    let after = piece(end, usize::MAX);
    let _ = writeln!(
        out,
        "{} {bar} {}",
        paint.with("1;34", &number),
        short(&format!("{before}{meant}{after}"))
    );
    let width = |text: &str| text.chars().count().min(WIDEST);
    let carets = "^".repeat(width(&meant).max(1));
    let _ = writeln!(
        out,
        "{:margin$}{bar} {:indent$}{}",
        "",
        "",
        paint.with(code, &carets),
        indent = width(&before)
    );
    margin
}
