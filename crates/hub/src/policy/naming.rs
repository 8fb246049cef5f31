//! How tags are called.

use havre_registry_store::Tag;
use regex::{Regex, RegexBuilder};

use super::Policy;
use crate::{HubError, Result};

/// What an expression may take when it is compiled.
const LARGEST: usize = 256 << 10;

/// An expression that a whole tag is held against.
pub(super) fn compile(pattern: &str) -> Result<Regex> {
    if pattern.is_empty() || pattern.len() > 500 {
        return Err(HubError::invalid(
            "naming",
            "an expression has 1 to 500 characters",
        ));
    }
    let whole = RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(LARGEST)
        .build();
    // On its own, too: `a)(b` is none.
    let alone = RegexBuilder::new(pattern).size_limit(LARGEST).build();
    match (whole, alone) {
        (Ok(whole), Ok(_)) => Ok(whole),
        (Err(error), _) | (_, Err(error)) => Err(HubError::invalid("naming", error.to_string())),
    }
}

/// An error unless every scope that has rules has one the tag follows.
pub(super) fn check(policies: &[(String, Policy)], tag: &Tag) -> Result<()> {
    for (scope, policy) in policies.iter().filter(|(_, policy)| !policy.naming.is_empty()) {
        let fits = |pattern: &String| compile(pattern).is_ok_and(|regex| regex.is_match(tag.as_str()));
        if !policy.naming.iter().any(fits) {
            return Err(HubError::Naming {
                tag: tag.to_string(),
                scope: scope.clone(),
                patterns: policy.naming.clone(),
            });
        }
    }
    Ok(())
}
