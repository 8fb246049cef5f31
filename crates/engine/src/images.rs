//! The image service as the engine offers it: events, and protection of images that containers use.

mod upkeep;

pub use self::upkeep::Mended;

use havre_image::{
    Archive, BootstrapRequest, ImageService, ImageUse, ImportOptions, Keep, ListOptions, Loaded, Planned,
    Progress, PruneOptions, Pruned, PullOptions, Pulled, PushOptions, Pushed, RemoveOptions, Removed,
    Restored, SaveOptions, SquashFrom, Squashed, Summary,
};
use havre_oci::{Digest, Platform, Reference};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use crate::error::blocking;
use crate::{ByteStream, Containers, Event, EventType, Events, Result};

/// Images. Reading goes straight to [`Images::service`]; what changes something goes through here.
#[derive(Clone)]
pub struct Images {
    service: ImageService,
    containers: Containers,
    events: Events,
}

impl Images {
    pub(crate) fn new(service: ImageService, containers: Containers, events: Events) -> Self {
        Images {
            service,
            containers,
            events,
        }
    }

    /// `list`, `inspect`, `history`, `resolve`, `bootstrap`, and the registry client for `login` and `search`.
    pub fn service(&self) -> &ImageService {
        &self.service
    }

    /// Images, newest first.
    pub async fn list(&self, options: &ListOptions) -> Result<Vec<Summary>> {
        let containers = self.containers.clone();
        let in_use = move || containers.image_uses();
        Ok(self.service.list(options, in_use).await?)
    }

    /// Pulls one tag, digest, or every tag.
    pub async fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<Pulled>> {
        let pulled = self.service.pull(reference, options, progress).await?;
        for one in &pulled {
            self.publish("pull", one.reference.familiar(), &one.reference.familiar_name());
        }
        Ok(pulled)
    }

    /// Pushes one tag, or every tag.
    pub async fn push(
        &self,
        reference: &Reference,
        options: &PushOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<Pushed>> {
        let pushed = self.service.push(reference, options, progress).await?;
        self.publish("push", reference.familiar(), &reference.familiar_name());
        Ok(pushed)
    }

    /// Gives an image another name.
    pub async fn tag(&self, source: &str, target: &Reference) -> Result<Digest> {
        let id = self.service.tag(source, target).await?;
        self.publish("tag", id.to_string(), &target.familiar());
        Ok(id)
    }

    /// Makes an image whose layers are one, or those above a base.
    pub async fn squash(&self, name: &str, from: SquashFrom, tags: Vec<Reference>) -> Result<Squashed> {
        let squashed = self.service.squash(name, from, tags.clone()).await?;
        for tag in &tags {
            let name = tag.clone().with_default_tag().familiar();
            self.publish("tag", squashed.id.to_string(), &name);
        }
        Ok(squashed)
    }

    /// Lets names stand for images of different platforms.
    pub async fn join(&self, names: &[Reference], images: &[String]) -> Result<Digest> {
        let id = self.service.join(names, images).await?;
        for name in names {
            self.publish("tag", id.to_string(), &name.clone().with_default_tag().familiar());
        }
        Ok(id)
    }

    /// Puts a tag back to what it stood for before.
    pub async fn restore(&self, entry: &str) -> Result<Restored> {
        let restored = self.service.restore(entry).await?;
        self.publish("tag", restored.image.to_string(), &restored.reference.familiar());
        Ok(restored)
    }

    /// `rmi`, refusing what containers use: for each name what went, or why it stays.
    pub async fn remove(
        &self,
        names: &[String],
        options: RemoveOptions,
        keep: Option<Keep>,
    ) -> Result<Vec<Result<Vec<Removed>>>> {
        let outcomes = self.service.remove(names, options, &self.in_use(), keep).await?;
        for removed in outcomes.iter().flatten() {
            self.publish_removed(removed);
        }
        Ok(outcomes
            .into_iter()
            .map(|outcome| outcome.map_err(Into::into))
            .collect())
    }

    /// Removes dangling (or all unused) images.
    pub async fn prune(&self, options: &PruneOptions, keep: Option<Keep>) -> Result<Pruned> {
        let pruned = self.service.prune(options, &self.in_use(), keep).await?;
        self.publish_removed(&pruned.removed);
        self.publish_prune(pruned.space_reclaimed);
        Ok(pruned)
    }

    /// Removes the images of a plan, those that are as they were planned: of each what went and the bytes that came back.
    pub(crate) async fn remove_planned(
        &self,
        planned: &[Planned],
        how: (&'static str, bool),
        keep: Option<Keep>,
    ) -> Result<Vec<Result<(Vec<Removed>, u64)>>> {
        let in_use = self.in_use();
        let outcomes = self.service.remove_planned(planned, how, &in_use, keep).await?;
        let mut reclaimed = 0;
        for (removed, freed) in outcomes.iter().flatten() {
            self.publish_removed(removed);
            reclaimed += freed;
        }
        if how.0 == "prune" {
            self.publish_prune(reclaimed);
        }
        let outcomes = outcomes.into_iter().map(|outcome| outcome.map_err(Into::into));
        Ok(outcomes.collect())
    }

    fn publish_prune(&self, reclaimed: u64) {
        self.events
            .publish(Event::new(EventType::Image, "prune", "").with("reclaimed", reclaimed));
    }

    /// Loads an archive.
    pub async fn load<R>(
        &self,
        reader: R,
        platforms: Vec<Platform>,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let loaded = self.service.load(reader, platforms, progress).await?;
        for one in &loaded {
            let name = one
                .reference
                .as_ref()
                .map_or_else(|| one.image.to_string(), Reference::familiar);
            self.publish("load", one.image.to_string(), &name);
        }
        Ok(loaded)
    }

    /// The archive of the named images, as a stream.
    pub async fn save(&self, names: &[String], options: &SaveOptions) -> Result<ByteStream> {
        Ok(Box::pin(self.archive(names, options).await?.into_stream()))
    }

    /// Writes the archive of the named images to a file. Dropping the future stops the work.
    pub async fn save_to(&self, names: &[String], options: &SaveOptions, file: std::fs::File) -> Result<()> {
        let archive = self.archive(names, options).await?;
        let cancel = CancellationToken::new();
        let _ended = cancel.clone().drop_guard();
        blocking(move || Ok(archive.write_to_file(file, cancel)?)).await
    }

    async fn archive(&self, names: &[String], options: &SaveOptions) -> Result<Archive> {
        let archive = self.service.save(names, options).await?;
        for name in names {
            if let Ok(image) = self.service.resolve(name).await {
                self.publish("save", image.id.to_string(), name);
            }
        }
        Ok(archive)
    }

    /// Makes an image of a file system archive.
    pub async fn import<R>(
        &self,
        reader: R,
        options: ImportOptions,
        progress: &dyn Progress,
    ) -> Result<Digest>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let name = options.reference.as_ref().map(Reference::familiar);
        let id = self.service.import(reader, options, progress).await?;
        self.publish("import", id.to_string(), name.as_deref().unwrap_or_default());
        Ok(id)
    }

    /// Makes a base image from what the host has, without a registry.
    pub async fn bootstrap(&self, request: &BootstrapRequest, progress: &dyn Progress) -> Result<Digest> {
        let id = self.service.bootstrap(request, progress).await?;
        self.publish("import", id.to_string(), &request.source);
        Ok(id)
    }

    fn in_use(&self) -> Vec<ImageUse> {
        self.containers.image_uses()
    }

    fn publish(&self, action: &str, actor: String, name: &str) {
        self.events
            .publish(Event::new(EventType::Image, action, actor).with("name", name));
    }

    fn publish_removed(&self, removed: &[Removed]) {
        for one in removed {
            match one {
                Removed::Untagged(name) => self.publish("untag", name.clone(), name),
                Removed::Deleted(id) => self.publish("delete", id.to_string(), id.as_str()),
            }
        }
    }
}
