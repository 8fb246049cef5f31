//! Passwords: hashed with Argon2id, whose parameters stand in the hash. Hashing takes as long as it can, so a password that was
//! right is remembered for a while, by a keyed hash that only this process can make.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use ring::hmac;

use crate::secret::random;
use crate::{HubError, Result};

const SHORTEST: usize = 8;
/// Longer ones cost more to hash than they give.
const LONGEST: usize = 256;
/// A password that was right is not hashed again for so long.
const REMEMBERED: Duration = Duration::from_secs(600);
/// So many of them.
const MOST: usize = 10_000;

/// Checks passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    key: hmac::Key,
    /// What a password is compared with whose account is not there, so that it takes as long to be told off.
    nobody: String,
    right: Mutex<HashMap<Vec<u8>, Instant>>,
}

/// A hash to keep. Takes its time.
pub(crate) fn hashed(password: &str) -> Result<String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    let hash = hash.map_err(|_| HubError::Failed("hash a password"))?;
    Ok(hash.to_string())
}

/// An error if a password is none to take.
pub(crate) fn check(password: &str, name: &str) -> Result<()> {
    let hint = match password.chars().count() {
        count if count < SHORTEST => format!("at least {SHORTEST} characters"),
        _ if password.len() > LONGEST => format!("at most {LONGEST} bytes"),
        _ if password.eq_ignore_ascii_case(name) => "not the name of the account".to_owned(),
        _ => return Ok(()),
    };
    Err(HubError::invalid("password", hint))
}

impl Passwords {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()?),
            nobody: hashed("nobody")?,
            right: Mutex::default(),
        })
    }

    fn right(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Instant>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a password is that of the hash; without a hash it never is, and takes as long to find out.
    pub(crate) fn is_right(&self, hash: Option<&str>, password: &str) -> bool {
        let parsed = |hash: &str| {
            let parsed = PasswordHash::new(hash).ok()?;
            Argon2::default()
                .verify_password(password.as_bytes(), &parsed)
                .ok()
        };
        if password.len() > LONGEST {
            return false;
        }
        let Some(hash) = hash else {
            let _ = parsed(&self.nobody);
            return false;
        };
        // A hash holds no line break, so nothing else gives the same text.
        let seen = hmac::sign(&self.key, format!("{hash}\n{password}").as_bytes());
        let seen = seen.as_ref().to_vec();
        if self
            .right()
            .get(&seen)
            .is_some_and(|at| at.elapsed() < REMEMBERED)
        {
            return true;
        }
        let right = parsed(hash).is_some();
        if right {
            let mut remembered = self.right();
            if remembered.len() >= MOST {
                remembered.clear();
            }
            remembered.insert(seen, Instant::now());
        }
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_and_wrong() {
        let passwords = Passwords::new().expect("passwords");
        let hash = hashed("correct horse").expect("a hash");
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert_ne!(hash, hashed("correct horse").expect("a hash"), "salted");
        assert!(passwords.is_right(Some(&hash), "correct horse"));
        assert!(passwords.is_right(Some(&hash), "correct horse"), "remembered");
        for wrong in ["", "correct hors", "correct horse ", &"x".repeat(1000)] {
            assert!(!passwords.is_right(Some(&hash), wrong), "{wrong}");
        }
        assert!(!passwords.is_right(None, "nobody"));
        assert!(
            !passwords.is_right(Some("plain"), "plain"),
            "no hash is no password"
        );
    }

    #[test]
    fn which_are_taken() {
        assert!(check("long enough", "me").is_ok());
        for refused in ["", "short", "somebody", &"x".repeat(257)] {
            assert!(check(refused, "somebody").is_err(), "{refused}");
        }
    }
}
