//! Everything read once and compared with the digests it is known by.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _};
use havre_oci::Digest;
use havre_store::{Checked, Damage};

use super::users::Table;
use super::{Object, Problem, Remedy, Report, Users, Watch};
use crate::{ImageError, ImageService, Progress, ProgressEvent};

/// What is wrong with one thing.
struct Finding {
    object: Object,
    digest: Digest,
    size: u64,
    reason: String,
    unprotected: bool,
}

/// What was read of a kind of things.
#[derive(Default)]
struct Tally {
    count: AtomicU64,
    bytes: AtomicU64,
}

impl ImageService {
    /// Reads every layer and every blob and compares them with their digests; and looks for layers and documents that images
    /// need and that aren't there. What is removed or replaced meanwhile is nobody's problem.
    pub async fn check_all(&self, progress: &dyn Progress) -> Result<Report, ImageError> {
        let layers = self
            .blocking(|service| Ok(service.store.layers().list()?))
            .await?;
        let layers: Vec<_> = layers
            .into_iter()
            .map(|layer| (layer.diff_id, layer.tar_size))
            .collect();
        let blobs = self
            .blocking(|service| Ok(service.store.content().list()?))
            .await?;

        let read_layers = Tally::default();
        let mut findings = self
            .look_at(
                "layers",
                layers,
                &read_layers,
                progress,
                |service, digest, watch| {
                    Ok(service
                        .store
                        .layers()
                        .examine(digest, &mut |done| watch.tick(done))?)
                },
            )
            .await?;
        let read_blobs = Tally::default();
        let damaged_blobs = self
            .look_at("blobs", blobs, &read_blobs, progress, |service, digest, watch| {
                Ok(service
                    .store
                    .content()
                    .examine(digest, &mut |done| watch.tick(done))?)
            })
            .await?;
        for finding in &mut findings {
            finding.object = Object::Layer;
        }
        let report = Report {
            layers: read_layers.count.into_inner(),
            layer_bytes: read_layers.bytes.into_inner(),
            blobs: read_blobs.count.into_inner(),
            blob_bytes: read_blobs.bytes.into_inner(),
            ..Report::default()
        };
        self.blocking(move |service| service.judge(report, findings, damaged_blobs))
            .await
    }

    /// Looks at some things, a few at once.
    async fn look_at<F>(
        &self,
        what: &'static str,
        things: Vec<(Digest, u64)>,
        tally: &Tally,
        progress: &dyn Progress,
        examine: F,
    ) -> Result<Vec<Finding>, ImageError>
    where
        F: Fn(&ImageService, &Digest, &Watch) -> Result<Checked, ImageError> + Copy + Send + 'static,
    {
        let (count, total) = (things.len(), things.iter().map(|(_, size)| size).sum::<u64>());
        progress.emit(ProgressEvent::of(what, format!("Checking {count}")));
        let done = AtomicU64::new(0);
        let at_once = (self.limits.workers / 2).max(1);
        let look = |(digest, size): (Digest, u64)| {
            let (tally, done) = (tally, &done);
            async move {
                let mut before = 0;
                let shown = |now: u64| {
                    let all = done.fetch_add(now - before, Ordering::Relaxed) + now - before;
                    before = now;
                    progress.emit(ProgressEvent::bytes(what, "Checking", all.min(total), total));
                };
                let examined = digest.clone();
                let checked = self
                    .watched(shown, move |service, watch| examine(service, &examined, watch))
                    .await?;
                done.fetch_add(size.saturating_sub(before), Ordering::Relaxed);
                let damage = match checked {
                    Checked::Gone | Checked::Stopped => return Ok(None),
                    Checked::Intact => None,
                    Checked::Damaged(damage) => Some(damage),
                };
                tally.count.fetch_add(1, Ordering::Relaxed);
                tally.bytes.fetch_add(size, Ordering::Relaxed);
                let Some(damage) = damage else { return Ok(None) };
                progress.emit(ProgressEvent::of(digest.short(), format!("Damaged: {damage}")));
                Ok::<_, ImageError>(Some(Finding {
                    object: Object::Unused,
                    digest,
                    size,
                    reason: damage.to_string(),
                    unprotected: damage == Damage::Unprotected,
                }))
            }
        };
        let found: Vec<Option<Finding>> = futures_util::stream::iter(things)
            .map(look)
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        let found: Vec<Finding> = found.into_iter().flatten().collect();
        let outcome = match found.len() {
            0 => "Intact".to_owned(),
            damaged => format!("{damaged} of {count} damaged"),
        };
        progress.emit(ProgressEvent::of(what, outcome));
        Ok(found)
    }

    /// From findings to problems: what the things are, who needs them, and what helps. What is missing is found here.
    fn judge(
        &self,
        mut report: Report,
        damaged_layers: Vec<Finding>,
        damaged_blobs: Vec<Finding>,
    ) -> Result<Report, ImageError> {
        let table = Table::read(self)?;
        report.images = table.images().count() as u64;
        let damaged: BTreeSet<Digest> = damaged_blobs.iter().map(|blob| blob.digest.clone()).collect();
        let mut findings: BTreeMap<(Object, Digest), Finding> = BTreeMap::new();
        let mut add = |finding: Finding| {
            findings
                .entry((finding.object, finding.digest.clone()))
                .or_insert(finding);
        };
        for finding in damaged_layers {
            add(finding);
        }
        let missing = |object, digest: &Digest| Finding {
            object,
            digest: digest.clone(),
            size: 0,
            reason: "it is missing".to_owned(),
            unprotected: false,
        };
        let documents = table.documents();
        let (layers, content) = (self.store.layers(), self.store.content());
        for finding in damaged_blobs {
            let object = self.kind_of(&table, &documents, &finding.digest)?;
            add(Finding { object, ..finding });
        }
        for image in table.images() {
            for diff_id in &image.layers {
                if layers.find(diff_id)?.is_none() {
                    add(missing(Object::Layer, diff_id));
                }
            }
            if !content.contains(&image.id) {
                add(missing(Object::Config, &image.id));
            }
        }
        for digest in documents {
            if !content.contains(digest) {
                add(missing(Object::Manifest, digest));
            }
        }
        // What is missing may have been removed after it was named: rows go before files, so it is not named any more.
        let table = if findings.is_empty() {
            table
        } else {
            Table::read(self)?
        };
        for finding in findings.into_values() {
            report.problems.extend(self.problem(&table, finding, &damaged)?);
        }
        Ok(report)
    }

    fn kind_of(
        &self,
        table: &Table,
        documents: &BTreeSet<&Digest>,
        digest: &Digest,
    ) -> Result<Object, ImageError> {
        Ok(if table.images().any(|image| image.id == *digest) {
            Object::Config
        } else if documents.contains(digest) {
            Object::Manifest
        } else if self.store.meta().layer_of_blob(digest)?.is_some() {
            Object::Compressed
        } else {
            Object::Unused
        })
    }

    /// The problem a finding is; none if what needed it is gone meanwhile.
    fn problem(
        &self,
        table: &Table,
        finding: Finding,
        damaged: &BTreeSet<Digest>,
    ) -> Result<Option<Problem>, ImageError> {
        let Finding {
            object,
            digest,
            size,
            reason,
            unprotected,
        } = finding;
        let (users, remedies) = match object {
            Object::Layer => {
                let mut remedies = table.remedies_of_layer(self, &digest, damaged)?;
                if unprotected {
                    remedies.insert(0, Remedy::Protect);
                }
                (table.of_layer(&digest), remedies)
            }
            Object::Config => (table.of_config(&digest), table.remedies_of_config(self, &digest)),
            Object::Manifest => (table.of_document(&digest), table.remedies_of_document(&digest)),
            Object::Compressed => {
                let layer = self.store.meta().layer_of_blob(&digest)?;
                let users = layer.map(|layer| table.of_layer(&layer)).unwrap_or_default();
                (users, vec![Remedy::Remove])
            }
            Object::Unused => (Users::default(), vec![Remedy::Remove]),
        };
        // Missing is only what is needed.
        let needed = users != Users::default() || matches!(object, Object::Compressed | Object::Unused);
        Ok((needed || size > 0).then_some(Problem {
            object,
            digest,
            size,
            reason,
            users,
            remedies,
        }))
    }

    /// The same for one thing, which may be all right by now.
    pub(super) async fn check_one(
        &self,
        object: Object,
        digest: &Digest,
    ) -> Result<Option<Problem>, ImageError> {
        let digest = digest.clone();
        self.watched(
            |_| {},
            move |service, watch| {
                let mut tick = |done| watch.tick(done);
                let layers = service.store.layers();
                let (checked, size) = match object {
                    Object::Layer => match layers.find(&digest)? {
                        Some(layer) => (layers.examine(&digest, &mut tick)?, layer.tar_size),
                        None => (Checked::Gone, 0),
                    },
                    _ => {
                        let size = service.store.content().size(&digest).unwrap_or(0);
                        (service.store.content().examine(&digest, &mut tick)?, size)
                    }
                };
                let table = Table::read(service)?;
                let (reason, unprotected) = match checked {
                    Checked::Intact | Checked::Stopped => return Ok(None),
                    Checked::Gone => ("it is missing".to_owned(), false),
                    Checked::Damaged(damage) => (damage.to_string(), damage == Damage::Unprotected),
                };
                // The compressed forms of a damaged layer may be damaged themselves: unpacking one shows.
                let finding = Finding {
                    object,
                    digest,
                    size,
                    reason,
                    unprotected,
                };
                let gone = size == 0 && matches!(object, Object::Compressed | Object::Unused);
                match gone {
                    true => Ok(None),
                    false => service.problem(&table, finding, &BTreeSet::new()),
                }
            },
        )
        .await
    }
}

impl Watch {
    fn tick(&self, done: u64) -> ControlFlow<()> {
        self.done.store(done, Ordering::Relaxed);
        match self.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}
