//! Long lists, a page at a time.

/// A part of a sorted list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<String>,
    /// There are others behind the last.
    pub more: bool,
}

impl Page {
    /// Of one item more than was asked for, if there is one.
    pub(crate) fn of(mut items: Vec<String>, limit: usize) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }

    /// What to ask a database for.
    pub(crate) fn rows(limit: usize) -> i64 {
        i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
    }
}
