//! What a connection failed of, in the words of Docker's daemon, which people search for.

use std::error::Error as _;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use reqwest::{Method, Url};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError};

use crate::RegistryError;
use crate::transport::{authority_of, shown, verb};

/// Names what a transfer failed of. `certs_dir`: where an authority's certificate could be put.
pub(crate) fn network(
    method: &Method,
    url: &Url,
    error: &reqwest::Error,
    certs_dir: Option<&Path>,
) -> RegistryError {
    let connect = error.is_connect();
    let mut at = url.clone();
    if connect {
        // Docker's first request to a registry is for its root, and people know the message so.
        at.set_path("/v2/");
    }
    // The whole chain is for the log: the cause is what people need, and the layers of a client say it in their own words.
    tracing::debug!(%url, error = chain(error), "request to a registry failed");
    let (method, shown_url) = (verb(method), shown(&at));
    if let Some(tls) = tls_cause(error) {
        let (reason, way_out) = tls_reason(tls, &authority_of(url), certs_dir);
        return RegistryError::Handshake {
            method,
            url: shown_url,
            reason,
            way_out,
            plain: matches!(tls, rustls::Error::InvalidMessage(_)),
        };
    }
    let host = url.host_str().unwrap_or_default();
    let authority = match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    RegistryError::Network {
        method,
        url: shown_url,
        reason: network_reason(error, &authority, host),
        connect,
    }
}

/// The next cause of an error. An I/O error that wraps another passes it over and names what caused that one.
fn cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// What TLS itself says, when that is the cause.
fn tls_cause(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut current = error.source();
    while let Some(error) = current {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        current = cause(error);
    }
    None
}

fn network_reason(error: &reqwest::Error, authority: &str, host: &str) -> String {
    if error.is_timeout() && error.is_connect() {
        return format!("dial tcp {authority}: i/o timeout");
    }
    let mut current = error.source();
    let mut text = error.to_string();
    while let Some(error) = current {
        text = error.to_string();
        if text.contains("failed to lookup address") || text.starts_with("dns error") {
            return format!("dial tcp: lookup {host}: no such host");
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => {
                    return format!("dial tcp {authority}: connect: connection refused");
                }
                io::ErrorKind::HostUnreachable => {
                    return format!("dial tcp {authority}: connect: no route to host");
                }
                io::ErrorKind::NetworkUnreachable => {
                    return format!("dial tcp {authority}: connect: network is unreachable");
                }
                io::ErrorKind::TimedOut => return format!("dial tcp {authority}: i/o timeout"),
                io::ErrorKind::ConnectionReset => {
                    return format!("read tcp {authority}: connection reset by peer");
                }
                io::ErrorKind::UnexpectedEof => return "unexpected EOF".to_owned(),
                _ => {}
            }
        }
        current = cause(error);
    }
    text
}

/// What TLS failed of, and what to do about it (to be read after the reason; may be empty).
fn tls_reason(error: &rustls::Error, authority: &str, certs_dir: Option<&Path>) -> (String, String) {
    let insecure = format!("insecure = true for [registry.{authority:?}] in the configuration of the daemon");
    match error {
        rustls::Error::InvalidMessage(_) => (
            "http: server gave HTTP response to HTTPS client".to_owned(),
            format!("; if {authority} is meant to have no TLS, set {insecure}"),
        ),
        rustls::Error::InvalidCertificate(certificate) => {
            let way_out = match certificate {
                CertificateError::UnknownIssuer => match certs_dir {
                    Some(dir) => format!(
                        "; to trust {authority}, put the certificate of its authority into {}, or set {insecure}",
                        dir.join(authority).join("ca.crt").display()
                    ),
                    None => format!("; to trust {authority} all the same, set {insecure}"),
                },
                _ => String::new(),
            };
            let reason = format!(
                "tls: failed to verify certificate: x509: {}",
                certificate_reason(certificate)
            );
            (reason, way_out)
        }
        rustls::Error::AlertReceived(alert) => {
            let way_out = match (alert, certs_dir) {
                (AlertDescription::CertificateRequired | AlertDescription::BadCertificate, Some(dir)) => {
                    format!(
                        "; {authority} asks for a certificate of the client: client.cert and client.key in {}",
                        dir.join(authority).display()
                    )
                }
                _ => String::new(),
            };
            (format!("remote error: tls: {}", alert_text(*alert)), way_out)
        }
        other => (format!("tls: {other}"), String::new()),
    }
}

fn certificate_reason(error: &CertificateError) -> String {
    const OUT_OF_TIME: &str = "certificate has expired or is not yet valid";
    match error {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired | CertificateError::NotValidYet => OUT_OF_TIME.to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            format!(
                "{OUT_OF_TIME}: current time {} is after {}",
                clock(*time),
                clock(*not_after)
            )
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!(
                "{OUT_OF_TIME}: current time {} is before {}",
                clock(*time),
                clock(*not_before)
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => wrong_name(expected, presented),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        other => other.to_string(),
    }
}

/// `presented` holds the certificate's names as `DnsName("a.example")`, `IpAddress(10.0.0.1)`.
fn wrong_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    let of_kind = |kind: &str| -> Vec<String> {
        let names = presented.iter().filter_map(|name| {
            let name = name.strip_prefix(kind)?.strip_suffix(')')?.trim_matches('"');
            Some(name.chars().filter(|c| !c.is_control()).take(253).collect())
        });
        names.take(20).collect()
    };
    let wanted = expected.to_str();
    let is_address = matches!(expected, ServerName::IpAddress(_));
    let names = of_kind(if is_address { "IpAddress(" } else { "DnsName(" });
    if !names.is_empty() {
        format!("certificate is valid for {}, not {wanted}", names.join(", "))
    } else if is_address {
        format!("cannot validate certificate for {wanted} because it doesn't contain any IP SANs")
    } else {
        format!("certificate is not valid for any names, but wanted to match {wanted}")
    }
}

/// RFC 3339, in whole seconds.
fn clock(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| time.as_secs().to_string(), |at| at.to_string())
}

fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::InsufficientSecurity => "insufficient security level",
        AlertDescription::InternalError => "internal error",
        AlertDescription::UnrecognisedName => "unrecognized name",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        other => return format!("{other:?}"),
    };
    text.to_owned()
}

/// An error with its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        text.push_str(": ");
        text.push_str(&current.to_string());
        cause = current.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(error: CertificateError) -> (String, String) {
        tls_reason(
            &rustls::Error::InvalidCertificate(error),
            "reg.lan:5000",
            Some(Path::new("/etc/docker/certs.d")),
        )
    }

    #[test]
    fn unknown_authorities_come_with_a_way_out() {
        let (reason, way_out) = invalid(CertificateError::UnknownIssuer);
        assert_eq!(
            reason,
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        );
        assert_eq!(
            way_out,
            "; to trust reg.lan:5000, put the certificate of its authority into \
             /etc/docker/certs.d/reg.lan:5000/ca.crt, or set insecure = true for [registry.\"reg.lan:5000\"] in the \
             configuration of the daemon"
        );
    }

    #[test]
    fn names() {
        let name = |text: &str| ServerName::try_from(text.to_owned()).unwrap();
        let presented = [
            "DnsName(\"a.lan\")".to_owned(),
            "DnsName(\"*.b\u{1b}.lan\")".to_owned(),
        ];
        assert_eq!(
            wrong_name(&name("c.lan"), &presented),
            "certificate is valid for a.lan, *.b.lan, not c.lan"
        );
        assert_eq!(
            wrong_name(&name("10.0.0.1"), &presented),
            "cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs"
        );
        assert_eq!(
            wrong_name(&name("10.0.0.1"), &["IpAddress(10.0.0.2)".to_owned()]),
            "certificate is valid for 10.0.0.2, not 10.0.0.1"
        );
        assert_eq!(
            wrong_name(&name("c.lan"), &[]),
            "certificate is not valid for any names, but wanted to match c.lan"
        );
    }

    #[test]
    fn times_and_alerts() {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let (reason, way_out) = invalid(CertificateError::ExpiredContext {
            time: at(86_400),
            not_after: at(5),
        });
        assert_eq!(
            reason,
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time \
             1970-01-02T00:00:00Z is after 1970-01-01T00:00:05Z"
        );
        assert_eq!(way_out, "");
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        assert_eq!(
            tls_reason(&alert, "r:1", None),
            (
                "remote error: tls: certificate required".to_owned(),
                String::new()
            )
        );
    }
}
