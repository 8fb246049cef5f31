use std::collections::BTreeMap;

/// Filters of list and prune, as the API gives them: key → values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    pub(crate) values: BTreeMap<String, Vec<String>>,
}

/// A filter that does not exist or has a value that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    #[error("invalid filter '{0}'")]
    Unknown(String),
    #[error("invalid filter '{key}={value}'")]
    Value { key: String, value: String },
}

impl Filters {
    /// Keys are checked where the filters are used.
    pub fn new(values: BTreeMap<String, Vec<String>>) -> Self {
        Filters { values }
    }
}
