//! `manifest rm`.

use super::{lists, no_such, reference};
use crate::args::manifest::rm::Rm;
use crate::commands::{Done, Failures};
use crate::session::Session;

/// `docker manifest rm`: forgets lists that were made here; registries keep theirs.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    let mut failures = Failures::default();
    for name in &args.operands {
        let removed = reference(name).and_then(|list| match lists(session).remove(&list)? {
            true => Ok(()),
            false => Err(no_such(&list)),
        });
        if let Err(error) = removed {
            failures.add(&error);
        }
    }
    Ok(failures.finish(session))
}
