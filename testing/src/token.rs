//! A server that issues tokens for registries, as GitLab or `docker_auth` do: `me` with the password `secret` may do everything,
//! everybody else pulls.

use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use havre_registry_token::{Algorithm, PrivateKey};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

use crate::certificate::Authority;
use crate::http::{Request, read_request};

/// What its tokens have as `iss` and `aud`.
const ISSUER: &str = "test issuer";
const SERVICE: &str = "test-registry";

/// Somebody who signs tokens, and a certificate of the key.
pub struct TokenIssuer {
    key: PrivateKey,
    pair: KeyPair,
    certificate: Vec<u8>,
}

impl TokenIssuer {
    /// With a key of its own, which nobody else has signed.
    pub fn new(algorithm: Algorithm) -> Self {
        let (key, pair) = pair(algorithm);
        let mut params = CertificateParams::new(vec!["issuer".to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&pair).expect("a certificate").der().to_vec();
        Self {
            key,
            pair,
            certificate,
        }
    }

    /// With a key that an authority has signed.
    pub fn signed_by(authority: &Authority, algorithm: Algorithm) -> Self {
        let (key, pair) = pair(algorithm);
        let certificate = authority.certify("issuer", &pair);
        Self {
            key,
            pair,
            certificate,
        }
    }

    /// The certificate, in PEM.
    pub fn certificate(&self) -> String {
        let lines: Vec<u8> = STANDARD.encode(&self.certificate).into_bytes();
        let lines = lines
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned());
        let lines: Vec<String> = lines.collect();
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    }

    /// The public key, in PEM.
    pub fn public_key(&self) -> String {
        self.pair.public_key_pem()
    }

    /// The public key of one of ES256: the point of the curve, not compressed (SEC 1, 2.3.3).
    pub fn public_point(&self) -> Vec<u8> {
        self.pair.public_key_raw().to_vec()
    }

    /// The header of a token that comes with its certificate.
    pub fn header(&self) -> Value {
        json!({
            "typ": "JWT",
            "alg": self.key.algorithm().name(),
            "x5c": [STANDARD.encode(&self.certificate)],
        })
    }

    /// What a token says that is good for five minutes and for this access: `[{type, name, actions}]`.
    pub fn claims(subject: &str, access: &Value) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time");
        let now = now.as_secs();
        json!({
            "iss": ISSUER, "sub": subject, "aud": SERVICE, "exp": now + 300, "nbf": now - 1, "iat": now,
            "jti": "1", "access": access,
        })
    }

    /// A token, whatever its header says of how it is signed.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let random = SystemRandom::new();
        let signature = match self.key.algorithm() {
            Algorithm::Es256 => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, self.key.as_pkcs8(), &random);
                let signature = pair.expect("a key").sign(&random, message.as_bytes());
                signature.expect("a signature").as_ref().to_vec()
            }
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(self.key.as_pkcs8()).expect("a key");
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                    .expect("a signature");
                signature
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn pair(algorithm: Algorithm) -> (PrivateKey, KeyPair) {
    let key = PrivateKey::generate(algorithm).expect("a key");
    let signs = match algorithm {
        Algorithm::Es256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        Algorithm::Rs256 => &rcgen::PKCS_RSA_SHA256,
    };
    let der = PrivatePkcs8KeyDer::from(key.as_pkcs8());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, signs).expect("a key");
    (key, pair)
}

/// The server; goes with the process.
pub struct TokenServer {
    issuer: Arc<TokenIssuer>,
    port: u16,
}

impl TokenServer {
    pub fn start(issuer: TokenIssuer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let issuer = Arc::new(issuer);
        let serving = Arc::clone(&issuer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let issuer = Arc::clone(&serving);
                std::thread::spawn(move || answer(&issuer, stream));
            }
        });
        Self { issuer, port }
    }

    pub fn issuer(&self) -> &TokenIssuer {
        &self.issuer
    }

    /// What `auth: {token: …}` has for it in a registry's configuration; the certificates are in a file.
    pub fn configuration(&self, certificates: &str) -> String {
        format!(
            "{{realm: 'http://127.0.0.1:{}/token', service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {certificates}}}",
            self.port
        )
    }
}

fn answer(issuer: &TokenIssuer, stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = read_request(&mut reader) {
        let (status, body) = match grant(issuer, &request) {
            Some(token) => ("200 OK", json!({"token": token, "expires_in": 300}).to_string()),
            None => ("401 Unauthorized", "{}".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

/// A token for what is asked for; nothing for a wrong password.
fn grant(issuer: &TokenIssuer, request: &Request) -> Option<String> {
    let me = match request.header("authorization") {
        None => false,
        Some(given) if given == format!("Basic {}", STANDARD.encode("me:secret")) => true,
        Some(_) => return None,
    };
    let asked: Vec<String> = request.queries("scope").collect();
    let scopes = asked.iter().flat_map(|text| text.split(' '));
    let access: Vec<Value> = scopes
        .filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let actions: Vec<&str> = actions
                .split(',')
                .filter(|action| me || *action == "pull")
                .collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let subject = if me { "me" } else { "" };
    Some(issuer.sign(
        &issuer.header(),
        &TokenIssuer::claims(subject, &Value::Array(access)),
    ))
}
