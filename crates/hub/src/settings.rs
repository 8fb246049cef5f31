//! What an administrator configures.

use std::str::FromStr;
use std::time::Duration;

use havre_registry_token::Algorithm;

use crate::HubError;

/// How people get accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signup {
    /// Whoever comes makes one.
    Open,
    /// Who was invited.
    Invitation,
    /// An administrator makes them.
    #[default]
    Closed,
}

impl FromStr for Signup {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        match text {
            "open" => Ok(Self::Open),
            "invitation" => Ok(Self::Invitation),
            "closed" => Ok(Self::Closed),
            _ => Err(HubError::invalid("signup", "one of open, invitation, closed")),
        }
    }
}

/// How much somebody may have; nothing said is as much as they like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    pub bytes: Option<u64>,
    pub repositories: Option<u64>,
}

/// What an administrator configures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub signup: Signup,
    /// Whether repositories are public when they are first pushed to.
    pub public: bool,
    /// What tokens are issued by and for.
    pub service: String,
    /// What new tokens are signed with. Those that are out stay good.
    pub algorithm: Algorithm,
    /// How long a token that was issued to a client is good for.
    pub token_lifetime: Duration,
    /// So many wrong passwords in a row lock an account, and ten times as many an address.
    pub failures: u32,
    /// For so long.
    pub lockout: Duration,
    /// Pulls in an hour: of an address without an account.
    pub anonymous_pulls: Option<u32>,
    /// Of an account.
    pub account_pulls: Option<u32>,
    /// Of namespaces that have none of their own.
    pub quota: Quota,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            signup: Signup::default(),
            public: false,
            service: "havre-registry".to_owned(),
            algorithm: Algorithm::default(),
            token_lifetime: Duration::from_secs(300),
            failures: 10,
            lockout: Duration::from_secs(15 * 60),
            anonymous_pulls: None,
            account_pulls: None,
            quota: Quota::default(),
        }
    }
}
