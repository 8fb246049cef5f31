//! Tokens that clients ask for before they pull and push (Docker's "Token Authentication Specification"): who they are and what
//! they may do where, signed, good for some minutes. Looking at one takes no database.

use std::fmt;
use std::str::FromStr;

use havre_database::now;
use havre_registry_store::RepositoryName;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::accounts;
use crate::permission::role_in;
use crate::secret::id;
use crate::{AccountName, Action, Actor, Hub, HubError, Result, Role, Who};

/// Scopes of one request.
const MOST: usize = 50;
/// The longest token that is looked at.
const LONGEST: usize = 16 << 10;
/// Clocks of several machines differ by seconds.
const LEEWAY: u64 = 10;

/// What a client asks for: `repository:acme/app:pull,push`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl FromStr for Scope {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self> {
        let parts = || {
            let (kind, rest) = text.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            // `repository(plugin)` is a repository.
            let kind = kind.split('(').next().unwrap_or_default();
            Some((kind, name, actions))
        };
        let invalid = || HubError::invalid("scope", "TYPE:NAME:ACTION,...");
        let (kind, name, actions) = parts().filter(|_| text.len() <= 512).ok_or_else(invalid)?;
        let actions = actions
            .split(',')
            .map(str::trim)
            .filter(|action| !action.is_empty());
        Ok(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            actions: actions.map(str::to_owned).collect(),
        })
    }
}

/// Something a token allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub actions: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    /// Nothing is nobody.
    sub: String,
    aud: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: String,
    access: Vec<Access>,
    /// The access token it was given for, which may be for less than the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// A token that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub token: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds since 1970.
    pub issued_at: i64,
}

/// What a token that is right says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Whose it is.
    pub account: Option<AccountName>,
    access: Vec<Access>,
    by: Option<String>,
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token has expired")]
    Expired,
    #[error("the token is not one of this registry")]
    Invalid,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete | Self::Manage => "delete",
        }
    }
}

impl Bearer {
    /// Whether the token allows this.
    pub fn allows(&self, repository: &RepositoryName, action: Action) -> bool {
        let fits = |access: &&Access| access.kind == "repository" && access.name == repository.as_str();
        let mut all = self.access.iter().filter(fits);
        all.any(|access| access.actions.iter().any(|word| word == action.word()))
    }
}

impl Hub {
    /// A token for somebody: what they asked for, as far as they may do it.
    pub fn issue(&self, actor: &Actor, scopes: &[Scope]) -> Result<Issued> {
        if scopes.len() > MOST {
            return Err(HubError::invalid(
                "scope",
                format!("at most {MOST} in one request"),
            ));
        }
        let access = self.reading(|connection| {
            let mut granted: Vec<Access> = Vec::new();
            for scope in scopes {
                let actions = match (scope.kind.as_str(), scope.name.parse::<RepositoryName>()) {
                    ("repository", Ok(name)) => words(role_in(connection, actor, &name)?, &scope.actions),
                    // Everybody sees a catalog: of what they may see.
                    ("registry", _) if scope.name == "catalog" => vec!["*".to_owned()],
                    _ => Vec::new(),
                };
                if !actions.is_empty() {
                    granted.push(Access {
                        kind: scope.kind.clone(),
                        name: scope.name.clone(),
                        actions,
                    });
                }
            }
            Ok(granted)
        })?;
        let key = self.0.keys.signing(&*self.0.database)?;
        let (settings, seconds) = (self.settings(), now() / 1000);
        let expires_in = settings.token_lifetime.as_secs();
        let claims = Claims {
            iss: settings.service.clone(),
            sub: actor.name().map(ToString::to_string).unwrap_or_default(),
            aud: settings.service.clone(),
            exp: seconds as u64 + expires_in,
            nbf: seconds as u64,
            iat: seconds as u64,
            jti: id()?,
            access,
            by: actor.limit.as_ref().map(|limit| limit.token.clone()),
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(key.id.clone());
        let token = jsonwebtoken::encode(&header, &claims, &key.encoding);
        Ok(Issued {
            token: token.map_err(|_| HubError::Failed("sign a token"))?,
            expires_in,
            issued_at: seconds,
        })
    }

    /// What a token says, if this registry issued it for itself and it is still good.
    pub fn verify(&self, token: &str) -> Result<Bearer, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let id = header.kid.ok_or(TokenError::Invalid)?;
        let key = self
            .0
            .keys
            .find(&*self.0.database, &id)
            .ok_or(TokenError::Invalid)?;
        let service = &self.settings().service;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[service]);
        validation.set_audience(&[service]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation);
        let claims = decoded.map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenError::Expired,
            _ => TokenError::Invalid,
        })?;
        let claims = claims.claims;
        let account = match claims.sub.as_str() {
            "" => None,
            name => Some(name.parse().map_err(|_| TokenError::Invalid)?),
        };
        Ok(Bearer {
            account,
            access: claims.access,
            by: claims.by,
        })
    }

    /// Who has a token, as of now: an account that was disabled meanwhile is nobody.
    pub fn bearer(&self, bearer: &Bearer, address: Option<std::net::IpAddr>) -> Result<Actor> {
        let Some(name) = &bearer.account else {
            return Ok(Actor::anonymous(address));
        };
        self.reading(|connection| {
            let account = accounts::find(connection, name)?.filter(|account| !account.disabled);
            let Some(account) = account else {
                return Err(HubError::Credentials);
            };
            let mut actor = accounts::actor(&account, address);
            if let Some(token) = &bearer.by {
                actor.limit = Some(crate::tokens::limit(connection, token)?.ok_or(HubError::Credentials)?);
            }
            Ok(actor)
        })
    }

    /// Who a token says it is, without asking whether that still holds: for what the token itself allows.
    pub fn named(&self, bearer: &Bearer, address: Option<std::net::IpAddr>) -> Actor {
        match &bearer.account {
            None => Actor::anonymous(address),
            Some(name) => Actor::new(
                Who::Account {
                    name: name.clone(),
                    admin: false,
                },
                address,
            ),
        }
    }
}

/// What is granted of what was asked for, in the words of the protocol.
fn words(role: Option<Role>, asked: &[String]) -> Vec<String> {
    let may = |action: Action| role >= Some(action.needs());
    let all = asked.iter().any(|word| word == "*");
    [Action::Pull, Action::Push, Action::Delete]
        .into_iter()
        .filter(|action| may(*action) && (all || asked.iter().any(|word| word == action.word())))
        .map(|action| action.word().to_owned())
        .collect()
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.name, self.actions.join(","))
    }
}
