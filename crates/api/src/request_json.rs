//! JSON from clients, in bodies and in parameters: read the way Go reads it, into types of ours.
//!
//! A `null` leaves a field at its zero value; unknown fields are ignored; of a field that comes twice the last counts. What
//! serde's derived code would take beyond that is refused: a list whose items fill the fields of a struct in their order, and
//! a map in place of one of a few words. Errors name the field and both types, as Docker's do.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::Value;

/// Why JSON was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("{0}")]
    Syntax(#[from] serde_json::Error),
    #[error("{0}")]
    Type(#[from] TypeError),
}

/// Reads a body; `None` for a `null`.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<Option<T>, JsonError> {
    let mut value: Value = serde_json::from_slice(text)?;
    drop_nulls(&mut value);
    Ok(Option::deserialize(Typed(&value))?)
}

/// Reads a parameter, whose fields can be `null` to say something.
pub(crate) fn read_parameter<T: DeserializeOwned>(text: &str) -> Result<Option<T>, JsonError> {
    let value: Value = serde_json::from_str(text)?;
    Ok(Option::deserialize(Typed(&value))?)
}

/// Maps in which a key with `null` means something.
const KEPT: [&str; 2] = ["PortBindings", "EndpointsConfig"];

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (key, value) in fields {
                match value {
                    Value::Object(members) if KEPT.contains(&key.as_str()) => {
                        members.values_mut().for_each(drop_nulls);
                    }
                    _ => drop_nulls(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A value that is of another type than the field it was sent for.
#[derive(Debug)]
pub(crate) struct TypeError {
    /// `HostConfig.Mounts[0].Target`; empty for the whole.
    field: String,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Type { sent: String, wanted: String },
    Other(String),
}

impl TypeError {
    fn because(reason: Reason) -> Self {
        Self {
            field: String::new(),
            reason,
        }
    }

    /// The same, seen from the object or list (`step`: `[3]`) around it.
    fn within(mut self, step: &str) -> Self {
        let dot = match self.field.is_empty() || self.field.starts_with('[') {
            true => "",
            false => ".",
        };
        self.field = format!("{step}{dot}{}", self.field);
        self
    }
}

impl fmt::Display for TypeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match (&self.reason, field.is_empty()) {
            (Reason::Type { sent, wanted }, true) => {
                write!(formatter, "cannot unmarshal {sent} into value of type {wanted}")
            }
            (Reason::Type { sent, wanted }, false) => {
                write!(
                    formatter,
                    "cannot unmarshal {sent} into field {field} of type {wanted}"
                )
            }
            (Reason::Other(reason), true) => formatter.write_str(reason),
            (Reason::Other(reason), false) => write!(formatter, "field {field}: {reason}"),
        }
    }
}

impl std::error::Error for TypeError {}

impl de::Error for TypeError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::because(Reason::Other(reason.to_string()))
    }

    fn invalid_type(sent: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let sent = match sent {
            Unexpected::Bool(_) => "bool".to_owned(),
            Unexpected::Unsigned(number) => format!("number {number}"),
            Unexpected::Signed(number) => format!("number {number}"),
            Unexpected::Float(number) => format!("number {number}"),
            // What it says may be a secret.
            Unexpected::Str(_) => "string".to_owned(),
            Unexpected::Seq => "array".to_owned(),
            Unexpected::Map => "object".to_owned(),
            Unexpected::Unit => "null".to_owned(),
            other => other.to_string(),
        };
        let wanted = wanted.to_string();
        // Derived code knows its structs by the names they have here.
        let wanted = match wanted.strip_prefix("struct ") {
            Some(_) => "object".to_owned(),
            None => wanted,
        };
        Self::because(Reason::Type { sent, wanted })
    }

    fn invalid_value(sent: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        // A number out of range, for the most part.
        Self::invalid_type(sent, wanted)
    }
}

/// A value as the source of what it is read into.
#[derive(Clone, Copy)]
struct Typed<'a>(&'a Value);

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = TypeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (_, Some(number)) => visitor.visit_i64(number),
                _ => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Object(fields) => visitor.visit_map(Fields {
                fields: fields.iter(),
                value: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        match self.0 {
            Value::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(Word(word)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        match name {
            BOTH => visitor.visit_seq(Repeated(self.0)),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        map identifier ignored_any
    }
}

/// One of a few words.
struct Word<'a>(&'a str);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = TypeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), TypeError> {
        Ok((seed.deserialize(BorrowedStrDeserializer::new(self.0))?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'de> {
    type Error = TypeError;

    fn unit_variant(self) -> Result<(), TypeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, TypeError> {
        Err(de::Error::invalid_type(Unexpected::Str(self.0), &"object"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, TypeError> {
        Err(de::Error::invalid_type(Unexpected::Str(self.0), &visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        Err(de::Error::invalid_type(Unexpected::Str(self.0), &visitor))
    }
}

struct Items<'a> {
    items: &'a [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = TypeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, TypeError> {
        let Some(item) = self.items.get(self.next) else {
            return Ok(None);
        };
        let read = seed.deserialize(Typed(item));
        let value = read.map_err(|error| error.within(&format!("[{}]", self.next)))?;
        self.next += 1;
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Fields<'a> {
    fields: serde_json::map::Iter<'a>,
    value: Option<(&'a str, &'a Value)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = TypeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, TypeError> {
        let Some((key, value)) = self.fields.next() else {
            return Ok(None);
        };
        self.value = Some((key, value));
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, TypeError> {
        let (key, value) = self.value.take().unwrap_or(("", &Value::Null));
        seed.deserialize(Typed(value)).map_err(|error| error.within(key))
    }
}

/// One object, read into two types that share its fields. As serde's `flatten`, which would read what lies deeper from a copy
/// that takes lists for structs.
#[derive(Debug, Default)]
pub(crate) struct Both<A, B>(pub(crate) A, pub(crate) B);

/// Asks [`Typed`] for the same value twice.
const BOTH: &str = "havre_api::Both";

impl<'de, A: Deserialize<'de>, B: Deserialize<'de>> Deserialize<'de> for Both<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Twice<A, B>(PhantomData<(A, B)>);

        impl<'de, A: Deserialize<'de>, B: Deserialize<'de>> Visitor<'de> for Twice<A, B> {
            type Value = Both<A, B>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("object")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut values: S) -> Result<Self::Value, S::Error> {
                let missing = |count| de::Error::invalid_length(count, &"the same value twice");
                let first = values.next_element()?.ok_or_else(|| missing(0))?;
                let second = values.next_element()?.ok_or_else(|| missing(1))?;
                Ok(Both(first, second))
            }
        }

        deserializer.deserialize_tuple_struct(BOTH, 2, Twice(PhantomData))
    }
}

/// The same value again and again.
struct Repeated<'a>(&'a Value);

impl<'de> SeqAccess<'de> for Repeated<'de> {
    type Error = TypeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, TypeError> {
        seed.deserialize(Typed(self.0)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::model::create::{ConfigBody, CreateBody, UpdateBody};

    fn refusal<T: DeserializeOwned>(value: &Value) -> String {
        match read::<T>(value.to_string().as_bytes()) {
            Ok(_) => panic!("{value} was taken"),
            Err(error) => error.to_string(),
        }
    }

    /// Every object within a value that was not a list: its place, and the value with that object's own values as a list.
    fn with_lists(value: &Value) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        let mut waiting = vec![(String::new(), String::new())];
        while let Some((pointer, place)) = waiting.pop() {
            let dot = if place.is_empty() { "" } else { "." };
            match value.pointer(&pointer).unwrap() {
                Value::Object(fields) => {
                    for list in [Vec::new(), fields.values().cloned().collect()] {
                        let mut changed = value.clone();
                        *changed.pointer_mut(&pointer).unwrap() = Value::Array(list);
                        all.push((place.clone(), changed));
                    }
                    for key in fields.keys() {
                        let step = key.replace('~', "~0").replace('/', "~1");
                        waiting.push((format!("{pointer}/{step}"), format!("{place}{dot}{key}")));
                    }
                }
                Value::Array(items) => {
                    for at in 0..items.len() {
                        waiting.push((format!("{pointer}/{at}"), format!("{place}[{at}]")));
                    }
                }
                _ => {}
            }
        }
        all
    }

    /// How many objects of a body were tried.
    fn refuses_lists<T: DeserializeOwned>(value: &Value) -> usize {
        assert!(
            read::<T>(value.to_string().as_bytes()).is_ok_and(|read| read.is_some()),
            "{value}"
        );
        let changed = with_lists(value);
        for (place, changed) in &changed {
            let error = refusal::<T>(changed);
            let expected = match place.is_empty() {
                true => "cannot unmarshal array into value of type ".to_owned(),
                false => format!("cannot unmarshal array into field {place} of type "),
            };
            assert!(error.starts_with(&expected), "{error}, not {expected}");
        }
        changed.len() / 2
    }

    #[test]
    fn a_list_in_place_of_an_object_is_refused_everywhere() {
        let limits = json!({
            "BlkioWeightDevice": [{"Path": "/dev/a", "Weight": 10}],
            "BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 1}], "BlkioDeviceWriteBps": [{"Path": "/dev/a", "Rate": 1}],
            "BlkioDeviceReadIOps": [{"Path": "/dev/a", "Rate": 1}], "BlkioDeviceWriteIOps": [{"Path": "/dev/a", "Rate": 1}],
            "Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "rwm"}],
            "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 1}], "Memory": 1,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        });
        assert_eq!(refuses_lists::<UpdateBody>(&limits), 9);
        let config = json!({
            "Image": "debian", "Labels": {"a": "b"},
            "Healthcheck": {"Test": ["NONE"], "Interval": 1, "Timeout": 1, "StartPeriod": 1, "StartInterval": 1, "Retries": 1},
        });
        assert_eq!(refuses_lists::<ConfigBody>(&config), 3);
        let mut create = config;
        create["HostConfig"] = limits;
        for (key, value) in json!({
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "80"}]},
            "Mounts": [{
                "Type": "volume", "Source": "v", "Target": "/v",
                "BindOptions": {"Propagation": "rslave"},
                "VolumeOptions": {"NoCopy": true, "Labels": {"a": "b"}, "Subpath": "",
                    "DriverConfig": {"Name": "local", "Options": {"o": "p"}}},
                "TmpfsOptions": {"SizeBytes": 1, "Mode": 1},
            }],
        })
        .as_object()
        .unwrap()
        {
            create["HostConfig"][key] = value.clone();
        }
        create["NetworkingConfig"] = json!({"EndpointsConfig": {"n": {
            "IPAMConfig": {"IPv4Address": "10.0.0.1", "IPv6Address": "", "LinkLocalIPs": []},
            "DriverOpts": {"a": "b"}, "Aliases": ["a"],
        }}});
        assert_eq!(refuses_lists::<CreateBody>(&create), 28);
    }

    #[test]
    fn messages_name_the_field_and_both_types() {
        for (value, expected) in [
            (json!([]), "cannot unmarshal array into value of type object"),
            (json!("x"), "cannot unmarshal string into value of type object"),
            (
                json!({"HostConfig": []}),
                "cannot unmarshal array into field HostConfig of type object",
            ),
            (
                json!({"HostConfig": {"Memory": "1g"}}),
                "cannot unmarshal string into field HostConfig.Memory of type i64",
            ),
            (
                json!({"HostConfig": {"Mounts": [{}, {"Target": 1.5}]}}),
                "cannot unmarshal number 1.5 into field HostConfig.Mounts[1].Target of type a string",
            ),
            (
                json!({"HostConfig": {"BlkioWeight": 70000}}),
                "cannot unmarshal number 70000 into field HostConfig.BlkioWeight of type u16",
            ),
            (
                json!({"Cmd": {"a": 1}}),
                "field Cmd: expected a string or a list of strings",
            ),
        ] {
            assert_eq!(refusal::<CreateBody>(&value), expected);
        }
    }

    #[test]
    fn nulls_and_words() {
        #[derive(Debug, Default, Deserialize, PartialEq)]
        #[serde(default)]
        struct Sample {
            name: String,
            kind: Option<Kind>,
            numbers: Vec<Option<u8>>,
        }
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(rename_all = "lowercase")]
        enum Kind {
            Small,
        }
        assert_eq!(read::<Sample>(b"null").unwrap(), None);
        let text = br#"{"name": null, "kind": "small", "numbers": [null, 1], "other": {}, "other": []}"#;
        let sample: Sample = read(text).unwrap().unwrap();
        assert_eq!(
            (sample.name.as_str(), sample.kind, sample.numbers),
            ("", Some(Kind::Small), vec![None, Some(1)])
        );
        assert!(refusal::<Sample>(&json!({"kind": {"small": null}})).contains("object into field kind"));
        assert!(refusal::<Sample>(&json!({"kind": "large"})).contains("large"));
        // Parameters say something by a null.
        let given = r#"{"A": null, "B": "b"}"#;
        let given: std::collections::BTreeMap<String, Option<String>> =
            read_parameter(given).unwrap().unwrap();
        assert_eq!(given["A"], None);
        assert!(read_parameter::<Sample>(r#"["x"]"#).is_err());
    }
}
