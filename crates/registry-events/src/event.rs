//! Events as the reference registry sends them (its notifications/event.go), so that whoever understands those understands these.

use std::fmt;
use std::str::FromStr;

use havre_oci::Digest;
use serde::Serialize;

use crate::EventsError;

/// The type of what is sent.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Push,
    Pull,
    Mount,
    Delete,
}

impl Action {
    pub(crate) const ALL: [Self; 4] = [Self::Push, Self::Pull, Self::Mount, Self::Delete];

    fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Mount => "mount",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Action {
    type Err = EventsError;

    fn from_str(text: &str) -> Result<Self, EventsError> {
        let found = Self::ALL.into_iter().find(|action| action.name() == text);
        found.ok_or_else(|| EventsError::Action(text.to_owned()))
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// A random UUID.
    pub id: String,
    /// RFC 3339.
    pub timestamp: String,
    pub action: Action,
    #[serde(rename = "target")]
    pub subject: Subject,
    pub request: Request,
    pub actor: Actor,
    pub source: Origin,
}

/// What it happened to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// In bytes; 0 where it is not known.
    pub size: u64,
    /// [`None`] where a tag alone was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// As `size`: older readers look there.
    pub length: u64,
    pub repository: String,
    /// Where it was mounted from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_repository: Option<String>,
    /// Where it can be got.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// The request that did it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Request {
    pub id: String,
    /// Of the client.
    pub addr: String,
    /// The registry, as the client calls it.
    pub host: String,
    pub method: String,
    pub useragent: String,
}

/// Who did it; without a name, anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Actor {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// The process that saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    pub addr: String,
    #[serde(rename = "instanceID")]
    pub instance: String,
}

/// A random UUID (RFC 9562, version 4).
pub(crate) fn new_id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl Event {
    /// Now, by `request` of `actor`.
    pub fn new(action: Action, subject: Subject, request: Request, actor: Actor, source: Origin) -> Self {
        Self {
            id: new_id(),
            timestamp: jiff::Timestamp::now().to_string(),
            action,
            subject,
            request: Request {
                id: new_id(),
                ..request
            },
            actor,
            source,
        }
    }

    /// What is sent: the envelope with this one event.
    pub(crate) fn body(&self) -> String {
        serde_json::json!({ "events": [self] }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_reference_registry_sends_it() {
        let digest = Digest::sha256_of(b"");
        let subject = Subject {
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size: 5,
            length: 5,
            digest: Some(digest.clone()),
            repository: "team/app".into(),
            url: "http://registry/v2/team/app/manifests/x".into(),
            tag: Some("1".into()),
            ..Subject::default()
        };
        let event = Event::new(
            Action::Push,
            subject,
            Request::default(),
            Actor { name: "ann".into() },
            Origin::default(),
        );
        let sent: serde_json::Value = serde_json::from_str(&event.body()).expect("JSON");
        let sent = &sent["events"][0];
        assert_eq!(sent["action"], "push");
        assert_eq!(
            sent["target"]["mediaType"],
            "application/vnd.oci.image.manifest.v1+json"
        );
        assert_eq!(sent["target"]["digest"], digest.as_str());
        assert_eq!(sent["target"]["repository"], "team/app");
        assert_eq!(sent["target"]["tag"], "1");
        assert!(sent["target"].get("fromRepository").is_none());
        assert_eq!(sent["actor"]["name"], "ann");
        assert_eq!(sent["source"]["instanceID"], "");
        assert_eq!(event.id.len(), 36);
        assert!(event.timestamp.ends_with('Z'), "{}", event.timestamp);
    }

    #[test]
    fn actions_by_name() {
        for action in Action::ALL {
            assert_eq!(action.to_string().parse::<Action>().expect("an action"), action);
        }
        assert!("Push".parse::<Action>().is_err());
    }
}
