//! `commit`: a container's written files and configuration as an image.

use havre_image::{CreateImage, apply_changes};
use havre_oci::{Healthcheck, History, ImageConfig, Reference, RunConfig};
use havre_store::{CommitMode, Lease};
use jiff::Timestamp;

use super::{CommitOptions, Committed, Config, Containers, Status, mountpoints};
use crate::error::blocking;
use crate::{EngineError, Event, EventType, Result};

impl Containers {
    /// Makes an image of a container, running or not. A running one is paused meanwhile if that is asked for.
    pub async fn commit(&self, name: &str, options: CommitOptions) -> Result<Committed> {
        let container = self.find(name)?;
        let reference = options.reference.as_deref().map(target).transpose()?;
        let op = container.op.clone().lock_owned().await;
        let record = container.read().clone();
        if matches!(record.state.status, Status::Removing | Status::Dead) {
            return Err(EngineError::conflict(format!(
                "You cannot commit container {} which is {}",
                record.id, record.state.status
            )));
        }
        let base = self.0.images.config(&record.image).await?;
        let mut own = options.config.clone().unwrap_or_default();
        super::merge::merge(&mut own, &run_config(&record.config))?;
        let mut run = run_config(&own);
        apply_changes(&mut run, &options.changes)?;

        let lease = self.0.store.lease();
        for layer in &record.layers {
            lease.hold(layer);
        }
        let pause = options.pause && record.state.status == Status::Running;
        let layer = {
            let (inner, id, lease) = (self.0.clone(), record.id.clone(), lease.clone());
            let container = container.clone();
            let (live, made) = (record.state.status.is_live(), record.mountpoints.clone());
            let ids = super::userns::live(&record)?;
            blocking(move || {
                let frozen = pause
                    .then(|| super::stop::Frozen::new(&inner, &container))
                    .transpose()?;
                let rootfs = live.then(|| inner.store.snapshots().get(&id)).transpose()?;
                let layer = match rootfs {
                    Some(snapshot) => {
                        mountpoints::without_mark(&snapshot.merged, &made, ids.as_ref(), || {
                            copy(&inner, &id, &lease)
                        })
                    }
                    None => copy(&inner, &id, &lease),
                };
                drop(frozen);
                layer
            })
            .await?
        };
        drop(op);

        let mut layers = record.layers.clone();
        layers.push(layer.diff_id);
        let now = Timestamp::now();
        let config = image_config(base, run, &record.args, &options, now);
        let request = CreateImage {
            parent: Some(record.image.clone()),
            layers,
            config,
            tags: reference.iter().cloned().collect(),
            command: "commit".to_owned(),
        };
        let image = self.0.images.create_from(request, &lease).await?;
        let name = reference.map(|reference| reference.familiar());
        let extra = [
            ("imageID", image.id.to_string()),
            ("imageRef", name.clone().unwrap_or_default()),
        ];
        self.0.publish(&container, "commit", &extra);
        if let Some(name) = name {
            self.0
                .events
                .publish(Event::new(EventType::Image, "tag", image.id.to_string()).with("name", name));
        }
        Ok(Committed { image: image.id })
    }
}

fn copy(inner: &super::Inner, id: &str, lease: &Lease) -> Result<havre_store::Layer> {
    Ok(inner.store.snapshots().commit(id, CommitMode::Copy, lease)?)
}

fn target(name: &str) -> Result<Reference> {
    let reference = Reference::parse(name)?;
    if reference.digest().is_some() {
        return Err(EngineError::invalid(
            "refusing to create a tag with a digest reference",
        ));
    }
    Ok(reference.with_default_tag())
}

fn image_config(
    mut base: ImageConfig,
    run: RunConfig,
    args: &[String],
    options: &CommitOptions,
    now: Timestamp,
) -> ImageConfig {
    base.created = Some(now);
    base.author.clone_from(&options.author);
    base.config = run;
    base.history.push(History {
        created: Some(now),
        author: options.author.clone(),
        created_by: args.join(" "),
        comment: options.message.clone(),
        empty_layer: false,
    });
    // What other builders left there speaks of another container.
    for stale in ["container", "container_config", "docker_version", "id", "parent"] {
        base.other.remove(stale);
    }
    base
}

/// The portable configuration as images carry it.
pub(super) fn run_config(config: &Config) -> RunConfig {
    RunConfig {
        user: config.user.clone(),
        exposed_ports: config
            .exposed_ports
            .iter()
            .map(|port| (port.to_string(), Default::default()))
            .collect(),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: config
            .volumes
            .iter()
            .map(|volume| (volume.clone(), Default::default()))
            .collect(),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        stop_timeout: config.stop_timeout,
        shell: config.shell.clone(),
        on_build: config.on_build.clone(),
        healthcheck: config.healthcheck.as_ref().map(|check| Healthcheck {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        args_escaped: config.args_escaped,
        ..RunConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_only() {
        assert_eq!(target("app").unwrap().familiar(), "app:latest");
        assert!(target("App").is_err());
        assert!(target(&format!("app@sha256:{}", "0".repeat(64))).is_err());
    }

    #[test]
    fn history_names_the_command_and_the_message() {
        let base = ImageConfig::new(&havre_oci::Platform::host());
        let options = CommitOptions {
            author: "me".into(),
            message: "why".into(),
            ..CommitOptions::default()
        };
        let args = ["sh".to_owned(), "-c".to_owned(), "make".to_owned()];
        let config = image_config(base, RunConfig::default(), &args, &options, Timestamp::UNIX_EPOCH);
        let last = config.history.last().unwrap();
        assert_eq!(
            (last.created_by.as_str(), last.comment.as_str(), last.empty_layer),
            ("sh -c make", "why", false)
        );
        assert_eq!(config.author, "me");
    }
}
