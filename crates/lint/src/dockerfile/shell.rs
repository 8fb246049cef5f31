//! The commands of a shell's script, as far as advice needs them: words, pipes, what stands in front.

use havre_dockerfile::instructions::{CommandLine, Run};

/// One simple command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// Without quotes; what only sets the stage (`sudo`, `env`, assignments, `if`) is left out.
    pub(super) words: Vec<String>,
    /// Its output goes into a pipe.
    pub(super) piped: bool,
    pub(super) sudo: bool,
}

impl Command {
    /// The program's name without its directory.
    pub(super) fn program(&self) -> &str {
        let first = self.words.first().map_or("", String::as_str);
        first.rsplit('/').next().unwrap_or(first)
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    /// The first word behind the program that is no option.
    pub(super) fn verb(&self) -> &str {
        let mut words = self.words.iter().skip(1);
        while let Some(word) = words.next() {
            if matches!(
                word.as_str(),
                "-o" | "-t" | "-c" | "--option" | "--target-release"
            ) {
                words.next();
            } else if !word.starts_with('-') {
                return word;
            }
        }
        ""
    }
}

/// The commands of a RUN.
pub(super) fn commands(run: &Run) -> Vec<Command> {
    match &run.command {
        CommandLine::Exec(words) => match words.as_slice() {
            [shell, flags, script, ..]
                if is_shell(shell) && flags.starts_with('-') && flags.ends_with('c') =>
            {
                script_commands(script)
            }
            _ => vec![simple(words.clone(), false)],
        },
        CommandLine::Shell(text) => {
            let own = script_commands(text);
            let script = text.trim_start().starts_with("<<")
                || own.iter().any(|command| {
                    is_shell(command.words.first().map_or("", String::as_str)) && text.contains("<<")
                });
            let bodies = run.heredocs.iter().filter(|_| script);
            let mut all: Vec<Command> = own
                .into_iter()
                .filter(|command| !command.program().starts_with("<<"))
                .collect();
            all.extend(bodies.flat_map(|heredoc| script_commands(&heredoc.content().replace("\\\n", " "))));
            all
        }
    }
}

pub(super) fn is_shell(program: &str) -> bool {
    matches!(
        program.rsplit('/').next().unwrap_or(program),
        "sh" | "bash" | "ash" | "dash" | "zsh"
    )
}

/// Splits a script at everything that ends a command.
fn script_commands(script: &str) -> Vec<Command> {
    let mut all = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    // Open parentheses of `$(`.
    let mut depth = 0usize;
    let mut chars = script.chars().peekable();
    let mut last = ' ';
    while let Some(char) = chars.next() {
        let before = std::mem::replace(&mut last, char);
        if let Some(open) = quote {
            match char {
                '\\' if open == '"' => word.get_or_insert_default().extend(chars.next()),
                _ if char == open => quote = None,
                _ => word.get_or_insert_default().push(char),
            }
            continue;
        }
        match char {
            '\'' | '"' => {
                word.get_or_insert_default();
                quote = Some(char);
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            '$' if chars.peek() == Some(&'(') => {
                chars.next();
                depth += 1;
                word.get_or_insert_default().push_str("$(");
            }
            ')' if depth > 0 => {
                depth -= 1;
                word.get_or_insert_default().push(')');
            }
            _ if depth > 0 => word.get_or_insert_default().push(char),
            '#' if word.is_none() => while chars.next_if(|next| *next != '\n').is_some() {},
            '&' if before == '>' || chars.peek() == Some(&'>') => word.get_or_insert_default().push(char),
            ';' | '&' | '|' | '\n' | '(' | ')' => {
                let double = chars.next_if(|next| *next == char).is_some();
                if char == '|' && !double {
                    // `|&` is a pipe, too.
                    chars.next_if_eq(&'&');
                }
                words.extend(word.take());
                let piped = char == '|' && !double;
                let command = simple(std::mem::take(&mut words), piped);
                if !command.words.is_empty() || command.sudo {
                    all.push(command);
                }
            }
            char if char.is_whitespace() => words.extend(word.take()),
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    let command = simple(words, false);
    if !command.words.is_empty() || command.sudo {
        all.push(command);
    }
    all
}

fn simple(words: Vec<String>, piped: bool) -> Command {
    let mut command = Command {
        words,
        piped,
        sudo: false,
    };
    loop {
        let Some(first) = command.words.first() else {
            return command;
        };
        let assigns = first.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let stage = matches!(
            first.as_str(),
            "env"
                | "time"
                | "exec"
                | "command"
                | "if"
                | "then"
                | "else"
                | "elif"
                | "do"
                | "while"
                | "until"
                | "!"
                | "{"
                | "nice"
        );
        if first == "sudo" {
            command.sudo = true;
            command.words.remove(0);
            while command.words.first().is_some_and(|word| word.starts_with('-')) {
                let flag = command.words.remove(0);
                if matches!(flag.as_str(), "-u" | "-g") && !command.words.is_empty() {
                    command.words.remove(0);
                }
            }
        } else if assigns || stage {
            command.words.remove(0);
        } else {
            return command;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<(String, bool)> {
        script_commands(script)
            .into_iter()
            .map(|command| (command.words.join(" "), command.piped))
            .collect()
    }

    #[test]
    fn scripts_become_commands() {
        let row = |text: &str, piped| (text.to_owned(), piped);
        assert_eq!(
            words(
                "set -e; A=1 apt-get update && curl 'a;b' | sh -s 2>&1 || exit # no; more\nif x; then sudo -u me y $(z | w); fi"
            ),
            [
                row("set -e", false),
                row("apt-get update", false),
                row("curl a;b", true),
                row("sh -s 2>&1", false),
                row("exit", false),
                row("x", false),
                row("y $(z | w)", false),
                row("fi", false),
            ]
        );
    }
}
