//! Names of people, organisations and robots. A name is the namespace of its repositories, too: `NAME/app`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use havre_database::Value;
use havre_registry_store::RepositoryName;

use crate::HubError;

const LONGEST: usize = 40;
/// Between a robot and whom it belongs to.
const ROBOT: char = '+';
/// They mean something in addresses, or look as if somebody official spoke.
const RESERVED: &[&str] = &[
    "about",
    "account",
    "accounts",
    "admin",
    "anonymous",
    "api",
    "assets",
    "audit",
    "debug",
    "explore",
    "health",
    "help",
    "home",
    "invitation",
    "invitations",
    "library",
    "login",
    "logout",
    "metrics",
    "new",
    "organisation",
    "organisations",
    "organizations",
    "orgs",
    "repositories",
    "repository",
    "root",
    "search",
    "session",
    "sessions",
    "settings",
    "setup",
    "sign-in",
    "sign-out",
    "sign-up",
    "signin",
    "signout",
    "signup",
    "stars",
    "static",
    "system",
    "teams",
    "token",
    "tokens",
    "user",
    "users",
    "v1",
    "v2",
];

/// The name of a person or an organisation, `acme`, or of a robot, `acme+ci`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(Arc<str>);

impl AccountName {
    /// The name of a robot of a person or an organisation.
    pub fn robot(owner: &Self, name: &str) -> Result<Self, HubError> {
        if owner.is_robot() {
            return Err(HubError::invalid("name", "a robot has no robots"));
        }
        check(name)?;
        Ok(Self(format!("{owner}{ROBOT}{name}").into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_robot(&self) -> bool {
        self.0.contains(ROBOT)
    }

    /// Whose repositories these are; of a robot those of whom it belongs to.
    pub fn namespace(&self) -> &str {
        self.0.split(ROBOT).next().unwrap_or_default()
    }

    /// Whether a new account may be called so.
    pub(crate) fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.as_str())
    }
}

fn check(name: &str) -> Result<(), HubError> {
    let fits = name.parse::<RepositoryName>().is_ok() && !name.contains('/');
    match fits && (2..=LONGEST).contains(&name.len()) {
        true => Ok(()),
        false => Err(HubError::invalid(
            "name",
            format!("2 to {LONGEST} lower case letters and digits, with single . _ - between them"),
        )),
    }
}

impl FromStr for AccountName {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        match text.split_once(ROBOT) {
            None => check(text).map(|()| Self(text.into())),
            Some((owner, robot)) => Self::robot(&owner.parse()?, robot),
        }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&AccountName> for Value {
    fn from(name: &AccountName) -> Self {
        Self::from(name.as_str())
    }
}

/// The namespace of a repository; one with a single word has none.
pub fn namespace_of(repository: &RepositoryName) -> Option<&str> {
    repository.as_str().split_once('/').map(|(first, _)| first)
}

/// What `LIKE … ESCAPE '!'` matches the repositories of a namespace by.
pub(crate) fn within(namespace: &str) -> Value {
    Value::from(format!("{}/%", escaped(namespace)))
}

/// A text that `LIKE … ESCAPE '!'` takes for nothing but itself.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '!' | '%' | '_') {
            escaped.push('!');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, namespace, robot) in [
            ("me", "me", false),
            ("a.b_c-d", "a.b_c-d", false),
            ("acme+ci", "acme", true),
        ] {
            let name: AccountName = text.parse().expect(text);
            assert_eq!((name.namespace(), name.is_robot()), (namespace, robot), "{text}");
        }
        for text in [
            "",
            "a",
            "A",
            "Me",
            "a/b",
            "a b",
            "-a",
            "a+",
            "+a",
            "a+b+c",
            "me+a",
            "ä",
            "..",
            "a\0b",
            &"a".repeat(41),
        ] {
            assert!(text.parse::<AccountName>().is_err(), "{text:?}");
        }
        assert!("library".parse::<AccountName>().expect("a name").is_reserved());
    }

    #[test]
    fn namespaces() {
        let of = |text: &str| namespace_of(&text.parse().expect(text)).map(str::to_owned);
        assert_eq!(of("acme/a/b"), Some("acme".to_owned()));
        assert_eq!(of("app"), None);
        assert_eq!(escaped("a_b%c!"), "a!_b!%c!!");
    }
}
