//! Query parameters, read as Go's handlers read them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use havre_engine::Filters;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::request_json;

/// The parameters of a request, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The first value, empty if there is none.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// The first value if it isn't empty.
    pub(crate) fn given(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Anything but nothing, `0`, `no`, `false` and `none` is yes.
    pub(crate) fn flag(&self, key: &str) -> bool {
        let value = self.text(key).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// As [`flag`](Self::flag), with a default for an absent parameter.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> bool {
        if self.get(key).is_some() {
            self.flag(key)
        } else {
            default
        }
    }

    pub(crate) fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, ApiError> {
        self.given(key)
            .map(|value| {
                value.trim().parse().map_err(|_| {
                    ApiError::bad_request(format!(
                        "invalid value {value:?} for parameter {key}: not a number in range"
                    ))
                })
            })
            .transpose()
    }

    /// A parameter that holds JSON; absent and empty are the default.
    pub(crate) fn json<T: DeserializeOwned + Default>(&self, key: &str) -> Result<T, ApiError> {
        match self.given(key) {
            None => Ok(T::default()),
            Some(text) => request_json::read_parameter::<T>(text)
                .map(Option::unwrap_or_default)
                .map_err(|error| {
                    ApiError::bad_request(format!("invalid value for parameter {key}: {error}"))
                }),
        }
    }

    /// `filters`: `{"key":{"value":true}}`, or the older `{"key":["value"]}`.
    pub(crate) fn filters(&self) -> Result<Filters, ApiError> {
        let mut filters = Filters::new();
        for (key, values) in self.filter_map()? {
            for value in values {
                filters.add(key.clone(), value);
            }
        }
        Ok(filters)
    }

    /// The same, as a plain map.
    pub(crate) fn filter_map(&self) -> Result<BTreeMap<String, Vec<String>>, ApiError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            Set(BTreeMap<String, bool>),
            List(Vec<String>),
        }
        let Some(text) = self.given("filters") else {
            return Ok(BTreeMap::new());
        };
        let map: BTreeMap<String, Values> =
            serde_json::from_str(text).map_err(|_| ApiError::bad_request("invalid filter"))?;
        let values = |values| match values {
            Values::Set(set) => set
                .into_iter()
                .filter(|(_, on)| *on)
                .map(|(value, _)| value)
                .collect(),
            Values::List(list) => list,
        };
        Ok(map.into_iter().map(|(key, set)| (key, values(set))).collect())
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters() {
        let query = Query::parse("a=1&b=x%20y+z&a=2&empty=&bare&n=-7");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.text("b"), "x y z");
        assert_eq!(
            (query.get("empty"), query.given("empty"), query.get("none")),
            (Some(""), None, None)
        );
        assert_eq!(query.number::<i64>("n").unwrap(), Some(-7));
        assert!(query.number::<i64>("b").is_err());
        assert_eq!(query.number::<u16>("empty").unwrap(), None);
    }

    #[test]
    fn flags() {
        let query = Query::parse("a=1&b=True&c=0&d=false&e=No&f=&g=maybe&h=none");
        for (key, expected) in [
            ("a", true),
            ("b", true),
            ("c", false),
            ("d", false),
            ("e", false),
            ("f", false),
        ] {
            assert_eq!(query.flag(key), expected, "{key}");
        }
        assert!(query.flag("g") && !query.flag("h"));
        assert!(query.flag_or("absent", true) && !query.flag_or("c", true));
    }

    #[test]
    fn filters() {
        let of = |text: &str| {
            let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
            Query::parse(&format!("filters={encoded}")).filters()
        };
        let filters = of(r#"{"label":{"a=b":true,"c":false},"status":["exited","dead"]}"#).unwrap();
        assert_eq!(filters.values("label").collect::<Vec<_>>(), ["a=b"]);
        assert_eq!(filters.values("status").collect::<Vec<_>>(), ["dead", "exited"]);
        assert!(Query::default().filters().unwrap().is_empty());
        for bad in ["[]", "x", r#"{"a":1}"#, r#"{"a":{"b":2}}"#] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,80}") {
            let query = Query::parse(&text);
            let _ = (query.filters(), query.flag("a"));
        }
    }
}
