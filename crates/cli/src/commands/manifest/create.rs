//! `manifest create`.

use super::{lists, manifest, reference};
use crate::args::manifest::create::Create;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker manifest create`: notes the manifests of a list.
pub(crate) async fn create(session: &Session, args: Create) -> Done {
    let list = reference(&args.operands[0])?;
    let lists = lists(session);
    if !args.amend && lists.get(&list)?.is_some() {
        return Err(CliError::Invalid(
            "refusing to amend an existing manifest list with no --amend flag".to_owned(),
        ));
    }
    // All are found before any is noted.
    let mut found = Vec::new();
    for name in &args.operands[1..] {
        let name = reference(name)?;
        let listed = manifest(session, &list, &name, args.insecure).await?;
        found.push((name, listed));
    }
    for (name, listed) in &found {
        lists.put(&list, name, listed)?;
    }
    session
        .printer
        .out(&format!("Created manifest list {}\n", list.canonical()));
    Ok(ExitStatus::SUCCESS)
}
