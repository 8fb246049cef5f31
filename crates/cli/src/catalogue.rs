//! All commands, by the names they are called by.
//!
//! A command's clap tree is built when the command is called, never before: starting is fast because the other
//! sixty do not exist.

use std::future::Future;
use std::pin::Pin;

use clap::Command as Declared;

use crate::args::{self, Declaration, Shape};
use crate::commands::{self, Done};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::help;
use crate::parse::{Parsed, declare, parse};
use crate::roles;
use crate::session::Session;
use crate::terminal;

type Running<'a> = Pin<Box<dyn Future<Output = Done> + 'a>>;

/// A command.
pub(crate) struct Entry {
    /// Names, group and word: `["run", "container run"]`. The first of a group is the one listed there.
    pub(crate) names: &'static [&'static str],
    /// The words about it.
    pub(crate) shape: &'static Shape,
    /// Its clap tree.
    declare: fn() -> Declared,
    run: for<'a> fn(&'a Session, String, Vec<String>) -> Running<'a>,
}

/// A group of commands.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
}

/// Groups in the order of the help text.
pub(crate) const GROUPS: [Group; 11] = [
    Group {
        name: "artifact",
        about: "Manage files in registries, and what refers to images (OCI artifacts)",
    },
    Group {
        name: "builder",
        about: "Manage builds",
    },
    Group {
        name: "buildx",
        about: "Manage builders, and build with them",
    },
    Group {
        name: "buildx imagetools",
        about: "Commands to work on images in registry",
    },
    Group {
        name: "container",
        about: "Manage containers",
    },
    Group {
        name: "context",
        about: "Manage contexts",
    },
    Group {
        name: "image",
        about: "Manage images",
    },
    Group {
        name: "manifest",
        about: "Manage Docker image manifests and manifest lists",
    },
    Group {
        name: "network",
        about: "Manage networks",
    },
    Group {
        name: "system",
        about: "Manage the engine",
    },
    Group {
        name: "volume",
        about: "Manage volumes",
    },
];

/// The commands listed first.
const COMMON: [&str; 12] = [
    "run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info",
];

/// A command for programs: it is in no list.
const HIDDEN: &str = "dial-stdio";

const CLUSTER: &str = "this engine runs containers on one machine, not clusters";

/// Commands of Docker that do not exist here, and why.
const ABSENT: [(&str, &str); 13] = [
    ("checkpoint", "processes cannot be saved and restored"),
    (
        "compose",
        "it is a program of its own; docker-compose works with DOCKER_HOST set to this engine's socket",
    ),
    ("config", CLUSTER),
    ("model", "it is a program of its own"),
    ("node", CLUSTER),
    ("plugin", "this engine has no plugins"),
    ("scan", "it is a program of its own"),
    ("scout", "it is a program of its own"),
    ("secret", CLUSTER),
    ("service", CLUSTER),
    ("stack", CLUSTER),
    ("swarm", CLUSTER),
    ("trust", "name an image by its digest to be sure of what it is"),
];

macro_rules! commands {
    ($($names:expr => $args:path, $action:path;)*) => {
        [$(Entry {
            names: &$names,
            shape: &<$args as Declaration>::SHAPE,
            declare: declare::<$args>,
            run: |session, path, words| Box::pin(async move {
                match parse::<$args>(&path, &words)? {
                    Parsed::Arguments(arguments) => $action(session, arguments).await,
                    Parsed::Help => {
                        let text = help::command(
                            &path,
                            &<$args as Declaration>::SHAPE,
                            &declare::<$args>(),
                            terminal::columns(),
                        );
                        session.printer.out(&text);
                        Ok(ExitStatus::SUCCESS)
                    }
                }
            }),
        }),*]
    };
}

/// Every command.
pub(crate) static COMMANDS: &[Entry] = &commands! {
    ["run", "container run"] => args::container::run::Run, commands::container::run::run;
    ["exec", "container exec"] => args::container::exec::Exec, commands::container::exec::exec;
    ["ps", "container ls", "container list", "container ps"] => args::container::ls::Ls, commands::container::ls::ls;
    ["build", "image build", "builder build"] => args::image::build::Build, commands::image::build::build;
    ["pull", "image pull"] => args::image::pull::Pull, commands::image::pull::pull;
    ["push", "image push"] => args::image::push::Push, commands::image::push::push;
    ["images", "image ls", "image list", "image ps"] => args::image::ls::Ls, commands::image::ls::ls;
    ["login"] => args::login::Login, commands::login::login;
    ["logout"] => args::logout::Logout, commands::logout::logout;
    ["search"] => args::search::Search, commands::search::search;
    ["version"] => args::version::Version, commands::version::version;
    ["info", "system info"] => args::system::info::Info, commands::system::info::info;
    ["attach", "container attach"] => args::container::attach::Attach, commands::container::attach::attach;
    ["commit", "container commit"] => args::container::commit::Commit, commands::container::commit::commit;
    ["cp", "container cp"] => args::container::cp::Cp, commands::container::cp::cp;
    ["create", "container create"] => args::container::create::Create, commands::container::create::create;
    ["diff", "container diff"] => args::container::diff::Diff, commands::container::diff::diff;
    ["events", "system events"] => args::system::events::Events, commands::system::events::events;
    ["explore", "dive"] => args::explore::Explore, commands::explore::explore;
    ["export", "container export"] => args::container::export::Export, commands::container::export::export;
    ["history", "image history"] => args::image::history::History, commands::image::history::history;
    ["import", "image import"] => args::image::import::Import, commands::image::import::import;
    ["inspect"] => args::inspect::Inspect, commands::inspect::inspect;
    ["kill", "container kill"] => args::container::kill::Kill, commands::container::lifecycle::kill;
    ["load", "image load"] => args::image::load::Load, commands::image::load::load;
    ["logs", "container logs"] => args::container::logs::Logs, commands::container::logs::logs;
    ["pause", "container pause"] => args::container::pause::Pause, commands::container::lifecycle::pause;
    ["port", "container port"] => args::container::port::Port, commands::container::port::port;
    ["rename", "container rename"] => args::container::rename::Rename, commands::container::rename::rename;
    ["restart", "container restart"] => args::container::restart::Restart, commands::container::lifecycle::restart;
    ["rm", "container rm", "container remove"] => args::container::rm::Rm, commands::container::rm::rm;
    ["rmi", "image rm", "image remove"] => args::image::rm::Rm, commands::image::rm::rm;
    ["save", "image save"] => args::image::save::Save, commands::image::save::save;
    ["start", "container start"] => args::container::start::Start, commands::container::start::start;
    ["stats", "container stats"] => args::container::stats::Stats, commands::container::stats::stats;
    ["stop", "container stop"] => args::container::stop::Stop, commands::container::lifecycle::stop;
    ["tag", "image tag"] => args::image::tag::Tag, commands::image::tag::tag;
    ["top", "container top"] => args::container::top::Top, commands::container::top::top;
    ["undo"] => args::undo::Undo, commands::undo::undo;
    ["unpause", "container unpause"] => args::container::unpause::Unpause, commands::container::lifecycle::unpause;
    ["update", "container update"] => args::container::update::Update, commands::container::update::update;
    ["wait", "container wait"] => args::container::wait::Wait, commands::container::wait::wait;
    ["builder prune"] => args::builder::prune::Prune, commands::builder::prune::prune;
    ["buildx build", "buildx b"] => args::buildx::build::StartBuild, commands::buildx::build::build;
    ["buildx create"] => args::buildx::create::Create, commands::buildx::create::create;
    ["buildx du"] => args::buildx::du::Du, commands::buildx::du::du;
    ["buildx imagetools create"] => args::buildx::imagetools::create::Create, commands::buildx::imagetools::create::create;
    ["buildx imagetools inspect"] => args::buildx::imagetools::inspect::Inspect, commands::buildx::imagetools::inspect::inspect;
    ["buildx inspect"] => args::buildx::inspect::Inspect, commands::buildx::inspect::inspect;
    ["buildx ls"] => args::buildx::ls::Ls, commands::buildx::ls::ls;
    ["buildx prune"] => args::buildx::prune::PruneCache, commands::buildx::prune::prune;
    ["buildx rm", "buildx remove"] => args::buildx::rm::Rm, commands::buildx::rm::rm;
    ["buildx use"] => args::buildx::r#use::Use, commands::buildx::r#use::select;
    ["buildx version"] => args::buildx::version::Version, commands::buildx::version::version;
    ["container inspect"] => args::container::inspect::Inspect, commands::container::inspect::inspect;
    ["container prune"] => args::container::prune::Prune, commands::container::prune::prune;
    ["completion"] => args::completion::Completion, commands::completion::completion;
    ["context create"] => args::context::create::Create, commands::context::create::create;
    ["context export"] => args::context::export::Export, commands::context::export::export;
    ["context import"] => args::context::import::Import, commands::context::import::import;
    ["context inspect"] => args::context::inspect::Inspect, commands::context::inspect::inspect;
    ["context ls", "context list"] => args::context::ls::Ls, commands::context::ls::ls;
    ["context rm", "context remove"] => args::context::rm::Rm, commands::context::rm::rm;
    ["context show"] => args::context::show::Show, commands::context::show::show;
    ["context update"] => args::context::update::Update, commands::context::update::update;
    ["context use"] => args::context::r#use::Use, commands::context::r#use::select;
    ["artifact attach"] => args::artifact::attach::Attach, commands::artifact::push::attach;
    ["artifact inspect"] => args::artifact::inspect::Inspect, commands::artifact::inspect::inspect;
    ["artifact ls", "artifact list"] => args::artifact::ls::Ls, commands::artifact::ls::ls;
    ["artifact pull"] => args::artifact::pull::Pull, commands::artifact::pull::pull;
    ["artifact push"] => args::artifact::push::Push, commands::artifact::push::push;
    ["image bootstrap"] => args::image::bootstrap::Bootstrap, commands::image::bootstrap::bootstrap;
    ["copy", "image copy"] => args::image::copy::Copy, commands::image::copy::copy;
    ["retag", "image retag"] => args::image::retag::Retag, commands::image::copy::retag;
    ["outdated", "image outdated"] => args::image::outdated::Outdated, commands::image::outdated::outdated;
    ["lint", "image lint"] => args::lint::Lint, commands::lint::lint;
    ["lock"] => args::lock::Lock, commands::lock::lock;
    ["image referrers"] => args::image::referrers::Referrers, commands::image::referrers::referrers;
    ["image tags"] => args::image::tags::Tags, commands::image::tags::tags;
    ["image cat"] => args::image::cat::Cat, commands::image::cat::cat;
    ["image diff"] => args::image::diff::Diff, commands::image::diff::diff;
    ["image extract"] => args::image::extract::Extract, commands::image::extract::extract;
    ["image files"] => args::image::files::Files, commands::image::files::files;
    ["image inspect"] => args::image::inspect::Inspect, commands::image::inspect::inspect;
    ["image log"] => args::image::log::Log, commands::image::log::log;
    ["image prune"] => args::image::prune::Prune, commands::image::prune::prune;
    ["image restore"] => args::image::restore::Restore, commands::image::restore::restore;
    ["image squash"] => args::image::squash::Squash, commands::image::squash::squash;
    ["manifest annotate"] => args::manifest::annotate::Annotate, commands::manifest::annotate::annotate;
    ["manifest create"] => args::manifest::create::Create, commands::manifest::create::create;
    ["manifest inspect"] => args::manifest::inspect::Inspect, commands::manifest::inspect::inspect;
    ["manifest push"] => args::manifest::push::Push, commands::manifest::push::push;
    ["manifest rm"] => args::manifest::rm::Rm, commands::manifest::rm::rm;
    ["network connect"] => args::network::connect::Connect, commands::network::connect::connect;
    ["network create"] => args::network::create::Create, commands::network::create::create;
    ["network disconnect"] => args::network::disconnect::Disconnect, commands::network::disconnect::disconnect;
    ["network inspect"] => args::network::inspect::Inspect, commands::network::inspect::inspect;
    ["network ls", "network list"] => args::network::ls::Ls, commands::network::ls::ls;
    ["network prune"] => args::network::prune::Prune, commands::network::prune::prune;
    ["network rm", "network remove"] => args::network::rm::Rm, commands::network::rm::rm;
    ["system check"] => args::system::check::Check, commands::system::check::check;
    ["system df"] => args::system::df::Df, commands::system::df::df;
    ["system dial-stdio"] => args::system::dial_stdio::DialStdio, commands::system::dial_stdio::dial_stdio;
    ["system migrate"] => args::system::migrate::Migrate, commands::system::migrate::migrate;
    ["system prune"] => args::system::prune::Prune, commands::system::prune::prune;
    ["volume create"] => args::volume::create::Create, commands::volume::create::create;
    ["volume inspect"] => args::volume::inspect::Inspect, commands::volume::inspect::inspect;
    ["volume ls", "volume list"] => args::volume::ls::Ls, commands::volume::ls::ls;
    ["volume prune"] => args::volume::prune::Prune, commands::volume::prune::prune;
    ["volume rm", "volume remove"] => args::volume::rm::Rm, commands::volume::rm::rm;
};

/// The first line of what is said about a command.
fn summary(entry: &Entry) -> &'static str {
    entry.shape.about.lines().next().unwrap_or_default()
}

impl Entry {
    /// Its clap tree.
    pub(crate) fn declaration(&self) -> Declared {
        let mut declared = (self.declare)();
        declared.build();
        declared
    }
}

/// The command of that name, group included.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    COMMANDS.iter().find(|entry| entry.names.contains(&name))
}

/// The group of that name.
pub(crate) fn group(name: &str) -> Option<&'static str> {
    GROUPS.iter().map(|group| group.name).find(|group| *group == name)
}

/// Commands and groups that may stand first, with what they do.
pub(crate) fn top_commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    let commands = COMMANDS
        .iter()
        .map(|entry| (entry.names[0], summary(entry)))
        .filter(|(name, _)| !name.contains(' '));
    let roles = roles::first();
    let help = [("help", "Help about any command")];
    commands.chain(inner_groups("")).chain(roles).chain(help)
}

/// The commands of a group by all their names, and the groups within it, with what they do.
pub(crate) fn group_commands(group: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let prefix = format!("{group} ");
    let inner = inner_groups(&prefix);
    let commands = COMMANDS.iter().flat_map(move |entry| {
        let names = entry.names.iter().filter_map(|name| word_after(name, &prefix));
        let names = names.filter(|name| *name != HIDDEN);
        names.map(|name| (name, summary(entry))).collect::<Vec<_>>()
    });
    commands.chain(inner)
}

/// What follows `prefix` in a name, if it is one word.
fn word_after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|word| !word.contains(' '))
}

/// The groups within a group.
fn inner_groups(prefix: &str) -> Vec<(&'static str, &'static str)> {
    let inner = |group: &Group| Some((word_after(group.name, prefix)?, group.about));
    GROUPS.iter().filter_map(inner).collect()
}

/// Runs the command that `words` begin with.
pub(crate) async fn dispatch(session: &Session, words: &[String]) -> Done {
    let Some((first, rest)) = words.split_first() else {
        session.printer.err_bytes(top_help(&session.program).as_bytes());
        return Ok(ExitStatus::SUCCESS);
    };
    if first == "help" {
        return show_help(session, rest);
    }
    if let Some(group) = GROUPS.iter().find(|group| group.name == first) {
        return in_group(session, group, rest).await;
    }
    match find(first) {
        Some(entry) => call(session, entry, first, rest).await,
        None => Err(unknown(&session.program, first)),
    }
}

async fn in_group(session: &Session, group: &Group, words: &[String]) -> Done {
    let program = &session.program;
    let Some((word, rest)) = words.split_first() else {
        session.printer.err_bytes(group_help(program, group).as_bytes());
        return Ok(ExitStatus::SUCCESS);
    };
    if matches!(word.as_str(), "--help" | "-h" | "help") {
        session.printer.out(&group_help(program, group));
        return Ok(ExitStatus::SUCCESS);
    }
    let path = format!("{} {word}", group.name);
    if let Some(inner) = GROUPS.iter().find(|inner| inner.name == path) {
        return Box::pin(in_group(session, inner, rest)).await;
    }
    let run = format!(
        "Usage:  {program} {0}\n\nRun '{program} {0} --help' for more information",
        group.name
    );
    if word.starts_with('-') {
        return Err(CliError::Usage {
            text: format!("unknown flag: {word}\n\n{run}"),
            status: ExitStatus::ENGINE,
        });
    }
    match find(&path) {
        Some(entry) => call(session, entry, &path, rest).await,
        None => Err(CliError::Usage {
            text: format!("{program}: unknown command: {program} {path}\n\n{run}"),
            status: ExitStatus::FAILURE,
        }),
    }
}

async fn call(session: &Session, entry: &Entry, path: &str, words: &[String]) -> Done {
    let path = format!("{} {path}", session.program);
    if asks_for_help(entry, words) {
        session
            .printer
            .line("Flag shorthand -h has been deprecated, use --help");
        let text = help::command(&path, entry.shape, &(entry.declare)(), terminal::columns());
        session.printer.out(&text);
        return Ok(ExitStatus::SUCCESS);
    }
    (entry.run)(session, path, words.to_vec()).await
}

/// `-h` alone, where it is no flag of the command.
fn asks_for_help(entry: &Entry, words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "-h")
        && !(entry.declare)()
            .get_arguments()
            .any(|arg| arg.get_short() == Some('h'))
}

fn show_help(session: &Session, words: &[String]) -> Done {
    let program = &session.program;
    let name = words.join(" ");
    let text = if name.is_empty() {
        top_help(program)
    } else if let Some(group) = GROUPS.iter().find(|group| group.name == name) {
        group_help(program, group)
    } else if let Some(entry) = find(&name) {
        help::command(
            &format!("{program} {name}"),
            entry.shape,
            &(entry.declare)(),
            terminal::columns(),
        )
    } else {
        return Err(unknown(program, &name));
    };
    session.printer.out(&text);
    Ok(ExitStatus::SUCCESS)
}

fn unknown(program: &str, name: &str) -> CliError {
    let command = name.split(' ').next().unwrap_or_default();
    let text = match ABSENT.iter().find(|(absent, _)| *absent == command) {
        Some((absent, reason)) => format!("{program}: '{program} {absent}' is not supported: {reason}"),
        None => format!("{program}: unknown command: {program} {name}"),
    };
    CliError::Usage {
        text: format!("{text}\n\nRun '{program} --help' for more information"),
        status: ExitStatus::FAILURE,
    }
}

/// The text of `docker GROUP --help`.
fn group_help(program: &str, group: &Group) -> String {
    let prefix = format!("{} ", group.name);
    let mut rows: Vec<(&str, &str)> = COMMANDS
        .iter()
        .filter_map(|entry| {
            let name = entry.names.iter().find_map(|name| word_after(name, &prefix))?;
            (name != HIDDEN).then(|| (name, summary(entry)))
        })
        .chain(inner_groups(&prefix))
        .collect();
    rows.sort_unstable();
    format!(
        "Usage:  {program} {0} COMMAND\n\n{1}\n\nCommands:\n{2}\nRun '{program} {0} COMMAND --help' for more information on a command.\n",
        group.name,
        group.about,
        listed(&rows)
    )
}

/// The text of `docker --help`.
pub(crate) fn top_help(program: &str) -> String {
    let about = |name: &str| find(name).map_or("", summary);
    let common: Vec<_> = COMMON.iter().map(|name| (*name, about(name))).collect();
    let groups: Vec<_> = inner_groups("");
    let mut others: Vec<_> = COMMANDS
        .iter()
        .map(|entry| (entry.names[0], summary(entry)))
        .filter(|(name, _)| !name.contains(' ') && !COMMON.contains(name))
        .collect();
    others.extend(roles::first());
    others.sort_unstable();
    format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\n\
         Common Commands:\n{}\nManagement Commands:\n{}\nCommands:\n{}\nGlobal Options:\n{}\n\
         Run '{program} COMMAND --help' for more information on a command.\n",
        listed(&common),
        listed(&groups),
        listed(&others),
        help::flag_usages(&global_flags(), terminal::columns()),
    )
}

/// The global flags as they are typed, with what they do.
pub(crate) fn global_flag_names() -> impl Iterator<Item = (String, String)> {
    let names = |flag: help::Flag| {
        let short = flag.short.map(|short| format!("-{short}"));
        let help = flag.help;
        let both = std::iter::once(format!("--{}", flag.long)).chain(short);
        both.map(|name| (name, help.clone())).collect::<Vec<_>>()
    };
    global_flags().into_iter().flat_map(names)
}

/// The long name of a global flag whose value is the next word.
pub(crate) fn global_flag_with_value(word: &str) -> Option<&'static str> {
    const LONG: [(&str, Option<char>); 7] = [
        ("config", None),
        ("context", Some('c')),
        ("host", Some('H')),
        ("log-level", Some('l')),
        ("tlscacert", None),
        ("tlscert", None),
        ("tlskey", None),
    ];
    let found = LONG.iter().find(|(long, short)| match word.strip_prefix("--") {
        Some(name) => name == *long,
        None => short.is_some_and(|short| word.ends_with(short)),
    });
    found.map(|(long, _)| *long)
}

pub(crate) fn global_flags() -> Vec<help::Flag> {
    let flag = |short, long: &str, kind: &str, help: &str| help::Flag {
        short,
        long: long.to_owned(),
        kind: kind.to_owned(),
        help: help.to_owned(),
    };
    vec![
        flag(
            None,
            "config",
            "string",
            "Location of client config files (default \"~/.docker\")",
        ),
        flag(
            Some('c'),
            "context",
            "string",
            "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")",
        ),
        flag(Some('D'), "debug", "", "Enable debug mode"),
        flag(Some('H'), "host", "list", "Daemon socket to connect to"),
        flag(
            Some('l'),
            "log-level",
            "string",
            "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")",
        ),
        flag(None, "tls", "", "Use TLS; implied by --tlsverify"),
        flag(
            None,
            "tlscacert",
            "string",
            "Trust certs signed only by this CA (default \"~/.docker/ca.pem\")",
        ),
        flag(
            None,
            "tlscert",
            "string",
            "Path to TLS certificate file (default \"~/.docker/cert.pem\")",
        ),
        flag(
            None,
            "tlskey",
            "string",
            "Path to TLS key file (default \"~/.docker/key.pem\")",
        ),
        flag(None, "tlsverify", "", "Use TLS and verify the remote"),
        flag(Some('v'), "version", "", "Print version information and quit"),
    ]
}

fn listed(rows: &[(&str, &str)]) -> String {
    rows.iter()
        .map(|(name, about)| format!("  {name:<12}{about}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_declarations_sound() {
        let mut names: Vec<_> = COMMANDS.iter().flat_map(|entry| entry.names).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        for entry in COMMANDS {
            (entry.declare)().debug_assert();
        }
    }

    #[test]
    fn no_refused_flag_is_declared() {
        for entry in COMMANDS {
            for argument in (entry.declare)().get_arguments() {
                let long = argument.get_long().unwrap_or_default();
                assert!(
                    !entry.shape.refused.contains(&long),
                    "{} --{long}",
                    entry.names[0]
                );
            }
        }
    }

    #[test]
    fn helps() {
        let top = top_help("docker");
        assert!(top.starts_with("Usage:  docker [OPTIONS] COMMAND\n"));
        assert!(top.contains("\n  run         Create and run a new container from an image\n"));
        assert!(top.contains("\n  tag         Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE\n"));
        let group = |name: &str| {
            let group = GROUPS.iter().find(|group| group.name == name);
            group_help("havre", group.expect("a group"))
        };
        assert!(group("buildx").contains("\n  imagetools  Commands to work on images in registry\n"));
        assert!(!group("buildx").contains("imagetools inspect") && !top.contains("imagetools"));
        let image = group("image");
        assert!(
            image.starts_with("Usage:  havre image COMMAND\n\nManage images\n\nCommands:\n  bootstrap   ")
        );
        assert!(image.contains("\n  ls          List images\n"));
    }
}
