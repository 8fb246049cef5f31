//! `buildx prune`.

use super::engine;
use crate::args::buildx::prune::PruneCache;
use crate::commands::{Done, builder};
use crate::session::Session;

/// `docker buildx prune`: the build cache of a builder's engine.
pub(crate) async fn prune(session: &Session, args: PruneCache) -> Done {
    let session = engine(session, args.builder.builder.as_deref())?;
    builder::prune::prune(&session, args.prune).await
}
