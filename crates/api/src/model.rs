//! Values as Docker reads and writes them. Names, order and nulls are those of dockerd's answers, since `docker inspect`
//! shows them as they are.

pub(crate) mod config;
pub(crate) mod container;
pub(crate) mod create;
pub(crate) mod disk_usage;
pub(crate) mod event;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod host_config;
pub(crate) mod image;
pub(crate) mod network;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod upkeep;
pub(crate) mod volume;

use std::collections::BTreeMap;

use serde::Serialize;

/// Go's `struct{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Empty {}

/// Go's nil map or list where there is nothing.
pub(crate) fn non_empty<T: IsEmpty>(value: T) -> Option<T> {
    (!value.is_empty()).then_some(value)
}

pub(crate) trait IsEmpty {
    fn is_empty(&self) -> bool;
}

impl<T> IsEmpty for Vec<T> {
    fn is_empty(&self) -> bool {
        Vec::is_empty(self)
    }
}

impl<K, V> IsEmpty for BTreeMap<K, V> {
    fn is_empty(&self) -> bool {
        BTreeMap::is_empty(self)
    }
}
