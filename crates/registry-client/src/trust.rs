//! Whom a TLS connection trusts: the authorities of the system, those of a directory per host, and certificates that are
//! trusted themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

use crate::{RegistryError, Verifier};

/// Largest certificate or key file that is read, in bytes; the system's bundle has about 200 KiB.
const MAX_FILE: u64 = 4 << 20;

/// A file of a host's directory as it was when it was read: files may be exchanged while the daemon runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    path: PathBuf,
    modified: Option<SystemTime>,
    size: u64,
}

/// The certificates and keys that lie in a directory, in the order of their names.
pub(crate) fn stamps(dir: &Path) -> std::io::Result<Vec<Stamp>> {
    let mut stamps = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("crt" | "cert" | "key")) {
            continue;
        }
        // What a link points to counts.
        let metadata = fs_err::metadata(&path)?;
        stamps.push(Stamp {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            path,
        });
    }
    stamps.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(stamps)
}

/// TLS as this host is trusted: by the system's authorities and, when it has a directory, by those of its files.
pub(crate) fn client_config(host: &str, files: &[Stamp]) -> Result<ClientConfig, RegistryError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let files = HostFiles::read(host, files, &provider)?;
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "certificates of the system that cannot be read");
    }
    let unusable = |reason: String| RegistryError::Tls {
        host: host.to_owned(),
        reason,
    };
    let certificates = system.certs.into_iter().chain(files.roots);
    let verifier = Verifier::trusting(certificates, Arc::clone(&provider))
        .map_err(|error| unusable(error.to_string()))?
        .ok_or_else(|| {
            unusable(match system.errors.first() {
                Some(error) => format!("no trusted certificates: {error}"),
                None => "no trusted certificates are installed".to_owned(),
            })
        })?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = if files.identities.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_resolver(Arc::new(Identities(files.identities)))
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Docker's layout of `certs.d/HOST`: `*.crt` are authorities, `NAME.cert` and `NAME.key` a certificate of the client.
struct HostFiles {
    roots: Vec<CertificateDer<'static>>,
    identities: Vec<Arc<CertifiedKey>>,
}

impl HostFiles {
    fn read(host: &str, stamps: &[Stamp], provider: &CryptoProvider) -> Result<Self, RegistryError> {
        let mut files = HostFiles {
            roots: Vec::new(),
            identities: Vec::new(),
        };
        let unusable = |path: &Path, reason: String| RegistryError::CertificateFile {
            host: host.to_owned(),
            path: path.to_owned(),
            reason,
        };
        let there = |path: &Path| stamps.iter().any(|stamp| stamp.path == path);
        for path in stamps.iter().map(|stamp| stamp.path.as_path()) {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    let found = certificates(path).map_err(|reason| unusable(path, reason))?;
                    files.roots.extend(found);
                }
                Some("cert") => {
                    let key_path = path.with_extension("key");
                    if !there(&key_path) {
                        let reason = format!(
                            "missing key {} for client certificate; CA certificates should use the extension .crt",
                            name_of(&key_path)
                        );
                        return Err(unusable(path, reason));
                    }
                    let chain = certificates(path).map_err(|reason| unusable(path, reason))?;
                    let key = bytes(&key_path).and_then(|pem| {
                        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| error.to_string())
                    });
                    let key = key.map_err(|reason| unusable(&key_path, reason))?;
                    let pair = CertifiedKey::from_der(chain, key, provider)
                        .map_err(|error| unusable(&key_path, error.to_string()))?;
                    files.identities.push(Arc::new(pair));
                }
                Some("key") if !there(&path.with_extension("cert")) => {
                    let reason = format!(
                        "missing client certificate {} for key",
                        name_of(&path.with_extension("cert"))
                    );
                    return Err(unusable(path, reason));
                }
                _ => {}
            }
        }
        Ok(files)
    }
}

fn name_of(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut pem = Vec::new();
    let file = fs_err::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE)
        .read_to_end(&mut pem)
        .map_err(|error| error.to_string())?;
    Ok(pem)
}

/// All certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = bytes(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("no certificate in PEM form".to_owned());
    }
    for certificate in &found {
        ParsedCertificate::try_from(certificate).map_err(|_| "not an X.509 certificate".to_owned())?;
    }
    Ok(found)
}

/// Certificates of the client, of which the server's wishes choose.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = || {
            let signs = |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(schemes).is_some();
            self.0.iter().filter(signs)
        };
        // An issuer's name stands in a certificate byte for byte as the server writes it.
        let issued = |pair: &&Arc<CertifiedKey>| {
            let named = |name: &&[u8]| {
                let holds = |der: &CertificateDer<'_>| der.windows(name.len().max(1)).any(|at| at == *name);
                pair.cert.iter().any(holds)
            };
            authorities.iter().any(named)
        };
        usable().find(issued).or_else(|| usable().next()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
