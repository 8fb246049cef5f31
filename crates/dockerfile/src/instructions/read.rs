//! Nodes → instructions, with Docker's messages.

use super::flags::Flags;
use super::{AddOptions, Arg, CommandLine, Copy, From, Instruction, Kind, Run, Source, healthcheck, mount};
use crate::parser::{
    self, Document, Node, Span, SyntaxError, WordsError, heredoc_word, json_strings, key_values, split_words,
    whitespace_delimited,
};

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What is wrong with an instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstructionError {
    #[error("unknown instruction: {word}{}", suggestion.map(|known| format!(" (did you mean {known}?)")).unwrap_or_default())]
    Unknown {
        word: String,
        suggestion: Option<&'static str>,
    },
    #[error("unknown flag: {0}")]
    UnknownFlag(String),
    #[error("missing a value on flag: {0}")]
    MissingValue(String),
    #[error("duplicate flag specified: {0}")]
    DuplicateFlag(String),
    #[error("expecting boolean value for flag {flag}, not: {value}")]
    Boolean { flag: String, value: String },
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    #[error("invalid name for build stage: {0:?}, name can't start with a number or contain symbols")]
    StageName(String),
    #[error("{0} requires at least one argument")]
    AtLeastOne(&'static str),
    #[error("{0} requires exactly one argument")]
    ExactlyOne(&'static str),
    #[error(
        "{0} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    NoDestination(&'static str),
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("SHELL requires the arguments to be in JSON form")]
    ShellForm,
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    #[error("missing command after HEALTHCHECK CMD")]
    HealthcheckCommand,
    #[error("unknown type {0:?} in HEALTHCHECK (try CMD)")]
    HealthcheckKind(String),
    #[error("invalid duration {value:?} of {flag}")]
    Duration { flag: String, value: String },
    #[error("interval {0:?} cannot be less than 1ms")]
    ShortDuration(String),
    #[error("--retries cannot be negative ({0})")]
    NegativeRetries(String),
    #[error("invalid number {value:?} of {flag}")]
    Number { flag: &'static str, value: String },
    #[error("invalid --mount {text:?}: {reason}")]
    Mount { text: String, reason: String },
    #[error(
        "RUN --mount=type={0} is not supported; pass what the step needs with COPY in a stage that isn't kept"
    )]
    UnsupportedMount(String),
    #[error("RUN --network={0} is not supported; use `none`, or the build's own --network option")]
    RunNetwork(String),
    #[error("RUN --security is not supported: build steps always run confined")]
    RunSecurity,
    #[error("RUN with heredocs needs the shell form")]
    HeredocForm,
    #[error("ADD --keep-git-dir is not supported: git repositories can't be added")]
    KeepGitDir,
    #[error(
        "'{0}': variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround"
    )]
    FromVariable(String),
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger(String),
    #[error("no build stage in current context")]
    NoStage,
    #[error("--parents can't be combined with a heredoc")]
    ParentsHeredoc,
    #[error(transparent)]
    Words(#[from] WordsError),
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
}

/// An error and the lines it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dockerfile parse error on line {}: {source}", lines.start())]
pub struct LocatedError {
    pub lines: Span,
    pub source: InstructionError,
}

/// Reads every instruction. Only `ARG` may stand before the first `FROM`.
pub fn read(document: &Document) -> Result<Vec<Instruction>, LocatedError> {
    let mut in_stage = false;
    let mut instructions = Vec::with_capacity(document.nodes.len());
    for node in &document.nodes {
        let instruction = read_node(node, document.directives.escape)?;
        match instruction.kind {
            Kind::From(_) => in_stage = true,
            Kind::Arg(_) => {}
            _ if !in_stage => {
                return Err(LocatedError {
                    lines: node.lines.clone(),
                    source: InstructionError::NoStage,
                });
            }
            _ => {}
        }
        instructions.push(instruction);
    }
    if !in_stage {
        let lines = document.nodes.last().map_or(1..=1, |node| node.lines.clone());
        return Err(LocatedError {
            lines,
            source: InstructionError::NoStage,
        });
    }
    Ok(instructions)
}

/// Reads one instruction, wherever it stands.
pub fn read_node(node: &Node, escape: char) -> Result<Instruction, LocatedError> {
    match kind(node, escape) {
        Ok(kind) => Ok(Instruction {
            kind,
            original: node.original.clone(),
            lines: node.lines.clone(),
        }),
        Err(source) => Err(LocatedError {
            lines: node.lines.clone(),
            source,
        }),
    }
}

/// Reads a trigger of a base image.
pub fn read_trigger(text: &str) -> Result<Instruction, InstructionError> {
    let node = parser::parse_line(text)?;
    let kind = trigger(&node, '\\')?;
    Ok(Instruction {
        kind,
        original: node.original,
        lines: 0..=0,
    })
}

fn trigger(node: &Node, escape: char) -> Result<Kind, InstructionError> {
    match node.keyword.to_ascii_uppercase().as_str() {
        "ONBUILD" => Err(InstructionError::OnbuildChain),
        word @ ("FROM" | "MAINTAINER") => Err(InstructionError::OnbuildTrigger(word.to_owned())),
        _ => kind(node, escape),
    }
}

fn kind(node: &Node, escape: char) -> Result<Kind, InstructionError> {
    let keyword = node.keyword.to_ascii_uppercase();
    let rest = node.rest.as_str();
    let mut flags = Flags::new(&node.flags);
    let kind = match keyword.as_str() {
        "FROM" => from(rest, flags.value("--platform")?)?,
        "RUN" => run(node, &mut flags)?,
        "COPY" | "ADD" => copy(node, &mut flags)?,
        "HEALTHCHECK" => return healthcheck::read(node).map(Kind::Healthcheck),
        "ARG" => arg(rest, escape)?,
        "ENV" => Kind::Env(pairs("ENV", rest, escape)?),
        "LABEL" => Kind::Label(pairs("LABEL", rest, escape)?),
        "CMD" => Kind::Cmd(command_line(rest)?),
        "ENTRYPOINT" => Kind::Entrypoint(command_line(rest)?),
        "EXPOSE" if rest.is_empty() => return Err(InstructionError::AtLeastOne("EXPOSE")),
        "EXPOSE" => Kind::Expose(rest.to_owned()),
        "VOLUME" => volume(rest)?,
        "USER" => Kind::User(one("USER", rest)?),
        "WORKDIR" => Kind::Workdir(one("WORKDIR", rest)?),
        "STOPSIGNAL" => Kind::StopSignal(one("STOPSIGNAL", rest)?),
        "MAINTAINER" => Kind::Maintainer(one("MAINTAINER", rest)?),
        "SHELL" => match json_strings(rest) {
            Some(Ok(words)) if !words.is_empty() => Kind::Shell(words),
            Some(Ok(_)) => return Err(InstructionError::AtLeastOne("SHELL")),
            _ if rest.is_empty() => return Err(InstructionError::AtLeastOne("SHELL")),
            _ => return Err(InstructionError::ShellForm),
        },
        "ONBUILD" => {
            if rest.is_empty() {
                return Err(InstructionError::AtLeastOne("ONBUILD"));
            }
            let text = std::iter::once(rest.to_owned())
                .chain(
                    node.heredocs
                        .iter()
                        .map(|heredoc| format!("{}{}", heredoc.body, heredoc.name)),
                )
                .collect::<Vec<_>>()
                .join("\n");
            trigger(&parser::parse_line(&text)?, escape)?;
            Kind::Onbuild(text)
        }
        _ => {
            let suggestion = nearest(&keyword);
            return Err(InstructionError::Unknown {
                word: node.keyword.clone(),
                suggestion,
            });
        }
    };
    flags.finish()?;
    Ok(kind)
}

fn one(keyword: &'static str, rest: &str) -> Result<String, InstructionError> {
    if rest.is_empty() {
        Err(InstructionError::ExactlyOne(keyword))
    } else {
        Ok(rest.to_owned())
    }
}

fn pairs(keyword: &'static str, rest: &str, escape: char) -> Result<Vec<(String, String)>, InstructionError> {
    let pairs = key_values(keyword, rest, escape)?;
    if pairs.is_empty() {
        return Err(InstructionError::AtLeastOne(keyword));
    }
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err(InstructionError::BlankName(keyword));
    }
    Ok(pairs)
}

fn from(rest: &str, platform: Option<String>) -> Result<Kind, InstructionError> {
    let words = whitespace_delimited(rest);
    let name = match words.as_slice() {
        [_] => None,
        [_, word, name] if word.eq_ignore_ascii_case("as") => {
            let name = name.to_ascii_lowercase();
            let valid = name.starts_with(|first: char| first.is_ascii_lowercase())
                && name
                    .chars()
                    .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-_.".contains(char));
            if !valid {
                return Err(InstructionError::StageName(name));
            }
            Some(name)
        }
        _ => return Err(InstructionError::FromArguments),
    };
    Ok(Kind::From(From {
        base: words[0].clone(),
        platform,
        name,
    }))
}

fn arg(rest: &str, escape: char) -> Result<Kind, InstructionError> {
    let args: Vec<Arg> = split_words(rest, escape)
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => Arg {
                name: name.to_owned(),
                default: Some(value.to_owned()),
            },
            None => Arg {
                name: word,
                default: None,
            },
        })
        .collect();
    if args.is_empty() {
        return Err(InstructionError::AtLeastOne("ARG"));
    }
    if args.iter().any(|arg| arg.name.is_empty()) {
        return Err(InstructionError::BlankName("ARG"));
    }
    Ok(Kind::Arg(args))
}

fn command_line(rest: &str) -> Result<CommandLine, InstructionError> {
    match json_strings(rest) {
        Some(Ok(words)) => Ok(CommandLine::Exec(words)),
        Some(Err(_)) => Err(InstructionError::NotStrings),
        None => Ok(CommandLine::Shell(rest.to_owned())),
    }
}

fn run(node: &Node, flags: &mut Flags<'_>) -> Result<Kind, InstructionError> {
    let mounts = flags
        .values("--mount")?
        .iter()
        .map(|text| mount::read(text))
        .collect::<Result<Vec<_>, _>>()?;
    let network_none = match flags.value("--network")?.as_deref() {
        None | Some("default") => false,
        Some("none") => true,
        Some(other) => return Err(InstructionError::RunNetwork(other.to_owned())),
    };
    if flags.value("--security")?.is_some() {
        return Err(InstructionError::RunSecurity);
    }
    let command = command_line(&node.rest)?;
    match &command {
        CommandLine::Shell(text) if text.is_empty() => return Err(InstructionError::AtLeastOne("RUN")),
        CommandLine::Exec(words) if words.is_empty() => return Err(InstructionError::AtLeastOne("RUN")),
        CommandLine::Exec(_) if !node.heredocs.is_empty() => return Err(InstructionError::HeredocForm),
        _ => {}
    }
    Ok(Kind::Run(Run {
        command,
        heredocs: node.heredocs.clone(),
        mounts,
        network_none,
    }))
}

fn copy(node: &Node, flags: &mut Flags<'_>) -> Result<Kind, InstructionError> {
    let is_add = node.keyword.eq_ignore_ascii_case("ADD");
    let keyword = if is_add { "ADD" } else { "COPY" };
    let mut words = match json_strings(&node.rest) {
        Some(Ok(words)) => words,
        Some(Err(_)) => return Err(InstructionError::NotStrings),
        None => whitespace_delimited(&node.rest),
    };
    let destination = match (words.len(), words.pop()) {
        (2.., Some(last)) => last,
        (1, _) => return Err(InstructionError::NoDestination(keyword)),
        _ => return Err(InstructionError::AtLeastOne(keyword)),
    };
    let mut heredocs = node.heredocs.iter();
    let sources: Vec<Source> = words
        .into_iter()
        .map(|word| match heredoc_word(&word).and_then(|_| heredocs.next()) {
            Some(heredoc) => Source::Inline(heredoc.clone()),
            None => Source::Path(word),
        })
        .collect();
    let from = if is_add { None } else { flags.value("--from")? };
    if let Some(from) = from.as_ref().filter(|from| from.contains('$')) {
        return Err(InstructionError::FromVariable(from.clone()));
    }
    let add = match is_add {
        false => None,
        true => {
            if flags.boolean("--keep-git-dir")?.unwrap_or(false) {
                return Err(InstructionError::KeepGitDir);
            }
            Some(AddOptions {
                checksum: flags.value("--checksum")?,
                unpack: flags.boolean("--unpack")?,
            })
        }
    };
    let parents = !is_add && flags.boolean("--parents")?.unwrap_or(false);
    if parents && sources.iter().any(|source| matches!(source, Source::Inline(_))) {
        return Err(InstructionError::ParentsHeredoc);
    }
    Ok(Kind::Copy(Copy {
        sources,
        destination,
        from,
        chown: flags.value("--chown")?,
        chmod: flags.value("--chmod")?,
        link: flags.boolean("--link")?.unwrap_or(false),
        parents,
        excludes: flags.values("--exclude")?,
        add,
    }))
}

fn volume(rest: &str) -> Result<Kind, InstructionError> {
    let paths = match json_strings(rest) {
        Some(Ok(words)) => words,
        Some(Err(_)) => return Err(InstructionError::NotStrings),
        None => whitespace_delimited(rest),
    };
    if paths.is_empty() {
        return Err(InstructionError::AtLeastOne("VOLUME"));
    }
    if paths.iter().any(|path| path.trim().is_empty()) {
        return Err(InstructionError::EmptyVolume);
    }
    Ok(Kind::Volume(paths))
}

/// The instruction a mistyped one is closest to, if it is close.
fn nearest(word: &str) -> Option<&'static str> {
    if word.len() > 16 {
        return None;
    }
    KEYWORDS
        .into_iter()
        .map(|known| (distance(word, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 2 && *distance <= 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let cost = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
