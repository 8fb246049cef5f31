//! Tokens that clients of a registry come with: who they are and what they may do where, signed by somebody the registry trusts
//! (Docker's "Token Authentication Implementation"). Looking at one takes no database and no network.
//!
//! A key says which algorithm it is for. What a token's header says is compared with it, and decides nothing.

mod algorithm;
mod claims;
mod key;
mod trusted;

pub use algorithm::Algorithm;
pub use claims::{Access, Claims, Said};
pub use key::{KeyError, PrivateKey, PublicKey};
pub use trusted::{TrustError, TrustedKeys};

use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 16 << 10;
/// Clocks of several machines differ by seconds.
const LEEWAY: u64 = 10;

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token has expired")]
    Expired,
    #[error("the token is not one for this registry")]
    Invalid,
}

/// By whom and for whom a token must have been made.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub audience: &'a str,
}

/// The key a token says it is signed with.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    header(token)?.kid.ok_or(TokenError::Invalid)
}

fn header(token: &str) -> Result<jsonwebtoken::Header, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Invalid);
    }
    jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)
}

/// What a token says, if this key signed it and it is good now.
pub fn verify(token: &str, key: &PublicKey, expected: Expected<'_>) -> Result<Said, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Invalid);
    }
    let mut validation = Validation::new(key.algorithm.into());
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.audience]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY;
    match jsonwebtoken::decode::<Said>(token, &key.decoding, &validation) {
        Ok(decoded) => Ok(decoded.claims),
        Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(TokenError::Expired),
        Err(_) => Err(TokenError::Invalid),
    }
}
