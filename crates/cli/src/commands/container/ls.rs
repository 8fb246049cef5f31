//! `ps`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::args::container::ls::Ls;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::ports::{self, Port};
use crate::format::{ellipsis, quote, short_id, size, time};
use crate::session::Session;
use crate::spec::filters::filters;
use crate::template::{Cells, Value};

/// A container of the list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Summary {
    pub(crate) id: String,
    names: Option<Vec<String>>,
    pub(crate) image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    ports: Option<Vec<Port>>,
    pub(crate) size_rw: Option<i64>,
    size_root_fs: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    pub(crate) state: String,
    pub(crate) status: String,
    mounts: Option<Vec<Mount>>,
    network_settings: Option<NetworkSettings>,
    host_config: Option<HostConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    name: String,
    source: String,
    driver: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    networks: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    network_mode: String,
}

const HEADERS: [(&str, &str); 15] = [
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    quiet: "ID",
    headers: &HEADERS,
};

const WITH_SIZE: Layout = Layout {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    ..LAYOUT
};

/// `docker ps`.
pub(crate) async fn ls(session: &Session, args: Ls) -> Done {
    let mut last = args.last.filter(|last| *last >= 0);
    if args.latest && last.is_none() {
        last = Some(1);
    }
    let configured = session.settings.config()?.ps_format.clone();
    let format = args
        .format
        .or((!args.quiet && !configured.is_empty()).then_some(configured));
    let sized = args.size || format.as_deref().is_some_and(|format| format.contains(".Size"));
    let layout = if args.size { &WITH_SIZE } else { &LAYOUT };
    let mut list = layout.list(format.as_deref(), args.quiet)?;
    session
        .client()?
        .get("/containers/json")
        .query_if("all", args.all)
        .query_if("size", sized)
        .query_some("limit", last.map(|last| last.to_string()))
        .query_some("filters", filters(&args.filter)?)
        .each(|container: Summary| list.add(&container.row(!args.no_trunc)))
        .await?;
    session.printer.out(&list.finish()?);
    Ok(ExitStatus::SUCCESS)
}

impl Summary {
    /// The row of a list; `trunc` shortens identifiers, commands and names.
    pub(crate) fn row(self, trunc: bool) -> Value {
        Value::cells(Row {
            container: self,
            trunc,
        })
    }

    /// The same with the writable layer as its only size.
    pub(crate) fn without_image_size(&self) -> Self {
        Self {
            size_root_fs: None,
            ..self.clone()
        }
    }

    fn labels(&self) -> String {
        let labels = self.labels.iter().flatten();
        let pairs: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }

    fn mounts(&self, trunc: bool) -> String {
        let mounts = self.mounts.iter().flatten();
        let names: Vec<String> = mounts
            .map(|mount| {
                if mount.name.is_empty() {
                    &mount.source
                } else {
                    &mount.name
                }
            })
            .map(|name| if trunc { ellipsis(name, 15) } else { name.clone() })
            .collect();
        names.join(",")
    }

    fn networks(&self) -> String {
        let networks = self
            .network_settings
            .iter()
            .flat_map(|settings| settings.networks.iter().flat_map(BTreeMap::keys));
        let names: Vec<&str> = networks.map(String::as_str).collect();
        match (names.is_empty(), &self.host_config) {
            (true, Some(host)) => host.network_mode.clone(),
            _ => names.join(","),
        }
    }

    fn names(&self, trunc: bool) -> String {
        let names = self
            .names
            .iter()
            .flatten()
            .map(|name| name.strip_prefix('/').unwrap_or(name));
        // Names with a slash inside are links of other containers.
        names
            .filter(|name| !trunc || !name.contains('/'))
            .collect::<Vec<_>>()
            .join(",")
    }

    fn image(&self, trunc: bool) -> String {
        if self.image.is_empty() {
            return "<no image>".to_owned();
        }
        if trunc {
            if short_id(&self.image_id) == short_id(&self.image) {
                return short_id(&self.image);
            }
            if let Some((name, _)) = self.image.split_once('@') {
                return name.to_owned();
            }
        }
        self.image.clone()
    }

    fn size(&self) -> String {
        let writable = size::short(self.size_rw.unwrap_or(0));
        match self.size_root_fs {
            Some(virtual_size) if virtual_size > 0 => {
                format!("{writable} (virtual {})", size::short(virtual_size))
            }
            _ => writable,
        }
    }
}

struct Row {
    container: Summary,
    trunc: bool,
}

impl Cells for Row {
    fn names(&self) -> Vec<&'static str> {
        HEADERS.iter().map(|(name, _)| *name).collect()
    }

    fn cell(&self, name: &str) -> Option<Value> {
        let (container, trunc) = (&self.container, self.trunc);
        let text = match name {
            "ID" if trunc => short_id(&container.id),
            "ID" => container.id.clone(),
            "Names" => container.names(trunc),
            "Image" => container.image(trunc),
            "Command" if trunc => quote(&ellipsis(&container.command, 20)),
            "Command" => quote(&container.command),
            "CreatedAt" => time::local(container.created),
            "RunningFor" => time::ago(container.created),
            "Ports" => ports::display(container.ports.as_deref().unwrap_or_default()),
            "State" => container.state.clone(),
            "Status" => container.status.clone(),
            "Size" => container.size(),
            "Labels" => container.labels(),
            "Mounts" => container.mounts(trunc),
            "LocalVolumes" => {
                let mounts = container.mounts.iter().flatten();
                mounts.filter(|mount| mount.driver == "local").count().to_string()
            }
            "Networks" => container.networks(),
            "Platform" => return Some(Value::Null),
            _ => return None,
        };
        Some(text.into())
    }

    fn label(&self, key: &str) -> Option<&str> {
        let labels = self.container.labels.as_ref()?;
        labels.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Summary {
        let json = r#"{"Id":"8b1a9953c4611296a827abf8c47804d7","Names":["/web","/other/alias"],"Image":"nginx:alpine",
            "ImageID":"sha256:11223344556677889900","Command":"/docker-entrypoint.sh nginx -g 'daemon off;'",
            "Created":1700000000,"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}],
            "SizeRw":1095,"SizeRootFs":5000000,"Labels":{"a":"b"},"State":"running","Status":"Up 3 seconds",
            "HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"bridge":{"x":1}}},
            "Mounts":[{"Name":"data-with-a-long-name","Source":"/v","Driver":"local"},{"Source":"/srv"}]}"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        let rows = [container().row(true)];
        let text = LAYOUT.render(None, false, &rows).unwrap();
        let ago = time::ago(1_700_000_000);
        let created = format!("{ago:<width$}", width = ago.len().max(7) + 3);
        let head = format!("{:<width$}", "CREATED", width = created.len());
        assert_eq!(
            text,
            format!(
                "CONTAINER ID   IMAGE          COMMAND                  {head}STATUS         PORTS                  NAMES\n\
                 8b1a9953c461   nginx:alpine   \"/docker-entrypoint.…\"   {created}Up 3 seconds   0.0.0.0:8080->80/tcp   web\n"
            )
        );
    }

    #[test]
    fn cells() {
        let names = container().row(true).to_string();
        assert!(
            names.starts_with("{8b1a9953c461 web nginx:alpine \"/docker-entrypoint.…\" 2023-11-1"),
            "{names}"
        );
        for (cell, _) in HEADERS {
            let text = LAYOUT.render(Some(&format!("{{{{.{cell}}}}}")), false, &[container().row(true)]);
            assert!(text.is_ok(), "{cell}");
        }
        let render = |template: &str, trunc| {
            LAYOUT
                .render(Some(template), false, &[container().row(trunc)])
                .unwrap()
                .trim_end()
                .to_owned()
        };
        assert_eq!(render("{{.Size}}", true), "1.09kB (virtual 5MB)");
        assert_eq!(render("{{.Names}}", false), "web,other/alias");
        assert_eq!(
            render("{{.Mounts}} {{.LocalVolumes}} {{.Networks}}", true),
            "data-with-a-lo…,/srv 1 bridge"
        );
        assert_eq!(render("{{.Label \"a\"}} {{.Labels}}", true), "b a=b");
        assert_eq!(render("{{.ID}}", false), "8b1a9953c4611296a827abf8c47804d7");
    }
}
