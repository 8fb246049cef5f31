//! Findings as text, as JSON and as SARIF.

mod buildkit;
mod json;
mod sarif;
mod text;

use havre_explore::shown;

use crate::finding::{Finding, Place};
use crate::rule::Severity;

pub use buildkit::buildkit;
pub use json::json;
pub use sarif::sarif;
pub use text::text;

/// What was looked at, and what there is to say of it.
pub struct Report {
    pub subject: Subject,
    pub findings: Vec<Finding>,
}

pub enum Subject {
    /// A Dockerfile: its path, and its text without secrets.
    Dockerfile { path: String, text: String },
    /// An image: its name, and the steps of its layers without secrets, the lowest first.
    Image { name: String, layers: Vec<Layer> },
}

/// A layer, to tell people which one is meant.
pub struct Layer {
    /// Diff ID.
    pub digest: String,
    pub command: String,
}

impl Report {
    fn name(&self) -> &str {
        match &self.subject {
            Subject::Dockerfile { path, .. } => path,
            Subject::Image { name, .. } => name,
        }
    }

    fn layer(&self, number: usize) -> Option<&Layer> {
        match &self.subject {
            Subject::Dockerfile { .. } => None,
            Subject::Image { layers, .. } => layers.get(number),
        }
    }

    /// Where it is, in a line without the subject's name.
    fn place(&self, finding: &Finding) -> String {
        match &finding.place {
            Place::Text(region) => format!("line {}", region.line),
            Place::Image => "the image".to_owned(),
            Place::Layer(layer) => format!("layer {}", layer + 1),
            Place::File { layer, path } => format!("/{} in layer {}", shown(path), layer + 1),
        }
    }

    /// Whether there is a finding of that weight or more.
    pub fn reaches(&self, severity: Severity) -> bool {
        self.findings.iter().any(|finding| finding.severity >= severity)
    }
}

/// Errors, warnings and remarks, counted.
fn counts(reports: &[Report]) -> [(Severity, usize); 3] {
    [Severity::Error, Severity::Warning, Severity::Info].map(|severity| {
        let of = |report: &Report| {
            report
                .findings
                .iter()
                .filter(|one| one.severity == severity)
                .count()
        };
        (severity, reports.iter().map(of).sum())
    })
}

#[cfg(test)]
mod tests;
