//! `system migrate`: layers of earlier configurations get the form new ones have.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::check::{Users, result};
use crate::args::system::migrate::Migrate;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::progress::Progress;
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Migrated {
    to: String,
    description: String,
    already: u64,
    layers: Vec<Layer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Layer {
    digest: String,
    from: String,
    outcome: String,
    reason: String,
    before: i64,
    after: i64,
    #[serde(flatten)]
    users: Users,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.From}}\t{{.To}}\t{{.Before}}\t{{.After}}\t{{.UsedBy}}\t{{.Result}}",
    quiet: "Digest",
    headers: &[
        ("ID", "LAYER"),
        ("Digest", "DIGEST"),
        ("From", "FROM"),
        ("To", "TO"),
        ("Before", "BEFORE"),
        ("After", "AFTER"),
        ("BytesBefore", "BYTES BEFORE"),
        ("BytesAfter", "BYTES AFTER"),
        ("UsedBy", "USED BY"),
        ("Images", "IMAGES"),
        ("Containers", "CONTAINERS"),
        ("BuildCache", "BUILD CACHE"),
        ("Outcome", "OUTCOME"),
        ("Result", "RESULT"),
    ],
};

impl Layer {
    fn row(&self, to: &str) -> Value {
        let is_known = self.outcome == "converted";
        let after = match is_known {
            true => size::short(self.after),
            false => "-".to_owned(),
        };
        let mut cells = vec![
            ("ID", short_id(&self.digest).into()),
            ("Digest", self.digest.as_str().into()),
            ("From", self.from.as_str().into()),
            ("To", to.into()),
            ("Before", size::short(self.before).into()),
            ("After", after.into()),
            ("BytesBefore", Value::Int(self.before)),
            (
                "BytesAfter",
                if is_known {
                    Value::Int(self.after)
                } else {
                    Value::Null
                },
            ),
            ("Outcome", self.outcome.as_str().into()),
            ("Result", self.result().into()),
        ];
        cells.extend(self.users.cells());
        Value::row(cells, BTreeMap::new())
    }

    fn result(&self) -> String {
        match self.outcome.as_str() {
            "planned" => "would be converted".to_owned(),
            "in use" | "gone" => format!("skipped: {}", self.reason),
            "failed" => format!("failed: {}", self.reason),
            other => other.to_owned(),
        }
    }
}

/// `havre system migrate`.
pub(crate) async fn migrate(session: &Session, args: Migrate) -> Done {
    let format = args.format.as_deref().filter(|format| !format.is_empty());
    let spoken = !args.quiet && format.is_none_or(|format| format.starts_with("table"));
    let call = session.client()?.post("/havre/system/migrate").json(&json!({
        "to": args.to.unwrap_or_default(),
        "dryRun": args.dry_run,
    }));
    let progress = match spoken {
        true => Progress::to_output(&session.printer),
        false => Progress::silent(),
    };
    let migrated: Migrated = result(session, call, progress, "Migrated").await?;
    if !spoken || !migrated.layers.is_empty() {
        let rows: Vec<Value> = migrated
            .layers
            .iter()
            .map(|layer| layer.row(&migrated.to))
            .collect();
        session.printer.out(&LAYOUT.render(format, args.quiet, &rows)?);
    }
    if spoken {
        session.printer.line(&summary(&migrated, args.dry_run));
    }
    let failed = migrated.layers.iter().any(|layer| layer.outcome == "failed");
    Ok(if failed {
        ExitStatus::FAILURE
    } else {
        ExitStatus::SUCCESS
    })
}

fn summary(migrated: &Migrated, dry_run: bool) -> String {
    let Migrated {
        to,
        description,
        already,
        layers,
    } = migrated;
    let form = match to == description {
        true => to.clone(),
        false => format!("{to}, {description}"),
    };
    if layers.is_empty() {
        return format!("Nothing to convert: all layers ({already}) have the form {form}.");
    }
    let count = |outcome: &str| layers.iter().filter(|layer| layer.outcome == outcome).count();
    let done: Vec<&Layer> = layers
        .iter()
        .filter(|layer| matches!(layer.outcome.as_str(), "converted" | "planned"))
        .collect();
    let before: i64 = done.iter().map(|layer| layer.before).sum();
    let after: i64 = done.iter().map(|layer| layer.after).sum();
    let (before, after) = (size::short(before), size::short(after));
    let mut text = match (dry_run, done.len()) {
        (true, number) => format!(
            "Would convert {} ({before} on the disk) to the form {form}",
            counted(number)
        ),
        (false, 0) => format!("Converted nothing to the form {form}"),
        (false, number) => format!(
            "Converted {} to the form {form}: {before} on the disk before, {after} now",
            counted(number)
        ),
    };
    for (number, words) in [
        (*already as usize, "had that form already"),
        (
            count("in use"),
            "skipped because something runs on them: stop it and do this again",
        ),
        (count("gone"), "removed meanwhile"),
        (count("failed"), "failed"),
    ] {
        if number > 0 {
            text.push_str(&format!("; {number} {words}"));
        }
    }
    text + "."
}

fn counted(layers: usize) -> String {
    let plural = if layers == 1 { "" } else { "s" };
    format!("{layers} layer{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(outcome: &str, before: i64, after: i64) -> Layer {
        Layer {
            digest: format!("sha256:{}", "ab".repeat(32)),
            from: "directories".to_owned(),
            outcome: outcome.to_owned(),
            reason: "because".to_owned(),
            before,
            after,
            users: Users::default(),
        }
    }

    #[test]
    fn layers_and_sums() {
        let mut migrated = Migrated {
            to: "file".to_owned(),
            description: "erofs".to_owned(),
            already: 3,
            layers: vec![
                layer("converted", 2_000_000, 1_500_000),
                layer("in use", 7000, 7000),
            ],
        };
        let rows: Vec<Value> = migrated.layers.iter().map(|layer| layer.row("file")).collect();
        assert_eq!(
            LAYOUT.render(None, false, &rows).unwrap(),
            "LAYER          FROM          TO        BEFORE    AFTER     USED BY   RESULT\n\
             abababababab   directories   file      2MB       1.5MB     nothing   converted\n\
             abababababab   directories   file      7kB       -         nothing   skipped: because\n"
        );
        assert_eq!(
            summary(&migrated, false),
            "Converted 1 layer to the form file, erofs: 2MB on the disk before, 1.5MB now; 3 had that form already; \
             1 skipped because something runs on them: stop it and do this again."
        );
        migrated.layers.clear();
        assert_eq!(
            summary(&migrated, false),
            "Nothing to convert: all layers (3) have the form file, erofs."
        );
    }
}
