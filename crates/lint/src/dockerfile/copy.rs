//! COPY and ADD.

use havre_dockerfile::instructions::{Copy, Kind, Source};

use super::page::{Item, Page};
use super::{Context, shell};
use crate::finding::Finding;
use crate::rule;
use crate::secrets;

pub(super) fn check(page: &Page<'_>, context: Option<&Context<'_>>, findings: &mut Vec<Finding>) {
    let shipped = page.shipped();
    for index in 0..page.stages.len() {
        for item in page.body(index) {
            let Ok(Kind::Copy(copy)) = &item.kind else {
                continue;
            };
            if copy.add.is_some() {
                add(page, item, copy, findings);
            }
            if copy.from.is_none() {
                from_context(page, item, copy, context, findings);
            }
            if shipped.contains(&index) {
                secret_files(page, item, copy, findings);
            }
            if copy.chmod.as_deref().is_some_and(everybody_writes) {
                let mode = copy.chmod.as_deref().unwrap_or_default();
                findings.push(
                    Finding::new(rule::WORLD_WRITABLE, page.word(&item.node, mode), format!("with mode {mode} everybody may write to what is copied"))
                        .fix("--chmod=755 for programs and directories, 644 for files, and --chown=USER for who has to write"),
                );
            }
        }
        before_install(page, index, findings);
    }
}

/// Whether a mode lets others write.
pub(super) fn everybody_writes(mode: &str) -> bool {
    let octal = !mode.is_empty() && mode.len() <= 4 && mode.bytes().all(|byte| byte.is_ascii_digit());
    match octal {
        true => u32::from_str_radix(mode, 8).is_ok_and(|mode| mode & 0o1002 == 0o002),
        false => mode.split(',').any(|part| {
            part.split_once(['+', '=']).is_some_and(|(who, what)| {
                (who.contains('o') || who.contains('a')) && what.contains('w') && !what.contains('t')
            })
        }),
    }
}

fn paths(copy: &Copy) -> impl Iterator<Item = &str> {
    copy.sources.iter().filter_map(|source| match source {
        Source::Path(path) => Some(path.as_str()),
        Source::Inline(_) => None,
    })
}

fn is_remote(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

fn is_git(path: &str) -> bool {
    path.starts_with("git@")
        || path.starts_with("git://")
        || path.starts_with("ssh://")
        || path
            .split(['#', '?'])
            .next()
            .is_some_and(|path| path.ends_with(".git"))
}

fn add(page: &Page<'_>, item: &Item, copy: &Copy, findings: &mut Vec<Finding>) {
    let Some(options) = &copy.add else { return };
    for path in paths(copy).filter(|path| is_remote(path) && !is_git(path)) {
        if options.checksum.is_none() {
            findings.push(
                Finding::new(
                    rule::ADD_WITHOUT_CHECKSUM,
                    page.word(&item.node, path),
                    "nobody notices when something else comes from this address",
                )
                .fix(format!("ADD --checksum=sha256:… {path} {}", copy.destination)),
            );
        }
    }
    // An archive is unpacked, and what a variable or a pattern stands for isn't known.
    let plain = |path: &str| {
        let lower = path.to_ascii_lowercase();
        let archive = [
            ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".tzst",
        ];
        !is_remote(path)
            && !is_git(path)
            && !path.contains(['$', '*', '?', '['])
            && !archive.iter().any(|end| lower.ends_with(end))
    };
    if options.unpack.is_none() && copy.sources.len() == paths(copy).count() && paths(copy).all(plain) {
        findings.push(
            Finding::new(
                rule::ADD_INSTEAD_OF_COPY,
                page.word(&item.node, &item.node.keyword),
                "ADD unpacks archives and fetches URLs; these are plain files",
            )
            .fix(format!("COPY {}", item.node.rest)),
        );
    }
}

/// What is taken out of a directory as a whole.
fn is_everything(path: &str) -> bool {
    matches!(path, "." | "./" | "/" | "*" | "./*")
}

fn from_context(
    page: &Page<'_>,
    item: &Item,
    copy: &Copy,
    context: Option<&Context<'_>>,
    findings: &mut Vec<Finding>,
) {
    let Some(context) = context else { return };
    for path in paths(copy).filter(|path| !is_remote(path) && !is_git(path) && !path.contains('$')) {
        if is_everything(path) {
            if !context.ignore_file {
                let unwanted = |name: &&String| {
                    secrets::file_kind(name).is_some()
                        || matches!(
                            name.as_str(),
                            ".git"
                                | "node_modules"
                                | ".venv"
                                | "venv"
                                | "target"
                                | "__pycache__"
                                | ".svn"
                                | ".hg"
                                | ".terraform"
                        )
                };
                let mut names: Vec<&str> = context
                    .names
                    .iter()
                    .filter(unwanted)
                    .map(String::as_str)
                    .collect();
                names.sort_unstable();
                let message = match names.as_slice() {
                    [] => "everything in the directory is copied, and there is no .dockerignore that leaves anything out".to_owned(),
                    names => format!("everything in the directory is copied, {} among it, and there is no .dockerignore", names.join(", ")),
                };
                let lines = if names.is_empty() {
                    vec![".git", ".env"]
                } else {
                    names
                };
                findings.push(
                    Finding::new(rule::DOCKERIGNORE_MISSING, page.word(&item.node, path), message).fix(
                        format!(
                            "a file .dockerignore beside the sources, with a line for each: {}",
                            lines.join(", ")
                        ),
                    ),
                );
            }
            continue;
        }
        let plain = path.trim_start_matches("./").trim_matches('/');
        if !plain.is_empty()
            && !plain.contains(['*', '?', '['])
            && context.ignore_file
            && (context.ignores)(plain)
        {
            findings.push(
                Finding::new(
                    rule::COPY_IGNORED_FILE,
                    page.word(&item.node, path),
                    format!("{path} is left out by .dockerignore, so it isn't there to be copied"),
                )
                .fix(format!(
                    "a line !{plain} in .dockerignore, or no {} of it",
                    copy.keyword()
                )),
            );
        }
    }
}

fn secret_files(page: &Page<'_>, item: &Item, copy: &Copy, findings: &mut Vec<Finding>) {
    for path in paths(copy).filter(|path| !is_remote(path)) {
        if let Some(kind) = secrets::file_kind(path) {
            findings.push(
                Finding::new(
                    rule::SECRET_FILE,
                    page.word(&item.node, path),
                    format!("{path} ({kind}) becomes part of the image, also if a later step deletes it"),
                )
                .fix(format!(
                    "mount it in the step that needs it: RUN --mount=type=bind,source={path},target={} …",
                    target(path, &copy.destination)
                )),
            );
        }
    }
}

fn target(path: &str, destination: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match destination.ends_with('/') || destination == "." {
        true => format!("{}/{name}", destination.trim_end_matches('/')),
        false => destination.to_owned(),
    }
}

/// How dependencies are installed, and the files that name them.
const INSTALLERS: [(&str, &[&str], &str); 14] = [
    ("npm", &["install", "ci", "i"], "package.json package-lock.json"),
    ("yarn", &["install", ""], "package.json yarn.lock"),
    ("pnpm", &["install", "i"], "package.json pnpm-lock.yaml"),
    ("bun", &["install"], "package.json bun.lock"),
    ("pip", &["install"], "requirements.txt"),
    ("pip3", &["install"], "requirements.txt"),
    ("poetry", &["install"], "pyproject.toml poetry.lock"),
    ("pipenv", &["install", "sync"], "Pipfile Pipfile.lock"),
    ("uv", &["sync"], "pyproject.toml uv.lock"),
    ("bundle", &["install", ""], "Gemfile Gemfile.lock"),
    ("composer", &["install"], "composer.json composer.lock"),
    ("go", &["mod"], "go.mod go.sum"),
    ("cargo", &["fetch"], "Cargo.toml Cargo.lock"),
    ("dotnet", &["restore"], "*.csproj"),
];

/// The first step that installs dependencies comes after everything was copied, and nothing was before.
fn before_install(page: &Page<'_>, index: usize, findings: &mut Vec<Finding>) {
    let mut everything: Option<&Item> = None;
    for item in page.body(index) {
        match &item.kind {
            Ok(Kind::Copy(copy))
                if copy.from.is_none()
                    && copy.excludes.is_empty()
                    && paths(copy).any(|path| matches!(path, "." | "./")) =>
            {
                everything.get_or_insert(item);
            }
            Ok(Kind::Run(run)) => {
                let installs = shell::commands(run).into_iter().find_map(|command| {
                    let (_, verbs, files) = INSTALLERS
                        .iter()
                        .find(|(program, _, _)| *program == command.program())?;
                    let verb = command.verb();
                    let lists = !matches!(command.program(), "pip" | "pip3")
                        || command
                            .words
                            .iter()
                            .any(|word| word.starts_with("-r") || word == "." || word == "--requirement");
                    let global = command.has("-g") || command.has("--global");
                    (verbs.contains(&verb) && lists && !global).then(|| (command.words.join(" "), *files))
                });
                let Some((command, files)) = installs else {
                    continue;
                };
                if let Some(copied) = everything {
                    findings.push(
                        Finding::new(
                            rule::COPY_BEFORE_INSTALL,
                            page.head(&copied.node),
                            format!("every change of any file makes {command:?} run again"),
                        )
                        .fix(format!(
                            "COPY {files} ./ first, then RUN {command}, then {}",
                            copied.node.original
                        )),
                    );
                }
                return;
            }
            _ => {}
        }
    }
}
