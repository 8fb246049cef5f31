//! `volume ls`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::args::volume::ls::Ls;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::size;
use crate::session::Session;
use crate::spec::filters::filters;
use crate::template::Value;

/// A volume of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Volume {
    pub(crate) name: String,
    driver: String,
    mountpoint: String,
    scope: String,
    labels: Option<BTreeMap<String, String>>,
    pub(crate) usage_data: Option<Usage>,
}

/// How much a volume holds and how many containers use it; -1 when not known.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Usage {
    pub(crate) size: i64,
    pub(crate) ref_count: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    volumes: Option<Vec<Volume>>,
}

const LAYOUT: Layout = Layout {
    table: "{{.Driver}}\t{{.Name}}",
    quiet: "Name",
    headers: &[
        ("Driver", "DRIVER"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
        ("Status", "STATUS"),
    ],
};

/// `docker volume ls`.
pub(crate) async fn ls(session: &Session, args: Ls) -> Done {
    let configured = session.settings.config()?.volumes_format.clone();
    let format = args
        .format
        .or((!args.quiet && !configured.is_empty()).then_some(configured));
    let listed: Listed = session
        .client()?
        .get("/volumes")
        .query_some("filters", filters(&args.filter)?)
        .answer()
        .await?;
    let mut volumes = listed.volumes.unwrap_or_default();
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<Value> = volumes.iter().map(Volume::row).collect();
    session
        .printer
        .out(&LAYOUT.render(format.as_deref(), args.quiet, &rows)?);
    Ok(ExitStatus::SUCCESS)
}

impl Volume {
    /// The row of a list.
    pub(crate) fn row(&self) -> Value {
        let labels = self.labels.clone().unwrap_or_default();
        let joined = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(",");
        let usage = self.usage_data.as_ref();
        let links = usage.map_or("N/A".to_owned(), |usage| usage.ref_count.to_string());
        let bytes = usage
            .filter(|usage| usage.size >= 0)
            .map_or("N/A".to_owned(), |usage| size::long(usage.size));
        Value::row(
            vec![
                ("Driver", self.driver.as_str().into()),
                ("Name", self.name.as_str().into()),
                ("Scope", self.scope.as_str().into()),
                ("Mountpoint", self.mountpoint.as_str().into()),
                ("Labels", joined.into()),
                ("Links", links.into()),
                ("Size", bytes.into()),
                ("Availability", "N/A".into()),
                ("Group", "N/A".into()),
                ("Status", "N/A".into()),
            ],
            labels,
        )
    }
}
