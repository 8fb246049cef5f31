//! `create`: decides everything, makes the snapshot and the volumes, publishes the record last.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use havre_image::ImageError;
use havre_oci::{Digest, ImageConfig, Platform};
use havre_store::Image;
use jiff::Timestamp;

use super::record::{KIND, Record, State};
use super::sources::Source;
use super::table::{Container, encode};
use super::validate::{NetworkMode, storage_size, validate};
use super::{
    Containers, CreateContainer, Created, EndpointConfig, HostConfig, Inner, MountKind, Resources, endpoints,
    files, merge, mounts, names, spec, tree,
};
use crate::error::blocking;
use crate::networks::{self, Found};
use crate::{EngineError, Result};

/// Tries of random names before giving up.
const NAME_ATTEMPTS: u32 = 10;

impl Containers {
    /// Creates a container. The image must be here ("No such image" otherwise).
    pub async fn create(&self, mut request: CreateContainer) -> Result<Created> {
        // Most containers are started right after.
        self.0.runtime.anticipate();
        if let Some(name) = &mut request.name {
            let bare = name.strip_prefix('/').unwrap_or(name).to_owned();
            if !names::is_valid(&bare) {
                return Err(EngineError::invalid(format!(
                    "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
                )));
            }
            *name = bare;
        }
        let log = &mut request.host_config.log_config;
        let default = &self.0.settings.log;
        if log.driver.is_empty() {
            log.driver.clone_from(&default.driver);
        }
        if log.driver == default.driver {
            for (key, value) in &default.options {
                log.options.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        validate(&request.config, &request.host_config)?;
        let runtime = &mut request.host_config.runtime;
        self.0.settings.runtimes.find(runtime)?;
        *runtime = self.0.settings.runtimes.name(runtime);
        super::health::validate(request.config.healthcheck.as_ref())?;
        files::dns_options(&request.host_config)?;
        files::extra_hosts(&request.host_config.extra_hosts, None)?;
        let mut warnings = Vec::new();
        let (image, config) = self.image(&request, &mut warnings).await?;
        let inner = self.0.clone();
        blocking(move || create(&inner, request, &image, &config, warnings)).await
    }

    async fn image(
        &self,
        request: &CreateContainer,
        warnings: &mut Vec<String>,
    ) -> Result<(Image, ImageConfig)> {
        let name = &request.config.image;
        if name.is_empty() {
            return Err(EngineError::invalid(
                "config.Image cannot be empty: name the image of the container",
            ));
        }
        let parse =
            |text: &String| Platform::parse(text).map_err(|error| EngineError::invalid(error.to_string()));
        let wanted = request.platform.as_ref().map(parse).transpose()?;
        let resolving = self.0.images.resolve_on(name, wanted.as_ref());
        let image = resolving.await.map_err(|error| match error {
            ImageError::NotFound(_) => EngineError::not_found(format!("No such image: {}", familiar(name))),
            error => error.into(),
        })?;
        if wanted.is_none() && !Platform::host().matches(&image.platform) {
            warnings.push(format!(
                "The requested image's platform ({}) does not match the detected host platform ({}) and no specific platform \
                 was requested",
                image.platform,
                Platform::host()
            ));
        }
        let config = self.0.images.config(&image.id).await?;
        Ok((image, config))
    }
}

/// `debian` → `debian:latest`, as Docker names missing images.
fn familiar(name: &str) -> String {
    match havre_oci::Reference::parse(name) {
        Ok(reference) => reference.with_default_tag().familiar(),
        Err(_) => name.to_owned(),
    }
}

/// What has been made and must go again if a later step fails.
struct Undo<'a> {
    inner: &'a Inner,
    id: &'a str,
    name: String,
    done: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let volumes = &self.inner.volumes;
        volumes.release(self.id);
        if let Err(error) = self.inner.store.snapshots().remove(self.id) {
            tracing::warn!(container = self.id, %error, "cannot remove the snapshot of a container that was not created");
        }
        self.inner.table.release(&self.name, self.id);
    }
}

fn create(
    inner: &Arc<Inner>,
    request: CreateContainer,
    image: &Image,
    image_config: &ImageConfig,
    mut warnings: Vec<String>,
) -> Result<Created> {
    let CreateContainer {
        name,
        mut config,
        mut host_config,
        networks,
        ..
    } = request;
    let id = names::new_id();
    merge::merge(&mut config, &image_config.config)?;
    let args = merge::command_line(&config)?;
    let mode = NetworkMode::parse(&host_config.network_mode)?;
    super::userns::check(inner, &host_config, &mode)?;
    if config.hostname.is_empty() {
        config.hostname = match (&mode, host_config.uts_mode.as_str()) {
            (NetworkMode::Host, _) | (_, "host") => spec::host_name(),
            _ => id[..12].to_owned(),
        };
    }
    if let NetworkMode::Container(other) = &mode {
        // Remembered by id: names change.
        let other = inner.table.find(other).map_err(EngineError::into_invalid)?;
        host_config.network_mode = format!("container:{}", other.id);
    }
    let links = host_config.links.clone();
    host_config.links = super::links::resolve(&host_config, &mode, &inner.table)?;
    let networks = memberships(inner, networks, &mut host_config, links)?;
    if mode == NetworkMode::Host && (!host_config.port_bindings.is_empty() || host_config.publish_all_ports) {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    spec::check_devices(&host_config)?;
    super::start::port_requests(&config, &host_config)?;
    if host_config.ipc_mode.is_empty() {
        host_config.ipc_mode = "private".to_owned();
    }
    if host_config.cgroupns_mode.is_empty() {
        let private = inner.settings.cgroup_v2 && !host_config.privileged;
        host_config.cgroupns_mode = if private { "private" } else { "host" }.to_owned();
    }
    if host_config.shm_size == 0 {
        host_config.shm_size = spec::DEFAULT_SHM;
    }
    default_swap(&mut host_config.resources);
    if host_config.resources != Resources::default() {
        warnings.extend(super::abilities::discard(
            &mut host_config.resources,
            inner.runtime.abilities(),
        )?);
    }
    for limit in spec::resources(&host_config).block.all() {
        check_block_device(&limit.path)?;
    }

    let limit = storage_size(&host_config)?;
    let exceeds = |name: &String| {
        let name = name.to_ascii_uppercase();
        matches!(name.strip_prefix("CAP_").unwrap_or(&name), "SYS_RESOURCE" | "ALL")
    };
    if limit.is_some() && (host_config.privileged || host_config.cap_add.iter().any(exceeds)) {
        warnings.push(
            "Programs with the capability SYS_RESOURCE are held to the storage size on xfs, but not on ext4"
                .to_owned(),
        );
    }
    if limit.is_some() && !inner.store.has_quotas() {
        return Err(EngineError::invalid(format!(
            "storage option size is not supported here: {} lies on a file system without project quotas: put it on xfs mounted \
             with pquota, or on ext4 made with -O quota,project and mounted with prjquota; or give the container a read-only \
             root and a tmpfs of limited size",
            inner.store.layout().root().display()
        )));
    }
    let name = reserve(inner, name, &id)?;
    let mut undo = Undo {
        inner,
        id: &id,
        name: name.clone(),
        done: false,
    };
    let lease = inner.store.lease();
    for layer in &image.layers {
        lease.hold(layer);
    }
    if inner.store.meta().find_image(&image.id)?.is_none() {
        return Err(EngineError::not_found(format!("No such image: {}", config.image)));
    }
    let snapshot = inner.store.snapshots().prepare(&id, &image.layers)?;
    drop(lease);
    if let Some(bytes) = limit {
        inner.store.limit(&[&snapshot.upper, &snapshot.work], bytes)?;
    }
    let mounts = mounts::resolve(&id, &config, &host_config, &inner.table, &inner.volumes);
    let mounts = mounts.and_then(|mounts| {
        populate(inner, &id, &image.layers, &mounts)?;
        Ok(mounts)
    });
    let mounts = match mounts {
        Ok(mounts) => mounts,
        Err(error) => {
            drop_anonymous(inner, &id);
            return Err(error);
        }
    };
    let record = Record {
        id: id.clone(),
        name: name.clone(),
        created: Timestamp::now(),
        image: image.id.clone(),
        layers: image.layers.clone(),
        os: image.platform.os.clone(),
        args,
        config,
        host_config,
        endpoints: networks,
        mounts,
        state: State::default(),
        restart_count: 0,
        stopped_by_user: false,
        left_primary: false,
        network: None,
        mountpoints: Vec::new(),
    };
    let stored = encode(&record)
        .and_then(|body| Ok(inner.store.meta().put_document(KIND, &id, Some(&name), &body)?));
    if let Err(error) = stored {
        drop_anonymous(inner, &id);
        return Err(error);
    }
    undo.done = true;
    drop(undo);
    if record.mounts.iter().any(|mount| mount.owned)
        && let Err(error) = inner.volumes.confirm(&id)
    {
        tracing::warn!(container = id, %error, "cannot confirm anonymous volumes");
    }
    let container = inner.table.insert(Container::new(record));
    if let Err(error) = inner.store.meta().touch_image(&image.id) {
        tracing::warn!(image = %image.id, %error, "cannot note the use of an image");
    }
    inner.publish(&container, "create", &[]);
    Ok(Created { id, warnings })
}

fn check_block_device(path: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match fs_err::metadata(path) {
        Ok(metadata) if metadata.file_type().is_block_device() => Ok(()),
        Ok(_) => Err(EngineError::invalid(format!(
            "{} is not a block device",
            path.display()
        ))),
        Err(error) => Err(
            EngineError::invalid(format!("there is no block device {}", path.display())).with_source(error),
        ),
    }
}

/// Who limits memory and says nothing of swap gets as much of it as of memory: memory and swap together are twice the limit.
pub(super) fn default_swap(resources: &mut Resources) {
    if resources.memory > 0 && resources.memory_swap == 0 {
        resources.memory_swap = resources.memory.saturating_mul(2);
    }
}

/// The user's name, or a random one that is free.
fn reserve(inner: &Inner, name: Option<String>, id: &str) -> Result<String> {
    if let Some(name) = name {
        inner.table.reserve(&name, id)?;
        return Ok(name);
    }
    for attempt in 0..NAME_ATTEMPTS {
        let name = names::random(attempt);
        if inner.table.reserve(&name, id).is_ok() {
            return Ok(name);
        }
    }
    let name = id[..12].to_owned();
    inner.table.reserve(&name, id)?;
    Ok(name)
}

/// Volumes without a name that only a failed creation held.
fn drop_anonymous(inner: &Inner, id: &str) {
    for name in inner.volumes.release_made_for(id) {
        if let Err(error) = inner.volumes.delete(&name) {
            tracing::debug!(volume = name, %error, "an anonymous volume of a failed creation stays");
        }
    }
}

/// First use of a volume: the image's files at the mount point go into it, with owners, modes and times.
fn populate(inner: &Inner, id: &str, layers: &[Digest], mounts: &[super::record::MountRecord]) -> Result<()> {
    let mut wanted = mounts
        .iter()
        .filter(|mount| mount.point.kind == MountKind::Volume && mount.copy)
        // What isn't there yet may turn out to be empty.
        .filter(|mount| {
            let point = &mount.point;
            !mount.subpath.is_empty()
                || inner.volumes.has_device(&point.name)
                || is_empty(Path::new(&point.source))
        })
        .peekable();
    if wanted.peek().is_none() || layers.is_empty() {
        return Ok(());
    }
    let snapshot = inner.store.snapshots().get(id)?;
    let rootfs = inner.store.snapshots().mount(&snapshot)?;
    let copied = (|| {
        let root = havre_sys::rooted::Root::open(&rootfs)?;
        for mount in wanted {
            let point = &mount.point;
            // As Docker: what the image has nothing for is left alone until the container starts.
            if root.stat(Path::new(&point.destination), true).is_err() {
                continue;
            }
            inner.volumes.mount(&point.name, id)?;
            let source = Source::of(mount)?;
            if !is_empty(&source.path()) {
                continue;
            }
            tree::copy_up(&root, &point.destination, &source.path()).map_err(|error| {
                error.context(format!(
                    "failed to copy the image's {} into volume {}",
                    point.destination, point.name
                ))
            })?;
        }
        Ok(())
    })();
    inner.volumes.unmount_all(id);
    inner.store.snapshots().unmount(id)?;
    copied
}

fn is_empty(directory: &Path) -> bool {
    fs_err::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// The networks as they are remembered, by name: that of the network mode with what belongs to it, and others.
fn memberships(
    inner: &Inner,
    networks: BTreeMap<String, EndpointConfig>,
    host_config: &mut HostConfig,
    links: Vec<String>,
) -> Result<BTreeMap<String, EndpointConfig>> {
    let mode = NetworkMode::parse(&host_config.network_mode)?;
    let own = matches!(mode, NetworkMode::Bridge | NetworkMode::User(_));
    // Not `NotFound`: clients take that for a missing image when they create a container.
    let find = |name: &str| {
        inner
            .networks
            .find(networks::name_of_mode(name))
            .map_err(EngineError::into_invalid)
    };
    if let NetworkMode::User(name) = &mode {
        host_config.network_mode = find(name)?.name().to_owned();
    }
    let mut found = BTreeMap::new();
    for (name, config) in networks {
        if name.starts_with("container:") {
            continue;
        }
        let network = find(&name)?;
        if !own && network.name() != host_config.network_mode {
            return Err(EngineError::invalid(format!(
                "conflicting options: network {name} does not go with the network mode {}",
                host_config.network_mode
            )));
        }
        if own && matches!(network, Found::Predefined("host" | "none")) {
            return Err(EngineError::invalid(format!(
                "a container on the network {name} is on no other one"
            )));
        }
        endpoints::check(&network, &config)?;
        if found.insert(network.name().to_owned(), config).is_some() {
            return Err(EngineError::invalid(format!("network {name} is given twice")));
        }
    }
    if own {
        let primary = networks::name_of_mode(&host_config.network_mode).to_owned();
        let config = found.entry(primary).or_default();
        // Older clients say what a container calls others only once, for all of it.
        if matches!(mode, NetworkMode::User(_)) && config.links.is_empty() {
            config.links = links;
            endpoints::check(&find(&host_config.network_mode)?, config)?;
        }
    }
    Ok(found)
}
