//! How much a layer may ask for.

/// Bounds of one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes of the archive, headers included. The holes of sparse files count as if they were stored.
    pub size: u64,
    /// Bytes of one extended header, long name or map of a sparse file, and of data that belongs to no file.
    pub extension: u64,
    /// Bytes that may follow the end-of-archive marker.
    pub trailer: u64,
}

impl Default for Limits {
    /// 4 million entries, 1 TiB, 1 MiB, 64 MiB.
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            size: 1 << 40,
            extension: 1 << 20,
            trailer: 64 << 20,
        }
    }
}
