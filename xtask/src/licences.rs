//! Permissive licences only: every package of the resolved graph must offer one from the list.

use crate::{Outcome, metadata::Metadata};

const PERMISSIVE: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
    "bzip2-1.0.6",
];

/// Packages allowed although their licence is not on the list, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "pathrs",
        "MPL-2.0, unchanged, comes with libcontainer: its terms end at its own files and ask nothing of ours",
    ),
    (
        "rust-criu",
        "MIT by its LICENSE file; its manifest names no SPDX expression",
    ),
];

pub(crate) fn check() -> Outcome {
    let metadata = Metadata::load()?;
    let mut refused = Vec::new();
    let mut checked = 0;
    for package in &metadata.packages {
        if metadata.workspace_members.contains(&package.id) {
            continue;
        }
        checked += 1;
        let expression = package.license.as_deref().unwrap_or("");
        let excepted = EXCEPTIONS.iter().any(|(name, _)| *name == package.name);
        if !permits(expression) && !excepted {
            refused.push(format!("  {} {}: {expression:?}", package.name, package.version));
        }
    }
    if refused.is_empty() {
        println!(
            "licences: {checked} packages, all permissive ({} named exceptions)",
            EXCEPTIONS.len()
        );
        return Ok(());
    }
    Err(format!("packages without a permissive licence:\n{}", refused.join("\n")).into())
}

/// Whether an SPDX expression can be satisfied from [`PERMISSIVE`]: any side of an OR, every side of an AND.
fn permits(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace("  ", " ");
    any_of(expression.trim())
}

fn any_of(expression: &str) -> bool {
    split_outside_parentheses(expression, " OR ")
        .iter()
        .any(|side| all_of(side))
}

fn all_of(expression: &str) -> bool {
    split_outside_parentheses(expression, " AND ").iter().all(|side| {
        let side = side.trim();
        match side.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => any_of(inner),
            None => PERMISSIVE.contains(&side),
        }
    })
}

fn split_outside_parentheses<'a>(expression: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, character) in expression.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ' ' if depth == 0 && expression[at..].starts_with(separator) => {
                parts.push(&expression[start..at]);
                start = at + separator.len();
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::permits;

    #[test]
    fn one_permissive_side_of_an_or_is_enough() {
        assert!(permits("MIT OR GPL-3.0-only"));
        assert!(permits("MIT/Apache-2.0"));
        assert!(permits("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"));
    }

    #[test]
    fn every_side_of_an_and_is_needed() {
        assert!(permits("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!permits("MIT AND GPL-2.0-only"));
    }

    #[test]
    fn copyleft_and_silence_are_refused() {
        assert!(!permits("LGPL-3.0-or-later"));
        assert!(!permits(""));
    }
}
