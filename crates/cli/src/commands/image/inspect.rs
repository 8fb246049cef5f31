//! `image inspect`.

use crate::args::image::inspect::Inspect;
use crate::commands::Done;
use crate::commands::inspect::{Kind, inspect_all};
use crate::session::Session;

/// `docker image inspect`.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    inspect_all(
        session,
        &args.operands,
        &[Kind::Image],
        args.format.as_deref(),
        false,
    )
    .await
}
