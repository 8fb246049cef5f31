//! File trees beneath a root as tar archives, in both directions: `cp`, `export`, first use of a volume.
//!
//! Every path is resolved beneath the root it belongs to, link by link, by the kernel; nothing here ever opens a path of a
//! container or an archive in the host's own tree.

mod pack;
mod unpack;

use std::path::Path;

use havre_sys::rooted::Root;

use crate::{EngineError, Result};

pub(super) use pack::{lstat, pack};
pub(super) use unpack::{Ownership, UnpackOptions, unpack};

/// Copies what the image has at `source` into the empty directory `target`, with owners, modes, times and attributes. An
/// image without that directory leaves the target as it is.
pub(super) fn copy_up(image: &Root, source: &str, target: &Path) -> Result<()> {
    match image.stat(Path::new(source), true) {
        Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() => {}
        // As Docker: a file of the image at the mount point is not copied.
        Ok(_) => return Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let source = image.resolve(Path::new(source))?;
    let target = Root::open(target)?;
    let (reader, writer) = std::io::pipe()?;
    std::thread::scope(|scope| {
        let packed = scope.spawn(move || pack(image, &source, b"", None, writer).map(drop));
        let options = UnpackOptions {
            root_metadata: true,
            ..UnpackOptions::default()
        };
        let unpacked = unpack(reader, &target, Path::new(""), None, &options);
        let packed = packed
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A full disk on one side breaks the pipe on the other: the first cause is the unpacking side's.
        unpacked.and(packed)
    })
}

fn layer_error(error: havre_oci::layer::LayerError) -> EngineError {
    use havre_oci::layer::LayerError as E;
    match error {
        E::Read(source) | E::Write(source) => EngineError::from(source),
        error => EngineError::invalid(error.to_string()).with_source(error),
    }
}

#[cfg(test)]
mod tests;
