//! `buildx ls`.

use futures_util::future::join_all;

use super::node::{Status, ask};
use super::{builders, chosen};
use crate::args::buildx::ls::Ls;
use crate::builders::Builder;
use crate::commands::Done;
use crate::contexts::DEFAULT;
use crate::exit_status::ExitStatus;
use crate::format::ellipsis;
use crate::format::listing::Layout;
use crate::session::Session;
use crate::template::Value;

const LAYOUT: Layout = Layout {
    table: "{{.Name}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Engine}}\t{{.Platforms}}",
    quiet: "Name",
    headers: &[
        ("Name", "NAME/NODE"),
        ("DriverEndpoint", "DRIVER/ENDPOINT"),
        ("Status", "STATUS"),
        ("Engine", "ENGINE"),
        ("Platforms", "PLATFORMS"),
    ],
};
/// So much of the platforms a table shows.
const PLATFORMS_WIDTH: usize = 60;

/// `docker buildx ls`.
pub(crate) async fn ls(session: &Session, args: Ls) -> Done {
    let current = chosen(session, None)?.name;
    let mut all = builders(session).list()?;
    all.push(Builder::of_context(DEFAULT));
    for context in session.settings.contexts().list()? {
        all.push(Builder::of_context(&context.name));
    }
    // A file comes before a context of the same name.
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.dedup_by(|a, b| a.name == b.name);
    // The one in use first, as in Docker.
    all.sort_by_key(|builder| builder.name != current);
    let states = join_all(all.iter().map(|builder| ask(session, builder))).await;
    let format = args.format.as_deref();
    let is_table = format.is_none_or(|format| format.is_empty() || format.starts_with("table"));
    let mut rows = Vec::new();
    for (builder, nodes) in all.iter().zip(&states) {
        let is_current = builder.name == current;
        if format == Some("json") {
            rows.push(whole(builder, nodes, is_current));
            continue;
        }
        let star = if is_current && is_table { "*" } else { "" };
        rows.push(row(
            format!("{}{star}", builder.name),
            builder.kind().to_owned(),
            ["", "", ""],
            is_current,
        ));
        for status in nodes {
            let indent = if is_table { " \\_ " } else { "" };
            let platforms = match args.no_trunc || !is_table {
                true => status.platforms(),
                false => ellipsis(&status.platforms(), PLATFORMS_WIDTH),
            };
            rows.push(row(
                format!("{indent}{}", status.node.name),
                format!("{indent}{}", status.node.endpoint),
                [status.word(), status.version(), &platforms],
                is_current,
            ));
        }
    }
    session.printer.out(&LAYOUT.render(format, false, &rows)?);
    for (builder, nodes) in all.iter().zip(&states) {
        for status in nodes {
            if let Err(reason) = &status.answer {
                let (builder, node) = (&builder.name, &status.node.name);
                session.printer.warn(&format!(
                    "\nCannot load builder {builder} (node {node}): {reason}"
                ));
            }
        }
    }
    Ok(ExitStatus::SUCCESS)
}

fn row(name: String, endpoint: String, [status, engine, platforms]: [&str; 3], current: bool) -> Value {
    Value::row(
        vec![
            ("Name", name.into()),
            ("DriverEndpoint", endpoint.into()),
            ("Status", status.into()),
            ("Engine", engine.into()),
            ("Buildkit", engine.into()),
            ("Platforms", platforms.into()),
            ("Current", Value::Bool(current)),
        ],
        Default::default(),
    )
}

/// A builder with its nodes, for programs.
fn whole(builder: &Builder, nodes: &[Status], current: bool) -> Value {
    let nodes = nodes.iter().map(|status| {
        Value::row(
            vec![
                ("Name", status.node.name.as_str().into()),
                ("Endpoint", status.node.endpoint.as_str().into()),
                ("Status", status.word().into()),
                ("Version", status.version().into()),
                ("Platforms", status.platforms().into()),
            ],
            Default::default(),
        )
    });
    Value::row(
        vec![
            ("Name", builder.name.as_str().into()),
            ("Driver", builder.kind().into()),
            ("Current", Value::Bool(current)),
            ("Nodes", Value::List(nodes.collect())),
        ],
        Default::default(),
    )
}
