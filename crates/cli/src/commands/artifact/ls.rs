//! `artifact ls`.

use havre_oci::Descriptor;

use super::{At, title};
use crate::args::artifact::ls::Ls;
use crate::commands::Done;
use crate::commands::image::tag::reference;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::session::Session;
use crate::template::Value;

const LAYOUT: Layout = Layout {
    table: "{{.Title}}\t{{.MediaType}}\t{{.Size}}\t{{.Digest}}",
    quiet: "Title",
    headers: &[
        ("Title", "TITLE"),
        ("MediaType", "MEDIA TYPE"),
        ("Size", "SIZE"),
        ("Digest", "DIGEST"),
    ],
};

/// `havre artifact ls`.
pub(crate) async fn ls(session: &Session, args: Ls) -> Done {
    let at = At {
        session,
        reference: reference(&args.operands[0])?.with_default_tag(),
        insecure: args.insecure,
    };
    let manifest = at.artifact().await?;
    let row = |layer: &Descriptor| {
        let digest = match args.no_trunc {
            true => layer.digest.to_string(),
            false => short_id(layer.digest.as_str()),
        };
        let size = size::short(layer.size.try_into().unwrap_or(i64::MAX));
        Value::row(
            vec![
                ("Title", title(layer).unwrap_or_default().into()),
                ("MediaType", layer.media_type.as_str().into()),
                ("Size", size.into()),
                ("Digest", digest.into()),
            ],
            Default::default(),
        )
    };
    let named = |layer: &&Descriptor| !args.quiet || title(layer).is_some();
    let rows: Vec<Value> = manifest.layers.iter().filter(named).map(row).collect();
    let text = LAYOUT.render(args.format.as_deref(), args.quiet, &rows)?;
    session.printer.out(&text);
    Ok(ExitStatus::SUCCESS)
}
