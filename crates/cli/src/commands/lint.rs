//! `lint`, and `build --check`.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use fs_err as fs;
use havre_dockerfile::parser::MAX_BYTES;
use havre_lint::dockerfile::{self, Context, Source};
use havre_lint::report::{self, Report};
use havre_lint::{RULES, Rule, Severity, image};
use havre_oci::RunConfig;

use crate::args::image::remote::RemoteFlags;
use crate::args::lint::Lint;
use crate::commands::{Done, explore::write};
use crate::context::Directory;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::explore::{self, is_archive};
use crate::session::Session;
use crate::spec::mounts::csv;

/// `havre lint`.
pub(crate) async fn lint(session: &Session, args: Lint) -> Done {
    if args.rules {
        return rules(session, &args);
    }
    let fail_on = match args.fail_on.as_deref() {
        None | Some("") => Some(Severity::Error),
        Some("never") => None,
        Some(name) => Some(Severity::named(name).ok_or_else(|| {
            CliError::Invalid(format!(
                "invalid --fail-on {name:?}: use info, warning, error or never"
            ))
        })?),
    };
    let format = args.format.as_deref().unwrap_or("text");
    if !["text", "json", "sarif"].contains(&format) {
        return Err(CliError::Invalid(format!(
            "invalid --format {format:?}: use text, json or sarif"
        )));
    }
    let ignored = ignored(&args.ignore)?;
    if args.file.is_some() && args.operands.len() > 1 {
        return Err(CliError::Invalid(
            "--file takes one PATH, the directory the Dockerfile is built from".to_owned(),
        ));
    }
    let here = [".".to_owned()];
    let operands = match args.operands.as_slice() {
        [] => &here[..],
        given => given,
    };
    let mut reports = Vec::new();
    let mut failed = false;
    for operand in operands {
        let (mut report, threshold) = match Subject::of(operand, args.file.as_deref())? {
            Subject::Image(name) => (of_image(session, &name).await?, fail_on),
            Subject::Dockerfile(named) => named.check(session, fail_on)?,
        };
        report.findings.retain(|finding| !ignored.contains(&finding.rule));
        failed |= threshold.is_some_and(|threshold| report.reaches(threshold));
        reports.push(report);
    }
    let to_terminal = args.output.is_none() && session.printer.out_is_terminal();
    let colour = to_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = match format {
        "json" => pretty(&report::json(&reports)),
        "sarif" => pretty(&report::sarif(&reports, env!("CARGO_PKG_VERSION"))),
        _ => report::text(&reports, colour),
    };
    write(session, args.output.as_deref().unwrap_or("-"), |output| {
        output.write_all(text.as_bytes())
    })?;
    Ok(if failed {
        ExitStatus::FAILURE
    } else {
        ExitStatus::SUCCESS
    })
}

/// `build --check`: what BuildKit has a check for. Warnings fail.
pub(crate) fn check(session: &Session, source: &str, file: Option<&str>) -> Done {
    let named = match (source, file) {
        ("-", None) => Named::stdin()?,
        ("-", Some(_)) => {
            return Err(CliError::Invalid(
                "--check reads a Dockerfile from standard input, no archive with one in it".to_owned(),
            ));
        }
        _ => Named::in_directory(source, file)?,
    };
    let (report, _) = named.check(session, None)?;
    // What the builder refuses is an error of the build, not a warning.
    if let Some(error) = report
        .findings
        .iter()
        .find(|finding| finding.rule.name == "syntax")
    {
        let line = match error.place {
            havre_lint::Place::Text(region) => region.line,
            _ => 1,
        };
        return Err(CliError::Invalid(format!(
            "dockerfile parse error on line {line}: {}",
            error.message
        )));
    }
    let (text, count) = report::buildkit(&report);
    session.printer.out(&text);
    Ok(if count == 0 {
        ExitStatus::SUCCESS
    } else {
        ExitStatus::FAILURE
    })
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// `--rules`.
fn rules(session: &Session, args: &Lint) -> Done {
    if !args.operands.is_empty() {
        return Err(CliError::Invalid(
            "--rules looks at nothing: leave PATH out".to_owned(),
        ));
    }
    let width = RULES.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
    let row = |rule: &&'static Rule| {
        format!(
            "{:width$}  {:8} {}\n",
            rule.name,
            rule.severity.name(),
            rule.about
        )
    };
    let text: String = RULES.iter().map(row).collect();
    write(session, args.output.as_deref().unwrap_or("-"), |output| {
        output.write_all(text.as_bytes())
    })?;
    Ok(ExitStatus::SUCCESS)
}

fn ignored(flags: &[String]) -> Result<Vec<&'static Rule>, CliError> {
    flags
        .iter()
        .flat_map(|text| csv(text))
        .map(|name| {
            havre_lint::find(&name).map_err(|error| {
                CliError::Invalid(format!(
                    "unknown rule {:?}: 'havre lint --rules' shows them all",
                    error.0
                ))
            })
        })
        .collect()
}

/// What an operand means.
enum Subject {
    Image(String),
    Dockerfile(Named),
}

impl Subject {
    fn of(operand: &str, file: Option<&str>) -> Result<Self, CliError> {
        if file.is_some() {
            return Named::in_directory(operand, file).map(Self::Dockerfile);
        }
        if operand == "-" {
            return Named::stdin().map(Self::Dockerfile);
        }
        let path = Path::new(operand);
        if is_archive(operand) {
            // As it is: a name that could be an image's is no archive to the explorer.
            let named = if path.exists() {
                format!("archive:{operand}")
            } else {
                operand.to_owned()
            };
            return Ok(Self::Image(named));
        }
        if !path.exists() {
            return Ok(Self::Image(operand.to_owned()));
        }
        if path.is_dir() && !path.join("Dockerfile").exists() {
            return Err(CliError::Invalid(format!(
                "there is no Dockerfile in {operand}: name one with --file, or an image with its tag, as {operand}:latest"
            )));
        }
        match path.is_dir() {
            true => Named::in_directory(operand, None).map(Self::Dockerfile),
            false => Ok(Self::Dockerfile(Named {
                path: operand.to_owned(),
                text: read(fs::File::open(path)?)?,
                context: None,
            })),
        }
    }
}

/// A Dockerfile by its name.
struct Named {
    /// To show.
    path: String,
    text: Vec<u8>,
    /// What it is built from, if that is known.
    context: Option<Directory>,
}

impl Named {
    fn stdin() -> Result<Self, CliError> {
        Ok(Self {
            path: "Dockerfile".to_owned(),
            text: read(io::stdin().lock())?,
            context: None,
        })
    }

    fn in_directory(directory: &str, file: Option<&str>) -> Result<Self, CliError> {
        let context = Directory::open(directory, file)?;
        let path = match (file, directory) {
            (Some("-"), _) => "Dockerfile".to_owned(),
            (Some(file), _) => file.to_owned(),
            (None, "." | "./") => "Dockerfile".to_owned(),
            (None, directory) => format!("{}/Dockerfile", directory.trim_end_matches('/')),
        };
        Ok(Self {
            path,
            text: context.text()?,
            context: Some(context),
        })
    }

    /// What there is to say, and from which weight on it fails.
    fn check(
        self,
        session: &Session,
        fail_on: Option<Severity>,
    ) -> Result<(Report, Option<Severity>), CliError> {
        let mut source = Source::new(&self.text);
        let about = self.context.as_ref().map(Directory::about).transpose()?;
        let ignores = |path: &str| about.as_ref().is_some_and(|about| about.rules.excludes(path));
        if let Some(about) = &about {
            source = source.in_context(Context {
                ignore_file: about.ignore_file,
                ignores: &ignores,
                names: &about.names,
            });
        }
        let checked = dockerfile::check(&source);
        for unknown in &checked.unknown {
            session
                .printer
                .warn(&format!("{}: # check=: {unknown}", self.path));
        }
        let report = Report {
            subject: report::Subject::Dockerfile {
                path: self.path,
                text: checked.text,
            },
            findings: checked.findings,
        };
        Ok((report, checked.settings.threshold(fail_on)))
    }
}

fn read(input: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // One byte more than is parsed, so that what is too large is found to be.
    input.take(MAX_BYTES as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

async fn of_image(session: &Session, name: &str) -> Result<Report, CliError> {
    let subject = explore::open(session, name, &RemoteFlags::default()).await?;
    let about = subject.about(session).await?;
    let config: RunConfig =
        serde_json::from_value(subject.config(session).await?).map_err(|error| CliError::Protocol {
            request: format!("the configuration of {name}"),
            reason: error.to_string(),
        })?;
    let mut contents = HashMap::new();
    let mut by_layer: Vec<Vec<Vec<u8>>> = vec![Vec::new(); subject.layers.len()];
    for (layer, path) in image::wanted(&subject.tree) {
        by_layer[layer].push(path);
    }
    for (layer, paths) in by_layer
        .into_iter()
        .enumerate()
        .filter(|(_, paths)| !paths.is_empty())
    {
        let found = subject
            .contents
            .several(session, layer, &paths, image::LARGEST_READ)
            .await?;
        contents.extend(found.into_iter().map(|(path, bytes)| ((layer, path), bytes)));
    }
    let findings = image::check(&image::Image {
        tags: &about.tags,
        config: &config,
        history: &about.history,
        tree: &subject.tree,
        contents: &contents,
        moved: &about.moved,
        committed: about.committed,
    });
    let layers = subject.layers.into_iter().map(|layer| report::Layer {
        digest: layer.digest,
        command: havre_lint::without_secrets(&layer.command),
    });
    Ok(Report {
        subject: report::Subject::Image {
            name: name.to_owned(),
            layers: layers.collect(),
        },
        findings,
    })
}
