//! `artifact inspect`.

use serde_json::{Value, json};

use super::At;
use crate::args::artifact::inspect::Inspect;
use crate::commands::Done;
use crate::commands::image::tag::reference;
use crate::commands::inspect::print_all;
use crate::error::CliError;
use crate::session::Session;

/// `havre artifact inspect`: as podman's.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    print_all(
        session,
        &args.operands,
        args.format.as_deref(),
        async |name: &str| {
            let at = At {
                session,
                reference: reference(name)?.with_default_tag(),
                insecure: args.insecure,
            };
            let found = at.manifest().await?;
            let manifest: Value =
                serde_json::from_slice(&found.bytes).map_err(|error| CliError::Invalid(error.to_string()))?;
            let shown = json!({
                "Name": at.reference.canonical(),
                "Digest": found.descriptor.digest,
                "Manifest": manifest,
            });
            Ok(shown.to_string().into())
        },
    )
    .await
}
