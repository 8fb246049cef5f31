//! Whether a layer's files still are what was written.

use std::io::Read;

use havre_oci::{Digest, Digester};

use super::LayerStore;
use crate::{Result, StoreError};

/// What is wrong with a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Files are missing, cut off or unreadable.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Its contents are not those its diff ID stands for.
    #[error("its contents changed: the archive has the digest {0}")]
    Contents(Digest),
    /// What the kernel reads beside the contents changed: names, attributes, places.
    #[error("its metadata changed")]
    Metadata,
}

impl LayerStore {
    /// Reads every byte of a layer: hashes its archive against the diff ID, and the metadata it is mounted with against what
    /// was noted when they were written. `progress` is told the bytes of archive read so far. `None`: nothing is wrong.
    pub fn check(&self, diff_id: &Digest, progress: &mut dyn FnMut(u64)) -> Result<Option<Damage>> {
        let layer = self.get(diff_id)?;
        let path = self.core.layout.layer(diff_id);
        match self.forms.of(&layer.form).is_sound(&path, &layer.form) {
            Ok(true) => {}
            Ok(false) => return Ok(Some(Damage::Metadata)),
            Err(error) => return unreadable(error),
        }
        let mut tar = match self.tar(diff_id) {
            Ok(tar) => tar,
            Err(error) => return unreadable(error),
        };
        let mut digester = Digester::sha256();
        let mut buffer = vec![0; 256 << 10];
        let mut done = 0;
        loop {
            match tar.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    digester.update(&buffer[..read]);
                    done += read as u64;
                    progress(done);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Some(Damage::Unreadable(error.to_string()))),
            }
        }
        let actual = digester.finish();
        Ok((actual != *diff_id).then_some(Damage::Contents(actual)))
    }
}

/// Errors of the layer's own files are findings; a layer that went meanwhile, or a database that fails, are errors.
fn unreadable(error: StoreError) -> Result<Option<Damage>> {
    match error {
        StoreError::Io { source, .. } => Ok(Some(Damage::Unreadable(source.to_string()))),
        error @ StoreError::Corrupt { .. } => Ok(Some(Damage::Unreadable(error.to_string()))),
        error => Err(error),
    }
}
