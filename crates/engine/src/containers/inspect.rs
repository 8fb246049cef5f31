//! `inspect`

use std::collections::BTreeMap;
use std::sync::Arc;

use havre_runtime::logs::LogFormat;

use super::list::sizes;
use super::record::Record;
use super::table::Container;
use super::{ContainerView, Containers, EndpointView, Inner, NetworkView, StateView, files, membership};
use crate::Result;
use crate::error::blocking;
use crate::networks::Registry;

/// Name of the snapshotter as Docker's clients know it: overlay mounts of layer directories.
pub(crate) const DRIVER: &str = "overlay2";

impl Containers {
    pub async fn inspect(&self, name: &str, size: bool) -> Result<ContainerView> {
        let container = self.find(name)?;
        let inner = self.0.clone();
        blocking(move || view(&inner, &container, size)).await
    }
}

fn view(inner: &Inner, container: &Arc<Container>, size: bool) -> Result<ContainerView> {
    let record = container.read().clone();
    let sizes = match size {
        true => Some(sizes(inner, &record.id, &record.image)?),
        false => None,
    };
    let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let state = &record.state;
    let (first, rest) = record
        .args
        .split_first()
        .map_or((String::new(), Vec::new()), |(first, rest)| {
            (first.clone(), rest.to_vec())
        });
    let mut host_config = record.host_config.clone();
    host_config.links = super::links::shown(&record, &inner.table);
    host_config.network_mode = network_mode(&host_config.network_mode);
    host_config.runtime = inner.settings.runtimes.name(&host_config.runtime);
    if !host_config.privileged {
        let defaults = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        host_config
            .masked_paths
            .get_or_insert_with(|| defaults(&havre_runtime::spec::MASKED_PATHS));
        host_config
            .readonly_paths
            .get_or_insert_with(|| defaults(&havre_runtime::spec::READONLY_PATHS));
    }
    Ok(ContainerView {
        id: record.id.clone(),
        created: record.created,
        path: first,
        args: rest,
        state: StateView {
            status: state.status,
            oom_killed: state.oom_killed,
            pid: i64::from(state.pid),
            exit_code: state.exit_code,
            error: state.error.clone(),
            started_at: state.started_at,
            finished_at: state.finished_at,
            health: state.health.clone(),
        },
        image: record.image.clone(),
        resolv_conf_path: path(files::resolv_conf_path(&inner.store, &record.id)),
        hostname_path: path(files::hostname_path(&inner.store, &record.id)),
        hosts_path: path(files::hosts_path(&inner.store, &record.id)),
        log_path: match host_config.log_config.driver.as_str() {
            "" | "json-file" => path(files::log_path(&inner.store, &record.id, LogFormat::Json)),
            _ => String::new(),
        },
        name: format!("/{}", record.name),
        restart_count: record.restart_count,
        driver: DRIVER.to_owned(),
        platform: record.os.clone(),
        mount_label: String::new(),
        process_label: String::new(),
        apparmor_profile: String::new(),
        exec_ids: inner.execs.of(&record.id),
        graph_driver: graph_driver(inner, &record)?,
        size_rw: sizes.map(|(written, _)| written),
        size_root_fs: sizes.map(|(_, all)| all),
        mounts: record.mounts.iter().map(|mount| mount.point.clone()).collect(),
        network: network(&inner.networks, &record),
        config: record.config,
        host_config,
    })
}

/// Docker shows `bridge` for the default network since API 1.44; `default` is what clients send.
pub(super) fn network_mode(mode: &str) -> String {
    match mode {
        "" | "default" => "bridge".to_owned(),
        mode => mode.to_owned(),
    }
}

/// The live endpoints, or the networks it will be on.
pub(super) fn endpoints(networks: &Registry, record: &Record) -> BTreeMap<String, EndpointView> {
    match &record.network {
        Some(network) => network.endpoints.clone(),
        None => membership::resting(networks, record),
    }
}

fn network(networks: &Registry, record: &Record) -> NetworkView {
    let live = record.network.as_ref();
    NetworkView {
        sandbox_id: live
            .filter(|network| !network.sandbox.is_empty())
            .map_or_else(String::new, |_| record.id.clone()),
        sandbox_key: live.map_or_else(String::new, |network| network.sandbox.clone()),
        ports: live.map_or_else(BTreeMap::new, |network| network.ports.clone()),
        networks: endpoints(networks, record),
    }
}

fn graph_driver(inner: &Inner, record: &Record) -> Result<BTreeMap<String, String>> {
    let Some(snapshot) = inner.store.snapshots().find(&record.id)? else {
        return Ok(BTreeMap::new());
    };
    let layers = inner.store.layout().root().join("layers");
    let lower: Vec<String> = snapshot
        .chain
        .iter()
        .rev()
        .map(|layer| layers.join(layer.hex()).join("fs").to_string_lossy().into_owned())
        .collect();
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    Ok(BTreeMap::from([
        ("LowerDir".to_owned(), lower.join(":")),
        ("MergedDir".to_owned(), text(&snapshot.merged)),
        ("UpperDir".to_owned(), text(&snapshot.upper)),
        ("WorkDir".to_owned(), text(&snapshot.work)),
    ]))
}
