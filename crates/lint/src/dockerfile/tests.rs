use proptest::prelude::*;

use super::*;
use crate::{Severity, find as rule_named};

/// The names of the rules a text breaks, without those that nearly every text breaks.
fn rules(text: &str) -> Vec<&'static str> {
    const USUAL: [&str; 4] = ["labels-missing", "root-user", "base-unpinned", "base-untagged"];
    check(&Source::new(text.as_bytes()))
        .findings
        .iter()
        .map(|finding| finding.rule.name)
        .filter(|name| !USUAL.contains(name))
        .collect()
}

/// In the last stage of an image that says nothing else.
fn one(instruction: &str) -> Vec<&'static str> {
    rules(&format!("FROM a:1\n{instruction}\n"))
}

#[test]
fn each_rule_finds_its_mistake_and_not_the_right_way() {
    for (rule, wrong, right) in [
        ("add-instead-of-copy", "ADD a b /c/", "ADD a.tar.gz /c/"),
        (
            "add-without-checksum",
            "ADD https://h/a /a",
            "ADD --checksum=sha256:00 https://h/a /a",
        ),
        (
            "add-without-checksum",
            "ADD https://h/a /a",
            "ADD https://h/a.git /a",
        ),
        (
            "apt-assume-yes",
            "RUN apt-get install --no-install-recommends x",
            "RUN apt-get install -qqy --no-install-recommends x",
        ),
        (
            "apt-command",
            "RUN apt install -y --no-install-recommends x",
            "RUN echo apt",
        ),
        (
            "apt-lists-left",
            "RUN apt-get update && apt-get install -y --no-install-recommends x",
            "RUN apt-get update && apt-get install -y --no-install-recommends x && rm -rf /var/lib/apt/lists/*",
        ),
        (
            "apt-lists-left",
            "RUN apt-get update && apt-get upgrade -y",
            "RUN --mount=type=cache,target=/var/lib/apt apt-get update && apt-get upgrade -y",
        ),
        (
            "apt-recommends",
            "RUN apt-get install -y x",
            "RUN apt-get -o APT::Install-Recommends=false install -y x",
        ),
        (
            "apt-recommends",
            "RUN apt-get install -y x",
            "RUN apt-get install -y -f",
        ),
        (
            "apt-update-alone",
            "RUN apt-get update",
            "RUN apt-get update && ./install.sh && rm -rf /var/lib/apt/lists",
        ),
        ("cache-left", "RUN apk add x", "RUN apk add --no-cache x"),
        (
            "cache-left",
            "RUN dnf install -y x",
            "RUN dnf install -y x && dnf clean all",
        ),
        (
            "cache-left",
            "RUN pip install x",
            "RUN pip install --no-cache-dir x",
        ),
        (
            "cache-left",
            "RUN python3 -m pip install x",
            "ENV PIP_NO_CACHE_DIR=1\nRUN python3 -m pip install x",
        ),
        (
            "cache-left",
            "RUN npm ci",
            "RUN --mount=type=cache,target=/root/.npm npm ci",
        ),
        ("consistent-instruction-casing", "env a=b", "ENV a=b"),
        (
            "copy-before-install",
            "COPY . .\nRUN npm ci && npm cache clean --force",
            "COPY package.json .\nRUN npm ci && npm cache clean --force\nCOPY . .",
        ),
        (
            "copy-before-install",
            "COPY . .\nRUN pip install --no-cache-dir -r requirements.txt",
            "COPY . .\nRUN pip install --no-cache-dir flask",
        ),
        (
            "duplicate-stage-name",
            "FROM a:1 AS x\nFROM b:1 AS x",
            "FROM a:1 AS x\nFROM b:1 AS y",
        ),
        ("exec-form-quoting", "CMD ['a', 'b']", "CMD [\"a\", \"b\"]"),
        ("exec-form-quoting", "CMD [\"a\" \"b\"]", "RUN [ -f x ] && [ y ]"),
        (
            "expose-invalid-format",
            "EXPOSE 80:80\nHEALTHCHECK NONE",
            "EXPOSE 80/tcp 90-95 $PORT\nHEALTHCHECK NONE",
        ),
        (
            "expose-invalid-format",
            "EXPOSE 99999\nHEALTHCHECK NONE",
            "EXPOSE 65535\nHEALTHCHECK NONE",
        ),
        (
            "expose-proto-casing",
            "EXPOSE 80/TCP\nHEALTHCHECK NONE",
            "EXPOSE 80/udp\nHEALTHCHECK NONE",
        ),
        ("from-as-casing", "FROM b:1 as x", "FROM b:1 AS x"),
        (
            "from-platform-flag-const-disallowed",
            "FROM --platform=linux/amd64 b:1",
            "FROM --platform=$BUILDPLATFORM b:1",
        ),
        (
            "healthcheck-missing",
            "EXPOSE 80",
            "EXPOSE 80\nHEALTHCHECK CMD true",
        ),
        ("json-args-recommended", "CMD run it", "CMD [\"run\", \"it\"]"),
        (
            "json-args-recommended",
            "ENTRYPOINT run",
            "SHELL [\"/bin/bash\", \"-c\"]\nENTRYPOINT run",
        ),
        ("legacy-key-value-format", "ENV a b", "ENV a=b"),
        ("maintainer-deprecated", "MAINTAINER me", "LABEL maintainer=me"),
        (
            "multiple-instructions-disallowed",
            "CMD [\"a\"]\nCMD [\"b\"]",
            "CMD [\"a\"]\nFROM b:1\nCMD [\"b\"]",
        ),
        ("no-empty-continuation", "RUN a \\\n\n b", "RUN a \\\n # x\n b"),
        (
            "pipe-without-pipefail",
            "RUN curl h | sh",
            "RUN set -eo pipefail && curl h | sh",
        ),
        (
            "pipe-without-pipefail",
            "RUN wget -O- h | tar x",
            "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN wget -O- h | tar x",
        ),
        (
            "redundant-target-platform",
            "FROM --platform=$TARGETPLATFORM b:1",
            "FROM b:1",
        ),
        (
            "reserved-stage-name",
            "FROM b:1 AS scratch",
            "FROM b:1 AS scratches",
        ),
        ("secret-file", "COPY .npmrc /root/", "COPY .npmrc.example /root/"),
        (
            "secrets-used-in-arg-or-env",
            "ENV DB_PASSWORD=hunter2",
            "ENV DB_PASSWORD_FILE=/run/secrets/db",
        ),
        ("secrets-used-in-arg-or-env", "ARG API_KEY", "ARG PUBLIC_KEY"),
        (
            "secret-in-text",
            "RUN git clone https://me:hunter22@h/x",
            "RUN git clone https://me:$PASS@h/x",
        ),
        ("stage-name-casing", "FROM b:1 AS Build", "FROM b:1 AS build-1"),
        (
            "stage-not-found",
            "FROM b:1\nCOPY --from=2 /a /a",
            "FROM b:1\nCOPY --from=0 /a /a",
        ),
        (
            "stage-not-found",
            "FROM b:1 AS build\nFROM c:1\nCOPY --from=biuld /a /a",
            "FROM b:1 AS build\nFROM c:1\nCOPY --from=build /a /a",
        ),
        ("sudo", "RUN sudo -E x", "RUN echo sudo"),
        ("syntax", "RNU x", "RUN x"),
        ("undefined-arg-in-from", "FROM b:$NONE", "FROM b:${NONE:-1}"),
        (
            "undefined-var",
            "ENV VERSION=1\nLABEL v=$VERSOIN",
            "ENV VERSION=1\nLABEL v=$VERSION",
        ),
        ("undefined-var", "FROM scratch\nCOPY $x /", "FROM b:1\nCOPY $x /"),
        (
            "workdir-relative-path",
            "WORKDIR app",
            "WORKDIR /srv\nWORKDIR app",
        ),
        (
            "world-writable",
            "RUN chmod -R 777 /srv",
            "RUN chmod 1777 /tmp && chmod +x y",
        ),
        ("world-writable", "COPY --chmod=666 a /a", "COPY --chmod=644 a /a"),
    ] {
        assert!(rule_named(rule).is_ok(), "{rule}");
        assert!(one(wrong).contains(&rule), "{wrong}: {:?}", one(wrong));
        assert!(!one(right).contains(&rule), "{right}: {:?}", one(right));
    }
}

#[test]
fn a_good_dockerfile_has_nothing_to_be_said_of() {
    let text = "# syntax=docker/dockerfile:1\nARG VERSION=22\nFROM node:${VERSION}-slim@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef AS build\n\
        WORKDIR /app\nCOPY package.json package-lock.json ./\nRUN --mount=type=cache,target=/root/.npm npm ci\nCOPY src ./src\nRUN npm run build\n\
        FROM build\nLABEL org.opencontainers.image.source=https://example.com/app\nUSER node\nEXPOSE 8080\nHEALTHCHECK CMD [\"node\", \"check.js\"]\nCMD [\"node\", \"dist/main.js\"]\n";
    assert_eq!(check(&Source::new(text.as_bytes())).findings, []);
}

#[test]
fn bases_and_users() {
    let names = |text: &str| -> Vec<_> {
        check(&Source::new(text.as_bytes()))
            .findings
            .iter()
            .map(|one| one.rule.name)
            .collect()
    };
    let has = |text: &str, rule: &str| names(text).contains(&rule);
    assert!(has("FROM a", "base-untagged") && has("FROM h:5000/a:latest", "base-untagged"));
    assert!(has("FROM a:1", "base-unpinned"));
    assert!(has("ARG T=latest\nFROM a:$T", "base-untagged"));
    assert!(has("ARG T\nFROM a:$T", "invalid-default-arg-in-from"));
    assert!(has("FROM scratch\nCOPY --from=nginx /a /a", "base-untagged"));
    for text in ["FROM scratch", "FROM a:1 AS b\nFROM b"] {
        assert!(!has(text, "base-untagged"), "{text}");
    }
    assert!(has("FROM a:1", "root-user") && has("FROM a:1\nUSER me\nUSER 0:0", "root-user"));
    for text in [
        "FROM a:1\nUSER me",
        "FROM a:1 AS b\nUSER me\nFROM b",
        "FROM gcr.io/distroless/static:nonroot",
        "FROM a:1\nUSER $USER",
    ] {
        assert!(!has(text, "root-user"), "{text}");
    }
    // Only what is in the image counts.
    let stages = |first: &str| format!("FROM a:1 AS one\n{first}\nFROM a:1\nCOPY --from=one /x /x\n");
    assert!(!has(
        &stages("RUN apt-get update && apt-get install -y x"),
        "apt-lists-left"
    ));
    assert!(!has(&stages("COPY id_rsa /x"), "secret-file"));
    assert!(has(&stages("RUN apt-get update"), "apt-update-alone"));
}

#[test]
fn what_is_known_of_the_context() {
    let rules = |text: &str, context| -> Vec<_> {
        let checked = check(&Source::new(text.as_bytes()).in_context(context));
        checked
            .findings
            .iter()
            .map(|one| (one.rule.name, one.message.clone()))
            .collect()
    };
    let names = [".git".to_owned(), "src".to_owned(), ".env".to_owned()];
    let bare = || Context {
        ignore_file: false,
        ignores: &|_| false,
        names: &names,
    };
    let found = rules("FROM a:1\nCOPY . /app", bare());
    let told = found
        .iter()
        .find(|(name, _)| *name == "dockerignore-missing")
        .expect("found");
    assert_eq!(
        told.1,
        "everything in the directory is copied, .env, .git among it, and there is no .dockerignore"
    );
    let ruled = Context {
        ignore_file: true,
        ignores: &|path| path == "secret",
        names: &names,
    };
    let found = rules("FROM a:1\nCOPY . /app\nCOPY ./secret src /x/", ruled);
    let found: Vec<_> = found.iter().map(|(name, _)| *name).collect();
    assert!(
        found.contains(&"copy-ignored-file") && !found.contains(&"dockerignore-missing"),
        "{found:?}"
    );
}

#[test]
fn the_directive_leaves_out_and_makes_errors() {
    let checked = check(&Source::new(
        b"# check=skip=JSONArgsRecommended,root-user;error=true\nFROM a:1\nCMD x\n",
    ));
    let names: Vec<_> = checked.findings.iter().map(|one| one.rule.name).collect();
    assert_eq!(names, ["labels-missing", "base-unpinned"]);
    assert_eq!(checked.settings.threshold(None), Some(Severity::Warning));
    let checked = check(&Source::new(b"# check=skip=all\nFROM a:1\nRNU x\n"));
    assert_eq!(checked.findings.len(), 1, "what doesn't build is always said");
}

#[test]
fn secrets_are_nowhere_in_what_is_said() {
    let token = format!("ghp_{}", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5");
    let key = "MIIEowIBAAKCAQEA".repeat(4);
    let text = format!(
        "FROM a:1\nENV PASSWORD=\"hun ter2\" OTHER=x\nENV SECRET corr\\\n  ect\nARG TOKEN=abc{token}\nRUN x {token}\nCOPY <<K /k\n-----BEGIN {} KEY-----\n{key}\n-----END\nK\nRNU {token}\n",
        "RSA PRIVATE"
    );
    let checked = check(&Source::new(text.as_bytes()));
    let said = format!("{:?}{}", checked.findings, checked.text);
    for secret in [token.as_str(), "hun ter2", "hun", "correct", "corr", &key] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    assert_eq!(checked.text.chars().count(), text.chars().count());
    assert!(checked.text.contains("OTHER=x"));
    let count = |rule| {
        checked
            .findings
            .iter()
            .filter(|one| one.rule.name == rule)
            .count()
    };
    assert_eq!(
        (
            count("secret-in-text"),
            count("secrets-used-in-arg-or-env"),
            count("syntax")
        ),
        (3, 3, 1)
    );
    let broken = check(&Source::new(format!("FROM a\nRUN <<E\n{token}\n").as_bytes()));
    assert!(!format!("{:?}{}", broken.findings, broken.text).contains(&token));
    assert_eq!(broken.findings[0].rule.name, "syntax");
}

/// Texts that get far: instructions with odd rests.
fn lines() -> impl Strategy<Value = String> {
    let keyword = prop::sample::select(vec![
        "FROM",
        "RUN",
        "COPY",
        "ADD",
        "ENV",
        "ARG",
        "CMD",
        "EXPOSE",
        "USER",
        "WORKDIR",
        "LABEL",
        "from",
        "ENTRYPOINT",
        "SHELL",
        "#",
        "HEALTHCHECK",
        "ONBUILD",
    ]);
    let rest = prop_oneof![
        "[ -~é\t]{0,40}",
        prop::sample::select(vec![
            "a:1 AS b",
            "b",
            "--from=b . /x",
            "TOKEN=x PASSWORD='é",
            "apt-get update && \\",
            "<<E\ncurl x | sh\nE",
            "[\"a\"",
            "${x:-$y} $z",
            "https://a:bcd@c",
            "80:80/TCP",
            "check=skip=all",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(
        (keyword, rest).prop_map(|(keyword, rest)| format!("{keyword} {rest}\n")),
        0..12,
    )
    .prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn nothing_makes_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..200), text in lines()) {
        for text in [bytes.as_slice(), text.as_bytes()] {
            let checked = check(&Source::new(text));
            let lines: Vec<&str> = checked.text.lines().collect();
            for finding in &checked.findings {
                let Place::Text(region) = &finding.place else { panic!("{finding:?}") };
                prop_assert!(region.line >= 1 && region.column >= 1 && region.end_column > region.column);
                let width = lines.get(region.line - 1).map_or(0, |line| line.chars().count());
                prop_assert!(region.end_column <= width.max(1) + 1, "{finding:?} in {:?}", lines.get(region.line - 1));
            }
            let subject = crate::report::Subject::Dockerfile { path: "x".to_owned(), text: checked.text.clone() };
            let report = [crate::report::Report { subject, findings: checked.findings }];
            crate::report::text(&report, true);
            crate::report::sarif(&report, "0");
            crate::report::buildkit(&report[0]);
        }
    }
}
