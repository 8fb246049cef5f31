//! Whether blobs still are what their digests say; others for those that aren't.

use std::io::{Read, Write};
use std::ops::ControlFlow;

use havre_oci::{Digest, Digester};
use rustix::fs::Advice;

use super::ContentStore;
use crate::layout::STAGED_BLOB;
use crate::{Checked, Damage, Lease, Result, StoreError};

impl ContentStore {
    /// Reads every byte of a blob and hashes it. `watch` is told the bytes read so far and may end it. Nothing is held: a blob
    /// that is removed meanwhile is [`Checked::Gone`].
    pub fn examine(&self, digest: &Digest, watch: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<Checked> {
        let mut file = match self.open(digest) {
            Ok(file) => file,
            Err(StoreError::BlobNotFound { .. }) => return Ok(Checked::Gone),
            Err(error) => return Err(error),
        };
        // The disk is asked, not the cache.
        let _ = rustix::fs::fadvise(file.file(), 0, None, Advice::DontNeed);
        let mut digester = Digester::new(digest.algorithm());
        let mut buffer = vec![0; 256 << 10];
        let mut done = 0;
        let damage = loop {
            match file.read(&mut buffer) {
                Ok(0) => break None,
                Ok(read) => {
                    digester.update(&buffer[..read]);
                    done += read as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => break Some(Damage::Unreadable(format!("cannot be read: {error}"))),
            }
            if watch(done).is_break() {
                return Ok(Checked::Stopped);
            }
        };
        let actual = digester.finish();
        let damage = damage.or_else(|| (actual != *digest).then_some(Damage::Contents(actual)));
        Ok(match damage {
            None => Checked::Intact,
            Some(_) if !self.contains(digest) => Checked::Gone,
            Some(damage) => Checked::Damaged(damage),
        })
    }

    /// Whether the blob's bytes have its digest.
    pub(crate) fn verify(&self, digest: &Digest) -> Result<bool> {
        let checked = self.examine(digest, &mut |_| ControlFlow::Continue(()))?;
        Ok(checked == Checked::Intact)
    }

    /// Puts `bytes` into the place of a blob, damaged or missing. [`StoreError::DigestMismatch`] if they aren't it.
    pub fn replace(&self, digest: &Digest, bytes: &[u8], lease: &Lease) -> Result<()> {
        lease.hold(digest);
        let actual = Digest::of(digest.algorithm(), bytes);
        if actual != *digest {
            return Err(StoreError::DigestMismatch {
                expected: digest.clone(),
                actual,
            });
        }
        let ingests = self.core.layout.ingests();
        let mut file = tempfile::Builder::new()
            .prefix(STAGED_BLOB)
            .tempfile_in(&ingests)
            .map_err(StoreError::at("create a file in", &ingests))?;
        file.write_all(bytes)
            .map_err(StoreError::at("write", file.path()))?;
        let path = file.into_temp_path();
        self.core.publish_blob(&path, digest)?;
        // It has left the place the guard would remove it from.
        let _ = path.keep();
        Ok(())
    }

    /// Removes a blob that can be done without, unless it is being used; whether it is gone.
    pub fn give_up(&self, digest: &Digest) -> Result<bool> {
        // Nobody can begin to hold it while this guard lives.
        let leases = self.core.leases.state();
        if leases.protects(digest) {
            return Ok(false);
        }
        self.remove(digest)?;
        Ok(true)
    }
}
