//! RUN: package managers, downloads, rights.

use havre_dockerfile::instructions::{CommandLine, Kind, MountKind, Run};
use havre_dockerfile::parser::Node;

use super::page::Page;
use super::shell::{self, Command};
use crate::finding::Finding;
use crate::rule;

pub(super) fn check(page: &Page<'_>, findings: &mut Vec<Finding>) {
    let shipped = page.shipped();
    for index in 0..page.stages.len() {
        let mut stage = Stage {
            ships: shipped.contains(&index),
            ..Stage::default()
        };
        for item in page.body(index) {
            match &item.kind {
                Ok(Kind::Shell(words)) => {
                    stage.pipefail = words.iter().any(|word| word.contains("pipefail"));
                    stage.bash = words.first().is_some_and(|shell| shell.ends_with("bash"));
                }
                Ok(Kind::Env(pairs)) => {
                    stage.pip_quiet |= pairs.iter().any(|(name, value)| {
                        name == "PIP_NO_CACHE_DIR" && !matches!(value.as_str(), "" | "0" | "false")
                    });
                }
                Ok(Kind::Run(run)) => step(page, &item.node, run, &mut stage, findings),
                _ => {}
            }
        }
    }
}

/// What earlier instructions of a stage have settled.
#[derive(Default)]
struct Stage {
    /// Its layers are in the image.
    ships: bool,
    pipefail: bool,
    bash: bool,
    pip_quiet: bool,
    no_recommends: bool,
}

/// A step.
struct Step<'s> {
    commands: Vec<Command>,
    /// All of its text.
    text: String,
    mounts: Vec<&'s str>,
}

impl Step<'_> {
    /// Whether something on top of that path keeps it out of the layer, or the step deletes it.
    fn clears(&self, path: &str) -> bool {
        let mounted = self.mounts.iter().any(|mount| {
            let mount = mount.trim_end_matches('/');
            path.starts_with(mount) || mount.starts_with(path)
        });
        let deleted = self.commands.iter().any(|command| {
            matches!(command.program(), "rm" | "find" | "truncate")
                && command.words.iter().any(|word| {
                    word.starts_with(path)
                        || (word.len() > 4 && path.starts_with(word.trim_end_matches(['*', '/'])))
                })
        });
        mounted || deleted
    }
}

fn step(page: &Page<'_>, node: &Node, run: &Run, stage: &mut Stage, findings: &mut Vec<Finding>) {
    let mounts = run
        .mounts
        .iter()
        .filter(|mount| !matches!(mount.kind, MountKind::Bind { .. }));
    let bodies: String = run.heredocs.iter().map(|heredoc| heredoc.content()).collect();
    let step = Step {
        commands: shell::commands(run),
        text: format!("{}\n{bodies}", node.rest),
        mounts: mounts.map(|mount| mount.target.as_str()).collect(),
    };
    apt(page, node, &step, stage, findings);
    if stage.ships {
        caches(page, node, &step, stage, findings);
    }
    let exec = matches!(run.command, CommandLine::Exec(_));
    pipes(page, node, &step, stage, exec, findings);
    for command in &step.commands {
        if command.sudo {
            findings.push(
                Finding::new(
                    rule::SUDO,
                    page.word(node, "sudo"),
                    "sudo asks and logs as on a terminal; a build step is root unless USER says otherwise",
                )
                .fix(
                    "leave sudo out; USER root before the step and USER NAME behind it, where it is not root",
                ),
            );
            break;
        }
    }
    for command in step
        .commands
        .iter()
        .filter(|command| command.program() == "chmod")
    {
        let mode = command.words.iter().skip(1).find(|word| !word.starts_with('-'));
        if let Some(mode) = mode.filter(|mode| super::copy::everybody_writes(mode)) {
            findings.push(
                Finding::new(
                    rule::WORLD_WRITABLE,
                    page.word(node, mode),
                    format!("chmod {mode} lets everybody write"),
                )
                .fix(format!(
                    "chown USER {} and chmod u+rwX,go+rX,go-w",
                    command.words.last().map_or("PATH", String::as_str)
                )),
            );
        }
    }
}

fn apt(page: &Page<'_>, node: &Node, step: &Step<'_>, stage: &mut Stage, findings: &mut Vec<Finding>) {
    if step.text.contains("Install-Recommends") {
        stage.no_recommends = true;
    }
    let apt: Vec<&Command> = step
        .commands
        .iter()
        .filter(|command| matches!(command.program(), "apt-get" | "apt" | "aptitude"))
        .collect();
    let verbs: Vec<&str> = apt.iter().map(|command| command.verb()).collect();
    let installs = verbs.iter().any(|verb| {
        matches!(
            *verb,
            "install" | "upgrade" | "dist-upgrade" | "full-upgrade" | "build-dep" | "source" | "download"
        )
    });
    if let Some(update) = apt.iter().find(|command| command.verb() == "update") {
        // A tool may well install by another way in the same step.
        if !installs
            && apt.len() == verbs.iter().filter(|verb| **verb == "update").count()
            && !step.text.contains("install")
        {
            findings.push(
                Finding::new(
                    rule::APT_UPDATE_ALONE,
                    page.word(node, "update"),
                    "the lists are cached with this step: a later install finds old ones",
                )
                .fix(format!(
                    "{} update && {} install in one RUN",
                    update.program(),
                    update.program()
                )),
            );
        } else if stage.ships
            && installs
            && !step.clears("/var/lib/apt/lists")
            && !verbs
                .iter()
                .any(|verb| matches!(*verb, "dist-clean" | "distclean"))
        {
            findings.push(
                Finding::new(rule::APT_LISTS_LEFT, page.word(node, "update"), "the package lists stay in the layer: about 20 to 40 MB")
                    .fix("&& rm -rf /var/lib/apt/lists/* at the end of the same RUN, or RUN --mount=type=cache,target=/var/lib/apt/lists …"),
            );
        }
    }
    if apt
        .iter()
        .any(|command| command.program() == "apt" && !command.verb().is_empty())
    {
        findings.push(
            Finding::new(
                rule::APT_COMMAND,
                page.word(node, "apt"),
                "apt is made for people: its command line may change",
            )
            .fix("apt-get"),
        );
    }
    for install in apt.iter().filter(|command| command.verb() == "install") {
        let assumes = install.words.iter().any(|word| {
            matches!(
                word.as_str(),
                "--yes" | "--assume-yes" | "-qq" | "--dry-run" | "--download-only"
            ) || (word.starts_with('-') && !word.starts_with("--") && word.contains(['y', 's', 'd']))
        });
        let place = || page.word(node, "install");
        if !assumes && !step.text.contains("Assume-Yes") {
            findings.push(
                Finding::new(
                    rule::APT_ASSUME_YES,
                    place(),
                    "apt-get asks before it installs, and nobody answers",
                )
                .fix(format!("{} install -y …", install.program())),
            );
        }
        let all = !install.has("--no-install-recommends") && !stage.no_recommends;
        // Without names it only mends what is there.
        let named = install
            .words
            .iter()
            .skip_while(|word| *word != "install")
            .skip(1)
            .any(|word| !word.starts_with('-'));
        if stage.ships && all && named {
            findings.push(
                Finding::new(
                    rule::APT_RECOMMENDS,
                    place(),
                    "recommended packages come along, often more than what was asked for",
                )
                .fix(format!(
                    "{} install -y --no-install-recommends …",
                    install.program()
                )),
            );
        }
    }
}

/// A package manager and how it is told to leave nothing behind.
struct Manager {
    programs: &'static [&'static str],
    verbs: &'static [&'static str],
    /// An option that keeps it from caching.
    option: &'static str,
    /// A command that cleans up.
    clean: (&'static str, &'static str),
    path: &'static str,
    fix: &'static str,
}

const MANAGERS: [Manager; 6] = [
    Manager {
        programs: &["apk"],
        verbs: &["add"],
        option: "--no-cache",
        clean: ("apk", "cache"),
        path: "/var/cache/apk",
        fix: "apk add --no-cache …",
    },
    Manager {
        programs: &["dnf", "yum", "microdnf", "tdnf"],
        verbs: &["install", "update", "upgrade", "groupinstall"],
        option: "--setopt=keepcache=0",
        clean: ("", "clean"),
        path: "/var/cache/",
        fix: "&& dnf clean all at the end of the same RUN, or RUN --mount=type=cache,target=/var/cache/dnf …",
    },
    Manager {
        programs: &["zypper"],
        verbs: &["install", "in", "update", "up"],
        option: "",
        clean: ("zypper", "clean"),
        path: "/var/cache/zypp",
        fix: "&& zypper clean --all at the end of the same RUN",
    },
    Manager {
        programs: &["pip", "pip3"],
        verbs: &["install"],
        option: "--no-cache-dir",
        clean: ("pip", "cache"),
        path: "/root/.cache",
        fix: "pip install --no-cache-dir …, or RUN --mount=type=cache,target=/root/.cache/pip …",
    },
    Manager {
        programs: &["npm"],
        verbs: &["install", "ci", "i"],
        option: "",
        clean: ("npm", "cache"),
        path: "/root/.npm",
        fix: "&& npm cache clean --force in the same RUN, or RUN --mount=type=cache,target=/root/.npm …",
    },
    Manager {
        programs: &["yarn"],
        verbs: &["install", "", "add"],
        option: "",
        clean: ("yarn", "cache"),
        path: "/usr/local/share/.cache",
        fix: "&& yarn cache clean in the same RUN, or RUN --mount=type=cache,target=/usr/local/share/.cache …",
    },
];

fn caches(page: &Page<'_>, node: &Node, step: &Step<'_>, stage: &Stage, findings: &mut Vec<Finding>) {
    for manager in &MANAGERS {
        let uses = |command: &&Command| {
            let program = command.program();
            // python -m pip
            let module = program.starts_with("python")
                && command
                    .words
                    .windows(2)
                    .any(|pair| pair[0] == "-m" && manager.programs.contains(&pair[1].as_str()));
            let verb = match module {
                true => command
                    .words
                    .iter()
                    .skip_while(|word| !manager.programs.contains(&word.as_str()))
                    .nth(1)
                    .map_or("", String::as_str),
                false => command.verb(),
            };
            (module || manager.programs.contains(&program))
                && manager.verbs.contains(&verb)
                && (manager.option.is_empty() || !command.has(manager.option))
        };
        let Some(command) = step.commands.iter().find(uses) else {
            continue;
        };
        let cleans = step.commands.iter().any(|command| {
            let (program, verb) = manager.clean;
            let own = manager.programs.contains(&command.program()) || program == command.program();
            own && command.verb() == verb
        });
        let quiet = stage.pip_quiet && manager.path == "/root/.cache";
        if !cleans && !quiet && !step.clears(manager.path) {
            let program = command.program();
            findings.push(
                Finding::new(
                    rule::CACHE_LEFT,
                    page.word(node, program),
                    format!("what {program} has downloaded stays in the layer"),
                )
                .fix(manager.fix),
            );
        }
    }
}

fn pipes(
    page: &Page<'_>,
    node: &Node,
    step: &Step<'_>,
    stage: &Stage,
    exec: bool,
    findings: &mut Vec<Finding>,
) {
    let sets =
        |command: &Command| command.program() == "set" && command.words.iter().any(|word| word == "pipefail");
    if (stage.pipefail && !exec) || step.commands.iter().any(sets) {
        return;
    }
    let mut commands = step.commands.iter().peekable();
    while let Some(command) = commands.next() {
        if !command.piped || !matches!(command.program(), "curl" | "wget") {
            continue;
        }
        let next = commands.peek().map_or("", |next| next.program());
        let message = match shell::is_shell(next) || next.starts_with("python") {
            true => {
                format!("if the download breaks off, {next} runs the half that came, and the step succeeds")
            }
            false => format!("if the download fails, the step succeeds all the same: {next} decides"),
        };
        let fix = match stage.bash {
            true => "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"] above this line".to_owned(),
            false => format!(
                "{} to a file first, compare its sha256sum, then use it; or with bash: SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"] above this line",
                command.program()
            ),
        };
        findings.push(
            Finding::new(
                rule::PIPE_WITHOUT_PIPEFAIL,
                page.word(node, command.program()),
                message,
            )
            .fix(fix),
        );
        return;
    }
}
