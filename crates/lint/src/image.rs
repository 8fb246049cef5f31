//! Advice on an image: its configuration, its history, and the files in its layers.

mod files;
mod settings;

use std::collections::HashMap;

use havre_explore::Tree;
use havre_oci::RunConfig;

use crate::finding::Finding;

pub use files::{LARGEST_READ, wanted};

/// An image.
pub struct Image<'a> {
    /// Its names, `repository:tag`; none of an archive that tells none.
    pub tags: &'a [String],
    pub config: &'a RunConfig,
    /// What made each step, those without a layer too, the first first.
    pub history: &'a [String],
    pub tree: &'a Tree,
    /// The first [`LARGEST_READ`] bytes of the files that [`wanted`] names, by layer and path.
    pub contents: &'a HashMap<(usize, Vec<u8>), Vec<u8>>,
    /// Which of its tags stood for other images before.
    pub moved: &'a [String],
    /// It was made from a container.
    pub committed: bool,
}

/// Looks at an image. Findings are in order of their place.
pub fn check(image: &Image<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    settings::check(image, &mut findings);
    files::check(image, &mut findings);
    findings.sort_by(|a, b| (&a.place, a.rule.name).cmp(&(&b.place, b.rule.name)));
    findings.dedup();
    findings
}

/// A number of bytes for people's eyes, in the units of Docker.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 9.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests;
