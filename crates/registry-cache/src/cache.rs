//! What is asked for, from the store if it is there and fresh enough, and from upstream if not.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use havre_oci::{Descriptor, Digest};
use havre_registry_client::{RegistryError, Repository, Source};
use havre_registry_store::{Cached, Identifier, Page, RegistryStore, RepositoryName, StoreError};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::download::Download;
use crate::error::{CacheError, Result};
use crate::flights::Flights;
use crate::settings::Settings;
use crate::upstream::Upstream;

/// The caches of a registry, each for the repositories beneath its prefix.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    caches: Vec<Arc<Cache>>,
    under_way: UnderWay,
}

/// The downloads under way, and the order to end.
#[derive(Clone, Debug, Default)]
struct UnderWay {
    downloads: TaskTracker,
    stop: CancellationToken,
}

/// A cache of one upstream.
#[derive(Debug)]
pub struct Cache {
    prefix: Option<RepositoryName>,
    tag_age: Duration,
    keep: Option<Duration>,
    upstream: Upstream,
    store: RegistryStore,
    /// Where downloads lie while they come, if the store has no files.
    spool: PathBuf,
    manifests: Flights<(RepositoryName, String), Result<Freshness>>,
    blobs: Flights<(RepositoryName, Digest), Result<Blob>>,
    downloads: Mutex<HashMap<(RepositoryName, Digest), Arc<Download>>>,
    under_way: UnderWay,
}

/// How what is shown relates to upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As it is there, or was not long ago, and as it is kept.
    Kept,
    /// As it was just fetched.
    Fetched,
    /// As it was: upstream cannot be asked.
    Stale,
}

/// Where a blob is.
#[derive(Clone, Debug)]
pub enum Blob {
    Stored,
    Coming(Arc<Download>),
}

impl Caches {
    /// `spool`: a folder for downloads where the store has no files.
    pub fn new(
        settings: &[Settings],
        store: &RegistryStore,
        spool: &Path,
    ) -> std::result::Result<Self, RegistryError> {
        let under_way = UnderWay::default();
        let caches = settings.iter().map(|settings| {
            Ok(Arc::new(Cache {
                prefix: settings.prefix.clone(),
                tag_age: settings.tag_age,
                keep: settings.keep,
                upstream: Upstream::new(settings)?,
                store: store.clone(),
                spool: spool.to_owned(),
                manifests: Flights::default(),
                blobs: Flights::default(),
                downloads: Mutex::default(),
                under_way: under_way.clone(),
            }))
        });
        Ok(Self {
            caches: caches.collect::<std::result::Result<_, RegistryError>>()?,
            under_way,
        })
    }

    /// Breaks off what is under way, and waits until nothing of it is.
    pub async fn stop(&self) {
        self.under_way.stop.cancel();
        self.under_way.downloads.close();
        self.under_way.downloads.wait().await;
    }

    /// Lets go what nobody pulled for as long as each keeps it; which manifests. Blocking.
    pub fn expire(&self) -> Result<Vec<(RepositoryName, Digest)>, StoreError> {
        let mut expired = Vec::new();
        for cache in &self.caches {
            if let Some(keep) = cache.keep {
                expired.extend(cache.store.expire_cached(cache.prefix.as_ref(), keep)?);
            }
        }
        Ok(expired)
    }

    /// The cache that a repository belongs to: that with the longest prefix.
    pub fn of(&self, name: &RepositoryName) -> Option<&Arc<Cache>> {
        let length = |cache: &&Arc<Cache>| cache.prefix.as_ref().map_or(0, |prefix| prefix.as_str().len());
        let caches = self.caches.iter().filter(|cache| cache.path(name).is_some());
        caches.max_by_key(length)
    }
}

impl Cache {
    /// The address of its upstream.
    pub fn upstream(&self) -> &str {
        self.upstream.name()
    }

    /// What a repository is called upstream; [`None`] if it isn't from there.
    fn path<'a>(&self, name: &'a RepositoryName) -> Option<&'a str> {
        match &self.prefix {
            None => Some(name.as_str()),
            Some(prefix) => name.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/'),
        }
    }

    fn repository(&self, name: &RepositoryName) -> Result<Repository> {
        let path = self
            .path(name)
            .ok_or_else(|| StoreError::NameUnknown(name.to_string()))?;
        self.upstream.repository(path)
    }

    /// Sees to it that the store has a manifest, and that a tag stands for what it stands for upstream.
    pub async fn manifest(self: &Arc<Self>, name: &RepositoryName, wanted: &Identifier) -> Result<Freshness> {
        let cached = self.blocking({
            let (name, wanted) = (name.clone(), wanted.clone());
            move |store| store.cached(&name, &wanted)
        });
        let cached = cached.await?;
        if cached.as_ref().is_some_and(|cached| cached.age <= self.tag_age) {
            return Ok(Freshness::Kept);
        }
        let known = cached.is_some();
        let fetched = self.manifests.join((name.clone(), wanted.to_string()), || {
            let (cache, name, wanted) = (Arc::clone(self), name.clone(), wanted.clone());
            async move { cache.fetch_manifest(&name, wanted, cached).await }
        });
        match fetched.await.unwrap_or_else(|| Err(self.broken_off())) {
            Err(error) if known && error.is_temporary() => Ok(Freshness::Stale),
            fetched => fetched,
        }
    }

    async fn fetch_manifest(
        &self,
        name: &RepositoryName,
        wanted: Identifier,
        cached: Option<Cached>,
    ) -> Result<Freshness> {
        let repository = self.repository(name)?;
        let text = wanted.to_string();
        // Asking what a tag stands for costs nothing where pulls are counted.
        if let (Identifier::Tag(tag), Some(_)) = (&wanted, cached)
            && let Some(now) = self.upstream.ask(repository.head_manifest(&text)).await?
        {
            let (name, tag) = (name.clone(), tag.clone());
            let confirmed = self.blocking(move |store| store.confirm_cached(&name, &tag, &now.digest));
            if confirmed.await? {
                return Ok(Freshness::Kept);
            }
        }
        let resolved = match (self.upstream.ask(repository.resolve(&text)).await, &wanted) {
            (Err(error @ CacheError::Unknown { .. }), Identifier::Tag(tag)) => {
                let (name, tag) = (name.clone(), tag.clone());
                self.blocking(move |store| store.forget_cached(&name, &tag))
                    .await?;
                return Err(error);
            }
            (resolved, _) => resolved?,
        };
        let name = name.clone();
        let put = self.blocking(move |store| {
            let media_type = &resolved.descriptor.media_type;
            store.put_cached(&name, &wanted, media_type, &resolved.bytes)
        });
        put.await?;
        Ok(Freshness::Fetched)
    }

    /// How many bytes a blob has, here or upstream.
    pub async fn blob_size(&self, name: &RepositoryName, digest: &Digest) -> Result<u64> {
        if let Some(size) = self.stored_size(name, digest).await? {
            return Ok(size);
        }
        self.upstream_size(name, digest).await
    }

    async fn stored_size(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        let (name, digest) = (name.clone(), digest.clone());
        self.blocking(move |store| store.blob_size(&name, &digest)).await
    }

    async fn upstream_size(&self, name: &RepositoryName, digest: &Digest) -> Result<u64> {
        let repository = self.repository(name)?;
        let size = self.upstream.ask(repository.blob_size(digest)).await?;
        size.ok_or_else(|| StoreError::BlobUnknown(digest.clone()).into())
    }

    /// Where a blob is, which begins to come if it is upstream.
    pub async fn blob(self: &Arc<Self>, name: &RepositoryName, digest: &Digest) -> Result<Blob> {
        if self.stored_size(name, digest).await?.is_some() {
            return Ok(Blob::Stored);
        }
        let key = (name.clone(), digest.clone());
        if let Some(download) = self.downloads().get(&key) {
            return Ok(Blob::Coming(Arc::clone(download)));
        }
        let begun = self.blobs.join(key, || {
            let (cache, name, digest) = (Arc::clone(self), name.clone(), digest.clone());
            async move { cache.fetch_blob(name, digest).await }
        });
        begun.await.unwrap_or_else(|| Err(self.broken_off()))
    }

    async fn fetch_blob(self: Arc<Self>, name: RepositoryName, digest: Digest) -> Result<Blob> {
        let size = self.upstream_size(&name, &digest).await?;
        // The repository has it there: it may have what another had before.
        let mounted = self.blocking({
            let (name, digest) = (name.clone(), digest.clone());
            move |store| store.mount_any(&name, &digest)
        });
        if mounted.await? {
            return Ok(Blob::Stored);
        }
        let repository = self.repository(&name)?;
        let descriptor = Descriptor::new("application/octet-stream", digest.clone(), size);
        let stream = self
            .upstream
            .ask(repository.fetch_blob(&descriptor, 0, Source::Any));
        let mut stream = stream.await?;
        let (cache, runtime) = (Arc::clone(&self), Handle::current());
        let (ready, begun) = tokio::sync::oneshot::channel();
        // On a thread of its own until its end: it waits for upstream and for the disk in turn.
        self.under_way.downloads.spawn_blocking(move || {
            let (upstream, stop) = (cache.upstream.name(), cache.under_way.stop.clone());
            match Download::begin(&cache.store, &name, &digest, size, &cache.spool, upstream) {
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
                Ok((download, taking)) => {
                    let (key, download) = ((name, digest), Arc::new(download));
                    cache.downloads().insert(key.clone(), Arc::clone(&download));
                    let _found = Found { cache: &cache, key };
                    let _ = ready.send(Ok(Blob::Coming(download)));
                    taking.run(&cache.store, || {
                        let next = runtime.block_on(stop.run_until_cancelled(stream.next()));
                        let next = next.ok_or_else(|| cache.broken_off())?;
                        next.map_err(|error| cache.upstream.failed(&error))
                    });
                }
            }
        });
        begun.await.unwrap_or_else(|_| Err(self.broken_off()))
    }

    /// The tags upstream; [`None`] if it cannot be asked, and what is kept must do.
    pub async fn tags(&self, name: &RepositoryName, last: &str, limit: usize) -> Result<Option<Page>> {
        let repository = self.repository(name)?;
        match self.upstream.ask(repository.tag_page(last, limit)).await {
            Ok(mut page) => {
                let more = page.more || page.tags.len() > limit;
                page.tags.truncate(limit);
                Ok(Some(Page {
                    items: page.tags,
                    more,
                }))
            }
            Err(error) if error.is_temporary() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What refers to a manifest upstream; [`None`] if it cannot be asked, and what is kept must do.
    pub async fn referrers(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Vec<Descriptor>>> {
        let repository = self.repository(name)?;
        match self.upstream.ask(repository.referrers(digest)).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_temporary() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn broken_off(&self) -> CacheError {
        CacheError::BrokenOff {
            upstream: self.upstream.name().to_owned(),
        }
    }

    fn downloads(&self) -> std::sync::MutexGuard<'_, HashMap<(RepositoryName, Digest), Arc<Download>>> {
        self.downloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the store on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(RegistryStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(store)).await;
        Ok(done.map_err(|_| self.broken_off())??)
    }
}

/// A download that others find.
struct Found<'a> {
    cache: &'a Cache,
    key: (RepositoryName, Digest),
}

impl Drop for Found<'_> {
    fn drop(&mut self) {
        self.cache.downloads().remove(&self.key);
    }
}
