//! `search`.

use serde::Deserialize;

use crate::args::search::Search;
use crate::commands::Done;
use crate::credentials;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::ellipsis;
use crate::format::listing::Layout;
use crate::session::Session;
use crate::spec::filters::filters;
use crate::template::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Found {
    name: String,
    description: String,
    star_count: i64,
    is_official: bool,
    is_automated: bool,
}

const LAYOUT: Layout = Layout {
    table: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
    quiet: "Name",
    headers: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
    ],
};

/// `docker search`.
pub(crate) async fn search(session: &Session, args: Search) -> Done {
    if args.limit.is_some_and(|limit| !(0..=100).contains(&limit)) {
        return Err(CliError::Invalid(
            "invalid limit: it must be between 1 and 100".to_owned(),
        ));
    }
    let term = &args.operands[0];
    // A first part with a dot or a port names a registry.
    let registry = match term.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    };
    let call = session
        .client()?
        .get("/images/search")
        .query("term", term)
        .query_some(
            "limit",
            args.limit
                .filter(|limit| *limit > 0)
                .map(|limit| limit.to_string()),
        )
        .query_some("filters", filters(&args.filter)?);
    let call = credentials::sign(call, &session.settings, registry)?;
    let mut found: Vec<Found> = call.answer().await?;
    found.sort_by_key(|found| std::cmp::Reverse(found.star_count));
    let rows: Vec<Value> = found.iter().map(|found| found.row(!args.no_trunc)).collect();
    session
        .printer
        .out(&LAYOUT.render(args.format.as_deref(), false, &rows)?);
    Ok(ExitStatus::SUCCESS)
}

impl Found {
    fn row(&self, trunc: bool) -> Value {
        let description = self.description.replace(['\n', '\r'], " ");
        let mark = |set: bool| if set { "[OK]" } else { "" };
        Value::row(
            vec![
                ("Name", self.name.as_str().into()),
                (
                    "Description",
                    if trunc {
                        ellipsis(&description, 45)
                    } else {
                        description
                    }
                    .into(),
                ),
                ("StarCount", self.star_count.to_string().into()),
                ("IsOfficial", mark(self.is_official).into()),
                ("IsAutomated", mark(self.is_automated).into()),
            ],
            Default::default(),
        )
    }
}
