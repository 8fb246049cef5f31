//! `registry check`: is everything what its digest says, and does the database know what the storage has?

use std::collections::BTreeMap;

use havre_registry_store::{Checked, Damage, How};

use super::{failed, open_there};
use crate::args::registry::check::Check;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::printer::Printer;
use crate::template::Value;

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Problem}}\t{{.UsedBy}}\t{{.Repair}}",
    quiet: "Digest",
    headers: &[
        ("ID", "ID"),
        ("Digest", "DIGEST"),
        ("Problem", "PROBLEM"),
        ("UsedBy", "USED BY"),
        ("Repair", "REPAIR"),
    ],
};

/// How often a person is told how far it is, in bytes.
const STEP: u64 = 64 << 20;

pub(super) fn run(args: Check) -> Result<ExitStatus, CliError> {
    let (store, _, _runtime) = open_there(&args.place)?;
    if args.rebuild {
        store.rebuild().map_err(failed)?;
    }
    let shows = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let mut told = 0;
    let checked = store.check(!args.quick, &mut |bytes| {
        if shows && bytes >= told + STEP {
            told = bytes;
            Printer.err_bytes(format!("\r\x1b[K{} checked", bytes_of(bytes)).as_bytes());
        }
    });
    if told > 0 {
        Printer.err_bytes(b"\r\x1b[K");
    }
    let checked = checked.map_err(failed)?;
    let rows = rows(&checked);
    if !rows.is_empty() || args.format.is_some() {
        Printer.out(&LAYOUT.render(args.format.as_deref(), false, &rows)?);
    }
    let problems = checked.damaged.len();
    if args.repair {
        store.repair(&checked).map_err(failed)?;
    }
    if args.format.is_none() {
        Printer.line(&conclusion(&checked, &args));
    }
    match problems {
        0 => Ok(ExitStatus::SUCCESS),
        _ if args.repair => Ok(ExitStatus::SUCCESS),
        _ => Ok(ExitStatus::FAILURE),
    }
}

fn conclusion(checked: &Checked, args: &Check) -> String {
    let how = if args.quick { "there" } else { "read" };
    let all = format!(
        "{} blobs and manifests {how}, {}",
        checked.blobs,
        bytes_of(checked.bytes)
    );
    match (checked.damaged.len(), checked.unknown.len(), args.repair) {
        (0, 0, _) => format!("{all}: nothing is wrong."),
        (0, _, false) => format!(
            "{all}: nothing is damaged. What nobody knows of stays until --repair lets it be removed."
        ),
        (damaged, _, false) => format!("{all}: {damaged} damaged. Mend them with --repair."),
        (_, _, true) => {
            format!(
                "{all}: mended. Push images again whose blobs were damaged, and tags that are named above."
            )
        }
    }
}

fn bytes_of(bytes: u64) -> String {
    size::long(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn rows(checked: &Checked) -> Vec<Value> {
    let row = |digest: String, problem: String, used_by: String, repair: &str| {
        let cells = vec![
            ("ID", short_id(&digest).into()),
            ("Digest", digest.into()),
            ("Problem", problem.into()),
            ("UsedBy", used_by.into()),
            ("Repair", repair.into()),
        ];
        Value::row(cells, BTreeMap::new())
    };
    let damaged = checked.damaged.iter().map(|damage| {
        let problem = match &damage.how {
            How::Missing => "missing".to_owned(),
            How::Size { has, expected } => format!("{has} bytes, not {expected}"),
            How::Content { actual } => format!("content is {}", short_id(actual.as_str())),
        };
        let repair = match damage.manifests.is_empty() {
            true => "forget it: the next push brings it",
            false => "forget it with its tags",
        };
        row(damage.digest.to_string(), problem, users(damage), repair)
    });
    let unknown = checked.unknown.iter().map(|(digest, bytes)| {
        let problem = format!("{} nobody knows of", bytes_of(*bytes));
        row(
            digest.to_string(),
            problem,
            String::new(),
            "let 'registry gc' remove it",
        )
    });
    damaged.chain(unknown).collect()
}

/// `app:1, app:2, base`
fn users(damage: &Damage) -> String {
    let mut users: Vec<String> = Vec::new();
    for (name, tags) in &damage.manifests {
        match tags.is_empty() {
            true => users.push(format!("{name}@{}", short_id(damage.digest.as_str()))),
            false => users.extend(tags.iter().map(|tag| format!("{name}:{tag}"))),
        }
    }
    users.extend(damage.repositories.iter().map(ToString::to_string));
    users.join(", ")
}
