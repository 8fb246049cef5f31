//! Tokens, keys and passwords in text.

use std::ops::Range;

/// A secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    /// Bytes of the text.
    pub(crate) at: Range<usize>,
    /// What it is, in words.
    pub(crate) kind: &'static str,
}

/// How the tokens of a service begin, how long the rest is at least, and which characters it has besides letters and digits.
const TOKENS: &[(&str, &str, usize, &str)] = &[
    ("a personal access token of GitHub", "ghp_", 36, ""),
    ("an OAuth token of GitHub", "gho_", 36, ""),
    ("a user token of GitHub", "ghu_", 36, ""),
    ("an app token of GitHub", "ghs_", 36, ""),
    ("a refresh token of GitHub", "ghr_", 36, ""),
    ("a personal access token of GitHub", "github_pat_", 40, "_"),
    ("a token of GitLab", "glpat-", 20, "-_"),
    ("a token of a GitLab runner", "glrt-", 20, "-_"),
    ("a deploy token of GitLab", "gldt-", 20, "-_"),
    ("an access token of npm", "npm_", 36, ""),
    ("an access token of Docker Hub", "dckr_pat_", 27, "-_"),
    ("an API token of PyPI", "pypi-AgEIcHlwaS5vcmc", 30, "-_"),
    ("a token of Slack", "xoxb-", 20, "-"),
    ("a token of Slack", "xoxp-", 20, "-"),
    ("a token of Slack", "xapp-", 20, "-"),
    ("a live key of Stripe", "sk_live_", 24, ""),
    ("a live key of Stripe", "rk_live_", 24, ""),
    ("a key of SendGrid", "SG.", 60, "-_."),
    ("an API key of Google", "AIza", 35, "-_"),
    ("a token of Hugging Face", "hf_", 34, ""),
    ("an API key of Anthropic", "sk-ant-", 40, "-_"),
    ("an API key of OpenAI", "sk-proj-", 40, "-_"),
    ("a token of DigitalOcean", "dop_v1_", 64, ""),
    ("a token of Vault", "hvs.", 24, "-_"),
    ("a key of Tailscale", "tskey-", 20, "-"),
];

/// Access keys of AWS: the prefix, then sixteen capital letters and digits.
const AWS: [&str; 2] = ["AKIA", "ASIA"];

/// What stands in examples instead of a secret.
const PLACEHOLDERS: [&str; 15] = [
    "example",
    "changeme",
    "change-me",
    "change_me",
    "placeholder",
    "dummy",
    "redacted",
    "xxxx",
    "****",
    "your_",
    "your-",
    "<",
    "todo",
    "secret_here",
    "${",
];

fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    PLACEHOLDERS.iter().any(|word| lower.contains(word))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// All secrets in a text that are known by how they look, in order, none in another.
pub(crate) fn find(text: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    tokens(text, &mut found);
    keys(text, &mut found);
    url_passwords(text, &mut found);
    found.sort_by_key(|secret: &Secret| (secret.at.start, std::cmp::Reverse(secret.at.end)));
    let mut end = 0;
    found.retain(|secret| {
        let free = secret.at.start >= end;
        end = end.max(secret.at.end);
        free
    });
    found
}

fn tokens(text: &str, found: &mut Vec<Secret>) {
    let bytes = text.as_bytes();
    let starts_word = |at: usize| at == 0 || !is_word(bytes[at - 1]);
    let length = |from: usize, allowed: &dyn Fn(u8) -> bool| {
        bytes[from..].iter().take_while(|byte| allowed(**byte)).count()
    };
    for &(kind, prefix, least, besides) in TOKENS {
        for (at, _) in text.match_indices(prefix) {
            let rest = at + prefix.len();
            let count = length(rest, &|byte| {
                byte.is_ascii_alphanumeric() || besides.as_bytes().contains(&byte)
            });
            let token = &text[rest..rest + count];
            if starts_word(at) && count >= least && !is_placeholder(token) && varied(token) {
                found.push(Secret {
                    at: at..rest + count,
                    kind,
                });
            }
        }
    }
    for prefix in AWS {
        for (at, _) in text.match_indices(prefix) {
            let rest = at + prefix.len();
            let count = length(rest, &is_word);
            let token = &text[rest..rest + count];
            let capitals = token
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            if starts_word(at) && count == 16 && capitals && !is_placeholder(token) {
                found.push(Secret {
                    at: at..rest + count,
                    kind: "an access key of AWS",
                });
            }
        }
    }
}

/// Not one character over and over, as in examples.
fn varied(token: &str) -> bool {
    let mut seen = [false; 256];
    token.bytes().for_each(|byte| seen[usize::from(byte)] = true);
    seen.iter().filter(|seen| **seen).count() >= 6
}

/// `-----BEGIN … PRIVATE KEY-----` with something behind it.
fn keys(text: &str, found: &mut Vec<Secret>) {
    const BEGIN: &str = "-----BEGIN ";
    for (at, _) in text.match_indices(BEGIN) {
        let rest = &text[at + BEGIN.len()..];
        let Some(head) = rest.find("-----").map(|end| &rest[..end]) else {
            continue;
        };
        let fits = head.len() <= 32 && (head.ends_with("PRIVATE KEY") || head == "PGP PRIVATE KEY BLOCK");
        let body = at + BEGIN.len() + head.len() + 5;
        let end = text[body..].find("-----END").map_or(text.len(), |end| body + end);
        let letters = text[body..end].bytes().filter(u8::is_ascii_alphanumeric).count();
        if fits && letters >= 40 {
            found.push(Secret {
                at: body..end,
                kind: "a private key",
            });
        }
    }
}

/// `scheme://user:password@host`.
fn url_passwords(text: &str, found: &mut Vec<Secret>) {
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let rest = &text[start..];
        let end = rest
            .find(|c: char| c.is_whitespace() || "/\"'`<>|;)?#".contains(c))
            .unwrap_or(rest.len());
        let Some((account, _)) = rest[..end].rsplit_once('@') else {
            continue;
        };
        let Some((user, password)) = account.split_once(':') else {
            continue;
        };
        if password.len() >= 3
            && !password.contains(['$', '{', '%'])
            && !is_placeholder(password)
            && !password.eq_ignore_ascii_case("password")
        {
            let from = start + user.len() + 1;
            found.push(Secret {
                at: from..from + password.len(),
                kind: "a password in a URL",
            });
        }
    }
}

/// Whether a variable of this name holds a secret: BuildKit's list of words.
pub(crate) fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    let lower = name.to_ascii_lowercase();
    let mut words = lower.split('_').filter(|word| !word.is_empty());
    let public = lower.split('_').any(|word| word == "public");
    // A name of a file, or of a place where keys come from, is none.
    let last = lower.rsplit('_').next().unwrap_or_default();
    let elsewhere = matches!(
        last,
        "file" | "path" | "dir" | "url" | "id" | "server" | "keyserver" | "name" | "size" | "version"
    );
    !public && !elsewhere && words.any(|word| WORDS.contains(&word))
}

/// Whether a value is a secret as it is written: not empty, no variable, no path, no fingerprint.
pub(crate) fn is_secret_value(name: &str, value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    let plain = matches!(
        value.to_ascii_lowercase().as_str(),
        "" | "true" | "false" | "yes" | "no" | "none" | "0" | "1"
    );
    let upper = name.to_ascii_uppercase();
    // Whose signatures count is no secret: GPG_KEY, and fingerprints in general.
    let fingerprint = value.split_whitespace().all(|word| {
        word.len() >= 16
            && word.len() <= 64
            && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
    });
    let fingerprint = fingerprint
        && (upper.contains("GPG")
            || upper.contains("PGP")
            || upper.contains("FINGERPRINT")
            || upper.ends_with("KEYS"));
    !plain && !value.contains('$') && !value.starts_with('/') && !fingerprint
}

/// The text with secrets replaced by as many stars.
pub(crate) fn masked(text: &str, secrets: &[Range<usize>]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut done = 0;
    let mut order: Vec<&Range<usize>> = secrets.iter().collect();
    order.sort_by_key(|at| at.start);
    for at in order {
        let start = at.start.max(done);
        if start >= at.end {
            continue;
        }
        result.push_str(&text[done..start]);
        for char in text[start..at.end].chars() {
            // Lines stay lines, and what continues them stays.
            result.push(if matches!(char, '\n' | '\r' | '\\') {
                char
            } else {
                '*'
            });
        }
        done = at.end;
    }
    result.push_str(&text[done..]);
    result
}

/// A text of which nothing is known but that it is one, without what looks like a secret.
pub fn without(text: &str) -> String {
    let found: Vec<_> = find(text).into_iter().map(|secret| secret.at).collect();
    masked(text, &found)
}

/// What is said of a file by its path: names that only files with keys or passwords have.
pub(crate) fn file_kind(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let parent = path.rsplit('/').nth(1).unwrap_or_default();
    let kind = match name {
        "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" => "a private key of SSH",
        ".netrc" | "_netrc" => "passwords for hosts",
        ".npmrc" | ".yarnrc.yml" => "settings of npm, which may have an access token",
        ".pypirc" => "passwords for PyPI",
        ".git-credentials" => "passwords of git",
        ".pgpass" => "passwords of PostgreSQL",
        ".htpasswd" => "passwords of a web server",
        ".dockercfg" => "passwords of registries",
        "config.json" if parent == ".docker" => "passwords of registries",
        "credentials" if parent == ".aws" => "keys of AWS",
        "credentials" | "credentials.toml" if parent == ".cargo" => "tokens of registries for crates",
        "application_default_credentials.json" => "keys of Google Cloud",
        "kubeconfig" => "keys of Kubernetes",
        "config" if parent == ".kube" => "keys of Kubernetes",
        ".env" => "settings that usually are secret",
        _ if name.starts_with(".env.")
            && !name.contains("example")
            && !name.contains("sample")
            && !name.contains("template") =>
        {
            "settings that usually are secret"
        }
        _ if name.ends_with(".pfx") || name.ends_with(".p12") => "keys with their certificates",
        _ if name.ends_with(".kdbx") => "a password database",
        _ => return None,
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<&'static str> {
        find(text).into_iter().map(|secret| secret.kind).collect()
    }

    #[test]
    fn tokens_are_known_by_their_look() {
        // Put together here, so that no scanner takes this file for a leak.
        let github = format!("ghp_{}", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5");
        let aws = format!("AKIA{}", "QYLPMN5HHHFPZAM2");
        let text = format!("RUN x {github} && y --key={aws}");
        assert_eq!(
            kinds(&text),
            ["a personal access token of GitHub", "an access key of AWS"]
        );
        let hidden = without(&text);
        assert!(!hidden.contains(&github) && !hidden.contains(&aws));
        assert_eq!(hidden.chars().count(), text.chars().count());
        for fine in [
            "ghp_short",
            "AKIAIOSFODNN7EXAMPLE",
            &format!("ghp_{}", "x".repeat(36)),
            "xghp_aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5",
            "https://host/a:b@c",
            "https://user:$PASS@host",
            "https://user:password@host",
            "git@github.com:a/b",
        ] {
            assert_eq!(kinds(fine), [""; 0], "{fine}");
        }
        assert_eq!(kinds("curl https://me:hunter22@host/x"), ["a password in a URL"]);
    }

    #[test]
    fn keys_with_something_in_them() {
        let key = format!(
            "-----BEGIN {} KEY-----\n{}\n-----END",
            "RSA PRIVATE",
            "MIIEowIBAAKCAQEA".repeat(4)
        );
        assert_eq!(kinds(&key), ["a private key"]);
        assert_eq!(kinds("grep -- '-----BEGIN RSA PRIVATE KEY-----' x"), [""; 0]);
        assert_eq!(kinds(&key.replace("PRIVATE", "PUBLIC")), [""; 0]);
    }

    #[test]
    fn names_and_values() {
        for name in ["API_KEY", "DB_PASSWORD", "token", "secret_message", "AUTH"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "PUBLIC_KEY",
            "KEYBOARD",
            "TOKENIZER",
            "DB_PASSWORD_FILE",
            "KEY_URL",
            "MONKEY",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(is_secret_value("PASSWORD", "hunter2"));
        for value in ["", "\"\"", "$X", "/run/secrets/x", "false"] {
            assert!(!is_secret_value("PASSWORD", value), "{value}");
        }
        assert!(!is_secret_value(
            "GPG_KEY",
            "A035C8C19219BA821ECEA86B64E628F8D684696D"
        ));
    }

    #[test]
    fn files() {
        assert!(file_kind("root/.ssh/id_rsa").is_some());
        assert!(file_kind("app/.docker/config.json").is_some());
        assert!(file_kind(".env.production").is_some());
        for fine in [
            "app/config.json",
            "id_rsa.pub",
            ".env.example",
            "etc/ssl/cert.pem",
        ] {
            assert_eq!(file_kind(fine), None, "{fine}");
        }
    }
}
