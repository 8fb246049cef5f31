//! `buildx build`.

use super::chosen;
use crate::args::buildx::build::StartBuild;
use crate::commands::{Done, image};
use crate::session::Session;

/// `docker buildx build`: as `build`, by the builder in use.
pub(crate) async fn build(session: &Session, mut args: StartBuild) -> Done {
    let builder = chosen(session, args.build.builder.as_deref())?;
    args.build.builder = Some(builder.name);
    image::build::build(session, args.build).await
}
