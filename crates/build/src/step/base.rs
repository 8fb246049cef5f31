//! `FROM`: nothing, another stage, or an image, with the image's triggers.

use std::collections::BTreeMap;
use std::sync::Arc;

use havre_image::{ErrorKind, ImageError, ProgressEvent, PullOptions};
use havre_oci::{Digest, ImageConfig, Platform, Reference};

use super::{StageRun, blocking};
use crate::error::StepError;
use crate::event::{BuildEvent, Step};
use crate::graph::{self, Base};
use crate::instructions;
use crate::key::Key;
use crate::state::State;

impl StageRun {
    pub(super) async fn begin(&self, step: &Arc<Step>) -> Result<State, StepError> {
        let stage = self.stage();
        let platform = match &stage.platform {
            Some(text) => Some(Platform::parse(text).map_err(|source| StepError::Platform {
                text: text.clone(),
                source,
            })?),
            None => self.shared.platform.clone(),
        };
        match &stage.base {
            Base::Stage(index) => {
                let finished = self.finished(*index).await?;
                Ok(State {
                    args: BTreeMap::new(),
                    cmd_set: false,
                    ..State::clone(&finished)
                })
            }
            Base::Scratch => {
                let platform = platform.unwrap_or_else(Platform::host);
                let mut key = Key::new("scratch");
                key.text(&platform.to_string());
                let key = key.finish();
                Ok(State {
                    layers: Vec::new(),
                    config: ImageConfig::new(&platform),
                    key: key.clone(),
                    base: key,
                    args: BTreeMap::new(),
                    cmd_set: false,
                    image: None,
                    changed: false,
                })
            }
            Base::Image(name) => {
                let id = self.image(step, name, platform).await?;
                let config = self.shared.images.config(&id).await?;
                // The identity of the image is that of its whole configuration: two images that differ only in a
                // health check or a trigger don't share steps.
                let mut key = Key::new("image");
                key.text(id.as_str());
                let key = key.finish();
                Ok(State {
                    layers: config.rootfs.diff_ids.clone(),
                    config,
                    key: key.clone(),
                    base: key,
                    args: BTreeMap::new(),
                    cmd_set: false,
                    image: Some(id),
                    changed: false,
                })
            }
        }
    }

    /// Finds or pulls an image and holds what it consists of.
    pub(super) async fn image(
        &self,
        step: &Arc<Step>,
        name: &str,
        platform: Option<Platform>,
    ) -> Result<Digest, StepError> {
        let shared = &self.shared;
        let known = (name.to_owned(), platform.as_ref().map(ToString::to_string));
        let mut bases = shared.bases.lock().await;
        if let Some(id) = bases.get(&known) {
            return Ok(id.clone());
        }
        let local = match shared.images.resolve_on(name, platform.as_ref()).await {
            Ok(image) => Some(image),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let reference = Reference::parse(name).map(Reference::with_default_tag);
        let image = match (local, reference) {
            // An id can't be asked for at a registry.
            (Some(image), Err(_)) => image,
            (Some(image), Ok(_)) if !shared.pull => image,
            (None, Err(error)) => return Err(ImageError::from(error).into()),
            (_, Ok(reference)) => {
                let credentials = shared.credentials.of(&reference);
                let options = PullOptions {
                    platform,
                    all_tags: false,
                    credentials,
                };
                let progress = |progress: ProgressEvent| {
                    self.reporter.emit(BuildEvent::Pull {
                        step: Arc::clone(step),
                        progress,
                    });
                };
                let pulling = shared.images.pull(&reference, &options, &progress);
                let pulled = tokio::select! {
                    pulled = pulling => pulled?,
                    () = shared.cancel.cancelled() => return Err(StepError::Cancelled),
                };
                let id = pulled
                    .first()
                    .map(|pulled| pulled.image.to_string())
                    .unwrap_or_else(|| name.to_owned());
                shared.images.resolve(&id).await?
            }
        };
        shared.lease.hold(&image.id);
        for layer in &image.layers {
            shared.lease.hold(layer);
        }
        // Held first, looked up after: it may have been removed a moment ago.
        let (held, store, name) = (image.clone(), Arc::clone(&shared.store), name.to_owned());
        blocking(move || {
            // Whether it is there is found out below.
            let _ = store.meta().touch_image(&held.id);
            for layer in &held.layers {
                if store.layers().find(layer)?.is_none() {
                    return Err(ImageError::NotFound(name).into());
                }
            }
            Ok(())
        })
        .await?;
        bases.insert(known, image.id.clone());
        Ok(image.id)
    }

    /// Runs what the base image left to be done by its children, as part of `FROM`.
    pub(super) async fn triggers(&self, step: &Arc<Step>, state: &mut State) -> Result<(), StepError> {
        if !matches!(self.stage().base, Base::Image(_) | Base::Stage(_)) {
            return Ok(());
        }
        let triggers = std::mem::take(&mut state.config.config.on_build);
        if triggers.is_empty() {
            return Ok(());
        }
        self.reporter.emit(BuildEvent::Triggers {
            step: Arc::clone(step),
            count: triggers.len(),
        });
        for trigger in triggers {
            let instruction = instructions::read_trigger(&trigger).map_err(|source| StepError::Trigger {
                trigger: trigger.clone(),
                source,
            })?;
            for name in graph::references(&instruction) {
                let stage = graph::find(&self.shared.graph.stages[..self.index], name, true);
                if stage.is_some_and(|stage| !self.shared.graph.needed.contains(&stage)) {
                    let stage = name.to_owned();
                    return Err(StepError::TriggerStage { trigger, stage });
                }
            }
            // A trigger's own instruction, boxed because it is the same kind of future as its caller's.
            Box::pin(self.instruction(step, state, &instruction)).await?;
        }
        Ok(())
    }
}
