//! Certificates made on the spot: authorities, what they issue, and what goes wrong with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// Somebody who issues certificates.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// When a certificate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Now,
    /// It ended yesterday.
    Past,
    /// It begins tomorrow.
    Future,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// The authority's certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate of a server with these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_for(names, Validity::Now)
    }

    pub fn issue_for(&self, names: &[&str], validity: Validity) -> Pair {
        let mut params = named("server", names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = SystemTime::now();
        let (from, to) = match validity {
            Validity::Now => (now - DAY, now + DAY),
            Validity::Past => (now - 3 * DAY, now - DAY),
            Validity::Future => (now + DAY, now + 3 * DAY),
        };
        params.not_before = from.into();
        params.not_after = to.into();
        self.sign(&params)
    }

    /// A certificate by which a client says who it is.
    pub fn issue_client(&self, name: &str) -> Pair {
        let mut params = named(name, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// A certificate of somebody's own key, in DER.
    pub(crate) fn certify(&self, name: &str, key: &KeyPair) -> Vec<u8> {
        let params = named(name, &[]);
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        certificate.der().to_vec()
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    /// As `openssl req -x509` makes it and Docker's manual shows it: signed by its own key, and an authority by its words.
    pub fn self_signed(names: &[&str]) -> Self {
        let mut params = named("self-signed", names);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self {
            certificate: params.self_signed(&key).expect("a certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    /// TLS of a server with this certificate, which asks its clients for one of `clients` when there is such an authority.
    pub(crate) fn server(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(authority.certificate.as_bytes()).expect("PEM");
                roots.add(root).expect("a root");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM");
        Arc::new(
            builder
                .with_single_cert(vec![certificate], key)
                .expect("a certificate and its key"),
        )
    }
}

fn named(common: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, common);
    params
}
