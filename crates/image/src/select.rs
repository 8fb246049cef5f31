//! Which images are meant: one language of filters for lists, removals, prunes and archives.
//!
//! | filter | images that |
//! |---|---|
//! | `reference=GLOB` | have a name that matches; of several names those that do |
//! | `label=KEY[=VALUE]`, `label!=…` | have such labels, or not |
//! | `platform=OS/ARCHITECTURE[/VARIANT]` | are for it |
//! | `before=IMAGE`, `since=IMAGE`, `until=TIME` | were made before, after, before then |
//! | `last-used=TIME` | were not used since: by no pull, build or new container, and no container uses them now; what never was counts from when it came |
//! | `size>BYTES`, `size>=`, `size<`, `size<=` | are larger or smaller; key `size`, value `>BYTES` |
//! | `dangling=true`, `unused=true` | have no tag; have no container |
//! | `keep=N` | are not among the newest N of a repository, by when they were made, counting those that reference, label and platform mean; names in other repositories are looked at by themselves, and what has no name is in no repository |
//!
//! All of them must hold. Several values of one key: all labels and sizes, the earliest time, the most to keep; else any.

use std::cell::LazyCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use havre_oci::{Digest, Platform, Reference};
use havre_store::{ImageFacts, ImageRow};
use jiff::Timestamp;

use crate::filter::path_match;
use crate::labels::Labels;
use crate::{FilterError, Filters, ImageError, ImageService, ImageUse};

/// What the API calls them. A client that splits `size>=1GB` at the equals sign sends `size>`.
const KEYS: &[&str] = &[
    "before",
    "dangling",
    "keep",
    "label",
    "label!",
    "last-used",
    "platform",
    "reference",
    "since",
    "size",
    "size<",
    "size>",
    "until",
    "unused",
];

/// Filters that were read.
pub(crate) struct Selector<'a> {
    filters: &'a Filters,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    last_used: Option<Timestamp>,
    dangling: Option<bool>,
    unused: Option<bool>,
    sizes: Vec<SizeBound>,
    keep: Option<usize>,
    platforms: Vec<Platform>,
}

impl Filters {
    /// Whether they depend on what containers use.
    pub(crate) fn need_uses(&self) -> bool {
        !self.get("last-used").is_empty() || !self.get("unused").is_empty()
    }
}

/// What of images is wanted beside the choice.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted {
    /// Images that only serve as parents too.
    pub(crate) intermediate: bool,
    pub(crate) labels: bool,
    pub(crate) facts: bool,
}

/// An image that is meant.
pub(crate) struct Chosen {
    pub(crate) row: ImageRow,
    /// The names that are meant.
    pub(crate) tags: Vec<Reference>,
    /// The tags stand for it only when its platform is asked for. Such images are meant where filters ask for a platform; else they
    /// are a part of the image their name stands for.
    pub(crate) beside: bool,
    pub(crate) digests: Vec<Reference>,
    /// It has tags, or if it has none, digests, that are not meant.
    pub(crate) otherwise_named: bool,
    /// Empty unless wanted.
    pub(crate) labels: Labels,
    /// If wanted or filtered by.
    pub(crate) facts: Option<ImageFacts>,
}

struct SizeBound {
    /// `>=`
    comparison: &'static str,
    bytes: u64,
    /// As it was written.
    text: String,
}

impl SizeBound {
    fn holds(&self, size: u64) -> bool {
        match self.comparison {
            ">" => size > self.bytes,
            ">=" => size >= self.bytes,
            "<" => size < self.bytes,
            _ => size <= self.bytes,
        }
    }
}

fn hint(key: &str, value: &str, hint: &'static str) -> FilterError {
    FilterError::Hint {
        key: key.to_owned(),
        value: value.to_owned(),
        hint,
    }
}

const SIZE: &str = "use size>1GB, size>=1GB, size<1GB or size<=1GB";

/// `>=1.5GB`: units of a thousand, as sizes are shown, or `GiB` of 1024.
fn size_bound(key: &str, value: &str) -> Result<SizeBound, FilterError> {
    let invalid = || hint(key, value, SIZE);
    let written = match key.strip_prefix("size") {
        // What was between it and the value was an equals sign.
        Some(comparison @ (">" | "<")) => format!("{comparison}={value}"),
        _ => value.to_owned(),
    };
    let comparisons = [">=", "<=", ">", "<"];
    let found = comparisons.into_iter().find_map(|comparison| {
        let rest = written.strip_prefix(comparison)?;
        Some((comparison, rest.trim()))
    });
    let (comparison, text) = found.ok_or_else(invalid)?;
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let power = |prefix: &str| {
        "kmgtp"
            .find(prefix)
            .and_then(|place| i32::try_from(place + 1).ok())
    };
    let factor = match unit.strip_suffix("ib") {
        Some(prefix) if prefix.len() == 1 => power(prefix).map(|power| 1024_f64.powi(power)),
        _ => match unit.strip_suffix('b').unwrap_or(&unit) {
            "" => Some(1.0),
            prefix if prefix.len() == 1 => power(prefix).map(|power| 1000_f64.powi(power)),
            _ => None,
        },
    };
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let bytes = number * factor.ok_or_else(invalid)?;
    if !bytes.is_finite() || bytes > 1e18 {
        return Err(invalid());
    }
    Ok(SizeBound {
        comparison,
        // Below 2^63, and bytes have no fractions.
        bytes: bytes.round() as u64,
        text: written,
    })
}

impl<'a> Selector<'a> {
    /// Reads filters. Images they name must exist.
    pub(crate) fn new(service: &ImageService, filters: &'a Filters) -> Result<Self, ImageError> {
        filters.check(KEYS)?;
        let created_of = |key| -> Result<Option<Timestamp>, ImageError> {
            let mut found = None;
            for name in filters.get(key) {
                found = Some(service.find(name)?.image.created.unwrap_or(Timestamp::UNIX_EPOCH));
            }
            Ok(found)
        };
        for pattern in filters.get("reference") {
            if path_match(pattern, "").is_none() {
                return Err(FilterError::Pattern(pattern.clone()).into());
            }
        }
        let mut sizes = Vec::new();
        for key in ["size", "size<", "size>"] {
            for value in filters.get(key) {
                sizes.push(size_bound(key, value)?);
            }
        }
        let mut keep = None;
        for value in filters.get("keep") {
            let number: usize = value.parse().map_err(|_| {
                hint(
                    "keep",
                    value,
                    "use the number of images of each repository to keep",
                )
            })?;
            keep = keep.max(Some(number));
        }
        let mut platforms = Vec::new();
        for value in filters.get("platform") {
            let platform = Platform::parse(value)
                .map_err(|_| hint("platform", value, "use OS/ARCHITECTURE[/VARIANT]"))?;
            platforms.push(platform.normalized());
        }
        Ok(Self {
            before: created_of("before")?,
            since: created_of("since")?,
            until: filters.time("until")?,
            last_used: filters.time("last-used")?,
            dangling: filters.boolean("dangling")?,
            unused: filters.boolean("unused")?,
            sizes,
            keep,
            platforms,
            filters,
        })
    }

    fn by_label(&self) -> bool {
        !self.filters.get("label").is_empty() || !self.filters.get("label!").is_empty()
    }

    fn needs_facts(&self) -> bool {
        self.last_used.is_some() || !self.platforms.is_empty()
    }

    fn holds(&self, row: &ImageRow, facts: Option<&ImageFacts>, unnamed: bool, used: bool) -> bool {
        let created = row.created.unwrap_or(Timestamp::UNIX_EPOCH);
        let used_since = |moment| used || facts.is_none_or(|facts| facts.used() >= moment);
        !(self.before.is_some_and(|before| created >= before)
            || self.since.is_some_and(|since| created <= since)
            || self.until.is_some_and(|until| created >= until)
            || self.last_used.is_some_and(used_since)
            || self.dangling.is_some_and(|dangling| dangling != unnamed)
            || self.unused.is_some_and(|unused| unused == used)
            || self.sizes.iter().any(|bound| !bound.holds(row.size)))
    }

    /// Why an image is meant, for people; empty without filters.
    pub(crate) fn why(&self, chosen: &Chosen) -> String {
        let mut why = Vec::new();
        let or = |key| self.filters.get(key).join(" or ");
        if !self.filters.get("reference").is_empty() {
            why.push(format!("its name matches {}", or("reference")));
        }
        why.extend(
            self.filters
                .get("label")
                .iter()
                .map(|label| format!("label {label}")),
        );
        why.extend(
            self.filters
                .get("label!")
                .iter()
                .map(|label| format!("no label {label}")),
        );
        if !self.platforms.is_empty() {
            why.push(format!("for {}", or("platform")));
        }
        if self.before.or(self.since).or(self.until).is_some() {
            let created = chosen.row.created.unwrap_or(Timestamp::UNIX_EPOCH);
            why.push(format!("made at {created:.0}"));
        }
        if let Some(facts) = chosen.facts.as_ref().filter(|_| self.last_used.is_some()) {
            why.push(match facts.last_used {
                Some(_) => format!("last used at {:.0}", facts.used()),
                None => format!("came at {:.0} and was not used", facts.added),
            });
        }
        why.extend(self.sizes.iter().map(|bound| format!("size{}", bound.text)));
        if let Some(keep) = self.keep {
            let names = chosen.tags.iter().chain(&chosen.digests);
            let repositories: BTreeSet<String> = names.map(Reference::familiar_name).collect();
            if !repositories.is_empty() {
                let repositories: Vec<String> = repositories.into_iter().collect();
                why.push(format!(
                    "not among the newest {keep} of {}",
                    repositories.join(", ")
                ));
            }
        }
        why.join("; ")
    }
}

impl ImageService {
    /// The images that are meant, newest first. `in_use`: what containers use, if the filters ask for it.
    pub(crate) fn choose(
        &self,
        selector: &Selector<'_>,
        wanted: Wanted,
        in_use: &[ImageUse],
    ) -> Result<Vec<Chosen>, ImageError> {
        let meta = self.store.meta();
        let mut images = meta.image_rows()?;
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        let mut names = self.names()?;
        let mut facts = match wanted.facts || selector.needs_facts() {
            true => meta.image_facts()?,
            false => HashMap::new(),
        };
        let used: HashSet<&Digest> = in_use.iter().map(|user| &user.image).collect();
        let parents: HashSet<Digest> = images.iter().filter_map(|image| image.parent.clone()).collect();
        {
            // Made only when there is something to forget.
            let ids: LazyCell<HashSet<&Digest>, _> =
                LazyCell::new(|| images.iter().map(|image| &image.id).collect());
            self.labels.trim(images.len(), |image| ids.contains(image));
        }
        let patterns = selector.filters.get("reference");
        let mut kept: HashMap<String, usize> = HashMap::new();
        let mut found = Vec::with_capacity(images.len());
        for row in images {
            let mut tags = names.tags.remove(&row.id).unwrap_or_default();
            let beside = match tags.is_empty() {
                true => names.beside.remove(&row.id),
                false => None,
            };
            let is_beside = beside.is_some();
            if let Some(beside) = beside {
                if selector.platforms.is_empty() {
                    continue;
                }
                tags = beside;
            }
            let mut digests = names.digests.remove(&row.id).unwrap_or_default();
            let (had_tags, had_digests) = (tags.len(), digests.len());
            let unnamed = tags.is_empty();
            // Docker calls an image dangling that has no tag, and hides those that only serve as parents.
            if unnamed && digests.is_empty() && parents.contains(&row.id) && !wanted.intermediate {
                continue;
            }
            let facts = match facts.is_empty() {
                true => None,
                false => facts.remove(&row.id),
            };
            if !patterns.is_empty() {
                let matches = |reference: &Reference| {
                    let (full, name) = (reference.familiar(), reference.familiar_name());
                    patterns.iter().any(|pattern| {
                        path_match(pattern, &full) == Some(true) || path_match(pattern, &name) == Some(true)
                    })
                };
                tags.retain(matches);
                digests.retain(matches);
                if tags.is_empty() && digests.is_empty() {
                    continue;
                }
            }
            if !selector.platforms.is_empty() && !facts.as_ref().is_some_and(|facts| selector.is_for(facts)) {
                continue;
            }
            let by_label = selector.by_label();
            let labels = match wanted.labels || by_label {
                true => self.labels_of(&row.id),
                false => Labels::new(),
            };
            if by_label && !selector.filters.labels_match(&labels) {
                continue;
            }
            if let Some(keep) = selector.keep {
                let named = !tags.is_empty() || !digests.is_empty();
                let repositories: HashSet<String> =
                    tags.iter().chain(&digests).map(Reference::repository).collect();
                let mut stays = HashSet::new();
                for repository in repositories {
                    let count = kept.entry(repository.clone()).or_default();
                    *count += 1;
                    if *count <= keep {
                        stays.insert(repository);
                    }
                }
                tags.retain(|tag| !stays.contains(&tag.repository()));
                digests.retain(|digest| !stays.contains(&digest.repository()));
                if named && tags.is_empty() && digests.is_empty() {
                    continue;
                }
            }
            if !selector.holds(&row, facts.as_ref(), unnamed, used.contains(&row.id)) {
                continue;
            }
            found.push(Chosen {
                otherwise_named: match had_tags {
                    0 => digests.len() < had_digests,
                    count => tags.len() < count,
                },
                row,
                tags,
                beside: is_beside,
                digests,
                labels,
                facts,
            });
        }
        Ok(found)
    }

    /// One damaged image must not hide the others.
    fn labels_of(&self, image: &Digest) -> Labels {
        let read = || Ok(self.read_config(image)?.config.labels);
        self.labels.get(image, read).unwrap_or_else(|error| {
            tracing::warn!(%image, %error, "the configuration of an image cannot be read");
            Labels::new()
        })
    }
}

impl Selector<'_> {
    fn is_for(&self, facts: &ImageFacts) -> bool {
        let have = facts.platform.clone().normalized();
        self.platforms.iter().any(|wanted| {
            wanted.os == have.os
                && wanted.architecture == have.architecture
                && (wanted.variant.is_empty() || wanted.variant == have.variant)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let holds = |key, value, size| size_bound(key, value).map(|bound| bound.holds(size));
        for (key, value, size, expected) in [
            ("size", ">1GB", 1_000_000_001, true),
            ("size", ">1GB", 1_000_000_000, false),
            ("size", ">=1gb", 1_000_000_000, true),
            ("size>", "1g", 1_000_000_000, true),
            ("size<", "1kB", 1001, false),
            ("size", "<=1KiB", 1024, true),
            ("size", "< 1.5 MB", 1_499_999, true),
            ("size", "<10", 10, false),
            ("size", ">0", 1, true),
        ] {
            assert_eq!(holds(key, value, size), Ok(expected), "{key}={value}");
        }
        for bad in [
            "",
            "1GB",
            "=1GB",
            ">",
            ">GB",
            ">1XB",
            ">1.2.3",
            ">-1",
            ">1bb",
            ">99999999PB",
            ">1ib",
            ">nan",
        ] {
            let error = size_bound("size", bad).map(drop).unwrap_err().to_string();
            assert_eq!(error, format!("invalid filter 'size={bad}': {SIZE}"));
        }
    }
}
