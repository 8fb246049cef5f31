//! `buildx du`.

use jiff::Timestamp;
use serde::Deserialize;

use super::engine;
use crate::args::buildx::du::Du;
use crate::commands::Done;
use crate::commands::system::df::Cache;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::table::align_by;
use crate::format::{short_id, size, time};
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    #[serde(default)]
    build_cache: Option<Vec<Cache>>,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsed}}",
    quiet: "ID",
    headers: &[
        ("ID", "ID"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("LastUsed", "LAST ACCESSED"),
        ("CreatedAt", "CREATED AT"),
        ("Description", "DESCRIPTION"),
        ("Shared", "SHARED"),
        ("Type", "TYPE"),
        ("UsageCount", "USAGE COUNT"),
    ],
};

/// `docker buildx du`: what the build cache of a builder's engine holds.
pub(crate) async fn du(session: &Session, args: Du) -> Done {
    let session = engine(session, args.builder.builder.as_deref())?;
    let usage: Usage = session
        .client()?
        .get("/system/df")
        .query("type", "build-cache")
        .answer()
        .await?;
    let caches = usage.build_cache.unwrap_or_default();
    let rows: Vec<Value> = caches.iter().map(row).collect();
    let format = args.format.as_deref().filter(|format| !format.is_empty());
    let mut text = match (args.verbose, format) {
        (true, None) => caches.iter().map(block).collect(),
        _ => LAYOUT.render(format, false, &rows)?,
    };
    if format.is_none() {
        text.push_str(&sums(&caches));
    }
    session.printer.out(&text);
    Ok(ExitStatus::SUCCESS)
}

/// When it was last of use; nothing where it never was.
fn used(cache: &Cache) -> String {
    let at = cache
        .last_used_at
        .as_deref()
        .and_then(|at| at.parse::<Timestamp>().ok());
    at.map_or_else(String::new, |at| time::ago(at.as_second()))
}

fn row(cache: &Cache) -> Value {
    Value::row(
        vec![
            ("ID", short_id(&cache.id).into()),
            ("Reclaimable", (!cache.in_use).to_string().into()),
            ("Size", size::long(cache.size).into()),
            ("LastUsed", used(cache).into()),
            ("CreatedAt", cache.created_at.as_str().into()),
            ("Description", cache.description.as_str().into()),
            ("Shared", cache.shared.to_string().into()),
            ("Type", cache.kind.as_str().into()),
            ("UsageCount", cache.usage_count.to_string().into()),
        ],
        Default::default(),
    )
}

/// Everything about one.
fn block(cache: &Cache) -> String {
    let mut text = format!(
        "ID:\t{}\nCreated at:\t{}\nReclaimable:\t{}\nShared:\t{}\nSize:\t{}\nDescription:\t{}\nUsage count:\t{}\n",
        cache.id,
        cache.created_at,
        !cache.in_use,
        cache.shared,
        size::long(cache.size),
        cache.description,
        cache.usage_count,
    );
    if let Some(at) = &cache.last_used_at {
        text.push_str(&format!("Last used:\t{at}\n"));
    }
    text.push_str(&format!("Type:\t{}\n", cache.kind));
    format!("{}\n", align_by(&text, 0, 1))
}

/// The sums below the list: what images have too is shared.
fn sums(caches: &[Cache]) -> String {
    let sum = |counts: &dyn Fn(&&Cache) -> bool| -> i64 {
        caches.iter().filter(counts).map(|cache| cache.size).sum()
    };
    let lines = [
        ("Shared", sum(&|cache| cache.shared)),
        ("Private", sum(&|cache| !cache.shared)),
        ("Reclaimable", sum(&|cache| !cache.in_use)),
        ("Total", sum(&|_| true)),
    ];
    let lines = lines.map(|(name, bytes)| format!("{name}:\t{}\n", size::long(bytes)));
    align_by(&lines.concat(), 0, 2)
}
