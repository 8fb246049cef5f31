//! `image referrers`.

use havre_oci::Descriptor;
use serde::Deserialize;

use super::tag::reference;
use crate::args::image::referrers::Referrers;
use crate::commands::Done;
use crate::credentials;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    referrers: Vec<Descriptor>,
}

const LAYOUT: Layout = Layout {
    table: "{{.Digest}}\t{{.ArtifactType}}\t{{.Size}}\t{{.Annotations}}",
    quiet: "Digest",
    headers: &[
        ("Digest", "DIGEST"),
        ("ArtifactType", "ARTIFACT TYPE"),
        ("MediaType", "MEDIA TYPE"),
        ("Size", "SIZE"),
        ("Annotations", "ANNOTATIONS"),
    ],
};

/// `havre image referrers`.
pub(crate) async fn referrers(session: &Session, args: Referrers) -> Done {
    let name = reference(&args.operands[0])?.with_default_tag();
    let call = session
        .client()?
        .get(format!("/havre/referrers/{}", name.canonical()))
        .query_if("insecure", args.insecure);
    let call = credentials::sign(call, &session.settings, &name.repository())?;
    let found: Found = call.answer().await?;
    let whole = args.no_trunc || args.quiet;
    let rows: Vec<Value> = found.referrers.iter().map(|one| row(one, whole)).collect();
    session
        .printer
        .out(&LAYOUT.render(args.format.as_deref(), args.quiet, &rows)?);
    Ok(ExitStatus::SUCCESS)
}

fn row(one: &Descriptor, whole: bool) -> Value {
    let digest = one.digest.as_str();
    let annotations: Vec<String> = one
        .annotations
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Value::row(
        vec![
            (
                "Digest",
                if whole {
                    digest.into()
                } else {
                    short_id(digest).into()
                },
            ),
            (
                "ArtifactType",
                one.artifact_type.as_deref().unwrap_or_default().into(),
            ),
            ("MediaType", one.media_type.as_str().into()),
            (
                "Size",
                size::short(one.size.try_into().unwrap_or(i64::MAX)).into(),
            ),
            ("Annotations", annotations.join(",").into()),
        ],
        Default::default(),
    )
}
