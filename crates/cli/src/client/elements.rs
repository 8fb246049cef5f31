//! Long lists, an element at a time: what has been seen to need not stay in memory until the last has come.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer as _, SeqAccess, Visitor};

use super::call::Call;
use crate::error::CliError;

impl Call<'_> {
    /// The body as a JSON list (or `null`), whose elements go to `found` one by one.
    pub(crate) async fn each<T: DeserializeOwned>(self, found: impl FnMut(T)) -> Result<(), CliError> {
        let name = self.name();
        let bytes = self.bytes().await?;
        let failed = |error: serde_json::Error| CliError::Protocol {
            request: name.clone(),
            reason: error.to_string(),
        };
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
        let visitor = Elements {
            found,
            kind: PhantomData,
        };
        deserializer.deserialize_any(visitor).map_err(failed)?;
        deserializer.end().map_err(failed)
    }
}

struct Elements<T, F> {
    found: F,
    kind: PhantomData<T>,
}

impl<'de, T: DeserializeOwned, F: FnMut(T)> Visitor<'de> for Elements<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element()? {
            (self.found)(element);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(json: &str) -> Result<Vec<u8>, String> {
        let mut found = Vec::new();
        let visitor = Elements {
            found: |number: u8| found.push(number),
            kind: PhantomData,
        };
        let mut deserializer = serde_json::Deserializer::from_str(json);
        deserializer
            .deserialize_any(visitor)
            .map_err(|error| error.to_string())?;
        Ok(found)
    }

    #[test]
    fn lists_and_nothing_else() {
        assert_eq!(elements("[1, 2,3]"), Ok(vec![1, 2, 3]));
        assert_eq!(elements("[]"), Ok(vec![]));
        assert_eq!(elements("null"), Ok(vec![]));
        assert!(elements("[1, \"a\"]").is_err());
        assert!(elements("[1").is_err());
        let error = elements("{\"message\":\"x\"}").unwrap_err();
        assert!(error.contains("expected a list"), "{error}");
    }
}
