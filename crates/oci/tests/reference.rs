//! Image names: Docker's rules and Docker's words.

use havre_oci::{Digest, Reference};
use proptest::prelude::*;

const HEX: &str = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa";

#[test]
fn normalisation() {
    let sha = format!("sha256:{HEX}");
    let digested = format!("debian@{sha}");
    let both = format!("debian:12@{sha}");
    for (text, canonical, familiar) in [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("me/app", "docker.io/me/app", "me/app"),
        ("me/app/part:1", "docker.io/me/app/part:1", "me/app/part:1"),
        ("library/debian", "docker.io/library/debian", "debian"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("docker.io/debian", "docker.io/library/debian", "debian"),
        ("docker.io/me/app", "docker.io/me/app", "me/app"),
        (
            "index.docker.io/debian:12",
            "docker.io/library/debian:12",
            "debian:12",
        ),
        ("index.docker.io/me/app", "docker.io/me/app", "me/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        (
            "localhost:5000/app:v1",
            "localhost:5000/app:v1",
            "localhost:5000/app:v1",
        ),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
        (
            "[2001:db8::1]:5000/app",
            "[2001:db8::1]:5000/app",
            "[2001:db8::1]:5000/app",
        ),
        ("[::1]/app:x", "[::1]/app:x", "[::1]/app:x"),
        (
            "ghcr.io/a-b/c__d/e.f/g---h",
            "ghcr.io/a-b/c__d/e.f/g---h",
            "ghcr.io/a-b/c__d/e.f/g---h",
        ),
        ("Registry/app", "Registry/app", "Registry/app"),
        ("xn--n3h.com/app", "xn--n3h.com/app", "xn--n3h.com/app"),
        ("a:5000", "docker.io/library/a:5000", "a:5000"),
        (
            "app:UPPER_tag.1-x",
            "docker.io/library/app:UPPER_tag.1-x",
            "app:UPPER_tag.1-x",
        ),
        (&digested, &format!("docker.io/library/debian@{sha}"), &digested),
        (&both, &format!("docker.io/library/debian:12@{sha}"), &both),
    ] {
        let reference = Reference::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(reference.canonical(), canonical, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
        assert_eq!(reference.to_string(), canonical);
    }
}

/// Where Docker's short form names something else, ours stays long.
#[test]
fn the_short_form_is_never_another_name() {
    let identifier = format!("docker.io/library/{HEX}");
    let tagged = format!("{HEX}:v1");
    for (text, familiar) in [
        ("docker.io/a.b/c", "docker.io/a.b/c"),
        ("index.docker.io/a.b/c:v1", "docker.io/a.b/c:v1"),
        ("docker.io/localhost/app", "docker.io/localhost/app"),
        ("docker.io/a/b.c", "a/b.c"),
        ("docker.io/docker.io/a/b", "docker.io/docker.io/a/b"),
        ("docker.io/index.docker.io/a", "docker.io/index.docker.io/a"),
        ("docker.io/library/a.b", "a.b"),
        ("docker.io/localhost", "localhost"),
        (&identifier, &identifier),
        (&tagged, &format!("docker.io/library/{tagged}")),
    ] {
        let reference = Reference::parse(text).unwrap();
        assert_eq!(reference.familiar(), familiar, "{text}");
        assert_eq!(Reference::parse(familiar).unwrap(), reference);
    }
}

#[test]
fn parts() {
    let reference = Reference::parse(&format!("localhost:5000/team/app:v1@sha256:{HEX}")).unwrap();
    assert_eq!(reference.domain(), "localhost:5000");
    assert_eq!(reference.path(), "team/app");
    assert_eq!(reference.repository(), "localhost:5000/team/app");
    assert_eq!(reference.tag(), Some("v1"));
    assert_eq!(reference.digest().map(Digest::hex), Some(HEX));
    assert_eq!(reference.without_tag().canonical(), "localhost:5000/team/app");
    assert_eq!(
        reference.with_tag("v2").unwrap().familiar(),
        "localhost:5000/team/app:v2"
    );
    let digest = Digest::sha256_of(b"");
    assert_eq!(
        reference.with_digest(digest.clone()).familiar(),
        format!("localhost:5000/team/app@{digest}")
    );
    assert!(reference.with_tag("-x").is_err());
}

#[test]
fn default_tag() {
    let tagged = |text: &str| Reference::parse(text).unwrap().with_default_tag().familiar();
    assert_eq!(tagged("debian"), "debian:latest");
    assert_eq!(tagged("debian:12"), "debian:12");
    let digested = format!("debian@sha256:{HEX}");
    assert_eq!(tagged(&digested), digested);
}

#[test]
fn refusals_in_dockers_words() {
    const FORMAT: &str = "invalid reference format";
    let long_tag = format!("app:{}", "t".repeat(129));
    let long_name = "a/".repeat(128) + "b";
    let identifier = format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings");
    let upper_hex = format!("app@sha256:{}", HEX.to_uppercase());
    let short_digest = format!("app@sha256:{}", &HEX[..40]);
    let md5 = format!("app@md5:{}", &HEX[..32]);
    let upper_name = format!(
        "invalid reference format: repository name (library/{}) must be lowercase",
        "app@sha256"
    );
    for (text, message) in [
        ("", FORMAT),
        (":tag", FORMAT),
        ("@sha256:x", FORMAT),
        (
            "Foo",
            "invalid reference format: repository name (library/Foo) must be lowercase",
        ),
        (
            "me/App:x",
            "invalid reference format: repository name (me/App) must be lowercase",
        ),
        (
            "localhost:5000/App",
            "invalid reference format: repository name (App) must be lowercase",
        ),
        ("-app", FORMAT),
        ("app-", FORMAT),
        ("a___b", FORMAT),
        ("a..b", FORMAT),
        ("a._b", FORMAT),
        ("a//b", FORMAT),
        ("/app", FORMAT),
        ("app/", FORMAT),
        ("app:", FORMAT),
        ("app:a:b", FORMAT),
        ("app:.x", FORMAT),
        ("app:a/b", FORMAT),
        ("app name", FORMAT),
        ("app\n", FORMAT),
        ("../x", FORMAT),
        ("a.b_c/app", FORMAT),
        ("-a.com/app", FORMAT),
        ("a.com:/app", FORMAT),
        ("a.com:80x/app", FORMAT),
        ("[::1/app", FORMAT),
        ("https://docker.io/app", FORMAT),
        ("äpp", FORMAT),
        ("app@sha256:abc", FORMAT),
        ("app@sha256", FORMAT),
        (&long_tag, FORMAT),
        (&long_name, "repository name must not be more than 255 characters"),
        (HEX, &identifier),
        (&upper_hex, "invalid checksum digest format"),
        (&short_digest, "invalid checksum digest length"),
        (&md5, "unsupported digest algorithm"),
        (
            &format!("app@SHA256:{HEX}"),
            &upper_name.replace("sha256", "SHA256"),
        ),
    ] {
        let error = Reference::parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn the_longest_names() {
    assert!(Reference::parse(&format!("localhost/{}", "a".repeat(255))).is_ok());
    assert!(Reference::parse(&format!("localhost/{}", "a".repeat(256))).is_err());
    assert!(Reference::parse(&format!("app:{}", "t".repeat(128))).is_ok());
}

proptest! {
    #[test]
    fn valid_names_round_trip(
        domain in proptest::option::of("([a-z0-9]{1,5}\\.[a-z]{2,3}|localhost)(:[0-9]{1,4})?"),
        path in "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}){0,3}",
        tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        digest in proptest::option::of(any::<u8>()),
    ) {
        // Without a registry in front, a first component with a dot would be taken for one.
        prop_assume!(domain.is_some() || !path.split('/').next().unwrap().contains('.'));
        let mut text = domain.map_or_else(String::new, |domain| format!("{domain}/"));
        text.push_str(&path);
        if let Some(tag) = &tag {
            text = format!("{text}:{tag}");
        }
        if let Some(byte) = digest {
            text = format!("{text}@{}", Digest::sha256_of(&[byte]));
        }
        let reference = Reference::parse(&text).unwrap();
        prop_assert_eq!(reference.tag(), tag.as_deref());
        prop_assert_eq!(&Reference::parse(&reference.canonical()).unwrap(), &reference);
        prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
    }

    #[test]
    fn anything_parses_stably_or_fails(text in "[aB1._/:@\\-\\[\\] é]{0,24}|.{0,60}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(&Reference::parse(&reference.canonical()).unwrap(), &reference);
            prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
        }
    }
}
