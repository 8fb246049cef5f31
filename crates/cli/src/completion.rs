//! What a shell offers when the user presses Tab.
//!
//! The scripts of the shells ask `__complete WORDS… LAST` and get a line for each candidate (value, tab, description) and
//! at the end `:DIRECTIVE`: the protocol of Docker's client, so that scripts made by that one work with this program, and
//! ours with that.
//!
//! ```text
//! completion  where in the command line are we ─┬► flags and commands of the catalogue
//!             kinds: what can stand there  ─────┴► live: names the engine and the contexts have
//! ```

mod kinds;
mod live;

use clap::{Arg, Command};

use crate::catalogue;
use crate::invocation::Invocation;
use crate::parse::takes_next_word;
use crate::printer::Printer;
use crate::roles::Role;
use crate::settings::Settings;
use kinds::Kind;

/// What to do beside offering candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directive {
    /// Files, if there is no candidate.
    Default = 0,
    /// No blank behind a candidate: more is to come.
    NoSpace = 2,
    /// No files.
    NoFiles = 4,
    /// More is to come, and it is no file.
    NoSpaceNoFiles = 6,
    /// Directories.
    Directories = 16,
}

/// A value that could stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    value: String,
    description: String,
}

impl Candidate {
    fn new(value: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            description: description.into(),
        }
    }
}

struct Answer {
    candidates: Vec<Candidate>,
    directive: Directive,
}

impl Answer {
    fn of(candidates: Vec<Candidate>) -> Self {
        Self {
            candidates,
            directive: Directive::NoFiles,
        }
    }

    fn bare(directive: Directive) -> Self {
        Self {
            candidates: Vec::new(),
            directive,
        }
    }
}

const SCRIPTS: [(&str, &str); 3] = [
    ("bash", include_str!("completion/scripts/bash.sh")),
    ("fish", include_str!("completion/scripts/fish.fish")),
    ("zsh", include_str!("completion/scripts/zsh.zsh")),
];

/// The script for a shell that knows `program`.
pub(crate) fn script(program: &str, shell: &str, descriptions: bool) -> Option<String> {
    let (_, text) = SCRIPTS.iter().find(|(name, _)| *name == shell)?;
    let ask = if descriptions {
        "__complete"
    } else {
        "__completeNoDesc"
    };
    Some(text.replace("PROGRAM", program).replace("__COMPLETE", ask))
}

/// Answers a shell. `words` are those behind the program's name; the last is the one at the cursor, which may be empty.
/// Nothing that fails on the way is told: the user is typing.
pub(crate) async fn complete(program: &str, words: &[String], descriptions: bool) {
    let (cursor, before) = match words.split_last() {
        Some((cursor, before)) => (cursor.as_str(), before),
        None => ("", words),
    };
    let answer = Place::find(program, before).answer(cursor).await;
    let mut text = String::new();
    for Candidate { value, description } in &answer.candidates {
        text.push_str(value);
        let line = description.lines().next().unwrap_or_default();
        if descriptions && !line.is_empty() {
            text.push('\t');
            text.push_str(line);
        }
        text.push('\n');
    }
    Printer.out(&format!("{text}:{}\n", answer.directive as u8));
}

/// Where the cursor stands.
struct Place<'a> {
    settings: Option<Settings>,
    at: At<'a>,
}

enum At<'a> {
    /// A command or a global flag.
    Top,
    /// The value of a global flag.
    Global(&'a str),
    /// A command of a group.
    Group(&'a str),
    /// Something of a command, behind these words.
    Command(Box<Known>, &'a [String]),
    /// Nothing is known about it.
    Nowhere,
}

/// What is known about a command.
struct Known {
    name: &'static str,
    interspersed: bool,
    declared: Command,
}

/// What is typed after the words of a command line.
fn place(words: &[String]) -> At<'_> {
    let known = |name: &str, rest| match Known::find(name) {
        Some(known) => At::Command(Box::new(known), rest),
        None => At::Nowhere,
    };
    let Some((first, mut rest)) = words.split_first() else {
        return At::Top;
    };
    if first == "help" && rest.is_empty() {
        return At::Top;
    }
    let mut name = first.clone();
    while let Some(group) = catalogue::group(&name) {
        let Some((word, more)) = rest.split_first() else {
            return At::Group(group);
        };
        name = format!("{name} {word}");
        rest = more;
    }
    if let Some((word, more)) = rest.split_first()
        && let Some(role) = Role::find(&format!("{name} {word}"))
    {
        return known(role.name, more);
    }
    known(&name, rest)
}

impl Known {
    fn find(name: &str) -> Option<Self> {
        if let Some(role) = Role::find(name) {
            return Some(Self {
                name: role.name,
                interspersed: role.shape.interspersed,
                declared: role.declaration(),
            });
        }
        catalogue::find(name).map(|entry| Self {
            name: entry.names[0],
            interspersed: entry.shape.interspersed,
            declared: entry.declaration(),
        })
    }
}

impl<'a> Place<'a> {
    fn find(program: &str, before: &'a [String]) -> Self {
        let mut rest = before;
        let mut at = None;
        let mut complete = 0;
        while let Some((word, more)) = rest.split_first() {
            if word.len() < 2 || !word.starts_with('-') {
                break;
            }
            rest = more;
            if let Some(flag) = catalogue::global_flag_with_value(word) {
                match more.split_first() {
                    Some((_, more)) => rest = more,
                    None => {
                        at = Some(At::Global(flag));
                        break;
                    }
                }
            }
            complete = before.len() - rest.len();
        }
        let globals = before[..complete].iter().map(String::as_str);
        let argv = std::iter::once(program).chain(globals);
        let settings = Invocation::read(argv.map(str::to_owned).collect())
            .ok()
            .and_then(|invocation| Settings::resolve(&invocation.globals).ok());
        let at = at.unwrap_or_else(|| place(rest));
        Self { settings, at }
    }

    async fn answer(&self, cursor: &str) -> Answer {
        match &self.at {
            At::Nowhere => Answer::bare(Directive::Default),
            At::Top if cursor.starts_with('-') => {
                if let Some((flag, value)) = cursor.split_once('=') {
                    return self.joined(flag, Kind::of_global(flag), value).await;
                }
                let flags = catalogue::global_flag_names();
                Answer::of(matching(
                    cursor,
                    flags.map(|(name, help)| Candidate::new(name, help)),
                ))
            }
            At::Top => Answer::of(matching(
                cursor,
                catalogue::top_commands().map(|(name, about)| Candidate::new(name, about)),
            )),
            At::Global(flag) => self.offer(Kind::of_global(flag), cursor, &[]).await,
            At::Group(group) => Answer::of(matching(
                cursor,
                catalogue::group_commands(group).map(|(name, about)| Candidate::new(name, about)),
            )),
            At::Command(known, rest) => self.of_command(known, rest, cursor).await,
        }
    }

    async fn of_command(&self, known: &Known, rest: &[String], cursor: &str) -> Answer {
        let (name, command) = (known.name, &known.declared);
        let mut operands: Vec<String> = Vec::new();
        let mut value_of = None;
        let mut given = Vec::new();
        let mut flags_ended = false;
        for word in rest {
            if value_of.take().is_some() {
                continue;
            }
            if flags_ended || word.len() < 2 || !word.starts_with('-') {
                operands.push(word.clone());
                flags_ended |= !known.interspersed;
            } else if word == "--" {
                flags_ended = true;
            } else {
                let flag = flag_of(command, word);
                given.extend(flag.clone());
                if takes_next_word(command, word) {
                    value_of = flag;
                }
            }
        }
        if let Some(flag) = value_of {
            return self.offer(Kind::of_flag(name, &flag), cursor, &[]).await;
        }
        if !flags_ended && cursor.starts_with('-') {
            if let Some((flag, value)) = cursor.split_once('=') {
                let kind = Kind::of_flag(name, flag.trim_start_matches('-'));
                return self.joined(flag, kind, value).await;
            }
            return Answer::of(matching(cursor, flags(command, &given, cursor)));
        }
        let mut inner = Role::within(name).peekable();
        if rest.is_empty() && inner.peek().is_some() {
            let inner = inner.map(|(name, about)| Candidate::new(name, about));
            return Answer::of(matching(cursor, inner));
        }
        let kind = Kind::of_operand(name, operands.len(), &given);
        self.offer(kind, cursor, &operands).await
    }

    /// Candidates for `--flag=value`.
    async fn joined(&self, flag: &str, kind: Kind, value: &str) -> Answer {
        let mut answer = self.offer(kind, value, &[]).await;
        for candidate in &mut answer.candidates {
            candidate.value = format!("{flag}={}", candidate.value);
        }
        answer
    }

    async fn offer(&self, kind: Kind, cursor: &str, taken: &[String]) -> Answer {
        let found = match kind {
            Kind::Files => return Answer::bare(Directive::Default),
            Kind::Directories => return Answer::bare(Directive::Directories),
            Kind::Nothing => return Answer::bare(Directive::NoFiles),
            Kind::Words(words) => words.iter().map(|word| Candidate::new(*word, "")).collect(),
            Kind::Environment => std::env::vars_os()
                .filter_map(|(name, _)| Some(Candidate::new(name.into_string().ok()?, "")))
                .collect(),
            Kind::Live(names) => match &self.settings {
                Some(settings) => live::names(settings, names).await,
                None => Vec::new(),
            },
        };
        let found = found
            .into_iter()
            .filter(|candidate| !taken.contains(&candidate.value));
        let candidates = matching(cursor, found);
        let unfinished = |candidate: &Candidate| candidate.value.ends_with([':', '=']);
        let directive = match (kind.falls_back_to_files(), candidates.first()) {
            (_, Some(first)) if unfinished(first) => Directive::NoSpaceNoFiles,
            (true, None) => Directive::Default,
            (true, Some(_)) => Directive::NoSpace,
            (false, _) => Directive::NoFiles,
        };
        Answer {
            candidates,
            directive,
        }
    }
}

fn matching(cursor: &str, candidates: impl IntoIterator<Item = Candidate>) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = candidates
        .into_iter()
        .filter(|candidate| candidate.value.starts_with(cursor))
        .collect();
    found.sort_by(|a, b| a.value.cmp(&b.value));
    found.dedup_by(|a, b| a.value == b.value);
    found
}

/// The long name of the flag a word is, or that its last letter is.
fn flag_of(command: &Command, word: &str) -> Option<String> {
    if let Some(long) = word.strip_prefix("--") {
        return long.split('=').next().map(str::to_owned);
    }
    let letters = word.split('=').next().unwrap_or_default();
    let last = letters.chars().last()?;
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_short() == Some(last))?;
    arg.get_long().map(str::to_owned)
}

/// The flags of a command that can still be given: letters only where nothing but the hyphen is typed.
fn flags(command: &Command, given: &[String], cursor: &str) -> Vec<Candidate> {
    let repeatable = |arg: &Arg| matches!(arg.get_action(), clap::ArgAction::Append);
    let mut found = Vec::new();
    for arg in command.get_arguments() {
        let Some(long) = arg
            .get_long()
            .filter(|long| *long == "help" || !arg.is_hide_set())
        else {
            continue;
        };
        if !repeatable(arg) && given.iter().any(|given| given == long) {
            continue;
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        found.push(Candidate::new(format!("--{long}"), help.clone()));
        if let Some(short) = arg.get_short().filter(|_| cursor == "-") {
            found.push(Candidate::new(format!("-{short}"), help));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> (Vec<String>, Directive) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (cursor, before) = words.split_last().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let answer = runtime.block_on(Place::find("havre", before).answer(cursor));
        let values = answer.candidates.into_iter().map(|candidate| candidate.value);
        (values.collect(), answer.directive)
    }

    fn values(line: &str) -> Vec<String> {
        ask(line).0
    }

    #[test]
    fn commands_and_flags() {
        assert_eq!(values("vo"), ["volume"]);
        assert_eq!(values("volume r"), ["remove", "rm"]);
        assert_eq!(values("-D --context x unp"), ["unpause"]);
        assert_eq!(values("--tlsv"), ["--tlsverify"]);
        assert_eq!(values("run --read"), ["--read-only"]);
        assert_eq!(values("container run --rm --read"), ["--read-only"]);
        assert!(values("run -").contains(&"-i".to_owned()) && !values("run --").contains(&"-i".to_owned()));
        // Once is enough, unless it is a list.
        assert!(values("ps --qui").contains(&"--quiet".to_owned()));
        assert!(values("ps -q --qui").is_empty());
        assert_eq!(values("daemon --tlsc"), ["--tlscacert", "--tlscert"]);
        assert_eq!(
            values("run -e A=1 --env").first().map(String::as_str),
            Some("--env")
        );
    }

    #[test]
    fn values_of_flags() {
        assert_eq!(values("run --pull "), ["always", "missing", "never"]);
        assert_eq!(values("run --rm --pull=m"), ["--pull=missing"]);
        assert_eq!(values("run --restart on"), ["on-failure", "on-failure:"]);
        assert_eq!(values("stop -s TER"), ["TERM"]);
        assert_eq!(ask("run --cidfile ").1, Directive::Default);
        assert_eq!(ask("build -t x ").1, Directive::Directories);
        assert_eq!(
            ask("ps --filter stat"),
            (vec!["status=".to_owned()], Directive::NoSpaceNoFiles)
        );
        // Behind the image everything is the container's.
        assert_eq!(ask("run alpine --pu"), (Vec::new(), Directive::Default));
        assert_eq!(ask("nonsense "), (Vec::new(), Directive::Default));
    }
}
