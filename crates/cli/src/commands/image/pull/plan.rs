//! `pull --dry-run`.

use havre_oci::{Platform, Reference};
use serde::Deserialize;

use crate::commands::Done;
use crate::credentials;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Plan {
    digest: String,
    platform: Platform,
    up_to_date: bool,
    download: i64,
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Layer {
    digest: String,
    size: i64,
    present: bool,
}

const LAYOUT: Layout = Layout {
    table: "{{.Layer}}\t{{.Size}}\t{{.Status}}",
    quiet: "Layer",
    headers: &[("Layer", "LAYER"), ("Size", "SIZE"), ("Status", "STATUS")],
};

/// What a pull would download now.
pub(super) async fn show(session: &Session, name: &Reference, platform: Option<&str>, quiet: bool) -> Done {
    let call = session
        .client()?
        .get(format!("/havre/pull/{}", name.canonical()))
        .query_some("platform", platform);
    let call = credentials::sign(call, &session.settings, &name.repository())?;
    let plan: Plan = call.answer().await?;
    if quiet {
        session.printer.line(&size::long(plan.download));
        return Ok(ExitStatus::SUCCESS);
    }
    let row = |layer: &Layer| {
        let status = if layer.present {
            "already here"
        } else {
            "to download"
        };
        Value::row(
            vec![
                ("Layer", short_id(&layer.digest).into()),
                ("Size", size::long(layer.size).into()),
                ("Status", status.into()),
            ],
            Default::default(),
        )
    };
    let rows: Vec<Value> = plan.layers.iter().map(row).collect();
    session.printer.out(&LAYOUT.render(None, false, &rows)?);
    let missing = plan.layers.iter().filter(|layer| !layer.present).count();
    let state = match plan.up_to_date {
        true => "Image is up to date".to_owned(),
        false => format!(
            "{missing} of {} layers to download, {}",
            plan.layers.len(),
            size::long(plan.download)
        ),
    };
    session.printer.line(&format!(
        "Digest: {}\nPlatform: {}\nStatus: {state}",
        plan.digest, plan.platform
    ));
    Ok(ExitStatus::SUCCESS)
}
