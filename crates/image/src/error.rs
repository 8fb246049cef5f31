//! What image operations fail with, in Docker's words.

use havre_oci::{ConfigError, Digest, DocumentError, PlatformError, ReferenceError};
use havre_registry_client::RegistryError;
use havre_store::{ApplyError, StoreError};

use crate::log::HistoryError;
use crate::{ChangeError, FilterError, SquashError};

/// What an image operation can fail with, in Docker's words at `Display` where Docker has some.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    #[error("No such image: {0}")]
    NotFound(String),
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousPrefix(String),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{}", chain(.0))]
    Store(#[from] StoreError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Squash(#[from] SquashError),

    /// Pull: the index has nothing for the platform.
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoMatchingManifest { platform: String },
    /// Pull: not an image, or of a kind that cannot run here.
    #[error("{reference} is not a container image: unsupported media type {media_type:?}")]
    NotAnImage { reference: String, media_type: String },
    #[error(
        "image operating system {os:?} cannot be used on this platform: operating system is not supported"
    )]
    UnsupportedOs { os: String },
    #[error("invalid configuration of {reference}: {source}")]
    Config {
        reference: String,
        #[source]
        source: ConfigError,
    },
    #[error("manifest of {reference} has {layers} layers, its configuration has {diff_ids}")]
    LayerCount {
        reference: String,
        layers: usize,
        diff_ids: usize,
    },
    /// The bytes of a layer are not what the manifest says, from every source.
    #[error("filesystem layer verification failed for digest {0}")]
    LayerVerification(Digest),
    #[error("failed to register layer: {}", chain(.source))]
    Layer {
        digest: Option<Digest>,
        #[source]
        source: ApplyError,
    },
    #[error(
        "all tags of a repository can be pulled or pushed only by its name alone, {0} has a tag or digest"
    )]
    AllTagsWithTag(String),
    #[error("layer {diff_id} of the image is not in the store; pull or load the image again")]
    MissingLayer { diff_id: Digest },

    /// Files: the image has no such path, or it leads through something that is no directory.
    #[error("no such file or directory in {image}: {path}")]
    NoSuchFile { image: String, path: String },
    #[error("{image} has layers 0 to {}, not {layer}", .count.saturating_sub(1))]
    NoSuchLayer {
        image: String,
        count: usize,
        layer: usize,
    },
    #[error("{path} is {what}")]
    NotARegularFile { path: String, what: &'static str },
    #[error("too many levels of symbolic links: {path}")]
    TooManyLinks { path: String },
    /// Files of a registry's image: a layer isn't what it should be.
    #[error("layer {digest} of the registry cannot be read: {reason}")]
    RemoteLayer { digest: Digest, reason: String },

    #[error("cannot push a digest reference")]
    PushDigest,
    #[error("An image does not exist locally with the tag: {0}")]
    NothingToPush(String),
    #[error("tag does not exist: {0}")]
    NoSuchTag(String),
    #[error(
        "image with reference {reference} was found but its platform ({actual}) does not match the specified platform ({wanted})"
    )]
    WrongPlatform {
        reference: String,
        actual: String,
        wanted: String,
    },
    #[error(
        "images {one} and {other} are both for {platform}: a base of one platform gives one image whatever is asked for"
    )]
    SamePlatform {
        platform: String,
        one: String,
        other: String,
    },
    /// What is to be put under a name is neither an index nor a manifest.
    #[error("invalid manifest: {0}")]
    InvalidManifest(#[source] DocumentError),
    #[error("manifest {digest} is neither in the repository of {target} nor in those it was added from")]
    NoSource { digest: Digest, target: String },
    #[error("invalid pattern of tags: {0:?}")]
    TagPattern(String),
    #[error("{0} was not pulled from a registry, or is not here")]
    NotPulled(String),
    #[error("index {0} is nested too deeply")]
    IndexTooDeep(Digest),
    /// The bytes of a blob stopped coming from where they were.
    #[error("cannot copy blob {digest}: {reason}")]
    Relay { digest: Digest, reason: String },
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,

    #[error(
        "conflict: unable to remove repository reference {reference:?} (must force) - container {container} is using its referenced image {image}"
    )]
    ReferenceInUse {
        reference: String,
        container: String,
        image: String,
    },
    #[error("conflict: unable to delete {image} ({}) - {reason}", if *.hard { "cannot be forced" } else { "must be forced" })]
    InUse {
        image: String,
        hard: bool,
        reason: String,
    },

    /// Load: what the tar must not hold, or lacks.
    #[error("invalid archive: {0}")]
    Archive(String),
    /// Load, import: the stream broke, or its compression.
    #[error("cannot read the archive: {0}")]
    Input(#[source] std::io::Error),
    /// Save: the receiver is gone, or its disk is full.
    #[error("cannot write the archive: {0}")]
    Output(#[source] std::io::Error),
    #[error("cannot compress layer {diff_id}: {source}")]
    Compress {
        diff_id: Digest,
        #[source]
        source: std::io::Error,
    },
    #[error("too many layers: {count}, the limit is {limit}")]
    TooManyLayers { count: usize, limit: usize },

    #[error("cannot bootstrap {0:?}: expected debian, debian:SUITE or busybox")]
    BootstrapSource(String),
    #[error(
        "invalid mirror {0:?}: expected an address that begins with http://, https://, file:// or copy://"
    )]
    BootstrapMirror(String),
    #[error("{program} is not installed; install it with: apt-get install {package}")]
    MissingProgram { program: String, package: String },
    #[error("{program} failed ({status}): {output}")]
    ProgramFailed {
        program: String,
        status: String,
        output: String,
    },
    #[error("cannot run {program}: {source}")]
    Program {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not statically linked; install it with: apt-get install busybox-static")]
    NotStatic { path: String },

    /// Repair: a blob that is to go is being sent or unpacked.
    #[error("{0} is in use at the moment")]
    BlobInUse(Digest),
    /// Repair: a registry that doesn't begin to answer.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(std::time::Duration),

    /// Work on a blocking thread was lost (a panic, or the end of the program).
    #[error("internal error: background work ended without a result")]
    Interrupted,
}

/// Coarse classes, for HTTP statuses and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    Conflict,
    Invalid,
    Unauthorized,
    Denied,
    RateLimited,
    Unavailable,
    System,
}

impl ImageError {
    /// The class this error belongs to.
    pub fn kind(&self) -> ErrorKind {
        use havre_registry_client::ErrorKind as Registry;
        match self {
            Self::Registry(error) => match error.kind() {
                Registry::NotFound => ErrorKind::NotFound,
                Registry::Unauthorized => ErrorKind::Unauthorized,
                Registry::Denied => ErrorKind::Denied,
                Registry::RateLimited => ErrorKind::RateLimited,
                Registry::Unavailable => ErrorKind::Unavailable,
                Registry::InvalidRequest => ErrorKind::Invalid,
                Registry::InvalidAnswer | Registry::System => ErrorKind::System,
            },
            Self::NotFound(_)
            | Self::NotPulled(_)
            | Self::NoMatchingManifest { .. }
            | Self::NoSuchTag(_)
            | Self::NothingToPush(_)
            | Self::NoSuchFile { .. }
            | Self::NoSuchLayer { .. }
            | Self::WrongPlatform { .. } => ErrorKind::NotFound,
            Self::ReferenceInUse { .. } | Self::InUse { .. } => ErrorKind::Conflict,
            Self::History(error) => error.kind(),
            Self::AmbiguousPrefix(_)
            | Self::SamePlatform { .. }
            | Self::Reference(_)
            | Self::Platform(_)
            | Self::Filter(_)
            | Self::Change(_)
            | Self::Squash(_)
            | Self::AllTagsWithTag(_)
            | Self::PushDigest
            | Self::TagWithDigest
            | Self::Archive(_)
            | Self::BootstrapSource(_)
            | Self::BootstrapMirror(_)
            | Self::NotAnImage { .. }
            | Self::InvalidManifest(_)
            | Self::NoSource { .. }
            | Self::TagPattern(_)
            | Self::IndexTooDeep(_)
            | Self::UnsupportedOs { .. }
            | Self::Config { .. }
            | Self::TooManyLayers { .. }
            | Self::NotARegularFile { .. }
            | Self::TooManyLinks { .. }
            | Self::LayerCount { .. } => ErrorKind::Invalid,
            _ => ErrorKind::System,
        }
    }

    /// What reading the contents of a file failed with.
    pub fn reading(error: std::io::Error) -> Self {
        crate::files::unwrapped(error, Self::Input)
    }

    pub(crate) fn layer(digest: &Digest, source: ApplyError) -> Self {
        Self::Layer {
            digest: Some(digest.clone()),
            source,
        }
    }
}

/// An error with its causes, as one line; causes an outer message repeats are left out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let inner = current.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        cause = current.source();
    }
    text
}
