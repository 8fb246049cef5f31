//! How an image came about, step by step.

use havre_oci::{Platform, Reference};
use jiff::Timestamp;

use crate::{ImageError, ImageService};

/// One row of `history`, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Image ID, or `<missing>`.
    pub id: String,
    pub created: Option<Timestamp>,
    pub created_by: String,
    /// In Docker's familiar form.
    pub tags: Vec<String>,
    /// Unpacked bytes of the row's layer.
    pub size: u64,
    pub comment: String,
}

impl ImageService {
    /// The steps of an image; those whose own images are here carry their IDs.
    pub async fn history(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<HistoryEntry>, ImageError> {
        let (name, platform) = (name.to_owned(), platform.cloned());
        self.blocking(move |service| service.history_blocking(&name, platform.as_ref()))
            .await
    }

    fn history_blocking(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<HistoryEntry>, ImageError> {
        let image = self.find_on(name, platform)?.image;
        let config = self.read_config(&image.id)?;
        let mut layers = image.layers.iter();
        let mut rows = Vec::new();
        for step in config.history {
            let layer = if step.empty_layer { None } else { layers.next() };
            let size = match layer {
                Some(diff_id) => self.store.layers().find(diff_id)?.map_or(0, |layer| layer.size),
                None => 0,
            };
            rows.push(HistoryEntry {
                id: "<missing>".to_owned(),
                created: step.created,
                created_by: step.created_by,
                tags: Vec::new(),
                size,
                comment: step.comment,
            });
        }
        rows.reverse();
        let mut current = Some(image);
        for row in &mut rows {
            let Some(image) = current else { break };
            row.id = image.id.to_string();
            row.tags = self
                .tags_on_any_platform(&image.id)?
                .iter()
                .map(Reference::familiar)
                .collect();
            current = match &image.parent {
                Some(parent) => self.store.meta().find_image(parent)?,
                None => None,
            };
        }
        Ok(rows)
    }
}
