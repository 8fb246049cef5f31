//! The filter language of lists, prunes and events: `key=value`, several values of one key are alternatives.

use std::collections::{BTreeMap, BTreeSet};

use crate::{EngineError, Result};

/// Parsed filters: key → values. Labels are written `label=key` or `label=key=value` and must all match; values of other
/// keys are alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Without any filter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// Builder form of [`Filters::add`].
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.add(key, value);
        self
    }

    /// The same without a key.
    pub(crate) fn without(&self, key: &str) -> Self {
        let kept = self.0.iter().filter(|(name, _)| *name != key);
        Self(
            kept.map(|(name, values)| (name.clone(), values.clone()))
                .collect(),
        )
    }

    /// This key alone.
    pub(crate) fn only_key(&self, key: &str) -> Self {
        let kept = self.0.iter().filter(|(name, _)| *name == key);
        Self(
            kept.map(|(name, values)| (name.clone(), values.clone()))
                .collect(),
        )
    }

    /// No filter at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every key with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.0.iter().map(|(key, values)| (key.as_str(), values))
    }

    /// The values of a key; empty when it was not given.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether the key was given.
    pub fn contains(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|values| !values.is_empty())
    }

    /// Refuses keys that the caller does not know, in Docker's words.
    pub fn only(&self, accepted: &[&str]) -> Result<()> {
        match self.0.keys().find(|key| !accepted.contains(&key.as_str())) {
            Some(key) => Err(EngineError::invalid(format!("invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    /// A yes/no filter (`dangling=true`); an error when it is neither.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let mut found = None;
        for value in self.values(key) {
            let parsed = match value {
                "1" | "true" | "True" | "TRUE" | "t" | "T" => true,
                "0" | "false" | "False" | "FALSE" | "f" | "F" => false,
                _ => return Err(EngineError::invalid(format!("invalid filter '{key}={value}'"))),
            };
            if found.is_some_and(|before| before != parsed) {
                return Err(EngineError::invalid(format!(
                    "invalid filter '{key}': both true and false"
                )));
            }
            found = Some(parsed);
        }
        Ok(found)
    }

    /// Key absent, or one of its values equal to `value`.
    pub fn exact(&self, key: &str, value: &str) -> bool {
        !self.contains(key) || self.values(key).any(|wanted| wanted == value)
    }

    /// Key absent, or one of its values satisfying the predicate.
    pub fn any(&self, key: &str, predicate: impl FnMut(&str) -> bool) -> bool {
        !self.contains(key) || self.values(key).any(predicate)
    }

    /// Every `label` filter holds (and no `label!` filter does).
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |wanted: &str| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").all(holds) && !self.values("label!").any(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_must_all_hold() {
        let labels = BTreeMap::from([
            ("a".to_string(), "1".to_string()),
            ("b".to_string(), String::new()),
        ]);
        assert!(Filters::new().labels(&labels));
        assert!(
            Filters::new()
                .with("label", "a")
                .with("label", "a=1")
                .labels(&labels)
        );
        assert!(!Filters::new().with("label", "a=2").labels(&labels));
        assert!(
            !Filters::new()
                .with("label", "a=1")
                .with("label", "c")
                .labels(&labels)
        );
        assert!(!Filters::new().with("label!", "b").labels(&labels));
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = Filters::new().with("colour", "red").only(&["label"]).unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'colour'");
    }

    #[test]
    fn booleans() {
        assert_eq!(Filters::new().boolean("dangling").unwrap(), None);
        assert_eq!(
            Filters::new().with("dangling", "1").boolean("dangling").unwrap(),
            Some(true)
        );
        assert!(
            Filters::new()
                .with("dangling", "maybe")
                .boolean("dangling")
                .is_err()
        );
        assert!(
            Filters::new()
                .with("dangling", "1")
                .with("dangling", "0")
                .boolean("dangling")
                .is_err()
        );
    }
}
