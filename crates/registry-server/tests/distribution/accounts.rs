//! A registry with accounts: tokens, permissions, and what is not there for who may not know of it.

use havre_hub::{Actor, NewAccount, NewToken, Policy, PolicyScope, Quota, Role, Settings};
use havre_oci::{Digest, media_type};
use havre_registry_server::Config;
use http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Registry};

const PASSWORD: &str = "correct horse";

fn config() -> Config {
    Config {
        accounts: Some(Settings::default()),
        ..Config::usual()
    }
}

/// With the accounts `me` and `you`, and the administrator `boss`.
async fn start() -> Registry {
    start_with(config()).await
}

async fn start_with(config: Config) -> Registry {
    let registry = Registry::configured(tempfile::tempdir().expect("a folder"), config).await;
    for name in ["boss", "me", "you"] {
        let who = NewAccount {
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            admin: name == "boss",
            ..NewAccount::default()
        };
        registry
            .hub()
            .create_account(&Actor::system(), &who)
            .expect("an account");
    }
    registry
}

fn basic(name: &str, secret: &str) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{secret}"));
    format!("Basic {text}")
}

fn as_me() -> String {
    basic("me", PASSWORD)
}

impl Registry {
    async fn with(&self, method: Method, path: &str, authorization: &str) -> Answer {
        self.send(method, path, &[("authorization", authorization)], "")
            .await
    }

    /// A token for these scopes; of nobody, without a name.
    async fn token(&self, name: &str, scopes: &[&str]) -> String {
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
        let path = format!("/token?service=havre-registry{}", scopes.concat());
        let answer = match name {
            "" => self.get(&path).await,
            name => self.with(Method::GET, &path, &basic(name, PASSWORD)).await,
        };
        let answer = answer.is(200).json();
        assert_eq!(answer["token"], answer["access_token"]);
        format!("Bearer {}", answer["token"].as_str().expect("a token"))
    }

    /// Pushes an image with this authorization; the last answer.
    async fn push_as(&self, authorization: &str, name: &str, tag: &str, layer: &[u8]) -> Answer {
        let octets = "application/octet-stream";
        for bytes in [&b"{}"[..], layer] {
            let path = format!("/v2/{name}/blobs/uploads/?digest={}", Digest::sha256_of(bytes));
            let headers = [("authorization", authorization), ("content-type", octets)];
            let answer = self.send(Method::POST, &path, &headers, bytes.to_vec()).await;
            if answer.status != 201 {
                return answer;
            }
        }
        let manifest = havre_oci::Manifest::oci(
            havre_oci::Descriptor::of(media_type::OCI_CONFIG, b"{}"),
            vec![havre_oci::Descriptor::of(media_type::OCI_LAYER, layer)],
        );
        let headers = [
            ("authorization", authorization),
            ("content-type", media_type::OCI_MANIFEST),
        ];
        let path = format!("/v2/{name}/manifests/{tag}");
        self.send(Method::PUT, &path, &headers, manifest.to_bytes()).await
    }
}

fn name(text: &str) -> havre_registry_store::RepositoryName {
    text.parse().expect("a name")
}

#[tokio::test]
async fn who_says_nothing_is_told_where_tokens_are() {
    let registry = start().await;
    for (path, scope) in [
        ("/v2/", ""),
        ("/v2/_catalog", ",scope=\"registry:catalog:*\""),
        ("/v2/me/app/manifests/1", ",scope=\"repository:me/app:pull\""),
        ("/v2/me/app/tags/list", ",scope=\"repository:me/app:pull\""),
    ] {
        let refused = registry.get(path).await.fails(401, "UNAUTHORIZED");
        let expected = format!(
            "Bearer realm=\"http://{}/token\",service=\"havre-registry\"{scope}",
            registry.address()
        );
        assert_eq!(refused.header("www-authenticate"), expected, "{path}");
    }
    let refused = registry
        .post("/v2/me/app/blobs/uploads/")
        .await
        .fails(401, "UNAUTHORIZED");
    assert!(
        refused
            .header("www-authenticate")
            .ends_with("scope=\"repository:me/app:pull,push\"")
    );
}

#[tokio::test]
async fn the_realm_is_never_what_a_request_says_unless_it_is_a_host() {
    let registry = start().await;
    for host in ["a\"b", "evil.example/x?", "a b", "user@evil"] {
        let answer = registry.send(Method::GET, "/v2/", &[("host", host)], "").await;
        assert_eq!(answer.status, 400, "{host}");
        assert!(answer.headers.get("www-authenticate").is_none());
    }
    let config = Config {
        host: Some("https://registry.example.com".to_owned()),
        ..config()
    };
    let registry = start_with(config).await;
    let headers = [("host", "evil.example"), ("x-forwarded-host", "evil.example")];
    let refused = registry.send(Method::GET, "/v2/", &headers, "").await;
    assert_eq!(
        refused.header("www-authenticate"),
        "Bearer realm=\"https://registry.example.com/token\",service=\"havre-registry\""
    );
}

#[tokio::test]
async fn tokens_allow_what_was_asked_for_and_may_be_done() {
    let registry = start().await;
    let push = registry.token("me", &["repository:me/app:pull,push"]).await;
    registry.with(Method::GET, "/v2/", &push).await.is(200);
    registry.push_as(&push, "me/app", "1", b"layer").await.is(201);
    let pull = registry.token("me", &["repository:me/app:pull"]).await;
    registry
        .with(Method::GET, "/v2/me/app/manifests/1", &pull)
        .await
        .is(200);
    // One with the right asks for another token.
    for (token, method) in [
        (&pull, Method::PUT),
        (&pull, Method::DELETE),
        (&push, Method::DELETE),
    ] {
        let refused = registry.with(method, "/v2/me/app/manifests/1", token).await;
        let refused = refused.fails(401, "UNAUTHORIZED");
        assert!(
            refused
                .header("www-authenticate")
                .contains("error=\"insufficient_scope\"")
        );
    }
    // Another repository needs another token.
    let refused = registry
        .with(Method::GET, "/v2/me/other/manifests/1", &pull)
        .await;
    refused.fails(401, "UNAUTHORIZED");
    // What is not theirs is not granted, whatever is asked for.
    let yours = registry
        .token("you", &["repository:me/app:pull,push,delete,*"])
        .await;
    registry
        .with(Method::GET, "/v2/me/app/manifests/1", &yours)
        .await
        .fails(404, "NAME_UNKNOWN");
    registry
        .push_as(&yours, "me/app", "1", b"other")
        .await
        .fails(403, "DENIED");
    let delete = registry.token("me", &["repository:me/app:*"]).await;
    registry
        .with(Method::DELETE, "/v2/me/app/manifests/1", &delete)
        .await
        .is(202);
}

#[tokio::test]
async fn passwords_do_without_a_token_and_wrong_ones_do_not() {
    let registry = start().await;
    registry.push_as(&as_me(), "me/app", "1", b"layer").await.is(201);
    registry
        .with(Method::GET, "/v2/me/app/manifests/1", &as_me())
        .await
        .is(200);
    for wrong in [
        basic("me", "wrong"),
        basic("nobody", PASSWORD),
        basic("ME", PASSWORD),
        "Basic !".to_owned(),
        "Bearer x".to_owned(),
        "Negotiate x".to_owned(),
    ] {
        let refused = registry
            .with(Method::GET, "/v2/", &wrong)
            .await
            .fails(401, "UNAUTHORIZED");
        assert!(
            refused.header("www-authenticate").starts_with("Bearer "),
            "{wrong}"
        );
        if wrong.starts_with("Basic me") {
            registry
                .with(Method::GET, "/token", &wrong)
                .await
                .fails(401, "UNAUTHORIZED");
        }
    }
}

#[tokio::test]
async fn private_repositories_are_as_if_they_were_not_there() {
    let registry = start().await;
    registry
        .push_as(&as_me(), "me/secret", "1", b"layer")
        .await
        .is(201);
    let layer = Digest::sha256_of(b"layer");
    let basic = basic("you", PASSWORD);
    let bearer = registry
        .token(
            "you",
            &["repository:me/secret:pull", "repository:me/missing:pull"],
        )
        .await;
    let nobody = registry.token("", &["repository:me/secret:pull"]).await;
    for path in [
        "manifests/1".to_owned(),
        format!("manifests/{layer}"),
        "tags/list".to_owned(),
        format!("blobs/{layer}"),
        format!("referrers/{layer}"),
        "blobs/uploads/00000000-0000-4000-8000-000000000000".to_owned(),
    ] {
        for authorization in [&basic, &bearer, &nobody, &String::new()] {
            for method in [
                Method::GET,
                Method::HEAD,
                Method::DELETE,
                Method::PUT,
                Method::POST,
            ] {
                let ask = |name: &str| {
                    let path = format!("/v2/me/{name}/{path}");
                    let headers = [("authorization", authorization.as_str())];
                    let headers: Vec<_> = headers
                        .into_iter()
                        .filter(|(_, value)| !value.is_empty())
                        .collect();
                    let registry = &registry;
                    let method = method.clone();
                    async move { registry.send(method, &path, &headers, "").await }
                };
                let (there, missing) = (ask("secret").await, ask("missing").await);
                let told = |answer: &Answer, name: &str| {
                    let text = String::from_utf8_lossy(&answer.body).replace(name, "NAME");
                    let challenge = answer.headers.get("www-authenticate");
                    let challenge =
                        challenge.map(|value| value.to_str().expect("text").replace(name, "NAME"));
                    (answer.status, text, challenge)
                };
                assert_eq!(
                    told(&there, "me/secret"),
                    told(&missing, "me/missing"),
                    "{method} {path} {authorization}"
                );
                assert!(matches!(there.status.as_u16(), 401 | 403 | 404), "{there:?}");
            }
        }
    }
}

#[tokio::test]
async fn everybody_pulls_what_is_public_and_nobody_pushes_it() {
    let registry = start().await;
    registry.push_as(&as_me(), "me/app", "1", b"layer").await.is(201);
    let me = registry.hub().authenticate("me", PASSWORD, None).expect("me");
    registry
        .hub()
        .set_public(&me, &name("me/app"), true)
        .expect("public");
    let nobody = registry.token("", &["repository:me/app:pull,push"]).await;
    let yours = registry.token("you", &["repository:me/app:pull,push"]).await;
    for authorization in [&nobody, &yours] {
        registry
            .with(Method::GET, "/v2/me/app/manifests/1", authorization)
            .await
            .is(200);
    }
    registry.get("/v2/me/app/manifests/1").await.is(200);
    registry
        .push_as(&nobody, "me/app", "2", b"other")
        .await
        .fails(401, "UNAUTHORIZED");
    registry
        .push_as(&yours, "me/app", "2", b"other")
        .await
        .fails(403, "DENIED");
    registry
        .delete("/v2/me/app/manifests/1")
        .await
        .fails(401, "UNAUTHORIZED");
}

/// Who they are for is said by cookies, and for nobody there is only what is public.
#[tokio::test]
async fn pages_ask_for_no_password_and_show_what_one_may_read() {
    let registry = start().await;
    registry.push_as(&as_me(), "me/app", "1", b"layer").await.is(201);
    registry.get("/").await.is(200);
    let (hidden, none) = (registry.get("/r/me/app").await, registry.get("/r/me/none").await);
    hidden.is(404);
    none.is(404);
    registry.get("/storage").await.is(401);
    // Clients' words are not for pages: another site could make a browser say them.
    registry.with(Method::GET, "/r/me/app", &as_me()).await.is(404);
    let me = registry.hub().authenticate("me", PASSWORD, None).expect("me");
    registry
        .hub()
        .set_public(&me, &name("me/app"), true)
        .expect("public");
    registry.get("/r/me/app").await.is(200);
}

#[tokio::test]
async fn the_catalog_and_search_show_what_the_caller_may_read() {
    let registry = start().await;
    for repository in ["me/app", "me/open"] {
        registry
            .push_as(&as_me(), repository, "1", b"layer")
            .await
            .is(201);
    }
    registry
        .push_as(&basic("you", PASSWORD), "you/app", "1", b"layer")
        .await
        .is(201);
    let me = registry.hub().authenticate("me", PASSWORD, None).expect("me");
    registry
        .hub()
        .set_public(&me, &name("me/open"), true)
        .expect("public");
    let all = ["me/app", "me/open", "you/app"];
    for (who, seen) in [
        ("", &all[1..2]),
        ("me", &all[..2]),
        ("you", &all[1..]),
        ("boss", &all[..]),
    ] {
        let token = registry.token(who, &["registry:catalog:*"]).await;
        let catalog = registry
            .with(Method::GET, "/v2/_catalog", &token)
            .await
            .is(200)
            .json();
        assert_eq!(catalog["repositories"], json!(seen), "{who}");
        let found = registry
            .with(Method::GET, "/v1/search?q=p&n=10", &token)
            .await
            .is(200)
            .json();
        let found = found["results"].as_array().expect("results").len();
        assert_eq!(found, seen.len(), "{who}");
    }
    let token = registry.token("boss", &[]).await;
    let page = registry
        .with(Method::GET, "/v2/_catalog?n=1", &token)
        .await
        .is(200);
    assert_eq!(
        page.header("link"),
        "</v2/_catalog?last=me/app&n=1>; rel=\"next\""
    );
    registry.get("/v2/_catalog").await.fails(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn blobs_are_mounted_only_from_where_the_caller_may_read() {
    let registry = start().await;
    registry
        .push_as(&as_me(), "me/secret", "1", b"layer")
        .await
        .is(201);
    let layer = Digest::sha256_of(b"layer");
    let yours = registry
        .token(
            "you",
            &["repository:you/app:pull,push", "repository:me/secret:pull"],
        )
        .await;
    let from = format!("/v2/you/app/blobs/uploads/?mount={layer}&from=me/secret");
    let anonymous = format!("/v2/you/app/blobs/uploads/?mount={layer}");
    for authorization in [&yours, &basic("you", PASSWORD)] {
        for path in [&from, &anonymous] {
            // As for a blob that is nowhere.
            registry.with(Method::POST, path, authorization).await.is(202);
        }
    }
    registry
        .with(Method::GET, &format!("/v2/you/app/blobs/{layer}"), &yours)
        .await
        .fails(404, "BLOB_UNKNOWN");
    // Their own, by either way; a token must say so.
    let mine = registry.token("me", &["repository:me/other:pull,push"]).await;
    let path = format!("/v2/me/other/blobs/uploads/?mount={layer}&from=me/secret");
    registry.with(Method::POST, &path, &mine).await.is(202);
    let both = registry
        .token(
            "me",
            &["repository:me/other:pull,push", "repository:me/secret:pull"],
        )
        .await;
    registry.with(Method::POST, &path, &both).await.is(201);
    let path = format!("/v2/me/third/blobs/uploads/?mount={layer}");
    registry.with(Method::POST, &path, &as_me()).await.is(201);
    // What is public, everybody.
    let me = registry.hub().authenticate("me", PASSWORD, None).expect("me");
    registry
        .hub()
        .set_public(&me, &name("me/secret"), true)
        .expect("public");
    registry.with(Method::POST, &anonymous, &yours).await.is(201);
}

#[tokio::test]
async fn tokens_are_refreshed_and_asked_for_by_form() {
    let registry = start().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let password = "grant_type=password&username=me&password=correct+horse&service=havre-registry&client_id=test&access_type=offline&scope=repository:me/app:pull,push";
    let answer = registry
        .send(Method::POST, "/token", &form, password)
        .await
        .is(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let refresh = answer.json()["refresh_token"]
        .as_str()
        .expect("a refresh token")
        .to_owned();
    let token = format!(
        "Bearer {}",
        answer.json()["access_token"].as_str().expect("a token")
    );
    registry.push_as(&token, "me/app", "1", b"layer").await.is(201);
    let ask = format!(
        "grant_type=refresh_token&refresh_token={refresh}&service=havre-registry&scope=repository:me/app:pull"
    );
    let answer = registry
        .send(Method::POST, "/token", &form, ask.clone())
        .await
        .is(200)
        .json();
    assert_eq!(answer["refresh_token"], json!(refresh));
    let token = format!("Bearer {}", answer["access_token"].as_str().expect("a token"));
    registry
        .with(Method::GET, "/v2/me/app/manifests/1", &token)
        .await
        .is(200);
    // It is no password, and ends with one that changes.
    registry
        .with(Method::GET, "/v2/", &basic("me", &refresh))
        .await
        .fails(401, "UNAUTHORIZED");
    let who = "me".parse().expect("a name");
    registry
        .hub()
        .set_password(&Actor::system(), &who, None, "another one")
        .expect("a password");
    registry
        .send(Method::POST, "/token", &form, ask)
        .await
        .fails(401, "UNAUTHORIZED");
    // `docker login` asks so.
    let path = "/token?account=me&client_id=docker&offline_token=true&service=havre-registry";
    let answer = registry
        .with(Method::GET, path, &basic("me", "another one"))
        .await
        .is(200)
        .json();
    assert!(answer["refresh_token"].is_string());
    for (method, path, body) in [
        (Method::GET, "/token?service=other", ""),
        (Method::GET, "/token?scope=x", ""),
        (Method::POST, "/token", "grant_type=implicit"),
        (Method::POST, "/token", ""),
    ] {
        registry.send(method, path, &form, body).await.is(400);
    }
    let many = "&scope=repository:a/b:pull".repeat(51);
    registry
        .get(&format!("/token?service=havre-registry{many}"))
        .await
        .is(400);
    registry.delete("/token").await.fails(405, "UNSUPPORTED");
}

#[tokio::test]
async fn access_tokens_are_for_less_than_the_account() {
    let registry = start().await;
    let me = registry.hub().authenticate("me", PASSWORD, None).expect("me");
    let make = |role, patterns: &[&str]| {
        let new = NewToken {
            title: "test".to_owned(),
            role,
            repositories: patterns.iter().map(|one| (*one).to_owned()).collect(),
            lifetime: None,
        };
        registry
            .hub()
            .create_token(&me, me.name().expect("a name"), &new)
            .expect("a token")
    };
    let (_, all) = make(Role::Write, &[]);
    registry
        .push_as(&basic("me", &all), "me/app", "1", b"layer")
        .await
        .is(201);
    registry
        .with(Method::DELETE, "/v2/me/app/manifests/1", &basic("me", &all))
        .await
        .fails(403, "DENIED");
    let (read, secret) = make(Role::Read, &["me/app"]);
    let reading = basic("me", &secret);
    registry
        .with(Method::GET, "/v2/me/app/manifests/1", &reading)
        .await
        .is(200);
    registry
        .push_as(&reading, "me/app", "2", b"other")
        .await
        .fails(403, "DENIED");
    registry
        .with(Method::GET, "/v2/me/other/tags/list", &reading)
        .await
        .fails(404, "NAME_UNKNOWN");
    // What it is exchanged for is for no more.
    let path =
        "/token?service=havre-registry&scope=repository:me/app:pull,push&scope=repository:me/other:pull";
    let token = registry.with(Method::GET, path, &reading).await.is(200).json();
    let token = format!("Bearer {}", token["token"].as_str().expect("a token"));
    registry
        .with(Method::GET, "/v2/me/app/manifests/1", &token)
        .await
        .is(200);
    registry
        .push_as(&token, "me/app", "2", b"other")
        .await
        .fails(403, "DENIED");
    registry
        .with(Method::GET, "/v2/me/other/tags/list", &token)
        .await
        .fails(404, "NAME_UNKNOWN");
    registry
        .hub()
        .revoke_token(&me, me.name().expect("a name"), &read.id)
        .expect("revoked");
    registry
        .with(Method::GET, "/v2/", &reading)
        .await
        .fails(401, "UNAUTHORIZED");
    // With somebody else's name it is nobody's.
    registry
        .with(Method::GET, "/v2/", &basic("you", &all))
        .await
        .fails(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn wrong_passwords_lock_an_account_and_not_its_tokens() {
    let settings = Settings {
        failures: 3,
        ..Settings::default()
    };
    let registry = start_with(Config {
        accounts: Some(settings),
        ..config()
    })
    .await;
    let me = registry.hub().authenticate("me", PASSWORD, None).expect("me");
    let new = NewToken {
        title: "ci".to_owned(),
        role: Role::Read,
        repositories: Vec::new(),
        lifetime: None,
    };
    let (_, token) = registry
        .hub()
        .create_token(&me, me.name().expect("a name"), &new)
        .expect("a token");
    for _ in 0..3 {
        registry
            .with(Method::GET, "/token", &basic("me", "wrong one"))
            .await
            .fails(401, "UNAUTHORIZED");
    }
    let locked = registry
        .with(Method::GET, "/token", &as_me())
        .await
        .fails(429, "TOOMANYREQUESTS");
    assert!(locked.header("retry-after").parse::<u32>().expect("seconds") > 600);
    registry
        .with(Method::GET, "/v2/", &as_me())
        .await
        .fails(429, "TOOMANYREQUESTS");
    registry
        .with(Method::GET, "/v2/", &basic("me", &token))
        .await
        .is(200);
    registry
        .with(Method::GET, "/token", &basic("you", PASSWORD))
        .await
        .is(200);
}

#[tokio::test]
async fn immutable_tags_and_names_of_tags() {
    let registry = start().await;
    let me = registry.hub().authenticate("me", PASSWORD, None).expect("me");
    let policy = Policy {
        immutable: vec!["v*".to_owned()],
        naming: vec!["v[0-9]+".to_owned(), "latest".to_owned()],
        retention: None,
    };
    let scope = PolicyScope::Repository(name("me/app"));
    registry
        .hub()
        .set_policy(&me, &scope, Some(&policy))
        .expect("a policy");
    registry.push_as(&as_me(), "me/app", "v1", b"layer").await.is(201);
    registry.push_as(&as_me(), "me/app", "v1", b"layer").await.is(201);
    let refused = registry
        .push_as(&as_me(), "me/app", "v1", b"other")
        .await
        .fails(409, "DENIED");
    let message = refused.json()["errors"][0]["message"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(
        message.contains("v1") && message.contains("immutable"),
        "{message}"
    );
    for path in ["/v2/me/app/manifests/v1"] {
        registry
            .with(Method::DELETE, path, &as_me())
            .await
            .fails(409, "DENIED");
        let stands = registry.with(Method::HEAD, path, &as_me()).await.is(200);
        let digest = format!("/v2/me/app/manifests/{}", stands.header("docker-content-digest"));
        registry
            .with(Method::DELETE, &digest, &as_me())
            .await
            .fails(409, "DENIED");
    }
    registry
        .push_as(&as_me(), "me/app", "latest", b"one")
        .await
        .is(201);
    registry
        .push_as(&as_me(), "me/app", "latest", b"two")
        .await
        .is(201);
    let refused = registry
        .push_as(&as_me(), "me/app", "test", b"one")
        .await
        .fails(400, "TAG_INVALID");
    assert!(String::from_utf8_lossy(&refused.body).contains("v[0-9]+"));
    registry
        .push_as(&as_me(), "me/free", "test", b"one")
        .await
        .is(201);
}

#[tokio::test]
async fn a_namespace_has_no_more_than_its_quota() {
    let quota = Quota {
        bytes: Some(2300),
        repositories: Some(2),
    };
    let settings = Settings {
        quota,
        ..Settings::default()
    };
    let registry = start_with(Config {
        accounts: Some(settings),
        ..config()
    })
    .await;
    let large = vec![7; 1200];
    registry.push_as(&as_me(), "me/app", "1", &large).await.is(201);
    // What is there costs nothing.
    registry.push_as(&as_me(), "me/app", "2", &large).await.is(201);
    let refused = registry
        .push_as(&as_me(), "me/app", "3", &[8; 1200])
        .await
        .fails(403, "DENIED");
    assert!(
        String::from_utf8_lossy(&refused.body).contains("quota"),
        "{refused:?}"
    );
    let place = registry
        .with(Method::POST, "/v2/me/app/blobs/uploads/", &as_me())
        .await
        .is(202)
        .header("location")
        .to_owned();
    let me = as_me();
    let headers = [("authorization", me.as_str())];
    registry
        .send(Method::PATCH, &place, &headers, vec![9; 1200])
        .await
        .fails(403, "DENIED");
    registry.push_as(&as_me(), "me/other", "1", b"x").await.is(201);
    registry
        .push_as(&as_me(), "me/third", "1", b"x")
        .await
        .fails(403, "DENIED");
    registry
        .push_as(&basic("you", PASSWORD), "you/app", "1", &large)
        .await
        .is(201);
    let usage = registry
        .hub()
        .usage(&Actor::system(), &"me".parse().expect("a name"))
        .expect("a usage");
    assert!(
        usage.bytes > 1200 && usage.bytes < 2300 && usage.repositories == 2,
        "{usage:?}"
    );
}

#[tokio::test]
async fn pulls_are_counted_and_limited() {
    let settings = Settings {
        anonymous_pulls: Some(2),
        ..Settings::default()
    };
    let registry = start_with(Config {
        accounts: Some(settings),
        ..config()
    })
    .await;
    registry.push_as(&as_me(), "me/app", "1", b"layer").await.is(201);
    let me = registry.hub().authenticate("me", PASSWORD, None).expect("me");
    registry
        .hub()
        .set_public(&me, &name("me/app"), true)
        .expect("public");
    let path = "/v2/me/app/manifests/1";
    registry.head(path).await.is(200);
    for left in ["1", "0"] {
        let pulled = registry.get(path).await.is(200);
        assert_eq!(pulled.header("ratelimit-limit"), "2;w=3600");
        assert_eq!(pulled.header("ratelimit-remaining"), format!("{left};w=3600"));
    }
    let refused = registry.get(path).await.fails(429, "TOOMANYREQUESTS");
    assert!(refused.headers.contains_key("retry-after"));
    registry.head(path).await.is(200);
    registry.with(Method::GET, path, &as_me()).await.is(200);
    registry.hub().write_pulls().expect("written");
    let repository = registry
        .hub()
        .repository(&me, &name("me/app"))
        .expect("a repository");
    assert_eq!(repository.pulls, 3);
    assert!(repository.pulled.is_some());
}

#[tokio::test]
async fn tags_as_docker_hub_lists_them() {
    let registry = start().await;
    for tag in ["1", "2", "3"] {
        registry.push_as(&as_me(), "me/app", tag, b"layer").await.is(201);
    }
    let path = "/v2/repositories/me/app/tags?page_size=2&page=2";
    let page = registry.with(Method::GET, path, &as_me()).await.is(200).json();
    assert_eq!((&page["count"], &page["next"]), (&json!(3), &Value::Null));
    assert_eq!(
        page["previous"],
        json!("/v2/repositories/me/app/tags?page=1&page_size=2")
    );
    let row = &page["results"][0];
    assert_eq!((&row["name"], &row["full_size"]), (&json!("3"), &json!(5)));
    assert!(row["digest"].as_str().expect("a digest").starts_with("sha256:"));
    assert!(row["last_updated"].is_string());
    let one = registry
        .with(Method::GET, "/v2/repositories/me/app/tags/2/", &as_me())
        .await
        .is(200);
    assert_eq!(one.json()["name"], json!("2"));
    registry.get(path).await.fails(401, "UNAUTHORIZED");
    registry
        .with(Method::GET, path, &basic("you", PASSWORD))
        .await
        .fails(404, "NAME_UNKNOWN");
}
