//! Names as the distribution specification writes them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use havre_oci::Digest;

/// The longest name of a repository.
const MAX_NAME: usize = 255;
/// The longest tag.
const MAX_TAG: usize = 128;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error(
        "invalid repository name: lower case letters, digits and single separators . _ - between them, in parts divided by /"
    )]
    Repository,
    #[error("repository name must not be more than {MAX_NAME} characters")]
    TooLong,
    #[error(
        "invalid tag: letters, digits, _ . and -, at most {MAX_TAG} of them, and no . or - at the beginning"
    )]
    Tag,
    #[error("invalid digest: {0}")]
    Digest(#[from] havre_oci::DigestError),
}

/// The name of a repository: `library/nginx`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

/// A tag: `1.27-alpine`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    Tag(Tag),
    Digest(Digest),
}

impl RepositoryName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_part(part: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = part;
    loop {
        let word = rest.trim_start_matches(is_letter);
        if word.len() == rest.len() {
            return false;
        }
        let after = word.trim_start_matches(['.', '_', '-']);
        let separator = &word[..word.len() - after.len()];
        match separator {
            "" => return word.is_empty(),
            "." | "_" | "__" => rest = after,
            dashes if dashes.bytes().all(|byte| byte == b'-') => rest = after,
            _ => return false,
        }
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        match text.split('/').all(is_part) {
            true => Ok(Self(text.into())),
            false => Err(NameError::Repository),
        }
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        let inner = |c: u8| fits(c) || c == b'.' || c == b'-';
        let bytes = text.as_bytes();
        match bytes.first().is_some_and(|first| fits(*first))
            && bytes.len() <= MAX_TAG
            && bytes.iter().all(|byte| inner(*byte))
        {
            true => Ok(Self(text.into())),
            false => Err(NameError::Tag),
        }
    }
}

impl FromStr for Identifier {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text.contains(':') {
            true => Self::Digest(text.parse()?),
            false => Self::Tag(text.parse()?),
        })
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        for name in [
            "a",
            "library/nginx",
            "a.b_c__d-e---f/1",
            "0/0/0",
            &"a".repeat(255),
        ] {
            assert_eq!(
                name.parse::<RepositoryName>().map(|name| name.to_string()),
                Ok(name.to_owned())
            );
        }
        for name in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", "..", "a/../b", "ä", "a b",
        ] {
            assert_eq!(
                name.parse::<RepositoryName>(),
                Err(NameError::Repository),
                "{name}"
            );
        }
        assert_eq!("a".repeat(256).parse::<RepositoryName>(), Err(NameError::TooLong));
    }

    #[test]
    fn tags() {
        for tag in ["latest", "1.27-alpine", "_x", "A", &"a".repeat(128)] {
            assert_eq!(tag.parse::<Tag>().map(|tag| tag.to_string()), Ok(tag.to_owned()));
        }
        for tag in ["", ".a", "-a", "a/b", "a b", "a:b", "ä", &"a".repeat(129)] {
            assert_eq!(tag.parse::<Tag>(), Err(NameError::Tag), "{tag}");
        }
    }

    #[test]
    fn identifiers() {
        let digest = Digest::sha256_of(b"");
        assert_eq!(digest.as_str().parse(), Ok(Identifier::Digest(digest.clone())));
        assert_eq!("1".parse(), Ok(Identifier::Tag("1".parse().unwrap())));
        assert!(matches!(
            "sha256:1".parse::<Identifier>(),
            Err(NameError::Digest(_))
        ));
        assert!(matches!(
            "md5:00".parse::<Identifier>(),
            Err(NameError::Digest(_))
        ));
    }
}
