//! Keys of a server that issues tokens for a registry: the certificates and the key set that a `config.yml` names.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert};
use x509_cert::der::Decode as _;

use crate::algorithm::Algorithm;
use crate::key::PublicKey;
use crate::{Expected, Said, TokenError, header, verify};

/// A token is tried with every key it may be signed with, so there are not many.
const MOST: usize = 64;
/// rsaEncryption (RFC 3279, 2.3.1).
const RSA: &str = "1.2.840.113549.1.1.1";
/// id-ecPublicKey (RFC 5480, 2.1.1).
const EC: &str = "1.2.840.10045.2.1";
/// The length of a point of P-256 that is not compressed.
const P256_POINT: usize = 65;

/// Why keys cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("it is no PEM: {0}")]
    Pem(String),
    #[error("its certificate {0} cannot be read")]
    Certificate(usize),
    #[error("it is no key set (RFC 7517): {0}")]
    KeySet(String),
    #[error("it has no key for ES256 or RS256")]
    Empty,
    #[error("it has more than {MOST} keys")]
    TooMany,
}

/// The keys one of which a token must be signed with.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys {
    keys: Vec<(Option<String>, PublicKey)>,
    /// Certificates, and what of them is needed to see what they have signed.
    anchors: Vec<(CertificateDer<'static>, TrustAnchor<'static>)>,
}

impl TrustedKeys {
    /// Adds the certificates of a file in PEM, whose keys sign themselves or sign other certificates.
    pub fn add_certificates(&mut self, pem: &[u8]) -> Result<(), TrustError> {
        let mut found = false;
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let certificate = certificate.map_err(|error| TrustError::Pem(error.to_string()))?;
            let broken = || TrustError::Certificate(index + 1);
            let key = public_key(&certificate).map_err(|NotACertificate| broken())?;
            let anchor = anchor_from_trusted_cert(&certificate).map_err(|_| broken())?;
            let anchor = anchor.to_owned();
            self.anchors.push((certificate.clone(), anchor));
            if let Some(key) = key {
                self.add(None, key)?;
            }
            found = true;
        }
        found.then_some(()).ok_or(TrustError::Empty)
    }

    /// Adds the keys of a key set (RFC 7517). Those for something else are left out.
    pub fn add_key_set(&mut self, json: &[u8]) -> Result<(), TrustError> {
        let set: JwkSet =
            serde_json::from_slice(json).map_err(|error| TrustError::KeySet(error.to_string()))?;
        let mut found = false;
        for jwk in &set.keys {
            let algorithm = match &jwk.algorithm {
                AlgorithmParameters::RSA(_) => Algorithm::Rs256,
                AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                    Algorithm::Es256
                }
                _ => continue,
            };
            let decoding =
                DecodingKey::from_jwk(jwk).map_err(|error| TrustError::KeySet(error.to_string()))?;
            self.add(jwk.common.key_id.clone(), PublicKey::new(algorithm, decoding))?;
            found = true;
        }
        found.then_some(()).ok_or(TrustError::Empty)
    }

    fn add(&mut self, id: Option<String>, key: PublicKey) -> Result<(), TrustError> {
        if self.keys.len() == MOST {
            return Err(TrustError::TooMany);
        }
        self.keys.push((id, key));
        Ok(())
    }

    /// What a token says, if one of the keys signed it, or one whose certificate comes with it and is signed by one of them.
    pub fn verify(&self, token: &str, expected: Expected<'_>) -> Result<Said, TokenError> {
        let header = header(token)?;
        let asked = |key: &&PublicKey| header.alg == key.algorithm.into();
        if let Ok(Some(chain)) = header.x5c_der() {
            let key = self.of_chain(chain).ok_or(TokenError::Invalid)?;
            return Some(&key)
                .filter(asked)
                .map_or(Err(TokenError::Invalid), |key| verify(token, key, expected));
        }
        // Issuers name their keys in several ways. One that is named so is the one; else whichever signed is.
        let named = header.kid.as_ref().and_then(|id| {
            let mut keys = self.keys.iter();
            keys.find(|(known, _)| known.as_ref() == Some(id))
        });
        let candidates = match named {
            Some(named) => std::slice::from_ref(named),
            None => &self.keys,
        };
        let mut result = Err(TokenError::Invalid);
        for key in candidates.iter().map(|(_, key)| key).filter(asked) {
            result = verify(token, key, expected);
            // A signature that is wrong is all that another key could mend.
            if !matches!(result, Err(TokenError::Invalid)) {
                break;
            }
        }
        result
    }

    /// The key of the first of these certificates, if it is trusted now.
    fn of_chain(&self, chain: Vec<Vec<u8>>) -> Option<PublicKey> {
        let chain: Vec<CertificateDer<'static>> = chain.into_iter().map(CertificateDer::from).collect();
        let (leaf, between) = chain.split_first()?;
        // An issuer that signs for itself is no leaf of anything.
        if self.anchors.iter().any(|(certificate, _)| certificate == leaf) {
            return public_key(leaf).ok().flatten();
        }
        let anchors: Vec<_> = self.anchors.iter().map(|(_, anchor)| anchor.clone()).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        EndEntityCert::try_from(leaf)
            .ok()?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                between,
                UnixTime::since_unix_epoch(now),
                AnyUsage,
                None,
                None,
            )
            .ok()?;
        public_key(leaf).ok().flatten()
    }
}

/// Signing tokens has no usage of its own.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

struct NotACertificate;

/// The key of a certificate, if it is for one of the two algorithms.
fn public_key(certificate: &CertificateDer<'_>) -> Result<Option<PublicKey>, NotACertificate> {
    let read = x509_cert::Certificate::from_der(certificate).map_err(|_| NotACertificate)?;
    let key = read.tbs_certificate.subject_public_key_info;
    let bytes = key.subject_public_key.as_bytes().ok_or(NotACertificate)?;
    Ok(match key.algorithm.oid.to_string().as_str() {
        RSA => Some(PublicKey::new(Algorithm::Rs256, DecodingKey::from_rsa_der(bytes))),
        EC if bytes.len() == P256_POINT => {
            Some(PublicKey::new(Algorithm::Es256, DecodingKey::from_ec_der(bytes)))
        }
        _ => None,
    })
}
