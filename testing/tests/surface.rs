//! Every command of Docker's client on one machine, and every flag: each is documented, and taken or refused with a reason.
//! What belongs to clusters, plugins and trust is refused in a sentence. Needs no engine.

use std::process::Command;

use havre_testing::havre_binary;

/// `group/command flag flag…`, a command a line.
const LIST: &str = include_str!("../data/commands.txt");

/// What Docker has and this program has not, as groups of commands.
const ABSENT: [&str; 8] = [
    "config", "node", "plugin", "secret", "service", "stack", "swarm", "trust",
];

/// Flags of commands that are there, which would have no effect.
const REFUSED: [(&str, &str); 1] = [("push", "platform")];

fn havre(words: &[&str]) -> (i32, String) {
    let output = Command::new(havre_binary())
        .args(words)
        // Nobody listens there, and nothing here has to ask.
        .env("DOCKER_HOST", "unix:///nonexistent/havre.sock")
        .output()
        .expect("the havre binary");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The kind of value a flag takes by its line in the help: empty for a switch. `None` if it is not there.
fn kind(help: &str, flag: &str) -> Option<String> {
    help.lines().find_map(|line| {
        let line = line.trim_start();
        let line = match line.split_once(", ") {
            Some((short, rest)) if short.len() == 2 && short.starts_with('-') => rest,
            _ => line,
        };
        let rest = line.strip_prefix("--")?.strip_prefix(flag)?;
        // A blank and a word is a kind; more blanks are the way to the description.
        match rest.strip_prefix(' ') {
            Some(rest) if !rest.starts_with(' ') => {
                Some(rest.split_whitespace().next().unwrap_or_default().to_owned())
            }
            Some(_) => Some(String::new()),
            None => None,
        }
    })
}

fn value(kind: &str) -> &'static str {
    match kind {
        "int" | "uint16" | "uint" => "10",
        "decimal" => "1.5",
        "bytes" => "64m",
        "duration" => "2s",
        _ => "x=y",
    }
}

fn with<'a>(command: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    command.iter().chain(more).copied().collect()
}

#[test]
fn every_command_and_flag_is_documented_and_taken() {
    let mut wrong = Vec::new();
    let (mut commands, mut flags) = (0, 0);
    for line in LIST.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let command: Vec<&str> = words.next().unwrap_or_default().split('/').collect();
        let name = command.join(" ");
        commands += 1;
        let (code, help) = havre(&with(&command, &["--help"]));
        if code != 0 || !help.starts_with(&format!("Usage:  havre {name}")) {
            wrong.push(format!("{name}: {code}: {help}"));
            continue;
        }
        for flag in words {
            flags += 1;
            let last = command.last().copied().unwrap_or_default();
            let refused = REFUSED.contains(&(last, flag));
            let kind = match kind(&help, flag) {
                Some(kind) if !refused => kind,
                None if refused => String::new(),
                found => {
                    wrong.push(format!("{name}: --{flag} in its help: {found:?}"));
                    continue;
                }
            };
            let given = match kind.as_str() {
                "" => format!("--{flag}"),
                kind => format!("--{flag}={}", value(kind)),
            };
            // Flags are read before help is printed: what isn't taken is an error.
            let (code, text) = havre(&with(&command, &[&given, "--help"]));
            let as_expected = match refused {
                false => code == 0,
                true => code == 125 && text.starts_with(&format!("flag --{flag} is not supported\n")),
            };
            if !as_expected {
                wrong.push(format!("{name} {given}: {code}: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        commands > 100 && flags > 500,
        "the list is read: {commands}, {flags}"
    );
}

#[test]
fn what_is_not_there_is_refused_in_a_sentence() {
    for group in ABSENT {
        for words in [&[group][..], &[group, "ls"], &[group, "--help"], &["help", group]] {
            let (code, text) = havre(words);
            let first = text.lines().next().unwrap_or_default();
            assert_eq!(code, 1, "{words:?}: {text}");
            let start = format!("havre: 'havre {group}' is not supported: ");
            assert!(
                first.starts_with(&start) && first.len() > start.len() + 10,
                "{words:?}: {text}"
            );
        }
        let (_, help) = havre(&["--help"]);
        assert!(!help.contains(&format!("\n  {group} ")), "{group} is in no list");
    }
}

#[test]
fn global_flags_are_documented_and_taken() {
    let (_, help) = havre(&["--help"]);
    for flag in [
        "config",
        "context",
        "debug",
        "host",
        "log-level",
        "tls",
        "tlscacert",
        "tlscert",
        "tlskey",
        "tlsverify",
        "version",
    ] {
        let Some(kind) = kind(&help, flag) else {
            panic!("--{flag}: {help}")
        };
        let given = match (flag, kind.as_str()) {
            (_, "") => format!("--{flag}"),
            ("log-level", _) => "--log-level=info".to_owned(),
            _ => format!("--{flag}=x"),
        };
        let (code, text) = havre(&[&given, "--help"]);
        assert_eq!(code, 0, "{given}: {text}");
    }
}

#[test]
fn an_unknown_flag_is_an_error() {
    let (code, text) = havre(&["container", "run", "--no-such-flag", "--help"]);
    assert_eq!(code, 125, "{text}");
    assert!(text.contains("unknown flag: --no-such-flag"), "{text}");
}
