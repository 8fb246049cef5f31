//! What checks, repairs and conversions of the store tell: endpoints of Havre's own.

use havre_engine::Mended;
use havre_engine::image::{Migrated, MigratedLayer, Outcome, Problem, Report, Users};
use serde::Serialize;

/// What a check found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReportView {
    images: u64,
    layers: u64,
    layer_bytes: u64,
    blobs: u64,
    blob_bytes: u64,
    problems: Vec<ProblemView>,
}

impl From<Report> for ReportView {
    fn from(report: Report) -> Self {
        Self {
            images: report.images,
            layers: report.layers,
            layer_bytes: report.layer_bytes,
            blobs: report.blobs,
            blob_bytes: report.blob_bytes,
            problems: report.problems.into_iter().map(ProblemView::from).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProblemView {
    kind: &'static str,
    digest: String,
    size: u64,
    problem: String,
    #[serde(flatten)]
    users: UsersView,
    /// What a repair would do first; empty if it can't do anything.
    remedy: String,
    /// What people can do where a repair can't.
    advice: String,
}

impl From<Problem> for ProblemView {
    fn from(problem: Problem) -> Self {
        let remedy = problem.remedies.first();
        Self {
            kind: problem.object.name(),
            advice: problem.advice(),
            remedy: remedy.map(|remedy| remedy.description()).unwrap_or_default(),
            digest: problem.digest.to_string(),
            size: problem.size,
            problem: problem.reason,
            users: problem.users.into(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsersView {
    images: Vec<String>,
    containers: Vec<String>,
    build_cache: bool,
}

impl From<Users> for UsersView {
    fn from(users: Users) -> Self {
        Self {
            images: users.images,
            containers: users.containers,
            build_cache: users.cache,
        }
    }
}

/// What became of something damaged.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MendedView {
    #[serde(flatten)]
    problem: ProblemView,
    repaired: bool,
    /// How, or why not.
    outcome: String,
    /// Containers that have to be restarted to see it.
    running: Vec<String>,
}

impl From<Mended> for MendedView {
    fn from(mended: Mended) -> Self {
        let (repaired, outcome) = match mended.repaired.outcome {
            Ok(how) => (true, how),
            Err(reason) => (false, reason),
        };
        Self {
            problem: mended.repaired.problem.into(),
            repaired,
            outcome,
            running: mended.running,
        }
    }
}

/// What became of the layers' forms.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MigratedView {
    to: &'static str,
    description: &'static str,
    already: u64,
    layers: Vec<MigratedLayerView>,
}

impl From<Migrated> for MigratedView {
    fn from(migrated: Migrated) -> Self {
        Self {
            to: migrated.to.name(),
            description: migrated.to.description(),
            already: migrated.already,
            layers: migrated.layers.into_iter().map(MigratedLayerView::from).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MigratedLayerView {
    digest: String,
    from: &'static str,
    /// `converted`, `planned`, `in use`, `gone`, `failed`
    outcome: &'static str,
    reason: String,
    before: u64,
    after: u64,
    #[serde(flatten)]
    users: UsersView,
}

impl From<MigratedLayer> for MigratedLayerView {
    fn from(layer: MigratedLayer) -> Self {
        let (outcome, reason) = match layer.outcome {
            Outcome::Converted => ("converted", String::new()),
            Outcome::Planned => ("planned", String::new()),
            Outcome::InUse => {
                let users = match layer.users.containers.as_slice() {
                    [] => "something mounted".to_owned(),
                    names => names.join(", "),
                };
                ("in use", format!("a directory under {users}"))
            }
            Outcome::Gone => ("gone", "it was removed meanwhile".to_owned()),
            Outcome::Failed(reason) => ("failed", reason),
        };
        Self {
            digest: layer.diff_id.to_string(),
            from: layer.from,
            outcome,
            reason,
            before: layer.before,
            after: layer.after,
            users: layer.users.into(),
        }
    }
}
