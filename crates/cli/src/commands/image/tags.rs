//! `image tags`.

use jiff::Timestamp;
use serde::Deserialize;

use super::tag::reference;
use crate::args::image::tags::Tags;
use crate::commands::Done;
use crate::credentials;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size, time};
use crate::session::Session;
use crate::template::Value;

/// So many are shown where nobody says how many.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    total: usize,
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    tag: String,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    size: Option<i64>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    platforms: Vec<havre_oci::Platform>,
}

const LAYOUT: Layout = Layout {
    table: "{{.Tag}}\t{{.Digest}}\t{{.CreatedSince}}\t{{.Size}}\t{{.Platforms}}",
    quiet: "Tag",
    headers: &[
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Platforms", "PLATFORMS"),
    ],
};

/// `havre image tags`.
pub(crate) async fn tags(session: &Session, args: Tags) -> Done {
    if args.all && args.limit.is_some() {
        return Err(CliError::Invalid(
            "conflicting options: cannot specify both --all and --limit".to_owned(),
        ));
    }
    let name = reference(&args.operands[0])?;
    if name.tag().is_some() || name.digest().is_some() {
        return Err(CliError::Invalid(format!(
            "{} names one image: give the repository alone, and a pattern of tags with --filter",
            args.operands[0]
        )));
    }
    let format = args.format.as_deref().filter(|format| !format.is_empty());
    // Names alone cost one request, the rest up to three for each.
    let details = !args.quiet || format.is_some_and(|format| format != "table" && format != "json");
    let limit = match (args.all, args.limit) {
        (true, _) => None,
        (false, Some(limit)) => Some(count("limit", limit)?),
        (false, None) if args.quiet => None,
        (false, None) => Some(PAGE),
    };
    let skip = count("skip", args.skip.unwrap_or(0))?;
    let mut call = session
        .client()?
        .get(format!("/havre/tags/{}", name.canonical()))
        .query("skip", skip.to_string())
        .query_some("limit", limit.map(|limit| limit.to_string()))
        .query_if("details", details)
        .query_if("insecure", args.insecure);
    for pattern in &args.filter {
        call = call.query("pattern", pattern);
    }
    let call = credentials::sign(call, &session.settings, &name.repository())?;
    let page: Page = call.answer().await?;
    let rows: Vec<Value> = page.tags.iter().map(|tag| tag.row(args.no_trunc)).collect();
    session.printer.out(&LAYOUT.render(format, args.quiet, &rows)?);
    let left = page.total.saturating_sub(skip + page.tags.len());
    if left > 0 && !args.quiet && args.limit.is_none() {
        session.printer.warn(&format!(
            "{left} more: see them with --all, --skip {} or --filter",
            skip + page.tags.len()
        ));
    }
    Ok(ExitStatus::SUCCESS)
}

fn count(flag: &str, value: i64) -> Result<usize, CliError> {
    usize::try_from(value)
        .map_err(|_| CliError::Invalid(format!("invalid --{flag} {value}: it cannot be negative")))
}

impl Tag {
    fn row(&self, whole: bool) -> Value {
        let digest = self.digest.as_deref().unwrap_or_default();
        let created = self.created.as_deref().unwrap_or_default();
        let since = created.parse::<Timestamp>().map(|at| time::ago(at.as_second()));
        let platforms: Vec<String> = self.platforms.iter().map(ToString::to_string).collect();
        Value::row(
            vec![
                ("Tag", self.tag.as_str().into()),
                (
                    "Digest",
                    if whole {
                        digest.into()
                    } else {
                        short_id(digest).into()
                    },
                ),
                ("CreatedSince", since.unwrap_or_default().into()),
                ("CreatedAt", created.into()),
                ("Size", self.size.map_or_else(String::new, size::short).into()),
                ("Platforms", platforms.join(", ").into()),
            ],
            Default::default(),
        )
    }
}
