//! Layers that get another form.

use std::sync::atomic::Ordering;

use havre_oci::Digest;
use havre_store::{ApplyError, Converted, Form, Layer, LayerForm, StoreError};

use super::Users;
use super::users::Table;
use crate::{ImageError, ImageService, Progress, ProgressEvent};

/// What became of all layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The form they have now or are going to have; never [`LayerForm::Auto`].
    pub to: LayerForm,
    /// Those that have it already.
    pub already: u64,
    /// The others.
    pub layers: Vec<MigratedLayer>,
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigratedLayer {
    pub diff_id: Digest,
    /// The form it had, by its name in the configuration.
    pub from: &'static str,
    pub outcome: Outcome,
    /// Bytes it took on the disk.
    pub before: u64,
    /// Bytes it takes now.
    pub after: u64,
    pub users: Users,
}

/// What was done with a layer, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Converted,
    /// It would be.
    Planned,
    /// Something that runs stands on its directory.
    InUse,
    /// It was removed meanwhile.
    Gone,
    Failed(String),
}

impl ImageService {
    /// Gives all layers the form `to`, one after the other, or says which would get it. What is done stays done whatever
    /// happens next: called again, it goes on with the others.
    pub async fn migrate(
        &self,
        to: LayerForm,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<Migrated, ImageError> {
        let (to, layers, table) = self
            .blocking(move |service| {
                let to = service.store.allow_form(to)?;
                Ok((to, service.store.layers().list()?, Table::read(service)?))
            })
            .await?;
        let (already, mut layers): (Vec<_>, Vec<_>) =
            layers.into_iter().partition(|layer| is_of(to, &layer.form));
        layers.sort_by(|one, other| (one.tar_size, &one.diff_id).cmp(&(other.tar_size, &other.diff_id)));
        let mut migrated = Migrated {
            to,
            already: already.len() as u64,
            layers: Vec::with_capacity(layers.len()),
        };
        for layer in layers {
            let users = table.of_layer(&layer.diff_id);
            let (diff_id, from) = (layer.diff_id.clone(), name(&layer.form));
            let (before, after, outcome) = match dry_run {
                true => self.plan(layer).await?,
                false => self.convert(layer, to, progress).await?,
            };
            migrated.layers.push(MigratedLayer {
                diff_id,
                from,
                outcome,
                before,
                after,
                users,
            });
        }
        Ok(migrated)
    }

    async fn plan(&self, layer: Layer) -> Result<(u64, u64, Outcome), ImageError> {
        self.blocking(move |service| {
            let layers = service.store.layers();
            let before = layers.disk_usage(&layer)?;
            let outcome = match layers.is_held_by_mounts(&layer.diff_id) {
                Ok(true) => Outcome::InUse,
                Ok(false) => Outcome::Planned,
                Err(StoreError::LayerNotFound { .. }) => Outcome::Gone,
                Err(error) => return Err(error.into()),
            };
            Ok((before, before, outcome))
        })
        .await
    }

    async fn convert(
        &self,
        layer: Layer,
        to: LayerForm,
        progress: &dyn Progress,
    ) -> Result<(u64, u64, Outcome), ImageError> {
        let id = layer.diff_id.short().to_owned();
        let total = layer.tar_size;
        let shown =
            |done: u64| progress.emit(ProgressEvent::bytes(&*id, "Converting", done.min(total), total));
        // Nobody else makes this layer meanwhile.
        let _turn = self.flights.enter(&layer.diff_id, |_| {}).await;
        let (before, after, outcome) = self
            .watched(shown, move |service, watch| {
                let layers = service.store.layers();
                let before = layers.disk_usage(&layer)?;
                let converted = layers.convert_to(&layer.diff_id, to, &mut |done| {
                    watch.done.store(done, Ordering::Relaxed);
                });
                let outcome = match converted {
                    Ok(Converted::Done | Converted::Already) => Outcome::Converted,
                    Ok(Converted::InUse) => Outcome::InUse,
                    Ok(Converted::Outgrown) => Outcome::Failed(
                        "it has too many entries to be a file and stays a directory".to_owned(),
                    ),
                    Err(ApplyError::Store(StoreError::LayerNotFound { .. })) => Outcome::Gone,
                    // A full disk is no matter of this layer.
                    Err(ApplyError::Store(
                        error @ (StoreError::NoSpace { .. } | StoreError::Database { .. }),
                    )) => {
                        return Err(error.into());
                    }
                    Err(ApplyError::DiffIdMismatch { .. }) => {
                        Outcome::Failed("it is damaged: `system check --repair` mends it".to_owned())
                    }
                    Err(error) => Outcome::Failed(ImageError::layer(&layer.diff_id, error).to_string()),
                };
                let after = match layers.find(&layer.diff_id)? {
                    Some(layer) => layers.disk_usage(&layer)?,
                    None => 0,
                };
                Ok((before, after, outcome))
            })
            .await?;
        let status = match &outcome {
            Outcome::Converted => "Converted".to_owned(),
            Outcome::InUse => "Skipped: in use".to_owned(),
            Outcome::Failed(reason) => format!("Failed: {reason}"),
            Outcome::Gone | Outcome::Planned => "Skipped: it was removed".to_owned(),
        };
        progress.emit(ProgressEvent::of(id, status));
        Ok((before, after, outcome))
    }
}

/// The name of the configuration for a form.
fn name(form: &Form) -> &'static str {
    match form {
        Form::Directory => LayerForm::Directories.name(),
        Form::Tar(_) => LayerForm::File.name(),
        Form::Aligned(_) => LayerForm::LoopAligned.name(),
    }
}

/// Whether a layer that lies on the disk like this needs nothing done.
fn is_of(to: LayerForm, form: &Form) -> bool {
    match form {
        Form::Directory => to == LayerForm::Directories,
        Form::Aligned(_) => to == LayerForm::LoopAligned,
        Form::Tar(_) => !matches!(to, LayerForm::Directories | LayerForm::LoopAligned),
    }
}
