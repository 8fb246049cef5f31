//! TLS with an engine: what is trusted, and the words for what went wrong.

use std::io;
use std::sync::Arc;

use havre_engine::registry::Verifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Certificates and key of a client, in PEM, as files or a context hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Material {
    /// Who is trusted; without, the authorities of the system are.
    pub(crate) ca: Option<Vec<u8>>,
    /// Who we are.
    pub(crate) certificate: Option<Vec<u8>>,
    /// And the key to that.
    pub(crate) key: Option<Vec<u8>>,
}

/// How to speak TLS with one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Whom to trust, and who we are.
    pub(crate) material: Material,
    /// Any certificate will do.
    pub(crate) skip_verify: bool,
}

impl Tls {
    /// Checks the material. The error is in the words of Docker's client.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let (Some(certificate), Some(key)) = (&self.material.certificate, &self.material.key) else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let chain = chain(certificate).ok_or_else(|| switched("certificate", certificate))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| switched("key", key))?;
        let config = builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("tls: {error}"))?;
        Ok(Arc::new(config))
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let trusted = match &self.material.ca {
            Some(pem) => {
                let named = chain(pem).ok_or("ca.pem seems invalid")?;
                for authority in &named {
                    RootCertStore::empty()
                        .add(authority.clone())
                        .map_err(|_| "ca.pem seems invalid".to_owned())?;
                }
                named
            }
            None if self.skip_verify => Vec::new(),
            None => rustls_native_certs::load_native_certs().certs,
        };
        if self.skip_verify {
            return Ok(Arc::new(Unverified(provider)));
        }
        let verifier = Verifier::trusting(trusted, provider).map_err(|error| error.to_string())?;
        match verifier {
            Some(verifier) => Ok(Arc::new(verifier)),
            None => Err(
                "no trusted certificates are installed: name the engine's authority with --tlscacert"
                    .to_owned(),
            ),
        }
    }
}

fn chain(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .ok()?;
    (!found.is_empty()).then_some(found)
}

/// The message about a certificate or key that is not one.
fn switched(what: &str, pem: &[u8]) -> String {
    let other = match what {
        "certificate" if PrivateKeyDer::from_pem_slice(pem).is_ok() => "a private key",
        "key" if chain(pem).is_some() => "a certificate",
        _ => return format!("tls: failed to find any PEM data in {what} input"),
    };
    format!(
        "tls: failed to find {what} PEM data in {what} input, but did find {other}; PEM inputs may have been switched"
    )
}

/// Agrees on keys with the server at the other end.
pub(super) async fn connect(
    config: &Arc<ClientConfig>,
    address: &str,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{host:?} is no name a certificate can have"),
        )
    })?;
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// What TLS failed of, as Go words it. `None` if it was not TLS.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(words(tls));
        }
        current = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn words(error: &rustls::Error) -> String {
    const UNVERIFIED: &str = "tls: failed to verify certificate: x509: ";
    match error {
        rustls::Error::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".to_owned(),
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => format!("{UNVERIFIED}certificate signed by unknown authority"),
            CertificateError::Expired
            | CertificateError::NotValidYet
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYetContext { .. } => {
                format!("{UNVERIFIED}certificate has expired or is not yet valid")
            }
            other => format!("{UNVERIFIED}{other}"),
        },
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                "remote error: tls: certificate required: the engine wants one of the client, given by --tlscert and --tlskey".to_owned()
            }
            AlertDescription::BadCertificate | AlertDescription::DecryptError => {
                "remote error: tls: bad certificate".to_owned()
            }
            AlertDescription::UnknownCA => "remote error: tls: unknown certificate authority".to_owned(),
            other => format!("remote error: tls: {other:?}"),
        },
        other => format!("tls: {other}"),
    }
}

/// Takes any certificate, as `--tls` without `--tlsverify` asks for; whoever shows it must have its key all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
