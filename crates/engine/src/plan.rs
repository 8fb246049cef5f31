//! Plans of removals: exactly what a command would take, why, and the bytes that come back; and their execution, which takes
//! exactly that.

use std::collections::BTreeSet;

use havre_image::{
    Keep, Planned, PruneOptions, PruneRequest, RemoveOptions as ImageRemoval, Removed, RemovedImage,
};
use havre_oci::{Digest, Platform};
use havre_store::Store;

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
    /// `rmi`: names, or filters
    Images {
        names: Vec<String>,
        filters: Filters,
        force: bool,
        no_prune: bool,
        /// Just the images for these, if there are some.
        platforms: Vec<Platform>,
    },
    ContainerPrune(Filters),
    /// All images no container uses, or dangling ones only.
    ImagePrune {
        filters: Filters,
        all: bool,
    },
    BuilderPrune {
        filters: Filters,
        all: bool,
        /// Bytes that may stay; 0: none.
        keep_storage: u64,
    },
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
    /// `container`, `volume`, `network`, `image`, `image name`, `compressed layer` or `build cache`
    pub kind: &'static str,
    pub id: String,
    pub name: String,
    /// What an image is called by, which goes with it, or without it.
    pub references: Vec<String>,
    /// Diff IDs of the layers that go with an image.
    pub layers: Vec<Digest>,
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
    /// What went of images, as Docker's prune tells it.
    pub images: Vec<Removed>,
    pub reclaimed: u64,
}

impl Applied {
    fn note(&mut self, kind: &str, id: &str, outcome: Result<u64>) {
        let (kind, id) = (kind.to_owned(), id.to_owned());
        match outcome {
            Ok(size) => {
                self.reclaimed += size;
                self.removed.push((kind, id));
            }
            Err(error) => self.skipped.push((kind, id, error.to_string())),
        }
    }
}

/// How a plan is carried out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Apply<'a> {
    /// What the user called: `image prune`.
    pub command: &'a str,
    /// Stopped containers do not keep an image.
    pub force: bool,
}

/// One thing of a plan, as it comes back to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanItem {
    pub kind: String,
    pub id: String,
    /// Of an image: the names it may go with.
    pub references: Vec<String>,
}

fn digest(id: &str) -> Result<Digest> {
    id.parse()
        .map_err(|error| EngineError::invalid(format!("invalid id {id:?} in a plan: {error}")))
}

fn image_filters(filters: &Filters) -> havre_image::Filters {
    let values = filters
        .iter()
        .map(|(key, values)| (key.to_owned(), values.iter().cloned().collect()));
    havre_image::Filters::new(values.collect())
}

fn prune_options(filters: &Filters, all: bool) -> PruneOptions {
    PruneOptions {
        all,
        filters: image_filters(filters),
    }
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
            PlanRequest::Images {
                names,
                filters,
                force,
                no_prune,
                platforms,
            } => {
                let options = ImageRemoval {
                    force,
                    platforms,
                    no_prune,
                };
                self.add_removable_images(&mut plan, &names, &filters, options)
                    .await?;
            }
            PlanRequest::ContainerPrune(filters) => self.add_containers(&mut plan, filters).await?,
            PlanRequest::ImagePrune { filters, all } => {
                let images = Some(prune_options(&filters, all));
                self.add_prunable(&mut plan, images, Vec::new(), Vec::new())
                    .await?;
            }
            PlanRequest::BuilderPrune {
                filters,
                all,
                keep_storage,
            } => {
                let store = self.store.clone();
                let cache = crate::builds::prunable(store, all, keep_storage, filters).await?;
                self.add_prunable(&mut plan, None, cache, Vec::new()).await?;
            }
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
                let images = Some(prune_options(&filters, all));
                let (store, until) = (self.store.clone(), filters.only_key("until"));
                let cache = crate::builds::prunable(store, all, 0, until).await?;
                self.add_prunable(&mut plan, images, cache, gone).await?;
            }
        }
        Ok(plan)
    }

    /// Removes exactly these things, as far as nothing has begun to use them since they were planned. Images go together, and so
    /// does the build cache.
    pub async fn apply(&self, items: &[PlanItem], how: Apply<'_>, keep: Option<Keep>) -> Result<Applied> {
        let mut applied = Applied::default();
        let operation = keep.as_ref().map(|keep| &keep.operation);
        let of = |wanted: &'static str| items.iter().filter(move |item| item.kind == wanted);
        for PlanItem { kind, id, .. } in items {
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
                "image" | "image name" | "compressed layer" | "build cache" => continue,
                kind => {
                    return Err(EngineError::invalid(format!(
                        "invalid kind {kind:?} in a plan: it is nothing that a prune removes"
                    )));
                }
            };
            applied.note(kind, id, removed.map(|()| size));
        }
        let mut planned = Vec::new();
        for item in of("image").chain(of("image name")) {
            planned.push(Planned {
                image: digest(&item.id)?,
                names: item.references.clone(),
                deleted: item.kind == "image",
            });
        }
        if !planned.is_empty() {
            let command = match how.command {
                "image rm" => "rmi",
                _ => "prune",
            };
            let how = (command, how.force);
            let outcomes = self.images.remove_planned(&planned, how, keep.clone()).await?;
            for (planned, outcome) in planned.iter().zip(outcomes) {
                let size = outcome.map(|(removed, size)| {
                    applied.images.extend(removed);
                    size
                });
                let kind = if planned.deleted { "image" } else { "image name" };
                applied.note(kind, planned.image.as_str(), size);
            }
        }
        for item in of("compressed layer") {
            let (store, blob) = (self.store.clone(), digest(&item.id)?);
            let freed = blocking(move || Ok(store.evict(&blob)?)).await?;
            let freed = freed.ok_or_else(|| EngineError::conflict("it is in use, or gone"));
            applied.note("compressed layer", &item.id, freed);
        }
        let keys: Vec<String> = of("build cache").map(|item| item.id.clone()).collect();
        if !keys.is_empty() {
            let outcomes = self.images.service().prune_cached(&keys).await?;
            for (key, freed) in keys.iter().zip(outcomes) {
                let freed = freed.ok_or_else(|| EngineError::not_found("it is gone"));
                applied.note("build cache", key, freed);
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

    /// What `rmi` takes.
    async fn add_removable_images(
        &self,
        plan: &mut Plan,
        names: &[String],
        filters: &Filters,
        options: ImageRemoval,
    ) -> Result<()> {
        let uses = self.containers.image_uses();
        let images = self.images.service();
        let removed = match (names, filters.is_empty()) {
            (_, true) => images.plan_removal(names, options, &uses).await?,
            ([], false) => {
                let filters = image_filters(filters);
                images.plan_filtered_removal(&filters, options, &uses).await?
            }
            _ => {
                return Err(EngineError::invalid(
                    "images are removed by names or by filters, not by both",
                ));
            }
        };
        for image in removed {
            let user = uses.iter().find(|user| user.image == image.image);
            let reason = match (image.deleted, user) {
                (false, _) => "the image stays: it has other names, or something uses it".to_owned(),
                (true, Some(user)) => {
                    format!(
                        "forced: container {} uses it and keeps its layers",
                        &user.container[..12]
                    )
                }
                (true, None) if image.names.is_empty() => "untagged, and nothing uses it".to_owned(),
                (true, None) => "it has no other name, and no container uses it".to_owned(),
            };
            plan.add_image(image, reason);
        }
        Ok(())
    }

    /// Images and build cache of prunes; `gone`: containers that go before.
    async fn add_prunable(
        &self,
        plan: &mut Plan,
        images: Option<PruneOptions>,
        cache: Vec<String>,
        gone: Vec<String>,
    ) -> Result<()> {
        let mut in_use = self.containers.image_uses();
        in_use.retain(|user| !gone.contains(&user.container));
        let request = PruneRequest {
            containers: gone,
            images,
            in_use,
            cache,
        };
        let pruned = self.images.service().plan_prune(request).await?;
        for image in pruned.images {
            let reason = match image.names.is_empty() {
                true => "dangling",
                false => "no container uses it",
            };
            plan.add_image(image, reason.to_owned());
        }
        for (digest, size) in pruned.compressed {
            let reason = "a compressed copy of a layer, which can be made again";
            plan.add(
                "compressed layer",
                digest.to_string(),
                String::new(),
                size,
                reason,
            );
        }
        for (key, size) in pruned.cache {
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
    fn add_image(&mut self, image: RemovedImage, reason: String) {
        let reason = match image.why.is_empty() {
            true => reason,
            false => format!("{}; {reason}", image.why),
        };
        let name = match image.names.is_empty() {
            true => "<none>".to_owned(),
            false => image.names.join(", "),
        };
        self.items.push(PlannedItem {
            kind: if image.deleted { "image" } else { "image name" },
            id: image.image.to_string(),
            name,
            references: image.names,
            layers: image.layers,
            size: image.size,
            reason,
        });
    }

    fn add(&mut self, kind: &'static str, id: String, name: String, size: u64, reason: &str) {
        if self.items.iter().any(|item| item.kind == kind && item.id == id) {
            return;
        }
        self.items.push(PlannedItem {
            kind,
            id,
            name,
            references: Vec::new(),
            layers: Vec::new(),
            size,
            reason: reason.to_owned(),
        });
    }
}
