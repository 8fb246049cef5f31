//! Plans of removals: exactly what a command would take, why, and the bytes that come back; and their execution, which takes
//! exactly that.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use havre_oci::Digest;
use havre_store::{Operation, Store};

use crate::error::blocking;
use crate::{
    Containers, EngineError, ErrorKind, Filters, Images, Networks, RemoveOptions, Result, Volumes, containers,
};

/// What is to be removed.
#[derive(Debug, Clone)]
pub enum PlanRequest {
    /// `rm`
    Containers {
        names: Vec<String>,
        force: bool,
        volumes: bool,
    },
    /// `volume rm`
    Volumes {
        names: Vec<String>,
        force: bool,
    },
    /// `network rm`
    Networks {
        names: Vec<String>,
        force: bool,
    },
    ContainerPrune(Filters),
    VolumePrune(Filters),
    NetworkPrune(Filters),
    SystemPrune {
        filters: Filters,
        /// All images no container uses, and all of the build cache.
        all: bool,
        volumes: bool,
    },
}

/// One thing that would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedItem {
    /// `container`, `volume`, `network`, `image` or `build cache`
    pub kind: &'static str,
    pub id: String,
    pub name: String,
    /// Bytes that come back when it is gone for good. Of images and build cache, whose layers are shared, each layer counts
    /// once, with the first that has it.
    pub size: u64,
    /// Why it may go.
    pub reason: String,
}

/// What would go, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub items: Vec<PlannedItem>,
}

impl Plan {
    /// Bytes that come back.
    pub fn size(&self) -> u64 {
        self.items.iter().map(|item| item.size).sum()
    }
}

/// What became of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// What went: kind and id, or name of a volume or network.
    pub removed: Vec<(String, String)>,
    /// What stayed, and why: it changed after the plan was made.
    pub skipped: Vec<(String, String, String)>,
    pub reclaimed: u64,
}

/// Makes plans and carries them out.
#[derive(Clone)]
pub struct Plans {
    pub(crate) store: std::sync::Arc<Store>,
    pub(crate) containers: Containers,
    pub(crate) volumes: Volumes,
    pub(crate) networks: Networks,
    pub(crate) images: Images,
}

impl Plans {
    /// What a command would remove now. The errors are those of the command.
    pub async fn plan(&self, request: PlanRequest) -> Result<Plan> {
        let mut plan = Plan::default();
        match request {
            PlanRequest::Containers {
                names,
                force,
                volumes,
            } => {
                for name in names {
                    match self.containers.check_removal(&name, force) {
                        Ok(container) => {
                            let forced = "it runs and would be killed";
                            self.add_container(&mut plan, &container, forced, volumes).await?;
                        }
                        Err(error) if force && error.kind() == ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            PlanRequest::Volumes { names, force } => {
                for name in names {
                    match self.volumes.find(&name) {
                        Some(_) => self.add_volume(&mut plan, &name, &[], true).await?,
                        None if force => {}
                        None => {
                            return Err(EngineError::not_found(format!("get {name}: no such volume")));
                        }
                    }
                }
            }
            PlanRequest::Networks { names, force } => {
                for name in names {
                    match self.networks.removable(&name) {
                        Ok((id, name)) => plan.add("network", id, name, 0, "no container is on it"),
                        Err(error) if force && error.kind() == ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            PlanRequest::ContainerPrune(filters) => self.add_containers(&mut plan, filters).await?,
            PlanRequest::VolumePrune(filters) => self.add_volumes(&mut plan, &filters, &[]).await?,
            PlanRequest::NetworkPrune(filters) => self.add_networks(&mut plan, &filters, &[])?,
            PlanRequest::SystemPrune {
                filters,
                all,
                volumes,
            } => {
                self.add_containers(&mut plan, filters.clone()).await?;
                let gone: Vec<String> = plan.items.iter().map(|item| item.id.clone()).collect();
                self.add_networks(&mut plan, &filters, &gone)?;
                if volumes {
                    self.add_volumes(&mut plan, &filters, &gone).await?;
                }
                self.add_images(&mut plan, &filters, all, &gone).await?;
            }
        }
        Ok(plan)
    }

    /// Removes exactly these things, as far as nothing has begun to use them since they were planned.
    pub async fn apply(&self, items: &[(String, String)], operation: Option<&Operation>) -> Result<Applied> {
        let mut applied = Applied::default();
        for (kind, id) in items {
            let (size, removed) = match kind.as_str() {
                "container" => {
                    let size = self.container_size(id).await.unwrap_or(0);
                    let options = RemoveOptions {
                        operation: operation.cloned(),
                        ..RemoveOptions::default()
                    };
                    (size, self.containers.remove(id, options).await)
                }
                "volume" => {
                    let size = self.volume_size(id).await?;
                    (size, self.volumes.remove(id, false, operation.cloned()).await)
                }
                "network" if self.networks.is_wanted(id) => {
                    let reason = EngineError::conflict("a container is on it");
                    (0, Err(reason))
                }
                "network" => (0, self.networks.remove(id, operation.cloned()).await),
                kind => {
                    return Err(EngineError::invalid(format!(
                        "invalid kind {kind:?} in a plan: container, volume and network are applied by it"
                    )));
                }
            };
            match removed {
                Ok(()) => {
                    applied.reclaimed += size;
                    applied.removed.push((kind.clone(), id.clone()));
                }
                Err(error) => applied
                    .skipped
                    .push((kind.clone(), id.clone(), error.to_string())),
            }
        }
        Ok(applied)
    }

    async fn add_containers(&self, plan: &mut Plan, filters: Filters) -> Result<()> {
        for container in self.containers.prunable(filters).await? {
            self.add_container(plan, &container, "", false).await?;
        }
        Ok(())
    }

    async fn add_container(
        &self,
        plan: &mut Plan,
        container: &containers::Container,
        running: &str,
        volumes: bool,
    ) -> Result<()> {
        let (name, reason, owned) = {
            let record = container.read();
            let status = record.state.status;
            let reason = match status {
                status if status.is_live() => running.to_owned(),
                containers::Status::Created => "created, never started".to_owned(),
                status => status.to_string(),
            };
            let owned = record.mounts.iter().filter(|mount| volumes && mount.owned);
            let owned: Vec<String> = owned.map(|mount| mount.point.name.clone()).collect();
            (record.name.clone(), reason, owned)
        };
        let size = self.container_size(&container.id).await?;
        plan.add("container", container.id.clone(), name, size, &reason);
        for volume in owned {
            let users = [container.id.clone()];
            // Others use it as well: it stays.
            if self.volumes.users(&volume) == users {
                self.add_volume(plan, &volume, &users, false).await?;
            }
        }
        Ok(())
    }

    async fn add_volumes(&self, plan: &mut Plan, filters: &Filters, gone: &[String]) -> Result<()> {
        let mut filters = filters.clone();
        if !gone.is_empty() || filters.contains("until") {
            filters = filters.without("until");
        }
        let gone: BTreeSet<&str> = gone.iter().map(String::as_str).collect();
        for volume in self.volumes.prunable_after(&filters, &gone)? {
            let size = self.volume_size(&volume.name).await?;
            let reason = match volume.anonymous {
                true => "anonymous, no container uses it",
                false => "no container uses it",
            };
            plan.add("volume", volume.name.clone(), volume.name, size, reason);
        }
        Ok(())
    }

    async fn add_volume(&self, plan: &mut Plan, name: &str, gone: &[String], named: bool) -> Result<()> {
        let users: Vec<String> = self.volumes.users(name);
        let others: Vec<String> = users.into_iter().filter(|user| !gone.contains(user)).collect();
        if !others.is_empty() {
            return Err(EngineError::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                others.join(", ")
            )));
        }
        let size = self.volume_size(name).await?;
        let reason = match named {
            true => "no container uses it",
            false => "anonymous, made for the container",
        };
        plan.add("volume", name.to_owned(), name.to_owned(), size, reason);
        Ok(())
    }

    fn add_networks(&self, plan: &mut Plan, filters: &Filters, gone: &[String]) -> Result<()> {
        for record in self.networks.prunable_after(filters, gone)? {
            plan.add("network", record.id, record.name, 0, "no container is on it");
        }
        Ok(())
    }

    /// Images and build cache of `system prune`; `gone`: containers that go before.
    async fn add_images(&self, plan: &mut Plan, filters: &Filters, all: bool, gone: &[String]) -> Result<()> {
        let values = filters
            .iter()
            .map(|(key, values)| (key.to_owned(), values.iter().cloned().collect()));
        let image_filters = havre_image::Filters::new(values.collect());
        let uses: Vec<_> = self.containers.image_uses();
        let uses: Vec<_> = uses
            .into_iter()
            .filter(|user| !gone.contains(&user.container))
            .collect();
        let options = havre_image::PruneOptions {
            all,
            filters: image_filters,
        };
        let images = self.images.service().prunable(&options, &uses).await?;
        let cached = crate::builds::prunable(self.store.clone(), all, filters.only_key("until")).await?;
        let (store, containers) = (self.store.clone(), gone.to_vec());
        let (images, sizes, caches) = blocking(move || {
            let sizes = Sizes::of(&store, &images, &cached, &containers)?;
            Ok((images, sizes, cached))
        })
        .await?;
        let mut sizes = sizes;
        for (image, names) in images {
            let reason = match names.is_empty() {
                true => "dangling",
                false => "no container uses it",
            };
            let name = match names.is_empty() {
                true => "<none>".to_owned(),
                false => names.join(", "),
            };
            let size = sizes.take(&image.layers);
            plan.add("image", image.id.to_string(), name, size, reason);
        }
        for (key, layers) in caches {
            let size = sizes.take(&layers);
            plan.add("build cache", key, String::new(), size, "no build uses it");
        }
        Ok(())
    }

    async fn container_size(&self, id: &str) -> Result<u64> {
        let (store, id) = (self.store.clone(), id.to_owned());
        blocking(move || Ok(store.snapshots().usage(&id)?)).await
    }

    async fn volume_size(&self, name: &str) -> Result<u64> {
        let Some(volume) = self.volumes.find(name) else {
            return Ok(0);
        };
        let volumes = self.volumes.clone();
        blocking(move || Ok(volumes.size(&volume))).await
    }
}

impl Plan {
    fn add(&mut self, kind: &'static str, id: String, name: String, size: u64, reason: &str) {
        if self.items.iter().any(|item| item.kind == kind && item.id == id) {
            return;
        }
        self.items.push(PlannedItem {
            kind,
            id,
            name,
            size,
            reason: reason.to_owned(),
        });
    }
}

/// Sizes of layers that nothing but what goes has, each to be counted once.
struct Sizes(BTreeMap<Digest, u64>);

impl Sizes {
    fn of(
        store: &Store,
        images: &[(havre_store::Image, Vec<String>)],
        cached: &[(String, Vec<Digest>)],
        containers: &[String],
    ) -> Result<Self> {
        let gone: HashSet<&Digest> = images.iter().map(|(image, _)| &image.id).collect();
        let forgotten: HashSet<&str> = cached.iter().map(|(key, _)| key.as_str()).collect();
        let mut used: HashSet<Digest> = HashSet::new();
        for image in store.meta().images()? {
            if !gone.contains(&image.id) {
                used.extend(image.layers);
            }
        }
        for entry in store.meta().cache_list()? {
            if !forgotten.contains(entry.key.as_str()) {
                used.extend(entry.record.layers);
            }
        }
        // Those of containers that were removed before too, as long as they can be brought back.
        for snapshot in store.snapshots().list()? {
            if !containers.contains(&snapshot.id) {
                used.extend(snapshot.chain);
            }
        }
        let layers = store.layers().list()?.into_iter();
        Ok(Self(
            layers
                .filter(|layer| !used.contains(&layer.diff_id))
                .map(|layer| (layer.diff_id.clone(), layer.disk_size()))
                .collect(),
        ))
    }

    fn take(&mut self, layers: &[Digest]) -> u64 {
        layers.iter().filter_map(|layer| self.0.remove(layer)).sum()
    }
}
