//! Docker writes `null` for an empty map, list or text; a missing field and a `null` mean the same.

use serde::{Deserialize, Deserializer};

pub(crate) fn as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
