//! A blob of which nothing is known before it is written.

use std::io::{self, Write};
use std::sync::Arc;

use havre_oci::{Digest, Digester};

use crate::layout::STAGED_BLOB;
use crate::store::Core;
use crate::{Lease, Result, StoreError};

/// Writes a blob and finds its SHA-256 digest on the way. Dropping it unfinished leaves nothing.
#[derive(Debug)]
pub struct ContentWriter {
    core: Arc<Core>,
    lease: Lease,
    file: tempfile::NamedTempFile,
    digester: Digester,
    written: u64,
}

impl ContentWriter {
    pub(super) fn create(core: Arc<Core>, lease: Lease) -> Result<Self> {
        let ingests = core.layout.ingests();
        let file = tempfile::Builder::new()
            .prefix(STAGED_BLOB)
            .tempfile_in(&ingests)
            .map_err(StoreError::at("create a file in", &ingests))?;
        Ok(Self {
            core,
            lease,
            file,
            digester: Digester::sha256(),
            written: 0,
        })
    }

    /// As [`Write::write_all`], with a typed error.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        Write::write_all(self, bytes).map_err(StoreError::at("write", self.file.path()))
    }

    /// Publishes what was written; its digest and size in bytes.
    pub fn finish(self) -> Result<(Digest, u64)> {
        let digest = self.digester.finish();
        self.lease.hold(&digest);
        let path = self.file.into_temp_path();
        self.core.publish_blob(&path, &digest)?;
        // It has left the place the guard would remove it from.
        let _ = path.keep();
        Ok((digest, self.written))
    }
}

impl Write for ContentWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digester.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
