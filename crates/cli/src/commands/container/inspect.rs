//! `container inspect`.

use crate::args::container::inspect::Inspect;
use crate::commands::Done;
use crate::commands::inspect::{Asked, Kind, inspect_all};
use crate::session::Session;

/// `docker container inspect`.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    inspect_all(
        session,
        &args.operands,
        &[Kind::Container],
        args.format.as_deref(),
        Asked {
            size: args.size,
            platform: None,
        },
    )
    .await
}
