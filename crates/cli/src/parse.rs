//! From words to a declaration, with the grammar and the messages of Docker's client.
//!
//! Docker's flags are Go's: `--flag=false` for booleans, the last of repeated single values counts, and for `run`,
//! `create`, `exec` and `top` flags end at the first operand.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command};

use crate::args::{Declaration, Operands, Shape};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::values;

/// What parsing found.
pub(crate) enum Parsed<D> {
    /// Arguments to act on.
    Arguments(D),
    /// `--help` was asked for.
    Help,
}

/// The clap command of a declaration, with Go's flag semantics.
pub(crate) fn declare<D: Declaration>() -> Command {
    let command = D::augment_args(
        Command::new("command")
            .no_binary_name(true)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true),
    );
    let takes_h = command.get_arguments().any(|arg| arg.get_short() == Some('h'));
    let help = Arg::new("help")
        .long("help")
        .action(ArgAction::SetTrue)
        .help("Print usage")
        .hide(!takes_h);
    command.arg(help).mut_args(finish)
}

/// Makes booleans take an optional `=value`, and lets values start with a hyphen.
fn finish(arg: Arg) -> Arg {
    if arg.is_positional() {
        return arg;
    }
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        let unset = arg.get_default_values().is_empty();
        let arg = arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(values::parse_bool);
        return if unset { arg.default_value("false") } else { arg };
    }
    let kind = arg
        .get_value_names()
        .and_then(<[_]>::first)
        .map(ToString::to_string);
    let arg = arg.allow_hyphen_values(true);
    if kind.as_deref() == Some("int") {
        arg.value_parser(values::parse_int)
    } else {
        arg
    }
}

/// Reads the words after the command's name. `path` is the command as typed, program included: `docker image ls`.
pub(crate) fn parse<D: Declaration>(path: &str, words: &[String]) -> Result<Parsed<D>, CliError> {
    let shape = &D::SHAPE;
    let mut command = declare::<D>();
    command.build();
    let words = if shape.interspersed {
        words.to_vec()
    } else {
        end_flags_at_operand(&command, words)
    };
    if let Some(text) = refused_flag(&command, shape, &words) {
        return Err(usage_error(path, shape, &text));
    }
    let matches = command
        .clone()
        .try_get_matches_from(&words)
        .map_err(|error| usage_error(path, shape, &flag_message(&command, &words, &error)))?;
    if matches.get_flag("help") {
        return Ok(Parsed::Help);
    }
    let declaration = D::from_arg_matches(&matches)
        .map_err(|error| usage_error(path, shape, &flag_message(&command, &words, &error)))?;
    let given = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
    check_operands(path, shape, declaration.operands(), given)?;
    Ok(Parsed::Arguments(declaration))
}

fn usage_error(path: &str, shape: &Shape, message: &str) -> CliError {
    CliError::Usage {
        text: format!(
            "{message}\n\nUsage:  {}\n\nRun '{path} --help' for more information",
            usage_line(path, shape)
        ),
        status: ExitStatus::ENGINE,
    }
}

/// `docker run [OPTIONS] IMAGE`.
pub(crate) fn usage_line(path: &str, shape: &Shape) -> String {
    format!("{path} {}", shape.usage.replace("{path}", path))
        .trim_end()
        .to_owned()
}

/// Flags that Docker knows and this engine does not act upon.
fn refused_flag(command: &Command, shape: &Shape, words: &[String]) -> Option<String> {
    let mut flags = FlagWalk::new(command, words);
    while let Some(word) = flags.next_flag() {
        let name = word
            .strip_prefix("--")
            .map(|name| name.split('=').next().unwrap_or(name));
        if let Some(name) = name.filter(|name| shape.refused.contains(name)) {
            return Some(format!("flag --{name} is not supported"));
        }
    }
    None
}

/// Walks the words that are flags, stepping over their values.
struct FlagWalk<'a> {
    command: &'a Command,
    words: &'a [String],
    at: usize,
}

impl<'a> FlagWalk<'a> {
    fn new(command: &'a Command, words: &'a [String]) -> Self {
        Self {
            command,
            words,
            at: 0,
        }
    }

    fn next_flag(&mut self) -> Option<&'a str> {
        while let Some(word) = self.words.get(self.at) {
            if word == "--" {
                return None;
            }
            self.at += 1;
            if word.len() > 1 && word.starts_with('-') {
                if takes_next_word(self.command, word) {
                    self.at += 1;
                }
                return Some(word);
            }
        }
        None
    }
}

/// Whether the value of this flag is the next word.
pub(crate) fn takes_next_word(command: &Command, word: &str) -> bool {
    let wants = |arg: &&Arg| !arg.is_require_equals_set() && arg.get_action().takes_values();
    if let Some(long) = word.strip_prefix("--") {
        return !long.contains('=')
            && command
                .get_arguments()
                .filter(wants)
                .any(|arg| arg.get_long() == Some(long));
    }
    let cluster = &word[1..];
    for (index, letter) in cluster.char_indices() {
        let Some(arg) = command
            .get_arguments()
            .find(|arg| arg.get_short() == Some(letter))
        else {
            return false;
        };
        if wants(&arg) {
            return index + letter.len_utf8() == cluster.len();
        }
    }
    false
}

/// Inserts `--` before the first operand, so that everything behind it belongs to the container.
fn end_flags_at_operand(command: &Command, words: &[String]) -> Vec<String> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == "--" {
            return words.to_vec();
        }
        if word.len() < 2 || !word.starts_with('-') {
            break;
        }
        at += if takes_next_word(command, word) { 2 } else { 1 };
    }
    let mut result = words.to_vec();
    if at < words.len() {
        result.insert(at, "--".to_owned());
    }
    result
}

/// Docker's words for what clap found wrong.
fn flag_message(command: &Command, words: &[String], error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let invalid = text(ContextKind::InvalidArg).unwrap_or_default();
    let flag = invalid
        .split([' ', '=', '<', '['])
        .next()
        .unwrap_or_default()
        .to_owned();
    match error.kind() {
        ErrorKind::UnknownArgument => unknown_flag(&flag, words),
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_none_or(|value| value.is_empty()) => {
            missing_value(&flag, words)
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let reason = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            format!(
                "invalid argument {value:?} for \"{}\" flag: {reason}",
                both_names(command, &flag)
            )
        }
        _ => {
            let rendered = error.to_string();
            let line = rendered.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    }
}

fn unknown_flag(flag: &str, words: &[String]) -> String {
    if flag.starts_with("--") {
        return format!("unknown flag: {flag}");
    }
    let letter = flag.trim_start_matches('-');
    let cluster = words
        .iter()
        .find(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter))
        .map_or(flag, String::as_str);
    format!("unknown shorthand flag: '{letter}' in {cluster}")
}

fn missing_value(flag: &str, words: &[String]) -> String {
    match words.last() {
        Some(word) if word.starts_with('-') && !word.starts_with("--") => {
            let letter = word.chars().last().unwrap_or('-');
            format!("flag needs an argument: '{letter}' in {word}")
        }
        _ => format!("flag needs an argument: {flag}"),
    }
}

/// `-m, --memory` or `--memory`, as Docker names a flag in an error.
fn both_names(command: &Command, flag: &str) -> String {
    let found = command.get_arguments().find(|arg| {
        arg.get_long().is_some_and(|long| flag == format!("--{long}"))
            || arg.get_short().is_some_and(|short| flag == format!("-{short}"))
    });
    match found.map(|arg| (arg.get_short(), arg.get_long())) {
        Some((Some(short), Some(long))) => format!("-{short}, --{long}"),
        Some((None, Some(long))) => format!("--{long}"),
        _ => flag.to_owned(),
    }
}

fn check_operands(
    path: &str,
    shape: &Shape,
    operands: &[String],
    given: impl Fn(&str) -> bool,
) -> Result<(), CliError> {
    let count = operands.len();
    let word = |n: usize| if n == 1 { "argument" } else { "arguments" };
    let (message, lead) = match shape.operands {
        Operands::None if count > 0 => ("accepts no arguments".to_owned(), "Run"),
        Operands::Exactly(n) if count != n => (format!("requires {n} {}", word(n)), "Run"),
        Operands::AtLeastUnless(_, flag) if given(flag) => return Ok(()),
        Operands::AtLeast(n) | Operands::AtLeastUnless(n, _) if count < n => {
            (format!("requires at least {n} {}", word(n)), "See")
        }
        Operands::AtMost(n) if count > n => (format!("requires at most {n} {}", word(n)), "Run"),
        Operands::Between(min, max) if count < min || count > max => (
            format!("requires at least {min} and at most {max} {}", word(max)),
            "Run",
        ),
        _ => return Ok(()),
    };
    let program = path.split(' ').next().unwrap_or_default();
    Err(CliError::Usage {
        text: format!(
            "{program}: '{path}' {message}\n\nUsage:  {}\n\n{lead} '{path} --help' for more information",
            usage_line(path, shape)
        ),
        status: ExitStatus::FAILURE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::container::exec::Exec;
    use crate::args::container::ls::Ls;
    use crate::args::container::run::Run;
    use crate::args::image::build::Build;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn arguments<D: Declaration>(line: &str) -> D {
        match parse::<D>("docker x", &words(line)) {
            Ok(Parsed::Arguments(declaration)) => declaration,
            Ok(Parsed::Help) => panic!("help for {line}"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    fn first_line<D: Declaration>(line: &str) -> String {
        match parse::<D>("docker x", &words(line)) {
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
            Ok(_) => panic!("accepted: {line}"),
        }
    }

    #[test]
    fn flags_end_at_the_image() {
        let run: Run = arguments("--rm -it -e A=1 -p 80:80 --name=x alpine -d --rm -e B=2");
        assert!(run.rm && run.container.interactive && run.container.tty && !run.detach);
        assert_eq!(run.container.env, ["A=1"]);
        assert_eq!(run.name.as_deref(), Some("x"));
        assert_eq!(run.operands, ["alpine", "-d", "--rm", "-e", "B=2"]);
    }

    #[test]
    fn double_dash_ends_flags_and_is_dropped() {
        let exec: Exec = arguments("-i -- box ls -l");
        assert_eq!(exec.operands, ["box", "ls", "-l"]);
    }

    #[test]
    fn flags_follow_operands_elsewhere() {
        let build: Build = arguments(". -t fast:1 -t b");
        assert_eq!(build.tag, ["fast:1", "b"]);
        assert_eq!(build.operands, ["."]);
    }

    #[test]
    fn booleans_take_values_after_equals_only() {
        let run: Run = arguments("--sig-proxy=false -d=true --rm=0 alpine true");
        assert!(!run.sig_proxy && run.detach && !run.rm);
        let run: Run = arguments("alpine");
        assert!(run.sig_proxy);
    }

    #[test]
    fn last_single_value_counts_and_values_may_look_like_flags() {
        let run: Run = arguments("--name a --name b -e -x --memory-swap -1 alpine");
        assert_eq!(run.name.as_deref(), Some("b"));
        assert_eq!(run.container.env, ["-x"]);
        assert_eq!(
            run.container.limits.process.memory_swap,
            Some(crate::values::Size(-1))
        );
    }

    #[test]
    fn messages_are_dockers() {
        assert_eq!(first_line::<Run>("--foo x"), "unknown flag: --foo");
        assert_eq!(first_line::<Ls>("-Z"), "unknown shorthand flag: 'Z' in -Z");
        assert_eq!(first_line::<Ls>("--last"), "flag needs an argument: --last");
        assert_eq!(first_line::<Ls>("-n"), "flag needs an argument: 'n' in -n");
        assert_eq!(
            first_line::<Ls>("--no-trunc=foo"),
            "invalid argument \"foo\" for \"--no-trunc\" flag: strconv.ParseBool: parsing \"foo\": invalid syntax"
        );
        assert_eq!(
            first_line::<Run>("-m foo x"),
            "invalid argument \"foo\" for \"-m, --memory\" flag: invalid size: 'foo'"
        );
        assert_eq!(
            first_line::<Run>(""),
            "docker: 'docker x' requires at least 1 argument"
        );
        assert_eq!(first_line::<Ls>("a"), "docker: 'docker x' accepts no arguments");
    }

    #[test]
    fn flags_without_effect_are_refused() {
        assert_eq!(
            first_line::<Run>("--cpu-count 1 alpine"),
            "flag --cpu-count is not supported"
        );
        let run: Run = arguments("alpine --cpu-count");
        assert_eq!(run.operands, ["alpine", "--cpu-count"]);
    }
}
