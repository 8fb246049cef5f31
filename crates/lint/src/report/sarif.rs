//! SARIF 2.1.0, which code hosts and editors read.
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Report, Subject};
use crate::finding::{Finding, Place};
use crate::rule::{RULES, Severity};

/// One run with the rules that were found.
pub fn sarif(reports: &[Report], version: &str) -> Value {
    let used: Vec<_> = RULES
        .iter()
        .filter(|rule| {
            let mut all = reports.iter().flat_map(|report| &report.findings);
            all.any(|finding| finding.rule == **rule)
        })
        .collect();
    let rules: Vec<Value> = used
        .iter()
        .map(|rule| {
            json!({
                "id": rule.name,
                "name": camel(rule.name),
                "shortDescription": {"text": sentence(rule.about)},
                "fullDescription": {"text": sentence(rule.about)},
                "defaultConfiguration": {"level": level(rule.severity)},
                "properties": {"tags": ["container"], "precision": "high"},
            })
        })
        .collect();
    let results: Vec<Value> = reports
        .iter()
        .flat_map(|report| report.findings.iter().map(move |finding| (report, finding)))
        .map(|(report, finding)| {
            let index = used.iter().position(|rule| **rule == finding.rule);
            result(report, finding, index.unwrap_or(0))
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "havre", "version": version, "semanticVersion": version, "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(report: &Report, finding: &Finding, index: usize) -> Value {
    let mut text = sentence(&finding.message);
    if let Some(fix) = &finding.fix {
        let _ = write!(text, " Help: {fix}");
    }
    let (uri, region) = match (&finding.place, &report.subject) {
        (Place::Text(region), _) => (
            encoded(report.name().as_bytes()),
            json!({
                "startLine": region.line,
                "startColumn": region.column,
                "endLine": region.end_line,
                "endColumn": region.end_column,
            }),
        ),
        // Viewers want a file and a line: in an image, the file in it or the image's name.
        (Place::File { path, .. }, _) => (encoded(path), json!({"startLine": 1})),
        _ => (encoded(report.name().as_bytes()), json!({"startLine": 1})),
    };
    let mut location = json!({"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}});
    if let Subject::Image { name, .. } = &report.subject {
        let digest = match finding.place {
            Place::Layer(layer) | Place::File { layer, .. } => {
                report.layer(layer).map(|layer| layer.digest.as_str())
            }
            _ => None,
        };
        let whole = match digest {
            Some(digest) => format!("{name}, layer {digest}"),
            None => name.clone(),
        };
        location["logicalLocations"] = json!([{"fullyQualifiedName": whole, "kind": "module"}]);
        location["message"] = json!({"text": format!("{name}: {}", report.place(finding))});
    }
    let mut result = json!({
        "ruleId": finding.rule.name,
        "ruleIndex": index,
        "level": level(finding.severity),
        "message": {"text": text},
        "locations": [location],
    });
    if let Some(bytes) = finding.bytes {
        result["properties"] = json!({"bytes": bytes});
    }
    result
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// With a capital letter and a full stop, as the format asks for.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => String::new(),
    }
}

fn camel(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut chars = word.chars();
            chars.next().map_or_else(String::new, |first| {
                format!("{}{}", first.to_ascii_uppercase(), chars.as_str())
            })
        })
        .collect()
}

/// A relative reference of RFC 3986: a colon in its first part would make a scheme of it.
fn encoded(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'@' => {
                text.push(char::from(*byte))
            }
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}
