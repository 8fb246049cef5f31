//! `registry gc`: what no image needs goes, or is shown.

use std::collections::BTreeMap;

use havre_registry_store::Collected;

use super::{failed, open_there};
use crate::args::registry::gc::Gc;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::printer::Printer;
use crate::template::Value;

const LAYOUT: Layout = Layout {
    table: "{{.Kind}}\t{{.ID}}\t{{.Repository}}\t{{.Size}}",
    quiet: "Digest",
    headers: &[
        ("Kind", "KIND"),
        ("ID", "ID"),
        ("Digest", "DIGEST"),
        ("Repository", "REPOSITORY"),
        ("Size", "SIZE"),
        ("Bytes", "BYTES"),
    ],
};

pub(super) fn run(args: Gc) -> Result<ExitStatus, CliError> {
    let (store, config, _runtime) = open_there(&args.place)?;
    let collected = match args.dry_run {
        true => store.collectable(config.patience),
        false => store.collect(config.patience),
    };
    let collected = collected.map_err(failed)?;
    let rows = rows(&collected);
    if !rows.is_empty() || args.format.is_some() {
        Printer.out(&LAYOUT.render(args.format.as_deref(), false, &rows)?);
    }
    if args.format.is_none() {
        let freed = i64::try_from(collected.bytes()).unwrap_or(i64::MAX);
        Printer.line(&match args.dry_run {
            true => format!("Would reclaim {}. Nothing was changed.", size::long(freed)),
            false => format!("Total reclaimed space: {}", size::long(freed)),
        });
    }
    Ok(ExitStatus::SUCCESS)
}

fn rows(collected: &Collected) -> Vec<Value> {
    let row = |kind: &str, id: &str, digest: &str, repository: &str, bytes: Option<u64>| {
        let bytes = bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let cells = vec![
            ("Kind", kind.into()),
            ("ID", id.into()),
            ("Digest", digest.into()),
            ("Repository", repository.into()),
            ("Size", bytes.map_or(String::new(), size::long).into()),
            ("Bytes", Value::Int(bytes.unwrap_or_default())),
        ];
        Value::row(cells, BTreeMap::new())
    };
    let manifests = collected.manifests.iter().map(|(name, digest)| {
        let digest = digest.to_string();
        row("deleted image", &short_id(&digest), &digest, name.as_str(), None)
    });
    let unused = collected.unused.iter().map(|(name, digest)| {
        let digest = digest.to_string();
        row("unused blob", &short_id(&digest), &digest, name.as_str(), None)
    });
    let blobs = collected.blobs.iter().map(|(digest, bytes)| {
        let digest = digest.to_string();
        row("bytes", &short_id(&digest), &digest, "", Some(*bytes))
    });
    let uploads = collected
        .uploads
        .iter()
        .map(|(name, id, bytes)| row("upload", &id[..id.len().min(12)], "", name.as_str(), Some(*bytes)));
    manifests.chain(unused).chain(blobs).chain(uploads).collect()
}
