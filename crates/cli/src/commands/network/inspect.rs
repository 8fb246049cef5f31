//! `network inspect`.

use crate::args::network::inspect::Inspect;
use crate::commands::Done;
use crate::commands::inspect::{Asked, Kind, inspect_all};
use crate::session::Session;

/// `docker network inspect`.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    inspect_all(
        session,
        &args.operands,
        &[Kind::Network],
        args.format.as_deref(),
        Asked::default(),
    )
    .await
}
