//! The container service.

mod model;
mod requests;
mod state;
mod streams;
mod view;

use std::sync::Arc;

pub use model::*;
pub use requests::*;
pub use state::*;
pub use streams::*;
pub use view::*;

use crate::{ByteStream, Filters, Result};

/// Containers, addressed by name, full id or unique id prefix everywhere.
#[derive(Clone)]
pub struct Containers(Arc<()>);

#[allow(clippy::todo, unused_variables)]
impl Containers {
    pub(crate) fn image_uses(&self) -> Vec<havre_image::ImageUse> {
        todo!()
    }
    pub async fn create(&self, request: CreateContainer) -> Result<Created> {
        todo!()
    }
    /// `NotModified` when it runs already.
    pub async fn start(&self, name: &str) -> Result<()> {
        todo!()
    }
    /// `NotModified` when it isn't running.
    pub async fn stop(&self, name: &str, options: StopOptions) -> Result<()> {
        todo!()
    }
    pub async fn restart(&self, name: &str, options: StopOptions) -> Result<()> {
        todo!()
    }
    /// `None`: KILL.
    pub async fn kill(&self, name: &str, signal: Option<&str>) -> Result<()> {
        todo!()
    }
    pub async fn pause(&self, name: &str) -> Result<()> {
        todo!()
    }
    pub async fn unpause(&self, name: &str) -> Result<()> {
        todo!()
    }
    pub async fn rename(&self, name: &str, new: &str) -> Result<()> {
        todo!()
    }
    /// Registered when this returns; see [`Waiter::outcome`].
    pub async fn wait(&self, name: &str, condition: WaitCondition) -> Result<Waiter> {
        todo!()
    }
    /// May be called before the start: the streams are wired before the first process runs.
    pub async fn attach(&self, name: &str, options: AttachOptions) -> Result<Attachment> {
        todo!()
    }
    pub async fn resize(&self, name: &str, height: u16, width: u16) -> Result<()> {
        todo!()
    }
    pub async fn logs(&self, name: &str, options: LogOptions) -> Result<Logs> {
        todo!()
    }
    /// Newest first.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<ContainerSummary>> {
        todo!()
    }
    pub async fn inspect(&self, name: &str, size: bool) -> Result<ContainerView> {
        todo!()
    }
    /// `ps` arguments; empty: `-ef`.
    pub async fn top(&self, name: &str, ps_args: &str) -> Result<Processes> {
        todo!()
    }
    pub async fn changes(&self, name: &str) -> Result<Vec<Change>> {
        todo!()
    }
    pub async fn update(&self, name: &str, update: UpdateContainer) -> Result<Vec<String>> {
        todo!()
    }
    pub async fn remove(&self, name: &str, options: RemoveOptions) -> Result<()> {
        todo!()
    }
    /// label until
    pub async fn prune(&self, filters: Filters) -> Result<ContainersPruned> {
        todo!()
    }
    pub async fn commit(&self, name: &str, options: CommitOptions) -> Result<Committed> {
        todo!()
    }
    /// The whole file system as a tar.
    pub async fn export(&self, name: &str) -> Result<ByteStream> {
        todo!()
    }
    pub async fn archive_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        todo!()
    }
    pub async fn archive_get(&self, name: &str, path: &str) -> Result<(PathStat, ByteStream)> {
        todo!()
    }
    /// The tar may be plain, gzip or zstd.
    pub async fn archive_put(
        &self,
        name: &str,
        path: &str,
        tar: ByteStream,
        options: ArchivePut,
    ) -> Result<()> {
        todo!()
    }

    /// Returns the exec's id.
    pub async fn exec_create(&self, name: &str, config: ExecConfig) -> Result<String> {
        todo!()
    }
    /// `None` when detached.
    pub async fn exec_start(&self, id: &str, start: ExecStart) -> Result<Option<Attachment>> {
        todo!()
    }
    pub async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        todo!()
    }
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecView> {
        todo!()
    }
}
