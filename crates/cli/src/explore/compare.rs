//! Two images compared: layers, configuration, packages, files.

mod packages;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use havre_explore::packages::Manager;
use havre_explore::{Difference, Kind, Trust, Version, differences, shown};
use havre_oci::Digest;
use serde::Serialize;
use serde_json::Value;

use super::Subject;
use crate::error::CliError;
use crate::session::Session;

/// Which parts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) layers: bool,
    pub(crate) config: bool,
    pub(crate) packages: bool,
    pub(crate) files: bool,
}

/// How two images differ; parts that were not asked for are not there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Compared {
    pub(crate) old: Named,
    pub(crate) new: Named,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<Layers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<Vec<Changed>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) packages: Option<Vec<Changed>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<Vec<FileChange>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Layers {
    pub(crate) shared: Vec<LayerRow>,
    pub(crate) old: Vec<LayerRow>,
    pub(crate) new: Vec<LayerRow>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LayerRow {
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) command: String,
}

/// A key of the configuration, or a package.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Changed {
    /// Of packages: who manages them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) manager: Option<&'static str>,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new: Option<String>,
}

/// A path at which the images differ.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FileChange {
    pub(crate) path: String,
    /// `added`, `changed` or `removed`.
    pub(crate) change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) old: Option<FileOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new: Option<FileOf>,
    /// Whether the bytes of a file differ.
    pub(crate) contents: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FileOf {
    #[serde(rename = "Type")]
    pub(crate) kind: &'static str,
    pub(crate) size: u64,
    pub(crate) mode: String,
    pub(crate) owner: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) target: String,
}

impl From<&Version> for FileOf {
    fn from(version: &Version) -> Self {
        Self {
            kind: version.kind.name(),
            size: version.size,
            mode: format!("{:04o}", version.mode),
            owner: format!("{}:{}", version.uid, version.gid),
            target: match &version.kind {
                Kind::Link { target } => shown(target),
                _ => String::new(),
            },
        }
    }
}

/// Compares what is asked for.
pub(crate) async fn compare(
    session: &Session,
    old: &Subject,
    new: &Subject,
    parts: Parts,
    trust: Trust,
) -> Result<Compared, CliError> {
    let named = |subject: &Subject| Named {
        name: subject.name.clone(),
        id: subject.id.clone(),
    };
    let config = match parts.config {
        true => Some(changed(
            None,
            &settings(&old.config(session).await?),
            &settings(&new.config(session).await?),
        )),
        false => None,
    };
    let packages = match parts.packages {
        true => Some(packages_of(session, old, new).await?),
        false => None,
    };
    let files = match parts.files {
        true => Some(files(session, old, new, trust).await?),
        false => None,
    };
    Ok(Compared {
        old: named(old),
        new: named(new),
        layers: parts.layers.then(|| layers(old, new)),
        config,
        packages,
        files,
    })
}

fn layers(old: &Subject, new: &Subject) -> Layers {
    let rows = |subject: &Subject| -> Vec<LayerRow> {
        let both = subject.layers.iter().zip(subject.tree.layer_sums());
        both.map(|(layer, sum)| LayerRow {
            digest: layer.digest.clone(),
            size: sum.bytes,
            command: shown(layer.command.as_bytes()),
        })
        .collect()
    };
    let digests =
        |rows: &[LayerRow]| -> BTreeSet<String> { rows.iter().map(|row| row.digest.clone()).collect() };
    let (left, right) = (rows(old), rows(new));
    let (in_old, in_new) = (digests(&left), digests(&right));
    let (shared, old): (Vec<_>, Vec<_>) = left.into_iter().partition(|row| in_new.contains(&row.digest));
    let new = right
        .into_iter()
        .filter(|row| !in_old.contains(&row.digest))
        .collect();
    Layers { shared, old, new }
}

/// Names whose values differ.
fn changed(
    manager: Option<&'static str>,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<Changed> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differ = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differ
        .map(|name| Changed {
            manager,
            name: shown(name.as_bytes()),
            old: old.get(name).map(|value| shown(value.as_bytes())),
            new: new.get(name).map(|value| shown(value.as_bytes())),
        })
        .collect()
}

/// A configuration as single settings: variables, labels, ports and volumes each by its own name. What is empty is not set.
fn settings(config: &Value) -> BTreeMap<String, String> {
    const WHOLE: [&str; 11] = [
        "Architecture",
        "Cmd",
        "Entrypoint",
        "Healthcheck",
        "OnBuild",
        "Os",
        "Shell",
        "StopSignal",
        "StopTimeout",
        "User",
        "WorkingDir",
    ];
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut found = BTreeMap::new();
    for key in WHOLE {
        let value = config.get(key).map(&text).unwrap_or_default();
        if !matches!(value.as_str(), "" | "null" | "[]" | "{}") {
            found.insert(key.to_owned(), value);
        }
    }
    for variable in config["Env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        found.insert(format!("Env {name}"), value.to_owned());
    }
    for (key, name) in [
        ("Labels", "Label"),
        ("ExposedPorts", "Port"),
        ("Volumes", "Volume"),
    ] {
        for (inner, value) in config[key].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            found.insert(format!("{name} {inner}"), value);
        }
    }
    found
}

async fn packages_of(session: &Session, old: &Subject, new: &Subject) -> Result<Vec<Changed>, CliError> {
    let mut left = packages::read(session, old).await?;
    let mut right = packages::read(session, new).await?;
    let managers: BTreeSet<Manager> = left.keys().chain(right.keys()).copied().collect();
    let mut found = Vec::new();
    for manager in managers {
        let (old, new) = (left.remove(&manager), right.remove(&manager));
        found.extend(changed(
            Some(manager.name()),
            &old.unwrap_or_default(),
            &new.unwrap_or_default(),
        ));
    }
    Ok(found)
}

async fn files(
    session: &Session,
    old: &Subject,
    new: &Subject,
    trust: Trust,
) -> Result<Vec<FileChange>, CliError> {
    let same_layer = |left: usize, right: usize| {
        let digest =
            |subject: &Subject, layer: usize| subject.layers.get(layer).map(|layer| layer.digest.clone());
        digest(old, left).is_some() && digest(old, left) == digest(new, right)
    };
    let found = differences(&old.tree, &new.tree, &same_layer, trust);
    let doubted = |side: fn(&Difference<'_>) -> Option<usize>| {
        let mut wanted: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
        for one in found.iter().filter(|one| one.by_contents) {
            if let Some(layer) = side(one) {
                wanted.entry(layer).or_default().push(one.path.clone());
            }
        }
        wanted
    };
    let left = digests(session, old, doubted(|one| Some(one.old?.version.layer))).await?;
    let right = digests(session, new, doubted(|one| Some(one.new?.version.layer))).await?;
    let rows = found.iter().filter_map(|one| {
        if one.by_contents && left.get(&one.path) == right.get(&one.path) {
            return None;
        }
        let of = |side: Option<havre_explore::Side<'_>>| side.map(|side| FileOf::from(side.version));
        let (was, is) = (of(one.old), of(one.new));
        let contents = match (&was, &is) {
            (Some(was), Some(is)) => {
                one.by_contents || was.kind == "file" && is.kind == "file" && was.size != is.size
            }
            _ => false,
        };
        Some(FileChange {
            path: format!("/{}", shown(&one.path)),
            change: match (&was, &is) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            },
            old: was,
            new: is,
            contents,
        })
    });
    Ok(rows.collect())
}

/// The digests of files, by path.
async fn digests(
    session: &Session,
    subject: &Subject,
    wanted: BTreeMap<usize, Vec<Vec<u8>>>,
) -> Result<HashMap<Vec<u8>, Digest>, CliError> {
    let mut found = HashMap::new();
    for (layer, paths) in wanted {
        found.extend(subject.contents.digests(session, layer, &paths).await?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_one_by_one() {
        let old = settings(&json!({
            "Os": "linux", "Env": ["PATH=/bin", "A=1", "EMPTY="], "Cmd": ["sh"], "Labels": {"x": "1"},
            "User": "", "Volumes": null, "ExposedPorts": {"80/tcp": {}},
        }));
        let new = settings(&json!({
            "Os": "linux", "Env": ["PATH=/bin", "A=2\u{1b}"], "Cmd": ["sh"], "Labels": {}, "User": "app",
            "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}},
        }));
        let rows = changed(None, &old, &new);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.old.as_deref(), row.new.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("Env A", Some("1"), Some("2\\x1b")),
                ("Env EMPTY", Some(""), None),
                ("Label x", Some("1"), None),
                ("User", None, Some("app")),
                ("Volume /data", None, Some("")),
            ]
        );
    }
}
