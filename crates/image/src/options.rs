//! What an image service is told: how much at once, what becomes of compressed layers.

use havre_oci::Compression;

/// How much runs at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Blobs downloaded at once per pull (Docker's max-concurrent-downloads).
    pub downloads: usize,
    /// Blobs uploaded at once per push (Docker's max-concurrent-uploads).
    pub uploads: usize,
    /// Layers unpacked at once, and threads that compress, over all calls.
    pub workers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Limits {
            downloads: 3,
            uploads: 5,
            workers: cores,
        }
    }
}

/// What becomes of the compressed form of a layer once the layer itself is in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeepCompressed {
    /// It is dropped: every layer lies on the disk once.
    #[default]
    Never,
    /// It stays as long as all of them together have at most so many bytes; the least recently used go first.
    Quota(u64),
    /// It stays as long as its layer.
    Always,
}

impl KeepCompressed {
    /// Whether what is kept may have become too much.
    pub(crate) fn is_bounded(self) -> bool {
        matches!(self, Self::Quota(_))
    }

    /// The bytes all compressed forms may have.
    pub(crate) fn limit(self) -> u64 {
        match self {
            Self::Never => 0,
            Self::Quota(bytes) => bytes,
            Self::Always => u64::MAX,
        }
    }
}

/// How a push compresses layers that have no compressed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Gzip, which everything reads, or zstd, which is quicker and smaller and needs a containerd or Docker of 2020.
    pub compression: Compression,
    /// On the format's scale: gzip 1 to 9, zstd 1 to 19.
    pub level: i32,
}

impl Packing {
    /// Gzip's quickest level: on two cores it keeps up with a network of a gigabit, for a tenth more bytes than the middle
    /// of the scale.
    pub const GZIP_LEVEL: i32 = 1;
    /// zstd's own.
    pub const ZSTD_LEVEL: i32 = 3;

    /// A format at the level that is best for most.
    pub fn of(compression: Compression) -> Self {
        let level = match compression {
            Compression::Zstd => Self::ZSTD_LEVEL,
            _ => Self::GZIP_LEVEL,
        };
        Packing { compression, level }
    }
}

impl Default for Packing {
    fn default() -> Self {
        Self::of(Compression::Gzip)
    }
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub limits: Limits,
    pub keep: KeepCompressed,
    pub packing: Packing,
}
