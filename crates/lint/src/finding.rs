//! What a rule has found.

use crate::rule::{Rule, Severity};

/// What a rule has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static Rule,
    /// Usually the rule's.
    pub severity: Severity,
    /// A sentence without a full stop.
    pub message: String,
    /// What to write or to do instead.
    pub fix: Option<String>,
    pub place: Place,
    /// Bytes of the image that it costs.
    pub bytes: Option<u64>,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the text of the Dockerfile.
    Text(Region),
    /// The image as a whole: its name, its configuration.
    Image,
    /// A layer, from 0, the lowest.
    Layer(usize),
    /// A file in a layer.
    File { layer: usize, path: Vec<u8> },
}

/// A piece of text; all numbers count from 1, columns are characters, and the end column is the one behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
}

impl Finding {
    pub(crate) fn new(rule: &'static Rule, place: Place, message: impl Into<String>) -> Self {
        Self {
            rule,
            severity: rule.severity,
            message: message.into(),
            fix: None,
            place,
            bytes: None,
        }
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(crate) fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    pub(crate) fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }
}
