//! Checks, repairs and conversions of what images are made of, with the names of the containers that use it.

use havre_image::{Accounts, Migrated, Object, Outcome, Progress, Repaired, Report, Users};
use havre_oci::Digest;
use havre_store::LayerForm;

use super::Images;
use crate::Result;

/// What became of something damaged.
#[derive(Debug, Clone)]
pub struct Mended {
    pub repaired: Repaired,
    /// Names of the containers that run on it: they have what they began with until they are restarted.
    pub running: Vec<String>,
}

impl Images {
    /// Compares every layer and blob with its digest. See [`havre_image::ImageService::check_all`].
    pub async fn check(&self, progress: &dyn Progress) -> Result<Report> {
        let mut report = self.service.check_all(progress).await?;
        for problem in &mut report.problems {
            self.name_containers(&mut problem.users);
        }
        Ok(report)
    }

    /// Mends what of `damaged` still is. See [`havre_image::ImageService::repair`].
    pub async fn repair(
        &self,
        damaged: &[(Object, Digest)],
        credentials: &Accounts,
        progress: &dyn Progress,
    ) -> Result<Vec<Mended>> {
        let repaired = self.service.repair(damaged, credentials, progress).await?;
        let mended = repaired.into_iter().map(|mut repaired| {
            let running = self.name_containers(&mut repaired.problem.users);
            Mended { repaired, running }
        });
        Ok(mended.collect())
    }

    /// Gives all layers a form; of those in use, the containers named are the ones that run. See [`havre_image::ImageService::migrate`].
    pub async fn migrate(&self, to: LayerForm, dry_run: bool, progress: &dyn Progress) -> Result<Migrated> {
        let mut migrated = self.service.migrate(to, dry_run, progress).await?;
        for layer in &mut migrated.layers {
            let running = self.name_containers(&mut layer.users);
            if layer.outcome == Outcome::InUse {
                layer.users.containers = running;
            }
        }
        Ok(migrated)
    }

    /// Puts names in the place of IDs; returns those of containers that run. What has no name is a step of a build.
    fn name_containers(&self, users: &mut Users) -> Vec<String> {
        let mut running = Vec::new();
        for id in &mut users.containers {
            let (name, runs) = match self.containers.find(id) {
                Ok(container) => {
                    let record = container.read();
                    (record.name.clone(), record.state.status.is_live())
                }
                Err(_) => ("a build".to_owned(), true),
            };
            *id = name.clone();
            if runs {
                running.push(name);
            }
        }
        for names in [&mut users.containers, &mut running] {
            names.sort();
            names.dedup();
        }
        running
    }
}
