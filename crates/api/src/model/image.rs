//! Images in lists, in `inspect` and in `history`.

use std::collections::BTreeMap;

use havre_engine::EngineError;
use havre_engine::image::{HistoryEntry, Inspect, Removed, Summary};
use havre_oci::{Digest, RunConfig};
use serde::Serialize;

use super::container::GraphDriver;
use super::non_empty;
use crate::error::ApiError;
use crate::time;
use crate::version::ApiVersion;

/// One image of a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SummaryView {
    /// How many containers use it; -1 where nobody counted.
    pub(crate) containers: i64,
    created: i64,
    id: Digest,
    labels: Option<BTreeMap<String, String>>,
    parent_id: String,
    repo_digests: Vec<String>,
    repo_tags: Vec<String>,
    shared_size: i64,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
}

impl SummaryView {
    pub(crate) fn new(summary: Summary, version: ApiVersion) -> Self {
        let (mut tags, mut digests) = (summary.repo_tags, summary.repo_digests);
        // Old clients expect a row to have a name, be it none.
        if version < ApiVersion::new(43) && tags.is_empty() && digests.is_empty() {
            tags.push("<none>:<none>".to_owned());
            digests.push("<none>@<none>".to_owned());
        }
        Self {
            containers: -1,
            created: summary.created.map_or(0, |created| created.as_second()),
            id: summary.id,
            labels: non_empty(summary.labels),
            parent_id: summary
                .parent
                .map_or_else(String::new, |parent| parent.to_string()),
            repo_digests: digests,
            repo_tags: tags,
            shared_size: summary
                .shared_size
                .map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
            size: summary.size,
            virtual_size: (version < ApiVersion::new(44)).then_some(summary.size),
        }
    }
}

/// Everything about one image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InspectView {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: String,
    comment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    docker_version: String,
    author: String,
    config: RunConfig,
    architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    os_version: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
    graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
    metadata: Metadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: String,
}

impl InspectView {
    pub(crate) fn new(image: Inspect, version: ApiVersion) -> Self {
        let config = image.config;
        let mut run = config.config;
        // What older builders noted of the container they used is nobody's business any more.
        run.other.clear();
        Self {
            id: image.id.to_string(),
            repo_tags: image.repo_tags,
            repo_digests: image.repo_digests,
            parent: image.parent.map_or_else(String::new, |parent| parent.to_string()),
            comment: image.comment,
            created: config.created.map(|created| created.to_string()),
            docker_version: text(&config.other, "docker_version"),
            author: config.author,
            config: run,
            architecture: config.architecture,
            variant: config.variant,
            os: config.os,
            os_version: config.os_version,
            size: image.size,
            virtual_size: (version < ApiVersion::new(44)).then_some(image.size),
            graph_driver: GraphDriver {
                data: None,
                name: "overlay2".to_owned(),
            },
            root_fs: RootFs {
                kind: "layers",
                layers: image.layers.iter().map(ToString::to_string).collect(),
            },
            metadata: Metadata {
                last_tag_time: time::or_never(image.last_tagged),
            },
        }
    }
}

fn text(fields: &serde_json::Map<String, serde_json::Value>, key: &str) -> String {
    fields
        .get(key)
        .and_then(|value| value.as_str())
        .unwrap_or_default()
        .to_owned()
}

/// One row of an image's history.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HistoryView {
    comment: String,
    created: i64,
    created_by: String,
    id: String,
    size: u64,
    tags: Option<Vec<String>>,
}

impl From<HistoryEntry> for HistoryView {
    fn from(entry: HistoryEntry) -> Self {
        Self {
            comment: entry.comment,
            created: entry.created.map_or(0, |created| created.as_second()),
            created_by: entry.created_by,
            id: entry.id,
            size: entry.size,
            tags: non_empty(entry.tags),
        }
    }
}

/// One line of what a removal did.
#[derive(Debug, Serialize)]
pub(crate) enum RemovedView {
    Untagged(String),
    Deleted(String),
}

/// What became of one name: what went with it, or why it stays.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) enum OutcomeView {
    Removed(Vec<RemovedView>),
    Error { status: u16, message: String },
}

impl From<Result<Vec<Removed>, EngineError>> for OutcomeView {
    fn from(outcome: Result<Vec<Removed>, EngineError>) -> Self {
        match outcome {
            Ok(removed) => Self::Removed(removed.into_iter().map(Into::into).collect()),
            Err(error) => {
                let error = ApiError::from(error);
                Self::Error {
                    status: error.status().as_u16(),
                    message: error.to_string(),
                }
            }
        }
    }
}

impl From<Removed> for RemovedView {
    fn from(removed: Removed) -> Self {
        match removed {
            Removed::Untagged(name) => Self::Untagged(name),
            Removed::Deleted(id) => Self::Deleted(id.to_string()),
        }
    }
}
