//! Tokens that clients ask for before they pull and push (Docker's "Token Authentication Specification"): who they are and what
//! they may do where, signed, good for some minutes. Looking at one takes no database.

use std::fmt;
use std::str::FromStr;

use havre_database::now;
use havre_registry_store::RepositoryName;
use havre_registry_token::{Access, Claims, Expected, Said, TokenError, key_id};

use crate::accounts;
use crate::permission::role_in;
use crate::secret::id;
use crate::{AccountName, Action, Actor, Hub, HubError, Result, Role, Who};

/// Scopes of one request.
const MOST: usize = 50;

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
    said: Said,
}

impl Action {
    /// As scopes have it.
    pub fn word(self) -> &'static str {
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
        self.said.allows("repository", repository.as_str(), action.word())
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
        let token = key.private.sign(&key.id, &claims);
        Ok(Issued {
            token: token.map_err(|_| HubError::Failed("sign a token"))?,
            expires_in,
            issued_at: seconds,
        })
    }

    /// What a token says, if this registry issued it for itself and it is still good.
    pub fn verify(&self, token: &str) -> Result<Bearer, TokenError> {
        let id = key_id(token)?;
        let key = self.0.keys.find(&*self.0.database, &id);
        let service = &self.settings().service;
        let expected = Expected {
            issuer: service,
            audience: service,
        };
        let key = key.ok_or(TokenError::Invalid)?;
        let said = havre_registry_token::verify(token, key.private.public(), expected)?;
        let account = match said.sub.as_str() {
            "" => None,
            name => Some(name.parse().map_err(|_| TokenError::Invalid)?),
        };
        Ok(Bearer { account, said })
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
            if let Some(token) = &bearer.said.by {
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
