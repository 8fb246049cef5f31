//! Which certificates of a server are believed.

use std::collections::HashSet;
use std::sync::Arc;

use havre_oci::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Trusts what authorities issued, and certificates that are trusted themselves. The usual certificate of a private
/// registry, or of an engine, is signed by its own key and says it is an authority (`openssl req -x509` makes such); RFC 5280 has no place
/// for it as a server's certificate, yet whoever installed it as trusted means just that.
#[derive(Debug)]
pub struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    /// Digests of everything trusted, in DER.
    trusted: HashSet<Digest>,
}

impl Verifier {
    /// Trusts these; `None` if there is nothing among them that can be trusted.
    pub fn trusting(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Self>, VerifierBuilderError> {
        let mut roots = RootCertStore::empty();
        let mut trusted = HashSet::new();
        for certificate in certificates {
            trusted.insert(Digest::sha256_of(&certificate));
            // Bundles hold an odd one now and then, which makes the others no worse.
            let _ = roots.add(certificate);
        }
        if roots.is_empty() {
            return Ok(None);
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Some(Self { authorities, trusted }))
    }
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
