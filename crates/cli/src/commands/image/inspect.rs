//! `image inspect`.

use crate::args::image::inspect::Inspect;
use crate::commands::Done;
use crate::commands::inspect::print_all;
use crate::image_files::{self, Image};
use crate::session::Session;

/// `docker image inspect`.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    print_all(
        session,
        &args.operands,
        args.format.as_deref(),
        async |name: &str| {
            let image = Image::docker(name, args.platform.as_deref(), &args.registry)?;
            let answer = image.docker_call(session, "json")?.bytes().await;
            answer.map_err(image_files::explained)
        },
    )
    .await
}
