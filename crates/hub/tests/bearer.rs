//! Tokens that are signed, and those that are not what they say.

mod registry;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use havre_hub::{Action, Actor, Algorithm, Scope, Settings, TokenError};
use registry::{Registry, repository};
use serde_json::{Value, json};

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| text.parse().expect("a scope")).collect()
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64")).expect("JSON")
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[test]
fn what_is_granted_is_what_the_bearer_may_do() {
    let registry = Registry::new();
    let hub = &registry.hub;
    let asked = scopes(&[
        "repository:me/app:pull,push",
        "repository(plugin):me/plugin:pull",
        "repository:you/app:pull,push",
        "registry:catalog:*",
        "cluster:all:*",
        "repository:Not/A/Name:pull",
    ]);
    let issued = hub.issue(&registry.actor("me"), &asked).expect("a token");
    assert_eq!(issued.expires_in, 300);
    let claims = part(&issued.token, 1);
    assert_eq!(
        claims["access"],
        json!([
            {"type": "repository", "name": "me/app", "actions": ["pull", "push"]},
            {"type": "repository", "name": "me/plugin", "actions": ["pull"]},
            {"type": "registry", "name": "catalog", "actions": ["*"]},
        ])
    );
    assert_eq!(part(&issued.token, 0)["alg"], "ES256");
    let bearer = hub.verify(&issued.token).expect("believed");
    assert_eq!(bearer.account.as_ref().map(|name| name.as_str()), Some("me"));
    for (name, action, allowed) in [
        ("me/app", Action::Push, true),
        ("me/app", Action::Delete, false),
        ("me/plugin", Action::Push, false),
        ("you/app", Action::Pull, false),
        ("me/app2", Action::Pull, false),
    ] {
        assert_eq!(
            bearer.allows(&repository(name), action),
            allowed,
            "{name} {action:?}"
        );
    }
    for text in [
        "",
        "repository",
        "repository:a",
        &format!("repository:{}:pull", "a".repeat(600)),
    ] {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
}

#[test]
fn tokens_that_are_not_ours_or_not_good_are_refused() {
    let registry = Registry::new();
    let hub = &registry.hub;
    let issued = hub.issue(&registry.actor("me"), &[]).expect("a token").token;
    hub.verify(&issued).expect("believed");
    let (header, claims) = (part(&issued, 0), part(&issued, 1));
    let signature = issued.rsplit('.').next().expect("a signature").to_owned();
    let with_header = |change: Value| {
        let mut header = header.clone();
        for (name, value) in change.as_object().expect("an object") {
            header[name] = value.clone();
        }
        format!("{}.{}.{signature}", encoded(&header), encoded(&claims))
    };
    let mut admin = claims.clone();
    admin["sub"] = json!("boss");
    let (first, rest) = signature.split_at(1);
    let flipped = if first == "A" { "B" } else { "A" };
    for (what, token) in [
        ("no algorithm", with_header(json!({"alg": "none"}))),
        ("another algorithm", with_header(json!({"alg": "HS256"}))),
        ("another of the family", with_header(json!({"alg": "ES384"}))),
        ("one that is none", with_header(json!({"alg": "x"}))),
        ("another key", with_header(json!({"kid": "0000000000000000"}))),
        (
            "a key of its own",
            with_header(json!({"kid": null, "jwk": {"kty": "EC"}})),
        ),
        (
            "other claims",
            format!("{}.{}.{signature}", encoded(&header), encoded(&admin)),
        ),
        (
            "another signature",
            format!("{}.{}.{flipped}{rest}", encoded(&header), encoded(&claims)),
        ),
        (
            "no signature",
            format!("{}.{}.", encoded(&header), encoded(&claims)),
        ),
        ("two parts", format!("{}.{}", encoded(&header), encoded(&claims))),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("no base64", "!.!.!".to_owned()),
        ("a very long one", "x".repeat(20_000)),
    ] {
        assert_eq!(hub.verify(&token), Err(TokenError::Invalid), "{what}");
    }
    // Of another registry, whatever it calls itself.
    let other = Registry::new();
    let foreign = other.hub.issue(&other.actor("me"), &[]).expect("a token").token;
    assert_eq!(hub.verify(&foreign), Err(TokenError::Invalid));
}

/// The same keys, so only what is claimed differs.
#[test]
fn tokens_for_another_service_or_of_another_time_are_refused() {
    let registry = Registry::new();
    let me = registry.actor("me");
    let reopened = |settings: Settings| havre_hub::Hub::open(&registry.store, settings).expect("a hub");
    let other = reopened(Settings {
        service: "other".to_owned(),
        ..Settings::default()
    });
    let token = other.issue(&me, &[]).expect("a token").token;
    other.verify(&token).expect("believed there");
    assert_eq!(
        registry.hub.verify(&token),
        Err(TokenError::Invalid),
        "another audience and issuer"
    );
    let short = reopened(Settings {
        token_lifetime: std::time::Duration::ZERO,
        ..Settings::default()
    });
    let token = short.issue(&me, &[]).expect("a token").token;
    // Clocks may differ by some seconds.
    assert!(short.verify(&token).is_ok());
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert_eq!(short.verify(&token), Err(TokenError::Expired));
}

#[test]
fn keys_are_shared_rotated_and_forgotten() {
    let registry = Registry::new();
    let (hub, me, boss) = (&registry.hub, registry.actor("me"), registry.actor("boss"));
    let replica = registry.replica();
    let old = hub.issue(&me, &[]).expect("a token").token;
    replica.verify(&old).expect("one key for all");
    assert!(hub.rotate_keys(&me, false).is_err());
    hub.rotate_keys(&boss, false).expect("a new key");
    let new = hub.issue(&me, &[]).expect("a token").token;
    assert_ne!(part(&old, 0)["kid"], part(&new, 0)["kid"]);
    for token in [&old, &new] {
        hub.verify(token).expect("old keys are known for a while");
    }
    hub.rotate_keys(&boss, true).expect("a new key");
    for token in [&old, &new] {
        assert_eq!(hub.verify(token), Err(TokenError::Invalid));
    }
    let newest = hub.issue(&me, &[]).expect("a token").token;
    hub.verify(&newest).expect("believed");
}

#[test]
fn with_another_algorithm_old_tokens_stay_good() {
    let registry = Registry::new();
    let (me, boss) = (registry.actor("me"), registry.actor("boss"));
    let old = registry.hub.issue(&me, &[]).expect("a token").token;
    let settings = Settings {
        algorithm: Algorithm::Rs256,
        ..Settings::default()
    };
    let reopened = || havre_hub::Hub::open(&registry.store, settings.clone()).expect("a hub");
    let (hub, replica) = (reopened(), reopened());
    let new = hub.issue(&me, &[]).expect("a token").token;
    assert_eq!(part(&new, 0)["alg"], "RS256");
    assert_eq!(
        part(&replica.issue(&me, &[]).expect("a token").token, 0)["kid"],
        part(&new, 0)["kid"]
    );
    for token in [&old, &new] {
        replica.verify(token).expect("believed");
    }
    // The key of one is none for the other, whatever a header says.
    let (_, rest) = new.split_once('.').expect("a header");
    for (alg, kid) in [("ES256", &new), ("RS256", &old), ("HS256", &new), ("none", &new)] {
        let header = encoded(&json!({"alg": alg, "kid": part(kid, 0)["kid"]}));
        assert_eq!(
            hub.verify(&format!("{header}.{rest}")),
            Err(TokenError::Invalid),
            "{alg}"
        );
    }
    hub.rotate_keys(&boss, true).expect("a new key");
    for token in [&old, &new] {
        assert_eq!(hub.verify(token), Err(TokenError::Invalid));
    }
    let newest = hub.issue(&me, &[]).expect("a token").token;
    assert_eq!(part(&newest, 0)["alg"], "RS256");
    hub.verify(&newest).expect("believed");
}

#[test]
fn a_bearer_is_who_they_are_now() {
    let registry = Registry::new();
    let hub = &registry.hub;
    let issued = hub.issue(&registry.actor("me"), &[]).expect("a token").token;
    let bearer = hub.verify(&issued).expect("believed");
    hub.bearer(&bearer, None).expect("me");
    hub.set_disabled(&Actor::system(), &"me".parse().expect("a name"), true)
        .expect("disabled");
    assert!(hub.bearer(&bearer, None).is_err());
    let nobody = hub.issue(&Actor::anonymous(None), &[]).expect("a token").token;
    let nobody = hub.verify(&nobody).expect("believed");
    assert!(hub.bearer(&nobody, None).expect("nobody").is_anonymous());
}
