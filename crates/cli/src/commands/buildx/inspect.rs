//! `buildx inspect`.

use super::node::ask;
use super::{chosen, named, no_such};
use crate::args::buildx::inspect::Inspect;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::table::align_by;
use crate::session::Session;

/// `docker buildx inspect`: a builder and how its nodes are. With `--bootstrap` all of them must answer.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    let builder = match args.operands.first() {
        Some(name) => named(session, name)?.ok_or_else(|| no_such(name))?,
        None => chosen(session, args.builder.builder.as_deref())?,
    };
    let nodes = ask(session, &builder).await;
    let mut text = align_by(
        &format!("Name:\t{}\nDriver:\t{}\n", builder.name, builder.kind()),
        0,
        1,
    );
    text.push_str("\nNodes:\n");
    for (at, status) in nodes.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        let node = &status.node;
        let mut block = format!(
            "Name:\t{}\nEndpoint:\t{}\nStatus:\t{}\n",
            node.name,
            node.endpoint,
            status.word()
        );
        match &status.answer {
            Ok(engine) => block.push_str(&format!("Engine version:\t{}\n", engine.version)),
            Err(reason) => block.push_str(&format!("Error:\t{reason}\n")),
        }
        let platforms = status.platforms();
        if !platforms.is_empty() {
            block.push_str(&format!("Platforms:\t{platforms}\n"));
        }
        text.push_str(&align_by(&block, 0, 1));
    }
    session.printer.out(&text);
    let silent = nodes.iter().find(|status| status.answer.is_err());
    match silent {
        Some(status) if args.bootstrap => Err(CliError::Invalid(format!(
            "node {:?} of builder {:?} does not answer",
            status.node.name, builder.name
        ))),
        _ => Ok(ExitStatus::SUCCESS),
    }
}
