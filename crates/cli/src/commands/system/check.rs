//! `system check`: is everything what its digest says, and if not, can it be had again?

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::args::system::check::Check;
use crate::client::Call;
use crate::commands::{Done, prompt};
use crate::credentials;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::progress::{self, Progress};
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Report {
    images: u64,
    layers: u64,
    layer_bytes: i64,
    blobs: u64,
    blob_bytes: i64,
    problems: Vec<Problem>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Problem {
    kind: String,
    digest: String,
    size: i64,
    problem: String,
    #[serde(flatten)]
    users: Users,
    remedy: String,
    advice: String,
    // After a repair.
    repaired: bool,
    outcome: String,
    running: Vec<String>,
}

/// Who needs something.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Users {
    images: Vec<String>,
    containers: Vec<String>,
    build_cache: bool,
}

impl Users {
    /// The first of them, and how many there are besides.
    pub(super) fn short(&self) -> String {
        let containers = self.containers.iter().map(|name| match self.images.is_empty() {
            true => format!("container {name}"),
            false => name.clone(),
        });
        let mut all: Vec<String> = match self.images.is_empty() {
            true => containers.collect(),
            false => self.images.clone(),
        };
        if all.is_empty() && self.build_cache {
            all.push("build cache".to_owned());
        }
        match all.as_slice() {
            [] => "nothing".to_owned(),
            [one] => one.clone(),
            [one, others @ ..] => format!("{one} (+{})", others.len()),
        }
    }

    /// The cells all of them have.
    pub(super) fn cells(&self) -> Vec<(&'static str, Value)> {
        let list =
            |names: &[String]| Value::List(names.iter().map(|name| Value::from(name.as_str())).collect());
        vec![
            ("Images", list(&self.images)),
            ("Containers", list(&self.containers)),
            ("BuildCache", Value::Bool(self.build_cache)),
            ("UsedBy", self.short().into()),
        ]
    }
}

const PROBLEMS: Layout = Layout {
    table: "{{.Kind}}\t{{.ID}}\t{{.Size}}\t{{.UsedBy}}\t{{.Problem}}\t{{.Repair}}",
    quiet: "Digest",
    headers: HEADERS,
};

const REPAIRED: Layout = Layout {
    table: "{{.Kind}}\t{{.ID}}\t{{.Size}}\t{{.UsedBy}}\t{{.Repaired}}\t{{.Outcome}}",
    quiet: "Digest",
    headers: HEADERS,
};

const HEADERS: &[(&str, &str)] = &[
    ("Kind", "KIND"),
    ("ID", "ID"),
    ("Digest", "DIGEST"),
    ("Size", "SIZE"),
    ("Bytes", "BYTES"),
    ("UsedBy", "USED BY"),
    ("Images", "IMAGES"),
    ("Containers", "CONTAINERS"),
    ("BuildCache", "BUILD CACHE"),
    ("Problem", "PROBLEM"),
    ("Repair", "REPAIR"),
    ("Remedy", "REMEDY"),
    ("Advice", "ADVICE"),
    ("Repaired", "REPAIRED"),
    ("Outcome", "RESULT"),
    ("Running", "RUNNING"),
];

impl Problem {
    fn name(&self) -> String {
        format!("{} {}", self.kind, short_id(&self.digest))
    }

    fn row(&self, after_repair: bool) -> Value {
        let repair = match self.remedy.as_str() {
            "" => "not possible",
            remedy => remedy,
        };
        let mut cells = vec![
            ("Kind", self.kind.as_str().into()),
            ("ID", short_id(&self.digest).into()),
            ("Digest", self.digest.as_str().into()),
            ("Size", size::short(self.size).into()),
            ("Bytes", Value::Int(self.size)),
            ("Problem", self.problem.as_str().into()),
            ("Repair", repair.into()),
            ("Remedy", self.remedy.as_str().into()),
            ("Advice", self.advice.as_str().into()),
        ];
        cells.extend(self.users.cells());
        if after_repair {
            let running = self.running.iter().map(|name| Value::from(name.as_str()));
            cells.push(("Repaired", if self.repaired { "yes" } else { "no" }.into()));
            cells.push(("Outcome", self.outcome.as_str().into()));
            cells.push(("Running", Value::List(running.collect())));
        }
        Value::row(cells, BTreeMap::new())
    }
}

/// How much is said.
struct Manner<'a> {
    format: Option<&'a str>,
    quiet: bool,
    /// Sentences beside the list; without them it is for programs.
    spoken: bool,
}

impl Manner<'_> {
    fn progress(&self, session: &Session) -> Progress {
        match self.spoken {
            true => Progress::to_output(&session.printer),
            false => Progress::silent(),
        }
    }

    fn list(
        &self,
        session: &Session,
        layout: &Layout,
        problems: &[Problem],
        after_repair: bool,
    ) -> Result<(), CliError> {
        if self.spoken && problems.is_empty() {
            return Ok(());
        }
        let rows: Vec<Value> = problems.iter().map(|problem| problem.row(after_repair)).collect();
        session
            .printer
            .out(&layout.render(self.format, self.quiet, &rows)?);
        Ok(())
    }

    fn say(&self, session: &Session, text: &str) {
        if self.spoken {
            session.printer.line(text);
        }
    }
}

/// `havre system check`.
pub(crate) async fn check(session: &Session, args: Check) -> Done {
    let format = args.format.as_deref().filter(|format| !format.is_empty());
    let manner = Manner {
        format,
        quiet: args.quiet,
        spoken: !args.quiet && format.is_none_or(|format| format.starts_with("table")),
    };
    if args.force && !args.repair {
        return Err(CliError::Invalid(
            "--force has a meaning with --repair only".to_owned(),
        ));
    }
    if args.repair && !args.force && !manner.spoken {
        return Err(CliError::Invalid(
            "a repair that is to be confirmed shows what it would do: add --force, or leave --quiet and --format out"
                .to_owned(),
        ));
    }
    let call = session.client()?.post("/havre/system/check");
    let report: Report = result(session, call, manner.progress(session), "Report").await?;
    let problems = &report.problems;
    if !args.repair || problems.is_empty() {
        manner.list(session, &PROBLEMS, problems, false)?;
        manner.say(session, &summary(&report));
        if problems.iter().any(|problem| !problem.remedy.is_empty()) {
            manner.say(
                session,
                &format!("To repair what can be: {} system check --repair", session.program),
            );
        }
        return Ok(status(problems.is_empty()));
    }

    let (repairable, others): (Vec<_>, Vec<_>) =
        problems.iter().partition(|problem| !problem.remedy.is_empty());
    if manner.spoken {
        manner.list(session, &PROBLEMS, problems, false)?;
        manner.say(session, &summary(&report));
    }
    if repairable.is_empty() {
        if !manner.spoken {
            manner.list(session, &PROBLEMS, problems, false)?;
        }
        manner.say(session, "Nothing of this can be repaired from here.");
        return Ok(ExitStatus::FAILURE);
    }
    if !args.force {
        prompt::confirm(session, &warning(&repairable)).map_err(|error| match error {
            CliError::Silent(_) => CliError::Silent(ExitStatus::FAILURE),
            other => other,
        })?;
    }
    let objects: Vec<_> = repairable
        .iter()
        .map(|problem| json!({"kind": problem.kind, "digest": problem.digest}))
        .collect();
    let call = session
        .client()?
        .post("/havre/system/repair")
        .json(&json!({"objects": objects}));
    let call = credentials::sign_for_all(call, &session.settings)?;
    let repaired: Vec<Problem> = result(session, call, manner.progress(session), "Repaired").await?;
    let mut shown = repaired.clone();
    if !manner.spoken {
        // The whole truth in one list.
        shown.extend(others.iter().map(|problem| Problem {
            outcome: problem.advice.clone(),
            ..(*problem).clone()
        }));
    }
    manner.list(session, &REPAIRED, &shown, true)?;
    let failed = repaired.iter().filter(|problem| !problem.repaired).count();
    let mut running: Vec<&str> = repaired
        .iter()
        .filter(|problem| problem.repaired)
        .flat_map(|problem| problem.running.iter().map(String::as_str))
        .collect();
    running.sort_unstable();
    running.dedup();
    if !running.is_empty() {
        manner.say(
            session,
            &format!(
                "Restart what runs on repaired layers, it keeps the damaged ones until then: {}",
                running.join(", ")
            ),
        );
    }
    let remaining = failed + others.len();
    manner.say(
        session,
        &match remaining {
            0 => "Everything is repaired.".to_owned(),
            _ => format!(
                "{}: {} repaired, {remaining} not.",
                count(problems.len() as u64, "problem"),
                problems.len() - remaining
            ),
        },
    );
    Ok(status(remaining == 0))
}

fn status(well: bool) -> ExitStatus {
    if well {
        ExitStatus::SUCCESS
    } else {
        ExitStatus::FAILURE
    }
}

/// Shows a stream to its end; the result is in one of its lines.
pub(super) async fn result<T: DeserializeOwned>(
    session: &Session,
    call: Call<'_>,
    progress: Progress,
    name: &str,
) -> Result<T, CliError> {
    let mut aux = progress::show(call.lines().await?, progress, &session.printer).await?;
    let found = aux.iter_mut().rev().find_map(|aux| aux.get_mut(name));
    let value = found.map(serde_json::Value::take).unwrap_or_default();
    serde_json::from_value(value)
        .map_err(|error| CliError::Stream(format!("the engine's answer cannot be understood: {error}")))
}

fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn summary(report: &Report) -> String {
    let looked_at = format!(
        "Checked {}: {} ({}) and {} ({})",
        count(report.images, "image"),
        count(report.layers, "layer"),
        size::short(report.layer_bytes),
        count(report.blobs, "blob"),
        size::short(report.blob_bytes),
    );
    if report.problems.is_empty() {
        return format!("{looked_at}. All are what their digests say.");
    }
    let mut text = format!("{looked_at}. {}.", count(report.problems.len() as u64, "problem"));
    for problem in report
        .problems
        .iter()
        .filter(|problem| !problem.advice.is_empty())
    {
        text.push_str(&format!("\n{}: {}", problem.name(), problem.advice));
    }
    text
}

/// What a repair is going to do.
fn warning(repairable: &[&Problem]) -> String {
    let mut text = String::from("WARNING! This will repair:\n");
    for problem in repairable {
        text.push_str(&format!("  - {}: {}\n", problem.name(), problem.remedy));
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, remedy: &str, advice: &str) -> Problem {
        Problem {
            kind: kind.to_owned(),
            digest: format!("sha256:{}", "ab".repeat(32)),
            size: 12_345_678,
            problem: "its metadata changed".to_owned(),
            users: Users {
                images: vec!["app:latest".to_owned(), "app:v1".to_owned()],
                containers: vec!["web".to_owned()],
                build_cache: false,
            },
            remedy: remedy.to_owned(),
            advice: advice.to_owned(),
            ..Problem::default()
        }
    }

    #[test]
    fn problems_are_listed_with_what_can_be_done() {
        let problems = [
            problem("layer", "fetch from localhost:5000/app", ""),
            problem("config", "", "load it again"),
        ];
        let rows: Vec<Value> = problems.iter().map(|problem| problem.row(false)).collect();
        assert_eq!(
            PROBLEMS.render(None, false, &rows).unwrap(),
            "KIND      ID             SIZE      USED BY           PROBLEM                REPAIR\n\
             layer     abababababab   12.3MB    app:latest (+1)   its metadata changed   fetch from localhost:5000/app\n\
             config    abababababab   12.3MB    app:latest (+1)   its metadata changed   not possible\n"
        );
        let report = Report {
            images: 1,
            layers: 2,
            layer_bytes: 24_691_356,
            blobs: 3,
            blob_bytes: 4000,
            problems: problems.to_vec(),
        };
        assert_eq!(
            summary(&report),
            "Checked 1 image: 2 layers (24.7MB) and 3 blobs (4kB). 2 problems.\nconfig abababababab: load it again"
        );
        assert_eq!(
            warning(&[&problems[0]]),
            "WARNING! This will repair:\n  - layer abababababab: fetch from localhost:5000/app\n\n"
        );
    }

    #[test]
    fn users_are_named() {
        let users = |images: &[&str], containers: &[&str], build_cache| {
            Users {
                images: images.iter().map(ToString::to_string).collect(),
                containers: containers.iter().map(ToString::to_string).collect(),
                build_cache,
            }
            .short()
        };
        assert_eq!(users(&["a"], &["web"], true), "a");
        assert_eq!(users(&[], &["web", "db"], false), "container web (+1)");
        assert_eq!(users(&[], &[], true), "build cache");
        assert_eq!(users(&[], &[], false), "nothing");
    }
}
