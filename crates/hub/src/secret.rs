//! Random secrets. Who has one shows it; what is kept is its hash, so the database gives none away. A secret has 256 random bits:
//! no slow hash is needed, and looking its hash up tells nobody how near a guess was.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{HubError, Result};

/// So many random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| HubError::Failed("get random bytes"))?;
    Ok(bytes)
}

/// A new secret: the prefix says what it is for.
pub(crate) fn secret(prefix: &str) -> Result<String> {
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random::<32>()?)))
}

/// What names a secret, and gives nothing away.
pub(crate) fn id() -> Result<String> {
    Ok(hex(&random::<8>()?))
}

/// What is kept of a secret.
pub(crate) fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without telling by its time where two texts differ.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_compared_whole() {
        let (one, other) = (secret("a_").expect("a secret"), secret("a_").expect("a secret"));
        assert_ne!(one, other);
        assert_eq!(one.len(), 2 + 43);
        assert!(same(&one, &one.clone()) && !same(&one, &other) && !same(&one, &one[..10]));
        assert_eq!(hash("").len(), 64);
    }
}
