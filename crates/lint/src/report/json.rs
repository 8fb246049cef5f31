//! For programs.

use serde_json::{Value, json};

use super::{Report, Subject, counts};
use crate::finding::{Finding, Place};

/// `{"subjects": [{"name", "kind", "findings": […]}], "summary": {…}}`.
pub fn json(reports: &[Report]) -> Value {
    let subjects: Vec<Value> = reports
        .iter()
        .map(|report| {
            let kind = match report.subject {
                Subject::Dockerfile { .. } => "dockerfile",
                Subject::Image { .. } => "image",
            };
            let findings: Vec<Value> = report
                .findings
                .iter()
                .map(|finding| one(report, finding))
                .collect();
            json!({"name": report.name(), "kind": kind, "findings": findings})
        })
        .collect();
    let summary: serde_json::Map<String, Value> = counts(reports)
        .into_iter()
        .map(|(severity, count)| (severity.name().to_owned(), count.into()))
        .collect();
    json!({"subjects": subjects, "summary": summary})
}

fn one(report: &Report, finding: &Finding) -> Value {
    let mut row = json!({
        "rule": finding.rule.name,
        "severity": finding.severity.name(),
        "message": finding.message,
    });
    if let Some(fix) = &finding.fix {
        row["fix"] = fix.as_str().into();
    }
    if let Some(bytes) = finding.bytes {
        row["bytes"] = bytes.into();
    }
    match &finding.place {
        Place::Text(region) => {
            row["line"] = region.line.into();
            row["column"] = region.column.into();
            row["endLine"] = region.end_line.into();
            row["endColumn"] = region.end_column.into();
        }
        Place::Image => {}
        Place::Layer(layer) | Place::File { layer, .. } => {
            row["layer"] = (*layer).into();
            if let Some(about) = report.layer(*layer) {
                row["digest"] = about.digest.as_str().into();
            }
        }
    }
    if let Place::File { path, .. } = &finding.place {
        row["path"] = format!("/{}", String::from_utf8_lossy(path)).into();
    }
    row
}
