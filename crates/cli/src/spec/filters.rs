//! `--filter key=value`, many times, as the API's JSON.

use std::collections::BTreeMap;

use super::SpecError;

/// The `filters` parameter: `{"label":{"a=b":true}}`; `None` without filters.
pub(crate) fn filters(flags: &[String]) -> Result<Option<String>, SpecError> {
    with(flags, &[])
}

/// As [`filters`], with further pairs added by the command itself.
pub(crate) fn with(flags: &[String], more: &[(&str, &str)]) -> Result<Option<String>, SpecError> {
    let mut map: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for flag in flags {
        let (key, value) =
            pair(flag).ok_or_else(|| SpecError::value(format!("invalid filter '{flag}': use KEY=value")))?;
        map.entry(key.trim().to_ascii_lowercase())
            .or_default()
            .insert(value.trim().to_owned(), true);
    }
    for (key, value) in more {
        map.entry((*key).to_owned())
            .or_default()
            .insert((*value).to_owned(), true);
    }
    if map.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(&map)
        .map(Some)
        .map_err(|error| SpecError::value(error.to_string()))
}

/// `KEY=value`, or a comparison, which belongs to the value: `size>1GB`, `size>=1GB`.
fn pair(flag: &str) -> Option<(&str, &str)> {
    let at = flag.find(['=', '<', '>'])?;
    let (key, value) = flag.split_at(at);
    Some((key, value.strip_prefix('=').unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_values() {
        for (flag, expected) in [
            ("size>1GB", r#"{"size":{">1GB":true}}"#),
            ("size <= 1GB", r#"{"size":{"<= 1GB":true}}"#),
            ("size=>1GB", r#"{"size":{">1GB":true}}"#),
            ("label=a<b", r#"{"label":{"a<b":true}}"#),
            ("label!=a", r#"{"label!":{"a":true}}"#),
        ] {
            assert_eq!(filters(&[flag.to_owned()]).unwrap().unwrap(), expected);
        }
    }

    #[test]
    fn filters_are_grouped_by_key() {
        let flags = [
            "label=a=b".to_owned(),
            "Label=c".to_owned(),
            "dangling=true".to_owned(),
        ];
        assert_eq!(
            filters(&flags).unwrap().unwrap(),
            r#"{"dangling":{"true":true},"label":{"a=b":true,"c":true}}"#
        );
        assert_eq!(filters(&[]).unwrap(), None);
        assert!(filters(&["bare".to_owned()]).is_err());
    }
}
