//! Tokens of keys that are trusted, and those of others.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use havre_registry_token::{
    Algorithm, Claims, Expected, KeyError, PrivateKey, TokenError, TrustError, TrustedKeys, key_id, verify,
};
use havre_testing::{Authority, TokenIssuer};
use serde_json::{Value, json};

const BOTH: [Algorithm; 2] = [Algorithm::Es256, Algorithm::Rs256];

/// As the issuer of the tests calls itself and the registry.
const EXPECTED: Expected<'_> = Expected {
    issuer: "test issuer",
    audience: "test-registry",
};

fn claims() -> Value {
    TokenIssuer::claims(
        "me",
        &json!([{"type": "repository", "name": "a/b", "actions": ["pull", "push"]}]),
    )
}

fn trusting(pem: &str) -> TrustedKeys {
    let mut trusted = TrustedKeys::default();
    trusted.add_certificates(pem.as_bytes()).expect("certificates");
    trusted
}

/// The header without its certificate, with this in it.
fn header(algorithm: Algorithm, more: Value) -> Value {
    let mut header = json!({"alg": algorithm.name()});
    for (name, value) in more.as_object().expect("an object") {
        header[name] = value.clone();
    }
    header
}

#[test]
fn a_key_signs_for_its_own_algorithm_only() {
    for algorithm in BOTH {
        let key = PrivateKey::generate(algorithm).expect("a key");
        let claims = Claims {
            iss: "us".to_owned(),
            sub: "me".to_owned(),
            aud: "us".to_owned(),
            exp: u64::MAX >> 12,
            nbf: 0,
            iat: 0,
            jti: "1".to_owned(),
            access: Vec::new(),
            by: Some("token".to_owned()),
        };
        let token = key.sign("first", &claims).expect("a token");
        assert_eq!(key_id(&token).as_deref(), Ok("first"));
        let us = Expected {
            issuer: "us",
            audience: "us",
        };
        let said = verify(&token, key.public(), us).expect("believed");
        assert_eq!((said.sub.as_str(), said.by.as_deref()), ("me", Some("token")));
        for other in BOTH {
            let other = PrivateKey::generate(other).expect("a key");
            assert_eq!(verify(&token, other.public(), us), Err(TokenError::Invalid));
        }
        let again = PrivateKey::from_pkcs8(algorithm, key.as_pkcs8().to_vec()).expect("the key");
        verify(&token, again.public(), us).expect("believed");
        let others: Vec<Algorithm> = BOTH.into_iter().filter(|one| *one != algorithm).collect();
        let wrong = PrivateKey::from_pkcs8(others[0], key.as_pkcs8().to_vec());
        assert_eq!(wrong.map(drop), Err(KeyError::Invalid));
        assert!(!format!("{key:?}").contains(&format!("{:?}", &key.as_pkcs8()[8..12])));
    }
}

#[test]
fn what_a_token_allows_is_what_it_says() {
    let issuer = TokenIssuer::new(Algorithm::Es256);
    let trusted = trusting(&issuer.certificate());
    let say = |access: Value| {
        let token = issuer.sign(&issuer.header(), &TokenIssuer::claims("me", &access));
        trusted.verify(&token, EXPECTED).expect("believed")
    };
    let said = say(json!([{"type": "repository", "name": "a/b", "actions": ["pull"]}]));
    assert!(said.allows("repository", "a/b", "pull"));
    for (kind, name, action) in [
        ("repository", "a/b", "push"),
        ("repository", "a/b", "*"),
        ("repository", "a/bc", "pull"),
        ("repository", "a", "pull"),
        ("registry", "a/b", "pull"),
    ] {
        assert!(!said.allows(kind, name, action), "{kind}:{name}:{action}");
    }
    let all = say(json!([{"type": "repository", "name": "a/b", "actions": ["*"]}]));
    assert!(all.allows("repository", "a/b", "delete"));
    for nothing in [Value::Null, json!([])] {
        assert!(!say(nothing).allows("repository", "a/b", "pull"));
    }
}

/// Issuers name keys after their certificates, their JWKs or anything, or not at all.
#[test]
fn a_key_is_found_whatever_it_is_called() {
    for algorithm in BOTH {
        let (issuer, other) = (TokenIssuer::new(algorithm), TokenIssuer::new(algorithm));
        let certificates = format!("{}{}", other.certificate(), issuer.certificate());
        let trusted = trusting(&certificates);
        for more in [
            json!({}),
            json!({"kid": "PYYO:TEWU:V7JH:26JV"}),
            json!({"typ": "x"}),
        ] {
            let token = issuer.sign(&header(algorithm, more), &claims());
            trusted.verify(&token, EXPECTED).expect("believed");
        }
        let mut ended = claims();
        ended["exp"] = json!(1_000_000);
        let ended = issuer.sign(&header(algorithm, json!({})), &ended);
        assert_eq!(trusted.verify(&ended, EXPECTED), Err(TokenError::Expired));
        let stranger = TokenIssuer::new(algorithm).sign(&header(algorithm, json!({})), &claims());
        assert_eq!(trusted.verify(&stranger, EXPECTED), Err(TokenError::Invalid));
    }
}

#[test]
fn a_certificate_that_comes_with_a_token_must_be_of_a_trusted_authority() {
    for algorithm in BOTH {
        let authority = Authority::new("company");
        let trusted = trusting(authority.certificate());
        let issuer = TokenIssuer::signed_by(&authority, algorithm);
        let good = issuer.sign(&issuer.header(), &claims());
        trusted.verify(&good, EXPECTED).expect("believed");
        let unnamed = issuer.sign(&header(algorithm, json!({})), &claims());
        assert_eq!(
            trusted.verify(&unnamed, EXPECTED),
            Err(TokenError::Invalid),
            "nobody knows its key"
        );
        let other = TokenIssuer::signed_by(&Authority::new("company"), algorithm);
        let own = TokenIssuer::new(algorithm);
        for (what, token) in [
            (
                "another authority of that name",
                other.sign(&other.header(), &claims()),
            ),
            ("nobody's", own.sign(&own.header(), &claims())),
            ("another key", own.sign(&issuer.header(), &claims())),
            (
                "none",
                issuer.sign(&header(algorithm, json!({"x5c": []})), &claims()),
            ),
            (
                "no certificate",
                issuer.sign(&header(algorithm, json!({"x5c": ["AAAA"]})), &claims()),
            ),
            (
                "no base64",
                issuer.sign(&header(algorithm, json!({"x5c": ["!"]})), &claims()),
            ),
        ] {
            assert_eq!(
                trusted.verify(&token, EXPECTED),
                Err(TokenError::Invalid),
                "{what}"
            );
        }
    }
}

/// What has gone wrong in readers of tokens before (RFC 8725, 2.1).
#[test]
fn a_public_key_is_no_secret() {
    for algorithm in BOTH {
        let issuer = TokenIssuer::new(algorithm);
        let trusted = trusting(&issuer.certificate());
        let good = issuer.sign(&header(algorithm, json!({})), &claims());
        let (message, signature) = good.rsplit_once('.').expect("a signature");
        let (_, said) = message.split_once('.').expect("claims");
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        for algorithm in [
            "none", "None", "HS256", "HS512", "ES384", "RS512", "PS256", "EdDSA", "",
        ] {
            let head = encoded(&json!({"alg": algorithm, "kid": "x"}));
            for signature in ["", signature] {
                let token = format!("{head}.{said}.{signature}");
                assert_eq!(
                    trusted.verify(&token, EXPECTED),
                    Err(TokenError::Invalid),
                    "{algorithm:?}"
                );
            }
        }
        let long = format!("{good}{}", "A".repeat(20_000));
        assert_eq!(trusted.verify(&long, EXPECTED), Err(TokenError::Invalid));
    }
}

#[test]
fn key_sets() {
    let key = |id: &str, x: &str, y: &str| json!({"kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y});
    let issuer = TokenIssuer::new(Algorithm::Es256);
    let point = issuer.public_point();
    let (x, y) = (
        URL_SAFE_NO_PAD.encode(&point[1..33]),
        URL_SAFE_NO_PAD.encode(&point[33..]),
    );
    let other = TokenIssuer::new(Algorithm::Es256).public_point();
    let (u, v) = (
        URL_SAFE_NO_PAD.encode(&other[1..33]),
        URL_SAFE_NO_PAD.encode(&other[33..]),
    );
    let set = json!({"keys": [
        key("other", &u, &v),
        key("ours", &x, &y),
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "young", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ]});
    let mut trusted = TrustedKeys::default();
    trusted
        .add_key_set(set.to_string().as_bytes())
        .expect("a key set");
    let token = |id: Value| issuer.sign(&header(Algorithm::Es256, id), &claims());
    trusted
        .verify(&token(json!({"kid": "ours"})), EXPECTED)
        .expect("believed");
    trusted
        .verify(&token(json!({"kid": "renamed"})), EXPECTED)
        .expect("believed");
    trusted.verify(&token(json!({})), EXPECTED).expect("believed");
    assert_eq!(
        trusted.verify(&token(json!({"kid": "other"})), EXPECTED),
        Err(TokenError::Invalid),
        "that is another"
    );

    let add = |text: &str| TrustedKeys::default().add_key_set(text.as_bytes());
    for useless in [
        json!({"keys": []}),
        json!({"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}]}),
    ] {
        assert_eq!(add(&useless.to_string()), Err(TrustError::Empty), "{useless}");
    }
    assert!(matches!(add("{"), Err(TrustError::KeySet(_))));
    let broken = json!({"keys": [key("a", "!", &y)]});
    assert!(matches!(add(&broken.to_string()), Err(TrustError::KeySet(_))));
    let many: Vec<Value> = (0..65).map(|i| key(&i.to_string(), &x, &y)).collect();
    assert_eq!(add(&json!({"keys": many}).to_string()), Err(TrustError::TooMany));
}

#[test]
fn files_that_are_no_certificates_are_refused() {
    let add = |text: &str| TrustedKeys::default().add_certificates(text.as_bytes());
    assert_eq!(add(""), Err(TrustError::Empty));
    assert_eq!(add("hello"), Err(TrustError::Empty));
    let issuer = TokenIssuer::new(Algorithm::Es256);
    assert_eq!(add(&issuer.public_key()), Err(TrustError::Empty), "a bare key");
    let two = format!(
        "{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        issuer.certificate()
    );
    assert_eq!(add(&two), Err(TrustError::Certificate(2)));
    let cut = issuer.certificate().replace("-----END CERTIFICATE-----", "");
    assert!(add(&cut).is_err());
}
