//! What tags stood for before: their history, looking an image up by it, and putting a tag back.
//!
//! `NAME[:TAG]@{ENTRY}` is what the tag stood for. An entry is a number, 0 for the newest line of the history and what the tag is
//! now, or a moment: what the tag stood for then. Moments are written as in filters (`2h`, `30d`, `2026-11-20`, which is the
//! beginning of that day, UTC) or `yesterday`, 24 hours ago.

use havre_oci::{Descriptor, Digest, Reference};
use havre_store::{Image, KeptImage, ReferenceChange};
use jiff::{SignedDuration, Timestamp};

use crate::error::ErrorKind;
use crate::filter::moment;
use crate::{ImageError, ImageService};

/// One line of a tag's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// 0 for the newest.
    pub index: usize,
    pub at: Timestamp,
    /// The image the tag stood for from then on; `None` when it was removed.
    pub image: Option<Digest>,
    /// What did it: `pull`, `tag`, `build`, `load`, `import`, `commit`, `rmi`, `prune`, `undo`, `restore`.
    pub command: String,
    /// What a registry served the image as, if it came from one.
    pub digest: Option<Digest>,
    pub state: EntryState,
}

/// What became of the image of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// It is there, with so many bytes in all its layers.
    Here { size: u64 },
    /// It was removed and can be brought back.
    Kept { size: u64 },
    /// It was removed for good.
    Gone,
    /// There is none: the tag was removed.
    Untagged,
}

/// A tag that stands for what it stood for before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub reference: Reference,
    pub image: Digest,
    /// The image had been removed, and is there again.
    pub returned: bool,
}

/// Why a history has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    #[error("invalid reference {0:?}: a history belongs to a tag, NAME[:TAG]")]
    NotATag(String),
    #[error(
        "invalid entry @{{{0}}}: use a number such as @{{1}} for what the tag was before, or a time such as @{{yesterday}}, @{{2h}} or @{{2026-11-20}}"
    )]
    Entry(String),
    #[error("{0} has no history: nothing here was ever called so")]
    None(String),
    #[error("the history of {name} ends with @{{{last}}}")]
    TooFar { name: String, last: usize },
    #[error("the history of {name} begins at {begins}")]
    TooEarly { name: String, begins: Timestamp },
    #[error("{name} stands for nothing at that entry: the tag was removed at {at} ({command}){}", earlier(.name, *.before))]
    Untagged {
        name: String,
        at: Timestamp,
        command: String,
        /// The next older entry that stands for an image.
        before: Option<usize>,
    },
    #[error(
        "the image of {name}@{{{index}}}, {image}, was removed at {at}: 'image restore {name}@{{{index}}}' or 'undo {removal}' brings it back"
    )]
    Kept {
        name: String,
        index: usize,
        image: String,
        at: Timestamp,
        removal: u64,
    },
    #[error("the image of {name}@{{{index}}}, {image}, was removed and cannot be brought back{}", from(.pull))]
    Gone {
        name: String,
        index: usize,
        image: String,
        /// By what it can be pulled.
        pull: Option<String>,
    },
    /// A removal wants a name.
    #[error(
        "{entry} is an entry of a history, not a name that can be removed: to remove the image, name it by its ID {image}"
    )]
    NotRemovable { entry: String, image: String },
}

fn earlier(name: &str, before: Option<usize>) -> String {
    before.map_or_else(String::new, |index| {
        format!("; {name}@{{{index}}} is what it was before")
    })
}

fn from(pull: &Option<String>) -> String {
    pull.as_ref().map_or_else(String::new, |name| {
        format!(": 'pull {name}' has it from the registry, if it is still there")
    })
}

impl HistoryError {
    /// None is `NotFound`: clients would take that for an image to pull.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Kept { .. } | Self::Gone { .. } | Self::Untagged { .. } => ErrorKind::Conflict,
            _ => ErrorKind::Invalid,
        }
    }
}

/// Whether a name is an entry of a history, right or wrong.
pub(crate) fn is_entry(name: &str) -> bool {
    name.ends_with('}') && name.contains("@{")
}

/// `nginx:1@{2}` → the tag, and what stands between the braces.
fn split(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix('}')?.split_once("@{")
}

/// A line that was looked up.
struct Line {
    index: usize,
    image: Digest,
    target: Option<Descriptor>,
}

impl ImageService {
    /// The history of a tag, newest first. It may have been removed.
    pub async fn log(&self, name: &str) -> Result<Vec<LogEntry>, ImageError> {
        let name = name.to_owned();
        self.blocking(move |service| {
            let (_, history) = service.tag_history(&name)?;
            let entry = |(index, change)| service.log_entry(index, change);
            history.into_iter().enumerate().map(entry).collect()
        })
        .await
    }

    /// Lets a tag stand again for what it stood for at an entry, `NAME[:TAG]@{ENTRY}`; without one, before it changed the last time.
    /// An image that was removed and is kept is brought back.
    pub async fn restore(&self, entry: &str) -> Result<Restored, ImageError> {
        let text = entry.to_owned();
        self.blocking(move |service| {
            let (name, entry) = split(&text).unwrap_or((&text, "1"));
            let (reference, history) = service.tag_history(name)?;
            let line = look_up(&reference, &history, entry)?;
            let meta = service.store.meta();
            let name = reference.canonical();
            if meta.find_image(&line.image)?.is_none() && meta.kept_image(&line.image)?.is_none() {
                return Err(service.missing(&reference, &line)?.into());
            }
            let returned = service.store.removing(|store| {
                store.restore_reference(&name, &line.image, line.target.as_ref(), "restore")
            })?;
            Ok(Restored {
                reference,
                image: line.image,
                returned,
            })
        })
        .await
    }

    /// The image of an entry, which must be here.
    pub(crate) fn find_entry(&self, text: &str) -> Result<Image, ImageError> {
        let (name, entry) = split(text).ok_or_else(|| HistoryError::NotATag(text.to_owned()))?;
        let (reference, history) = self.tag_history(name)?;
        let line = look_up(&reference, &history, entry)?;
        match self.store.meta().find_image(&line.image)? {
            Some(image) => Ok(image),
            None => Err(self.missing(&reference, &line)?.into()),
        }
    }

    fn tag_history(&self, name: &str) -> Result<(Reference, Vec<ReferenceChange>), ImageError> {
        let reference = Reference::parse(name)?.with_default_tag();
        if reference.digest().is_some() {
            return Err(HistoryError::NotATag(name.to_owned()).into());
        }
        let history = self.store.meta().reference_history(&reference.canonical())?;
        if history.is_empty() {
            return Err(HistoryError::None(reference.familiar()).into());
        }
        Ok((reference, history))
    }

    fn log_entry(&self, index: usize, change: ReferenceChange) -> Result<LogEntry, ImageError> {
        let meta = self.store.meta();
        let state = match &change.image {
            None => EntryState::Untagged,
            Some(image) => match (meta.find_image(image)?, meta.kept_image(image)?) {
                (Some(Image { size, .. }), _) => EntryState::Here { size },
                (None, Some(KeptImage { size, .. })) => EntryState::Kept { size },
                (None, None) => EntryState::Gone,
            },
        };
        Ok(LogEntry {
            index,
            at: change.at,
            image: change.image,
            command: change.command,
            digest: change.target.map(|target| target.digest),
            state,
        })
    }

    /// Why an image that isn't there isn't.
    fn missing(&self, reference: &Reference, line: &Line) -> Result<HistoryError, ImageError> {
        let (name, index) = (reference.familiar(), line.index);
        let image = line.image.short().to_owned();
        Ok(match self.store.meta().kept_image(&line.image)? {
            Some(KeptImage { removal, at, .. }) => HistoryError::Kept {
                name,
                index,
                image,
                at,
                removal,
            },
            None => HistoryError::Gone {
                name,
                index,
                image,
                pull: (line.target.as_ref())
                    .map(|target| format!("{}@{}", reference.familiar_name(), target.digest)),
            },
        })
    }
}

fn look_up(reference: &Reference, history: &[ReferenceChange], entry: &str) -> Result<Line, HistoryError> {
    let name = || reference.familiar();
    let index = if !entry.is_empty() && entry.bytes().all(|byte| byte.is_ascii_digit()) {
        entry.parse().unwrap_or(usize::MAX)
    } else {
        let moment = match entry {
            "yesterday" => Timestamp::now().checked_sub(SignedDuration::from_hours(24)).ok(),
            // Not a number of seconds before 1970.
            _ if entry.starts_with('-') => None,
            _ => moment(entry),
        };
        let moment = moment.ok_or_else(|| HistoryError::Entry(entry.to_owned()))?;
        let found = history.iter().position(|change| change.at <= moment);
        found.ok_or_else(|| HistoryError::TooEarly {
            name: name(),
            begins: history.last().map_or(Timestamp::UNIX_EPOCH, |change| change.at),
        })?
    };
    let change = history.get(index).ok_or_else(|| HistoryError::TooFar {
        name: name(),
        last: history.len().saturating_sub(1),
    })?;
    match &change.image {
        Some(image) => Ok(Line {
            index,
            image: image.clone(),
            target: change.target.clone(),
        }),
        None => {
            let older = history.iter().enumerate().skip(index + 1);
            Err(HistoryError::Untagged {
                name: name(),
                at: change.at,
                command: change.command.clone(),
                before: older
                    .filter(|(_, change)| change.image.is_some())
                    .map(|(index, _)| index)
                    .next(),
            })
        }
    }
}
