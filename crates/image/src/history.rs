use jiff::Timestamp;

use crate::{ImageError, ImageService};

/// One row of `history`, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Image ID, or "<missing>".
    pub id: String,
    pub created: Option<Timestamp>,
    pub created_by: String,
    pub tags: Vec<String>,
    /// Unpacked bytes of the row's layer.
    pub size: u64,
    pub comment: String,
}

impl ImageService {
    pub async fn history(&self, name: &str) -> Result<Vec<HistoryEntry>, ImageError> {
        let _ = name;
        todo!()
    }
}
