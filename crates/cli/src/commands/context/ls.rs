//! `context ls`.

use crate::args::context::ls::Ls;
use crate::commands::Done;
use crate::contexts;
use crate::exit_status::ExitStatus;
use crate::format::ellipsis;
use crate::format::listing::Layout;
use crate::session::Session;
use crate::template::Value;

const LAYOUT: Layout = Layout {
    table: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    quiet: "Name",
    headers: &[
        ("Name", "NAME"),
        ("Current", ""),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
    ],
};

/// `docker context ls`.
pub(crate) async fn ls(session: &Session, args: Ls) -> Done {
    let current = session.settings.context_name()?;
    let (default_context, _) = session.settings.default_context()?;
    let row = |name: &str, description: &str, host: &str, error: &str| {
        Value::row(
            vec![
                ("Name", name.into()),
                ("Current", Value::Bool(name == current)),
                ("Description", ellipsis(description, 45).into()),
                ("DockerEndpoint", host.into()),
                ("Error", error.into()),
            ],
            Default::default(),
        )
    };
    let (description, host) = (
        contexts::DEFAULT_DESCRIPTION,
        &default_context.endpoints.docker.host,
    );
    let mut rows = vec![(
        contexts::DEFAULT.to_owned(),
        row(contexts::DEFAULT, description, host, ""),
    )];
    let mut known = current == contexts::DEFAULT;
    for context in session.settings.contexts().list()? {
        known |= context.name == current;
        let cells = row(
            &context.name,
            context.description(),
            &context.endpoints.docker.host,
            "",
        );
        rows.push((context.name, cells));
    }
    if !known {
        let error = match session.settings.contexts().get(&current) {
            Err(error) => ellipsis(&error.to_string(), 45),
            Ok(_) => String::new(),
        };
        rows.push((current.clone(), row(&current, "", "", &error)));
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    session
        .printer
        .out(&LAYOUT.render(args.format.as_deref(), args.quiet, &rows)?);
    if session.settings.host_overrides() && !args.quiet {
        session.printer.warn(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable.",
        );
    }
    Ok(ExitStatus::SUCCESS)
}
