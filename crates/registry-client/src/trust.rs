//! Whom a TLS connection trusts: the authorities of the system, those of a directory per host, and certificates that are
//! trusted themselves.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use havre_oci::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::RegistryError;

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
    let mut roots = RootCertStore::empty();
    let mut trusted = HashSet::new();
    for certificate in system.certs.into_iter().chain(files.roots) {
        trusted.insert(Digest::sha256_of(&certificate));
        // Bundles hold an odd one now and then, which makes the others no worse.
        let _ = roots.add(certificate);
    }
    let unusable = |reason: String| RegistryError::Tls {
        host: host.to_owned(),
        reason,
    };
    if roots.is_empty() {
        return Err(unusable(match system.errors.first() {
            Some(error) => format!("no trusted certificates: {error}"),
            None => "no trusted certificates are installed".to_owned(),
        }));
    }
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    let verifier = Verifier { authorities, trusted };
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

/// Trusts what authorities issued, and certificates that are trusted themselves. The usual certificate of a private
/// registry is signed by its own key and says it is an authority (`openssl req -x509` makes such); RFC 5280 has no place
/// for it as a server's certificate, yet whoever installed it as trusted means just that.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    /// Digests of everything trusted, in DER.
    trusted: HashSet<Digest>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::Error::InvalidCertificate as Refused;
        let refused = match self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        let Some(facts) = facts(end_entity) else {
            return Err(refused);
        };
        if !self.trusted.contains(&Digest::sha256_of(end_entity)) {
            // One that says it is an authority is refused for that; that nobody knows it is what matters.
            let unknown = facts.self_issued && matches!(&refused, Refused(CertificateError::Other(_)));
            return Err(if unknown {
                Refused(CertificateError::UnknownIssuer)
            } else {
                refused
            });
        }
        let (not_before, not_after) = (facts.not_before, facts.not_after);
        if now < not_before {
            let early = CertificateError::NotValidYetContext {
                time: now,
                not_before,
            };
            return Err(Refused(early));
        }
        if now > not_after {
            let late = CertificateError::ExpiredContext { time: now, not_after };
            return Err(Refused(late));
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// What a certificate says of itself (RFC 5280, 4.1).
struct Facts {
    /// Issuer and subject are the same.
    self_issued: bool,
    not_before: UnixTime,
    not_after: UnixTime,
}

fn facts(certificate: &[u8]) -> Option<Facts> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (tag, certificate, _) = element(certificate)?;
    let (tbs_tag, mut rest, _) = element(certificate)?;
    if (tag, tbs_tag) != (SEQUENCE, SEQUENCE) {
        return None;
    }
    // version (optional), serial number, signature algorithm
    let mut skipped = 0;
    while skipped < 2 {
        let (tag, _, after) = element(rest)?;
        skipped += usize::from(tag != VERSION);
        rest = after;
    }
    let (_, issuer, rest) = element(rest)?;
    let (tag, validity, rest) = element(rest)?;
    let (_, subject, _) = element(rest)?;
    let (first_tag, first, after) = element(validity)?;
    let (last_tag, last, _) = element(after)?;
    if tag != SEQUENCE {
        return None;
    }
    Some(Facts {
        self_issued: issuer == subject,
        not_before: time(first_tag, first)?,
        not_after: time(last_tag, last)?,
    })
}

/// Tag, content, and what follows of the first DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let octets = rest
            .get(..usize::from(first & 0x7f))
            .filter(|octets| octets.len() <= 3)?;
        length = octets
            .iter()
            .fold(0, |length, octet| length << 8 | usize::from(*octet));
        rest = &rest[octets.len()..];
    }
    let content = rest.get(..length)?;
    Some((tag, content, &rest[length..]))
}

fn time(tag: u8, text: &[u8]) -> Option<UnixTime> {
    let text = std::str::from_utf8(text).ok()?;
    let full = match tag {
        // UTCTime: years from 1950 to 2049
        0x17 if text.len() == 13 => {
            let century = if text.as_bytes()[0] < b'5' { "20" } else { "19" };
            format!("{century}{text}")
        }
        0x18 => text.to_owned(),
        _ => return None,
    };
    let civil = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", full).ok()?;
    let seconds = civil
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()?
        .timestamp()
        .as_second();
    // What began before 1970 has begun.
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        seconds,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(tag: u8, text: &str) -> Option<u64> {
        time(tag, text.as_bytes()).map(|time| time.as_secs())
    }

    #[test]
    fn times() {
        assert_eq!(seconds(0x17, "700101000001Z"), Some(1));
        assert_eq!(seconds(0x17, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(0x17, "500101000000Z"), Some(0));
        assert_eq!(seconds(0x18, "20500101000000Z"), Some(2_524_608_000));
        for (tag, bad) in [
            (0x17, "70010100000Z"),
            (0x18, "2050"),
            (0x02, "700101000001Z"),
            (0x17, "7001010000é"),
        ] {
            assert_eq!(seconds(tag, bad), None, "{bad}");
        }
    }

    #[test]
    fn elements_end_where_they_say() {
        assert_eq!(element(&[0x30, 2, 1, 2, 3]), Some((0x30, &[1, 2][..], &[3][..])));
        assert_eq!(element(&[0x30, 0x81, 1, 7]), Some((0x30, &[7][..], &[][..])));
        for bad in [
            &[0x30][..],
            &[0x30, 2, 1],
            &[0x30, 0x82, 1],
            &[0x30, 0x84, 0, 0, 0, 1, 1],
        ] {
            assert_eq!(element(bad), None);
        }
        assert!(facts(&[0x30, 2, 0x30, 0]).is_none());
    }
}
