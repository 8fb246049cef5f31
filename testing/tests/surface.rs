//! The commands of the container group and their flags: each is documented, and taken. Needs no engine.

use std::process::Command;

use havre_testing::havre_binary;

const LIST: &str = include_str!("../data/container_commands.txt");

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

#[test]
fn every_command_and_flag_is_documented_and_taken() {
    let mut wrong = Vec::new();
    let mut flags = 0;
    for line in LIST.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let command = words.next().unwrap_or_default();
        let (code, help) = havre(&["container", command, "--help"]);
        if code != 0 || !help.contains(&format!("Usage:  havre container {command}")) {
            wrong.push(format!("container {command}: {code}: {help}"));
            continue;
        }
        for flag in words {
            flags += 1;
            let Some(kind) = kind(&help, flag) else {
                wrong.push(format!("container {command}: --{flag} is not documented"));
                continue;
            };
            let given = match kind.as_str() {
                "" => format!("--{flag}"),
                kind => format!("--{flag}={}", value(kind)),
            };
            // Flags are read before help is printed: what isn't taken is an error.
            let (code, text) = havre(&["container", command, &given, "--help"]);
            if code != 0 {
                wrong.push(format!("container {command} {given}: {code}: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(flags > 150, "the list is read: {flags}");
}

#[test]
fn an_unknown_flag_is_an_error() {
    let (code, text) = havre(&["container", "run", "--no-such-flag", "--help"]);
    assert_eq!(code, 125, "{text}");
    assert!(text.contains("unknown flag: --no-such-flag"), "{text}");
}
