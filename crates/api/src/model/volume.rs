//! Volumes.

use std::collections::BTreeMap;

use havre_engine::{CreateVolume, Volume, VolumeUsage};
use serde::{Deserialize, Serialize};

use super::non_empty;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VolumeView {
    created_at: String,
    driver: String,
    labels: Option<BTreeMap<String, String>>,
    mountpoint: String,
    name: String,
    options: Option<BTreeMap<String, String>>,
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_data: Option<UsageData>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageData {
    ref_count: u64,
    size: u64,
}

impl From<Volume> for VolumeView {
    fn from(volume: Volume) -> Self {
        let mut labels = volume.labels;
        if volume.anonymous {
            labels
                .entry("com.docker.volume.anonymous".to_owned())
                .or_default();
        }
        Self {
            // Docker gives whole seconds here.
            created_at: volume.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            driver: volume.driver,
            labels: non_empty(labels),
            mountpoint: volume.mountpoint,
            name: volume.name,
            options: non_empty(volume.options),
            scope: "local",
            usage_data: None,
        }
    }
}

impl From<VolumeUsage> for VolumeView {
    fn from(usage: VolumeUsage) -> Self {
        let data = UsageData {
            ref_count: usage.references,
            size: usage.size,
        };
        Self {
            usage_data: Some(data),
            ..usage.volume.into()
        }
    }
}

/// The body of `POST /volumes/create`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct CreateBody {
    name: String,
    driver: String,
    driver_opts: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

impl From<CreateBody> for CreateVolume {
    fn from(body: CreateBody) -> Self {
        Self {
            name: body.name,
            driver: body.driver,
            driver_options: body.driver_opts,
            labels: body.labels,
        }
    }
}
