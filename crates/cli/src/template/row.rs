//! Rows of tables, whose cells are made when a template asks for them.
//!
//! A list shows few of the cells its rows have, and some cost more than all others together: for the first local time
//! of a process, the system's time zones are looked through.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::value::Value;

/// What a row has to offer.
pub(crate) trait Cells {
    /// The names of all cells, in the order `{{.}}` prints them.
    fn names(&self) -> Vec<&'static str>;

    /// The cell of a name, if there is such a cell.
    fn cell(&self, name: &str) -> Option<Value>;

    /// What `.Label "key"` gives.
    fn label(&self, key: &str) -> Option<&str>;
}

/// A row; cheap to clone.
#[derive(Clone)]
pub(crate) struct Row(Rc<dyn Cells>);

impl Row {
    pub(super) fn new(cells: impl Cells + 'static) -> Self {
        Self(Rc::new(cells))
    }

    pub(super) fn cell(&self, name: &str) -> Option<Value> {
        self.0.cell(name)
    }

    pub(super) fn label(&self, key: &str) -> &str {
        self.0.label(key).unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let names = self.0.names().into_iter();
        names.filter_map(|name| Some((name, self.0.cell(name)?)))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0) || self.all().eq(other.all())
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all()).finish()
    }
}

/// As Go prints a structure.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (_, value)) in self.all().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            write!(f, "{blank}{value}")?;
        }
        f.write_str("}")
    }
}

/// An object with sorted keys.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cells: Vec<_> = self.all().collect();
        cells.sort_by_key(|(name, _)| *name);
        let mut map = serializer.serialize_map(Some(cells.len()))?;
        for (name, value) in cells {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

/// Cells that are there already.
pub(super) struct Ready {
    pub(super) cells: Vec<(&'static str, Value)>,
    pub(super) labels: BTreeMap<String, String>,
}

impl Cells for Ready {
    fn names(&self) -> Vec<&'static str> {
        self.cells.iter().map(|(name, _)| *name).collect()
    }

    fn cell(&self, name: &str) -> Option<Value> {
        let (_, value) = self.cells.iter().find(|(known, _)| *known == name)?;
        Some(value.clone())
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}
