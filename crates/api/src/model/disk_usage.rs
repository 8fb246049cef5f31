//! `GET /system/df`: what takes up space. Until API 1.51 the objects themselves, since 1.52 sums (and the objects when
//! asked to be verbose); both are given to new clients.

use havre_engine::image::Summary;
use havre_engine::{BuildCacheEntry, ContainerSummary, DiskUsage, VolumeUsage};
use serde::Serialize;
use serde_json::Value;

use super::container::SummaryView as ContainerSummaryView;
use super::image::SummaryView as ImageSummaryView;
use super::volume::VolumeView;
use crate::version::ApiVersion;

/// Which kinds were asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kinds {
    pub(crate) containers: bool,
    pub(crate) images: bool,
    pub(crate) volumes: bool,
    pub(crate) build_cache: bool,
}

/// How much is told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Not Docker's: nothing but sums.
    Sums,
    /// The objects, and sums since 1.52.
    Objects,
    /// The objects within the sums as well.
    Verbose,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DiskUsageView {
    layers_size: u64,
    /// Not Docker's: how much of it are compressed forms of layers, kept to be sent again.
    compressed_size: u64,
    images: Option<Vec<Value>>,
    containers: Option<Vec<Value>>,
    volumes: Option<Vec<Value>>,
    build_cache: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    builder_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_cache_usage: Option<Usage>,
    /// Not Docker's: what was removed and can be brought back.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_usage: Option<Usage>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    active_count: u64,
    total_count: u64,
    reclaimable: u64,
    total_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Value>>,
}

/// Sums over things of which some are in use.
fn usage<T>(items: &[T], active: impl Fn(&T) -> bool, size: impl Fn(&T) -> u64) -> Usage {
    let sum = |wanted: bool| {
        items
            .iter()
            .filter(|item| wanted || !active(item))
            .map(&size)
            .sum()
    };
    Usage {
        active_count: items.iter().filter(|item| active(item)).count() as u64,
        total_count: items.len() as u64,
        reclaimable: sum(false),
        total_size: sum(true),
        items: None,
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CacheView {
    #[serde(rename = "ID")]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parents: Option<Vec<String>>,
    #[serde(rename = "Type")]
    kind: String,
    description: String,
    in_use: bool,
    shared: bool,
    size: u64,
    created_at: String,
    last_used_at: Option<String>,
    usage_count: u64,
}

impl From<BuildCacheEntry> for CacheView {
    fn from(entry: BuildCacheEntry) -> Self {
        Self {
            id: entry.id,
            parents: entry.parent.map(|parent| vec![parent]),
            kind: entry.kind,
            description: entry.description,
            in_use: entry.in_use,
            shared: entry.shared,
            size: entry.size,
            created_at: entry.created.to_string(),
            last_used_at: entry.last_used.map(|time| time.to_string()),
            usage_count: entry.usage_count,
        }
    }
}

impl DiskUsageView {
    /// `images` come with their shared size, unless only sums are told.
    pub(crate) fn new(
        usage: DiskUsage,
        images: Vec<Summary>,
        kinds: Kinds,
        detail: Detail,
        version: ApiVersion,
    ) -> serde_json::Result<Self> {
        let uses = |image: &Summary| usage.containers.iter().filter(|c| c.image_id == image.id).count();
        let image_usage = Usage {
            total_count: usage.images.0,
            active_count: usage.images.1,
            // Layers are shared: each counts once.
            total_size: usage.layers_size,
            reclaimable: usage.layers_reclaimable,
            items: None,
        };
        let objects = detail != Detail::Sums;
        let image_views = images.iter().map(|image| {
            let mut view = ImageSummaryView::new(image.clone(), version);
            view.containers = uses(image) as i64;
            view
        });
        let image_views = values(image_views)?;

        let DiskUsage {
            layers_size,
            layers_reclaimable: _,
            compressed_size,
            images: _,
            containers,
            volumes,
            build_cache,
            removed,
        } = usage;
        let container_size = |container: &ContainerSummary| container.size_rw.unwrap_or(0);
        let container_usage = self::usage(
            &containers,
            |container| container.status.is_live(),
            container_size,
        );
        let volume_usage = self::usage(&volumes, |v: &VolumeUsage| v.references > 0, |v| v.size);
        let cache_usage = self::usage(
            &build_cache,
            |entry| entry.in_use,
            |entry: &BuildCacheEntry| entry.size,
        );
        let builder_size = cache_usage.total_size;
        // What images have too is counted there.
        let own_cache = build_cache.iter().filter(|entry| !entry.shared);
        let cache_usage = Usage {
            total_size: own_cache.clone().map(|entry| entry.size).sum(),
            reclaimable: own_cache
                .filter(|entry| !entry.in_use)
                .map(|entry| entry.size)
                .sum(),
            ..cache_usage
        };
        let shown = |wanted: bool| wanted && objects;
        let container_views = containers.iter().filter(|_| shown(kinds.containers));
        let container_views = values(container_views.map(ContainerSummaryView::from))?;
        let volume_views = volumes.into_iter().filter(|_| shown(kinds.volumes));
        let volume_views = values(volume_views.map(VolumeView::from))?;
        let cache_views = build_cache.into_iter().filter(|_| shown(kinds.build_cache));
        let cache_views = values(cache_views.map(CacheView::from))?;

        let sums = version >= ApiVersion::new(52) || detail == Detail::Sums;
        let sum = |wanted: bool, usage: Usage, items: &[Value]| {
            (sums && wanted).then(|| Usage {
                items: (detail == Detail::Verbose).then(|| items.to_vec()),
                ..usage
            })
        };
        Ok(Self {
            layers_size: if kinds.images { layers_size } else { 0 },
            compressed_size: if kinds.images { compressed_size } else { 0 },
            builder_size: (version < ApiVersion::new(42)).then_some(builder_size),
            image_usage: sum(kinds.images, image_usage, &image_views),
            container_usage: sum(kinds.containers, container_usage, &container_views),
            volume_usage: sum(kinds.volumes, volume_usage, &volume_views),
            build_cache_usage: sum(kinds.build_cache, cache_usage, &cache_views),
            removed_usage: (removed.0 > 0).then_some(Usage {
                active_count: 0,
                total_count: removed.0,
                reclaimable: removed.1,
                total_size: removed.1,
                items: None,
            }),
            images: shown(kinds.images).then_some(image_views),
            containers: shown(kinds.containers).then_some(container_views),
            volumes: shown(kinds.volumes).then_some(volume_views),
            build_cache: shown(kinds.build_cache).then_some(cache_views),
        })
    }
}

fn values<T: Serialize>(items: impl Iterator<Item = T>) -> serde_json::Result<Vec<Value>> {
    items.map(serde_json::to_value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        let usage = usage(&[(true, 5), (false, 7), (false, 1)], |item| item.0, |item| item.1);
        let expected = Usage {
            active_count: 1,
            total_count: 3,
            reclaimable: 8,
            total_size: 13,
            items: None,
        };
        assert_eq!(usage, expected);
    }
}
