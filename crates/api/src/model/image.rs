//! Images in lists, in `inspect` and in `history`.

use std::collections::BTreeMap;

use havre_engine::EngineError;
use havre_engine::image::{
    Attestation, EntryState, HistoryEntry, Inspect, LogEntry, PlatformSummary, RemoteImage, Removed,
    Restored, Summary,
};
use havre_oci::{Descriptor, Digest, Platform, RunConfig};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    manifests: Option<Vec<ManifestView>>,
    repo_digests: Vec<String>,
    repo_tags: Vec<String>,
    shared_size: i64,
    /// Told when it is asked for, with a parameter of Havre's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<String>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
}

/// One platform of an image, or what else its index names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestView {
    /// By which the engine knows it: an image of one platform is known by its own ID.
    #[serde(rename = "ID")]
    id: Digest,
    descriptor: Descriptor,
    available: bool,
    size: ManifestSize,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_data: Option<ImageData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_data: Option<AttestationData>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AttestationData {
    #[serde(rename = "For", skip_serializing_if = "Option::is_none")]
    subject: Option<Digest>,
}

/// `Total` is what is on the disk. Docker's store keeps content a second time, unpacked; here it is there once.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestSize {
    content: u64,
    total: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImageData {
    platform: Platform,
    containers: Vec<String>,
    size: UnpackedSize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UnpackedSize {
    unpacked: u64,
}

impl ManifestView {
    fn of_attestation(attestation: Attestation) -> Self {
        Self {
            id: attestation.descriptor.digest.clone(),
            size: ManifestSize { content: 0, total: 0 },
            descriptor: attestation.descriptor,
            available: attestation.available,
            kind: "attestation",
            image_data: None,
            attestation_data: Some(AttestationData {
                subject: attestation.subject,
            }),
        }
    }

    fn of_image(platform: PlatformSummary) -> Self {
        Self {
            id: platform.id,
            descriptor: platform.target,
            available: platform.available,
            size: ManifestSize {
                content: platform.content,
                total: platform.total,
            },
            kind: "image",
            image_data: Some(ImageData {
                platform: platform.platform,
                containers: platform.containers,
                size: UnpackedSize {
                    unpacked: platform.unpacked,
                },
            }),
            attestation_data: None,
        }
    }
}

impl SummaryView {
    pub(crate) fn new(summary: Summary, version: ApiVersion) -> Self {
        let (mut tags, mut digests) = (summary.repo_tags, summary.repo_digests);
        // Old clients expect a row to have a name, be it none.
        if version < ApiVersion::new(43) && tags.is_empty() && digests.is_empty() {
            tags.push("<none>:<none>".to_owned());
            digests.push("<none>@<none>".to_owned());
        }
        let (mut size, mut containers) = (summary.size, -1);
        let manifests: Option<Vec<ManifestView>> = summary.platforms.map(|platforms| {
            // With all that belongs to it; layers that platforms share count once.
            let kept = platforms.images.iter().map(|one| one.total - one.unpacked);
            size = match platforms.images.as_slice() {
                [one] => one.total,
                _ => summary.size + kept.sum::<u64>(),
            };
            let users = platforms.images.iter().map(|one| one.containers.len());
            containers = i64::try_from(users.sum::<usize>()).unwrap_or(i64::MAX);
            let images = platforms.images.into_iter().map(ManifestView::of_image);
            let attestations = platforms.attestations.into_iter();
            images
                .chain(attestations.map(ManifestView::of_attestation))
                .collect()
        });
        Self {
            containers,
            manifests,
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
            last_used: summary.last_used.map(|used| used.to_string()),
            size,
            virtual_size: (version < ApiVersion::new(44)).then_some(size),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    graph_driver: Option<GraphDriver>,
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
            graph_driver: Some(GraphDriver {
                data: None,
                name: "overlay2".to_owned(),
            }),
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

/// Everything about an image of a registry: what [`InspectView`] says of one that is here, and its manifests.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RemoteInspectView {
    #[serde(flatten)]
    image: InspectView,
    /// Of the manifest of the platform.
    descriptor: Descriptor,
    /// The layers as they are downloaded, the lowest first.
    layers: Vec<Descriptor>,
    /// What the index names, if the name stands for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifests: Option<Vec<Descriptor>>,
}

impl RemoteInspectView {
    pub(crate) fn new(image: RemoteImage, version: ApiVersion) -> Self {
        let reference = &image.reference;
        let by_digest = reference.without_tag().with_digest(image.top.digest.clone());
        let config = image.manifest.config.digest.clone();
        let inspect = Inspect {
            id: config,
            repo_tags: reference
                .tag()
                .map(|_| reference.familiar())
                .into_iter()
                .collect(),
            repo_digests: vec![by_digest.familiar()],
            parent: None,
            comment: image
                .config
                .history
                .last()
                .map_or_else(String::new, |step| step.comment.clone()),
            size: image.size(),
            layers: image.config.rootfs.diff_ids.clone(),
            manifest: Some(image.descriptor.clone()),
            last_tagged: None,
            config: image.config,
        };
        Self {
            image: InspectView {
                graph_driver: None,
                ..InspectView::new(inspect, version)
            },
            descriptor: image.descriptor,
            layers: image.manifest.layers,
            manifests: image.index.map(|index| index.manifests),
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

/// One line of a tag's history.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LogEntryView {
    index: usize,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Digest>,
    command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    /// `here`, `kept` (removed, and can be brought back), `gone`, or `untagged`: there was none.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl From<LogEntry> for LogEntryView {
    fn from(entry: LogEntry) -> Self {
        let (state, size) = match entry.state {
            EntryState::Here { size } => ("here", Some(size)),
            EntryState::Kept { size } => ("kept", Some(size)),
            EntryState::Gone => ("gone", None),
            EntryState::Untagged => ("untagged", None),
        };
        Self {
            index: entry.index,
            at: entry.at.to_string(),
            id: entry.image,
            command: entry.command,
            digest: entry.digest,
            state,
            size,
        }
    }
}

/// A tag that was put back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RestoredView {
    name: String,
    id: Digest,
    /// The image had been removed.
    returned: bool,
}

impl From<Restored> for RestoredView {
    fn from(restored: Restored) -> Self {
        Self {
            name: restored.reference.familiar(),
            id: restored.image,
            returned: restored.returned,
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
