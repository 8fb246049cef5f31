//! A registry that lets in who has a token of another server, beside the reference registry with the same configuration: both
//! answer alike. Needs the package docker-registry, and for the clients root.

use fs_err as fs;
use havre_hub::Algorithm;
use havre_testing::http::{Response, with_headers};
use havre_testing::{
    Authority, DockerRegistry, HavreRegistry, Image, Layer, TestEngine, TokenIssuer, TokenServer,
};
use serde_json::{Value, json};

/// Both, which trust the same server.
struct Both {
    server: TokenServer,
    ours: HavreRegistry,
    theirs: DockerRegistry,
    dir: tempfile::TempDir,
}

impl Both {
    fn trusting(algorithm: Algorithm) -> Self {
        let server = TokenServer::start(TokenIssuer::new(algorithm));
        let dir = tempfile::tempdir().expect("a directory");
        let bundle = dir.path().join("issuer.crt");
        fs::write(&bundle, server.issuer().certificate()).expect("a file");
        let token = server.configuration(&bundle.display().to_string());
        let ours = HavreRegistry::configured(
            &dir.path().join("registry"),
            &[
                ("REGISTRY_AUTH", &format!("{{token: {token}}}")),
                ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ],
        );
        let theirs = DockerRegistry::trusting(&server);
        Self {
            server,
            ours,
            theirs,
            dir,
        }
    }

    /// What both answer, which is the same: the status and what else is asked for.
    #[track_caller]
    fn answer(&self, what: &str, method: &str, target: &str, token: Option<&str>) -> (u16, Option<String>) {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer
            .iter()
            .map(|text| ("Authorization", text.as_str()))
            .collect();
        let ask = |host: &str| {
            let response = with_headers(host, method, target, &headers).expect("an answer");
            let challenge = |response: &Response| response.header("www-authenticate").map(str::to_owned);
            (response.status, challenge(&response))
        };
        let (ours, theirs) = (ask(self.ours.host()), ask(&self.theirs.host()));
        assert_eq!(ours, theirs, "{what}: ours and the reference registry's");
        ours
    }
}

fn access(name: &str, actions: &[&str]) -> Value {
    json!([{"type": "repository", "name": name, "actions": actions}])
}

#[test]
fn both_let_the_same_tokens_in() {
    for algorithm in [Algorithm::Es256, Algorithm::Rs256] {
        let both = Both::trusting(algorithm);
        let issuer = both.server.issuer();
        let (status, challenge) = both.answer("nobody", "GET", "/v2/", None);
        assert_eq!(status, 401);
        assert!(
            challenge
                .expect("a challenge")
                .contains("service=\"test-registry\"")
        );
        both.answer("nobody, for a manifest", "GET", "/v2/me/app/manifests/1", None);
        both.answer("nobody, to push", "POST", "/v2/me/app/blobs/uploads/", None);
        both.answer("nobody, for the catalog", "GET", "/v2/_catalog", None);

        let pull = issuer.sign(
            &issuer.header(),
            &TokenIssuer::claims("me", &access("me/app", &["pull"])),
        );
        assert_eq!(both.answer("a token", "GET", "/v2/", Some(&pull)).0, 200);
        let manifest = "/v2/me/app/manifests/1";
        assert_eq!(both.answer("to pull", "GET", manifest, Some(&pull)).0, 404);
        let (status, challenge) = both.answer("to push", "POST", "/v2/me/app/blobs/uploads/", Some(&pull));
        assert_eq!(status, 401);
        let challenge = challenge.expect("a challenge");
        assert!(
            challenge.contains("scope=\"repository:me/app:pull,push\",error=\"insufficient_scope\""),
            "{challenge}"
        );
        assert_eq!(
            both.answer("another", "GET", "/v2/me/app2/manifests/1", Some(&pull))
                .0,
            401
        );
        assert_eq!(
            both.answer("the catalog", "GET", "/v2/_catalog", Some(&pull)).0,
            401
        );
        let push = issuer.sign(
            &issuer.header(),
            &TokenIssuer::claims("me", &access("me/app", &["pull", "push"])),
        );
        let uploads = "/v2/me/app/blobs/uploads/";
        assert_eq!(both.answer("to push", "POST", uploads, Some(&push)).0, 202);
        let catalog = json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]);
        let catalog = issuer.sign(&issuer.header(), &TokenIssuer::claims("", &catalog));
        assert_eq!(
            both.answer("the catalog", "GET", "/v2/_catalog", Some(&catalog))
                .0,
            200
        );
    }
}

#[test]
fn both_refuse_the_same_tokens() {
    let both = Both::trusting(Algorithm::Rs256);
    let issuer = both.server.issuer();
    let claims = |change: Value| {
        let mut claims = TokenIssuer::claims("me", &access("me/app", &["pull"]));
        for (name, value) in change.as_object().expect("an object") {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    };
    let header = issuer.header();
    let good = claims(json!({}));
    let target = "/v2/me/app/manifests/1";
    let right = issuer.sign(&header, &good);
    assert_eq!(both.answer("as it is", "GET", target, Some(&right)).0, 404);

    let with_header = |change: Value| {
        let mut header = header.clone();
        for (name, value) in change.as_object().expect("an object") {
            header[name] = value.clone();
        }
        header
    };
    let foreign = TokenIssuer::new(Algorithm::Rs256);
    let elsewhere = TokenIssuer::signed_by(&Authority::new("elsewhere"), Algorithm::Es256);
    let message = right.rsplit_once('.').expect("a signature").0;
    for (what, token) in [
        (
            "another audience",
            issuer.sign(&header, &claims(json!({"aud": "x"}))),
        ),
        (
            "another issuer",
            issuer.sign(&header, &claims(json!({"iss": "x"}))),
        ),
        (
            "an ended one",
            issuer.sign(&header, &claims(json!({"exp": 1_000_000}))),
        ),
        (
            "one of tomorrow",
            issuer.sign(&header, &claims(json!({"nbf": 4_000_000_000_u64}))),
        ),
        (
            "one without an end",
            issuer.sign(&header, &claims(json!({"exp": null}))),
        ),
        ("somebody else's", foreign.sign(&foreign.header(), &good)),
        (
            "somebody else's, with our certificate",
            foreign.sign(&header, &good),
        ),
        ("of another authority", elsewhere.sign(&elsewhere.header(), &good)),
        (
            "another algorithm",
            issuer.sign(&with_header(json!({"alg": "ES256"})), &good),
        ),
        (
            "no algorithm",
            issuer.sign(&with_header(json!({"alg": "none"})), &good),
        ),
        (
            "a secret",
            issuer.sign(&with_header(json!({"alg": "HS256"})), &good),
        ),
        ("no signature", format!("{message}.")),
        ("no token", "x".to_owned()),
    ] {
        let (status, _) = both.answer(what, "GET", target, Some(&token));
        assert_eq!(status, 401, "{what}");
    }
}

/// Between replacing an issuer's key and saying so lie minutes in which nobody should be locked out.
#[test]
fn keys_are_read_again_and_what_cannot_be_read_changes_nothing() {
    let both = Both::trusting(Algorithm::Es256);
    let bundle = both.dir.path().join("issuer.crt");
    let target = "/v2/me/app/manifests/1";
    let status = |issuer: &TokenIssuer| {
        let claims = TokenIssuer::claims("me", &access("me/app", &["pull"]));
        let bearer = format!("Bearer {}", issuer.sign(&issuer.header(), &claims));
        let headers = [("Authorization", bearer.as_str())];
        let response = with_headers(both.ours.host(), "GET", target, &headers);
        response.expect("an answer").status
    };
    let old = both.server.issuer();
    let authority = Authority::new("company");
    let new = TokenIssuer::signed_by(&authority, Algorithm::Rs256);
    assert_eq!((status(old), status(&new)), (404, 401));
    fs::write(&bundle, "no certificate").expect("a file");
    assert_eq!((status(old), status(&new)), (404, 401));
    let certificates = format!("{}{}", old.certificate(), authority.certificate());
    fs::write(&bundle, certificates).expect("a file");
    assert_eq!(
        (status(old), status(&new)),
        (404, 404),
        "both, the new one by its authority"
    );
    fs::write(&bundle, authority.certificate()).expect("a file");
    assert_eq!((status(old), status(&new)), (401, 404));
}

#[test]
fn clients_sign_in_push_mount_and_pull() {
    if TestEngine::is_dockerd() {
        return;
    }
    let both = Both::trusting(Algorithm::Rs256);
    let engine = TestEngine::start();
    let host = both.ours.host();
    let name = format!("{host}/me/app:1");
    let image = Image::busybox().with_layer(&Layer::new().file("hello", "hello\n"));
    engine.load(&image, &name);
    let denied = engine.fails(1, ["push", &name]);
    assert!(
        denied.contains("denied") || denied.contains("authentication"),
        "{denied}"
    );
    let wrong = engine.fails(1, ["login", "-u", "me", "-p", "wrong", host]);
    assert!(
        wrong.contains("unauthorized") || wrong.contains("incorrect"),
        "{wrong}"
    );
    engine.ok(["login", "-u", "me", "-p", "secret", host]);
    engine.ok(["push", &name]);
    let other = format!("{host}/me/other:1");
    engine.ok(["tag", &name, &other]);
    let mounted = engine.ok(["push", &other]);
    assert!(mounted.contains("Mounted from me/app"), "{mounted}");
    engine.ok(["logout", host]);
    engine.ok(["rmi", &name, &other]);
    engine.ok(["pull", &name]);
    assert_eq!(engine.ok(["run", "--rm", &name, "cat", "/hello"]), "hello");

    // Who may push to one and not read the other gets nothing of it, named or not.
    let issuer = both.server.issuer();
    let bearer = |access: Value| {
        let claims = TokenIssuer::claims("me", &access);
        format!("Bearer {}", issuer.sign(&issuer.header(), &claims))
    };
    let ask = |method: &str, target: &str, bearer: &str| {
        with_headers(host, method, target, &[("Authorization", bearer)]).expect("an answer")
    };
    let pull = bearer(access("me/app", &["pull"]));
    let manifest = ask("GET", "/v2/me/app/manifests/1", &pull).json();
    let layer = manifest["layers"][0]["digest"].as_str().expect("a digest");
    let push = json!({"type": "repository", "name": "me/new", "actions": ["pull", "push"]});
    let reads = json!({"type": "repository", "name": "me/app", "actions": ["pull"]});
    let stranger = bearer(json!([push]));
    let target = |from: &str| format!("/v2/me/new/blobs/uploads/?mount={layer}{from}");
    for from in ["&from=me/app", ""] {
        let response = ask("POST", &target(from), &stranger);
        assert_eq!(response.status, 202, "{from:?}: it must be sent");
    }
    let reader = bearer(json!([push, reads]));
    for from in ["&from=me/app", ""] {
        assert_eq!(ask("POST", &target(from), &reader).status, 201, "{from:?}");
    }
    let page = ask("GET", "/", &stranger);
    assert_eq!(page.status, 403);
    assert!(page.text().contains("another server"), "{}", page.text());
    let found = ask("GET", "/v1/search?q=app", &stranger);
    assert_eq!(found.json()["num_results"], 0, "not theirs to see");
}
