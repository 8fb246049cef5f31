//! The words before the command: program name and global flags.

use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::values::parse_bool;

/// Global flags as typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Globals {
    /// Directory of client configuration.
    pub(crate) config: Option<String>,
    /// Name of the context.
    pub(crate) context: Option<String>,
    /// Addresses of the engine; more than one is an error that comes late, as in Docker.
    pub(crate) hosts: Vec<String>,
    /// What is said about TLS.
    pub(crate) tls: TlsFlags,
    /// Requests are shown on standard error.
    pub(crate) debug: bool,
    /// `--version`.
    pub(crate) version: bool,
    /// `--help`.
    pub(crate) help: bool,
}

/// Global flags about TLS as typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFlags {
    /// `--tls`.
    pub(crate) tls: Option<bool>,
    /// `--tlsverify`.
    pub(crate) verify: Option<bool>,
    /// `--tlscacert`.
    pub(crate) ca: Option<String>,
    /// `--tlscert`.
    pub(crate) certificate: Option<String>,
    /// `--tlskey`.
    pub(crate) key: Option<String>,
}

/// An invocation taken apart.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// `docker` or `havre`, as called.
    pub(crate) program: String,
    /// Global flags.
    pub(crate) globals: Globals,
    /// The command and everything behind it.
    pub(crate) words: Vec<String>,
}

/// The name to speak of: the last part of the path the program was called by.
pub(crate) fn program_name(argv0: &str) -> String {
    match argv0.rsplit('/').next() {
        Some("docker") => "docker".to_owned(),
        _ => "havre".to_owned(),
    }
}

/// Called by this name, as a link, the program is its command of that name.
const EXPLORER: &str = "dive";

impl Invocation {
    /// Reads the command line; `argv` starts with the program's name.
    pub(crate) fn read(argv: Vec<String>) -> Result<Self, CliError> {
        let mut argv = argv.into_iter();
        let called = argv.next().unwrap_or_default();
        let program = program_name(&called);
        let mut globals = Globals::default();
        let mut rest = argv.collect::<Vec<_>>();
        if called.rsplit('/').next() == Some(EXPLORER) {
            rest.insert(0, EXPLORER.to_owned());
        }
        let mut rest = rest.into_iter().peekable();
        while let Some(word) = rest.next_if(|word| word.len() > 1 && word.starts_with('-')) {
            if word == "--" {
                break;
            }
            let mut value = |flag: &str, attached: Option<&str>| match attached {
                Some(value) => Ok(value.to_owned()),
                None => rest
                    .next()
                    .ok_or_else(|| usage(&program, &format!("flag needs an argument: {flag}"))),
            };
            if let Some(long) = word.strip_prefix("--") {
                let (name, attached) = match long.split_once('=') {
                    Some((name, attached)) => (name, Some(attached)),
                    None => (long, None),
                };
                let truth = || {
                    attached.map_or(Ok(true), parse_bool).map_err(|error| {
                        let shown = attached.unwrap_or_default();
                        usage(
                            &program,
                            &format!("invalid argument {shown:?} for \"--{name}\" flag: {error}"),
                        )
                    })
                };
                match name {
                    "config" => globals.config = Some(value("--config", attached)?),
                    "context" => globals.context = Some(value("--context", attached)?),
                    "host" => globals.hosts.push(value("--host", attached)?),
                    "log-level" => globals.debug = level(&program, &value("--log-level", attached)?)?,
                    "debug" => globals.debug = truth()?,
                    "version" => globals.version = truth()?,
                    "help" => globals.help = truth()?,
                    "tls" => globals.tls.tls = Some(truth()?),
                    "tlsverify" => globals.tls.verify = Some(truth()?),
                    "tlscacert" => globals.tls.ca = Some(value("--tlscacert", attached)?),
                    "tlscert" => globals.tls.certificate = Some(value("--tlscert", attached)?),
                    "tlskey" => globals.tls.key = Some(value("--tlskey", attached)?),
                    _ => return Err(usage(&program, &format!("unknown flag: --{name}"))),
                }
                continue;
            }
            let cluster = &word[1..];
            for (at, letter) in cluster.char_indices() {
                let attached = Some(cluster[at + letter.len_utf8()..].trim_start_matches('='))
                    .filter(|attached| !attached.is_empty());
                match letter {
                    'D' => globals.debug = true,
                    'v' => globals.version = true,
                    'h' => globals.help = true,
                    'H' => globals.hosts.push(value("-H", attached)?),
                    'c' => globals.context = Some(value("-c", attached)?),
                    'l' => globals.debug = level(&program, &value("-l", attached)?)?,
                    _ => {
                        return Err(usage(
                            &program,
                            &format!("unknown shorthand flag: '{letter}' in {word}"),
                        ));
                    }
                }
                if matches!(letter, 'H' | 'c' | 'l') {
                    break;
                }
            }
        }
        Ok(Self {
            program,
            globals,
            words: rest.collect(),
        })
    }
}

fn level(program: &str, level: &str) -> Result<bool, CliError> {
    match level {
        "debug" | "trace" => Ok(true),
        "info" | "warn" | "warning" | "error" | "fatal" | "panic" => Ok(false),
        _ => Err(usage(program, &format!("unable to parse logging level: {level}"))),
    }
}

fn usage(program: &str, message: &str) -> CliError {
    CliError::Usage {
        text: format!(
            "{message}\n\nUsage:  {program} [OPTIONS] COMMAND [ARG...]\n\nRun '{program} --help' for more information"
        ),
        status: ExitStatus::ENGINE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Invocation, CliError> {
        Invocation::read(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn globals_end_at_the_command() {
        let invocation = read("/usr/bin/docker -D -H unix:///x --context=a --config /c run -d -H y").unwrap();
        assert_eq!(invocation.program, "docker");
        assert!(invocation.globals.debug);
        assert_eq!(invocation.globals.hosts, ["unix:///x"]);
        assert_eq!(invocation.globals.context.as_deref(), Some("a"));
        assert_eq!(invocation.globals.config.as_deref(), Some("/c"));
        assert_eq!(invocation.words, ["run", "-d", "-H", "y"]);
    }

    #[test]
    fn attached_and_clustered_values() {
        assert_eq!(read("havre -DHtcp://x ps").unwrap().globals.hosts, ["tcp://x"]);
        assert_eq!(read("havre -H=tcp://x ps").unwrap().globals.hosts, ["tcp://x"]);
        assert_eq!(read("./anything ps").unwrap().program, "havre");
        let explorer = read("/usr/bin/dive --ci nginx:alpine").unwrap();
        assert_eq!(explorer.words, ["dive", "--ci", "nginx:alpine"]);
        assert_eq!(explorer.program, "havre");
    }

    #[test]
    fn unknown_and_unsupported_globals_are_refused() {
        let first = |line| {
            read(line)
                .unwrap_err()
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(first("docker --foo"), "unknown flag: --foo");
        assert_eq!(first("docker -Z"), "unknown shorthand flag: 'Z' in -Z");
        assert_eq!(first("docker --host"), "flag needs an argument: --host");
        assert_eq!(first("docker -l loud ps"), "unable to parse logging level: loud");
        assert_eq!(
            first("docker --tls=foo ps"),
            "invalid argument \"foo\" for \"--tls\" flag: strconv.ParseBool: parsing \"foo\": invalid syntax"
        );
        let tls = read("docker --tlsverify --tls=false --tlscacert a --tlscert=b --tlskey c ps").unwrap();
        let tls = tls.globals.tls;
        assert_eq!((tls.verify, tls.tls), (Some(true), Some(false)));
        assert_eq!(
            [tls.ca.as_deref(), tls.certificate.as_deref(), tls.key.as_deref()],
            [Some("a"), Some("b"), Some("c")]
        );
    }
}
