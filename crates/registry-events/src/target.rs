//! Who wants to know.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::{Action, Event, EventsError};

/// Where events are sent: `http` or `https`, with a host, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUrl(Url);

impl TargetUrl {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address in it, where it is one: names are looked up when something is sent.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        match self.0.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TargetUrl {
    type Err = EventsError;

    fn from_str(text: &str) -> Result<Self, EventsError> {
        let refused = |reason| EventsError::Url {
            url: text.to_owned(),
            reason,
        };
        let url = Url::parse(text).map_err(|_| refused("use https://HOST/PATH"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(refused("use https://HOST/PATH"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("credentials belong into a header or the secret"));
        }
        Ok(Self(url))
    }
}

/// Somebody who wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub url: TargetUrl,
    /// Sent along, as `Authorization` and its like.
    pub headers: Vec<(String, String)>,
    /// Signs what is sent.
    pub secret: Option<String>,
    /// Of these alone; all, if there are none.
    pub actions: Vec<Action>,
    /// Of this repository, or of those beneath it, alone.
    pub repository: Option<String>,
    /// Not of these media types.
    pub ignored: Vec<String>,
    /// It may be at an address that only this network has.
    pub private: bool,
}

impl Target {
    /// Whether it wants to know of this.
    pub fn wants(&self, event: &Event) -> bool {
        let beneath = |wanted: &String| {
            let rest = event.subject.repository.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        (self.actions.is_empty() || self.actions.contains(&event.action))
            && self.repository.as_ref().is_none_or(beneath)
            && !self.ignored.contains(&event.subject.media_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Actor, Origin, Request, Subject};

    #[test]
    fn addresses() {
        let url: TargetUrl = "https://example.com/hook?x=1".parse().expect("an address");
        assert_eq!(
            (url.as_str(), url.address()),
            ("https://example.com/hook?x=1", None)
        );
        for inner in [
            "http://127.0.0.1:9/",
            "http://[::1]/",
            "http://2130706433/",
            "http://0x7f.1/",
        ] {
            let url: TargetUrl = inner.parse().expect(inner);
            assert!(url.address().expect("an address").is_loopback(), "{inner}");
        }
        for wrong in [
            "ftp://example.com/",
            "example.com",
            "https://",
            "https://me:secret@example.com/",
            "file:///etc/passwd",
        ] {
            assert!(wrong.parse::<TargetUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wanted() {
        let target = Target {
            name: "ci".into(),
            url: "https://example.com/".parse().expect("an address"),
            headers: Vec::new(),
            secret: None,
            actions: vec![Action::Push],
            repository: Some("team/app".into()),
            ignored: vec!["a/b".into()],
            private: false,
        };
        let event = |action, repository: &str, media_type: &str| {
            let subject = Subject {
                repository: repository.into(),
                media_type: media_type.into(),
                ..Subject::default()
            };
            Event::new(
                action,
                subject,
                Request::default(),
                Actor::default(),
                Origin::default(),
            )
        };
        for (action, repository, media_type, wanted) in [
            (Action::Push, "team/app", "", true),
            (Action::Push, "team/app/sub", "", true),
            (Action::Push, "team/apple", "", false),
            (Action::Push, "team", "", false),
            (Action::Pull, "team/app", "", false),
            (Action::Push, "team/app", "a/b", false),
        ] {
            assert_eq!(
                target.wants(&event(action, repository, media_type)),
                wanted,
                "{action} {repository}"
            );
        }
    }
}
