//! Keys. Each is for one algorithm.

use std::fmt;

use jsonwebtoken::{DecodingKey, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use rsa::pkcs8::EncodePrivateKey as _;
use rsa::rand_core::OsRng;

use crate::algorithm::{Algorithm, install};
use crate::claims::Claims;

/// Bits of new RSA keys: what is said to last until 2030 (NIST SP 800-57), and a key signs for a month.
const RSA_BITS: usize = 2048;

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("no key can be made")]
    Generate,
    #[error("that is no key for it")]
    Invalid,
    #[error("the key does not sign")]
    Sign,
}

/// A key that signs.
#[derive(Clone)]
pub struct PrivateKey {
    algorithm: Algorithm,
    pkcs8: Vec<u8>,
    public: PublicKey,
}

/// Nothing of the key itself.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A key that shows who signed.
#[derive(Clone)]
pub struct PublicKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    pub(crate) fn new(algorithm: Algorithm, decoding: DecodingKey) -> Self {
        install();
        Self { algorithm, decoding }
    }
}

impl PrivateKey {
    /// Makes a key. One of RSA takes a good part of a second.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pkcs8 = match algorithm {
            Algorithm::Es256 => {
                let pair =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
                pair.map_err(|_| KeyError::Generate)?.as_ref().to_vec()
            }
            Algorithm::Rs256 => {
                let key = rsa::RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(|_| KeyError::Generate)?;
                key.to_pkcs8_der()
                    .map_err(|_| KeyError::Generate)?
                    .as_bytes()
                    .to_vec()
            }
        };
        Self::from_pkcs8(algorithm, pkcs8)
    }

    /// Reads a key in the form of RFC 5958, in DER.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let decoding = match algorithm {
            Algorithm::Es256 => {
                let random = SystemRandom::new();
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random);
                DecodingKey::from_ec_der(pair.map_err(|_| KeyError::Invalid)?.public_key().as_ref())
            }
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(&pkcs8).map_err(|_| KeyError::Invalid)?;
                DecodingKey::from_rsa_der(pair.public_key().as_ref())
            }
        };
        Ok(Self {
            algorithm,
            pkcs8,
            public: PublicKey::new(algorithm, decoding),
        })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key as [`PrivateKey::from_pkcs8`] reads it.
    pub fn as_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// What shows that it signed.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A token. `id`: how who reads it finds the key.
    pub fn sign(&self, id: &str, claims: &Claims) -> Result<String, KeyError> {
        let mut header = Header::new(self.algorithm.into());
        header.kid = Some(id.to_owned());
        let key = match self.algorithm {
            Algorithm::Es256 => EncodingKey::from_ec_der(&self.pkcs8),
            Algorithm::Rs256 => EncodingKey::from_rsa_der(&self.pkcs8),
        };
        jsonwebtoken::encode(&header, claims, &key).map_err(|_| KeyError::Sign)
    }
}
