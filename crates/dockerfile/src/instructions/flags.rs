//! Flags of an instruction: taken by name, what is left is unknown.

use super::InstructionError;

pub(super) struct Flags<'a> {
    words: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Flags<'a> {
    pub(super) fn new(words: &'a [String]) -> Self {
        let split = |word: &'a String| match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        Flags {
            words: words.iter().map(split).collect(),
        }
    }

    /// All values of a flag that may be repeated.
    pub(super) fn values(&mut self, name: &str) -> Result<Vec<String>, InstructionError> {
        let mut found = Vec::new();
        let mut missing = None;
        self.words.retain(|(word, value)| {
            if *word != name {
                return true;
            }
            match value {
                Some(value) => found.push((*value).to_owned()),
                None => missing = Some(name.to_owned()),
            }
            false
        });
        match missing {
            Some(name) => Err(InstructionError::MissingValue(name)),
            None => Ok(found),
        }
    }

    pub(super) fn value(&mut self, name: &str) -> Result<Option<String>, InstructionError> {
        let mut values = self.values(name)?;
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(InstructionError::DuplicateFlag(name.to_owned())),
        }
    }

    /// A flag with an optional `=true` or `=false`.
    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, InstructionError> {
        let mut found = None;
        let mut failure = None;
        self.words.retain(|(word, value)| {
            if *word != name {
                return true;
            }
            let parsed = match value.map(str::to_ascii_lowercase).as_deref() {
                None | Some("true" | "1" | "t") => Some(true),
                Some("false" | "0" | "f") => Some(false),
                Some(_) => None,
            };
            match (parsed, found) {
                (None, _) => {
                    failure = Some(InstructionError::Boolean {
                        flag: name.to_owned(),
                        value: value.unwrap_or_default().to_owned(),
                    });
                }
                (Some(_), Some(_)) => failure = Some(InstructionError::DuplicateFlag(name.to_owned())),
                (Some(value), None) => found = Some(value),
            }
            false
        });
        failure.map_or(Ok(found), Err)
    }

    pub(super) fn finish(self) -> Result<(), InstructionError> {
        match self.words.first() {
            Some((name, _)) => Err(InstructionError::UnknownFlag((*name).to_owned())),
            None => Ok(()),
        }
    }
}
