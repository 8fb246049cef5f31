//! `volume inspect`.

use crate::args::volume::inspect::Inspect;
use crate::commands::Done;
use crate::commands::inspect::{Asked, Kind, inspect_all};
use crate::session::Session;

/// `docker volume inspect`.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    inspect_all(
        session,
        &args.operands,
        &[Kind::Volume],
        args.format.as_deref(),
        Asked::default(),
    )
    .await
}
