//! How a store is opened.

use std::fmt;
use std::str::FromStr;

/// What a store is told; the default asks the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// How new layers are written, and how layers that are files are mounted.
    pub layers: LayerForm,
    /// When layers are verified beyond what is always done: while they come, and after a power cut.
    pub verify: Verify,
}

/// When the contents of layers are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Not by themselves: [`LayerStore::examine`](crate::LayerStore::examine) does when it is asked to.
    #[default]
    Off,
    /// By the kernel at every read from the disk (fs-verity). Bytes that changed there are an I/O error for who reads them. A
    /// store that can't have that isn't opened, a layer that can't isn't mounted.
    Read,
}

impl Verify {
    /// Every value, as configured.
    pub const ALL: [Self; 2] = [Self::Off, Self::Read];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Read => "read",
        }
    }

    /// What it means, in a few words for people.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Read => "at every read (fs-verity)",
        }
    }
}

/// How new layers are written and mounted. Layers that are there already keep their form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerForm {
    /// The first of the others, in their order, that works: each is tried with a tiny image.
    #[default]
    Auto,
    /// Files with the archive byte for byte, which the kernel reads past the page cache of the disk's own file system
    /// (Linux 6.14; 6.12 as the next).
    File,
    /// The same, through the page cache of the disk's own file system.
    FileBuffered,
    /// The same files behind loop devices (Linux 6.4).
    Loop,
    /// Files with contents at 4 KiB bounds, behind loop devices (older kernels).
    LoopAligned,
    /// Directories.
    Directories,
}

impl LayerForm {
    /// Every value, as configured.
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::File,
        Self::FileBuffered,
        Self::Loop,
        Self::LoopAligned,
        Self::Directories,
    ];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::File => "file",
            Self::FileBuffered => "file-buffered",
            Self::Loop => "loop",
            Self::LoopAligned => "loop-4k",
            Self::Directories => "directories",
        }
    }

    /// What it means, in a few words for people.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Auto => "the best that works",
            Self::File => "erofs (file-backed, direct I/O)",
            Self::FileBuffered => "erofs (file-backed)",
            Self::Loop => "erofs (loop devices)",
            Self::LoopAligned => "erofs (loop devices, 4 KiB blocks)",
            Self::Directories => "directories",
        }
    }
}

impl fmt::Display for LayerForm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Not the name of a [`LayerForm`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no form of layers: use auto, file, file-buffered, loop, loop-4k or directories")]
pub struct UnknownLayerForm(String);

impl FromStr for LayerForm {
    type Err = UnknownLayerForm;

    fn from_str(name: &str) -> Result<Self, UnknownLayerForm> {
        let found = Self::ALL.into_iter().find(|form| form.name() == name);
        found.ok_or_else(|| UnknownLayerForm(name.to_owned()))
    }
}

/// How layers are written and mounted, and why so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Never [`LayerForm::Auto`].
    pub form: LayerForm,
    /// What was found out, or that it was configured.
    pub reason: String,
}
