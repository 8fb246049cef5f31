//! Names and values: of the query of a request, or of a form that was sent.

use percent_encoding::percent_decode_str;

/// The most that is read of one query or form.
const MOST: usize = 5000;

/// Names and values, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn read(text: &str) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(MOST);
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The same without space around it, and empty if there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default().trim()
    }

    /// All values of that name.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoded() {
        let query = Query::read("a=1&b=sha256%3Aff+x&c&&a=2&%61=3&d=%ff");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(query.get("b"), Some("sha256:ff x"));
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.get("d"), Some("\u{fffd}"));
        assert_eq!(query.get("e"), None);
        assert_eq!(Query::read(&"a=1&".repeat(10_000)).all("a").count(), MOST);
    }
}
