//! The two algorithms, of `ring`, for `jsonwebtoken`: no other exists here, so no token can ask for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey,
};
use signature::{Error, Signer, Verifier};

/// How tokens are signed (RFC 7518, 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    #[default]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for who reads nothing else.
    Rs256,
}

impl Algorithm {
    /// As headers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is no algorithm that tokens are signed with here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tokens are signed with ES256 or RS256")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownAlgorithm> {
        [Self::Es256, Self::Rs256]
            .into_iter()
            .find(|one| one.name() == text)
            .ok_or(UnknownAlgorithm)
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::ES256,
            Algorithm::Rs256 => Self::RS256,
        }
    }
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Tells `jsonwebtoken`, once in a process.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if PROVIDER.install_default().is_err() {
            tracing::warn!("tokens are signed by somebody else's algorithms");
        }
    });
}

struct Es256Signer(EcdsaKeyPair, SystemRandom);

struct Rs256Signer(RsaKeyPair, SystemRandom);

struct Es256Verifier(UnparsedPublicKey<Vec<u8>>);

struct Rs256Verifier(DecodingKeyKind);

fn signer(algorithm: &jsonwebtoken::Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    let random = SystemRandom::new();
    match algorithm {
        jsonwebtoken::Algorithm::ES256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes(), &random);
            let pair = pair.map_err(|_| ErrorKind::InvalidEcdsaKey)?;
            Ok(Box::new(Es256Signer(pair, random)))
        }
        jsonwebtoken::Algorithm::RS256 => {
            let pair = RsaKeyPair::from_pkcs8(key.as_bytes());
            let pair = pair.map_err(|error| ErrorKind::InvalidRsaKey(error.to_string()))?;
            Ok(Box::new(Rs256Signer(pair, random)))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

fn verifier(algorithm: &jsonwebtoken::Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match algorithm {
        jsonwebtoken::Algorithm::ES256 => {
            let key = key.try_get_as_bytes()?.to_vec();
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
            Ok(Box::new(Es256Verifier(key)))
        }
        jsonwebtoken::Algorithm::RS256 => Ok(Box::new(Rs256Verifier(key.kind().clone()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

impl Signer<Vec<u8>> for Es256Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let signature = self.0.sign(&self.1, message).map_err(|_| Error::new())?;
        Ok(signature.as_ref().to_vec())
    }
}

impl JwtSigner for Es256Signer {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        jsonwebtoken::Algorithm::ES256
    }
}

impl Signer<Vec<u8>> for Rs256Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        let signed = self.0.sign(&RSA_PKCS1_SHA256, &self.1, message, &mut signature);
        signed.map_err(|_| Error::new())?;
        Ok(signature)
    }
}

impl JwtSigner for Rs256Signer {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        jsonwebtoken::Algorithm::RS256
    }
}

impl Verifier<Vec<u8>> for Es256Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        self.0.verify(message, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Es256Verifier {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        jsonwebtoken::Algorithm::ES256
    }
}

impl Verifier<Vec<u8>> for Rs256Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let parameters = &RSA_PKCS1_2048_8192_SHA256;
        let verified = match &self.0 {
            DecodingKeyKind::SecretOrDer(der) => {
                UnparsedPublicKey::new(parameters, der).verify(message, signature)
            }
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for Rs256Verifier {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        jsonwebtoken::Algorithm::RS256
    }
}
