//! What a token says.

use serde::{Deserialize, Serialize};

/// Something a token allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub actions: Vec<String>,
}

/// What is put into a token. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claims {
    pub iss: String,
    /// Nothing is nobody.
    pub sub: String,
    pub aud: String,
    pub exp: u64,
    pub nbf: u64,
    pub iat: u64,
    pub jti: String,
    pub access: Vec<Access>,
    /// The access token it was given for, which may be for less than the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a token that is right says, beside by whom, for whom and until when it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// Whose it is; nothing is nobody.
    #[serde(default)]
    pub sub: String,
    #[serde(default)]
    access: Option<Vec<Access>>,
    /// As in [`Claims`].
    #[serde(default)]
    pub by: Option<String>,
}

impl Said {
    /// Whether it allows an action on something; `*` stands for all of them.
    pub fn allows(&self, kind: &str, name: &str, action: &str) -> bool {
        let access = self.access.iter().flatten();
        access
            .filter(|access| access.kind == kind && access.name == name)
            .flat_map(|access| &access.actions)
            .any(|word| word == action || word == "*")
    }
}
