//! `network ls`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::args::network::ls::Ls;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, time};
use crate::session::Session;
use crate::spec::filters::filters;
use crate::template::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    id: String,
    name: String,
    driver: String,
    scope: String,
    created: String,
    internal: bool,
    #[serde(rename = "EnableIPv4")]
    ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    ipv6: bool,
    labels: Option<BTreeMap<String, String>>,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "ID",
    headers: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("CreatedAt", "CREATED AT"),
        ("Internal", "INTERNAL"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Labels", "LABELS"),
    ],
};

/// `docker network ls`.
pub(crate) async fn ls(session: &Session, args: Ls) -> Done {
    let configured = session.settings.config()?.networks_format.clone();
    let format = args
        .format
        .or((!args.quiet && !configured.is_empty()).then_some(configured));
    let mut networks: Vec<Network> = session
        .client()?
        .get("/networks")
        .query_some("filters", filters(&args.filter)?)
        .answer()
        .await?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<Value> = networks
        .iter()
        .map(|network| network.row(!args.no_trunc))
        .collect();
    session
        .printer
        .out(&LAYOUT.render(format.as_deref(), args.quiet, &rows)?);
    Ok(ExitStatus::SUCCESS)
}

impl Network {
    fn row(&self, trunc: bool) -> Value {
        let labels = self.labels.clone().unwrap_or_default();
        let joined = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(",");
        Value::row(
            vec![
                (
                    "ID",
                    if trunc {
                        short_id(&self.id)
                    } else {
                        self.id.clone()
                    }
                    .into(),
                ),
                ("Name", self.name.as_str().into()),
                ("Driver", self.driver.as_str().into()),
                ("Scope", self.scope.as_str().into()),
                ("CreatedAt", time::go_form(&self.created).into()),
                ("Internal", self.internal.to_string().into()),
                ("IPv4", self.ipv4.to_string().into()),
                ("IPv6", self.ipv6.to_string().into()),
                ("Labels", joined.into()),
            ],
            labels,
        )
    }
}
