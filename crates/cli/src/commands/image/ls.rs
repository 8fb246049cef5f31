//! `images`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Deserialize;

use super::tree::{Manifest, tree};
use crate::args::image::ls::Ls;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size, time};
use crate::session::Session;
use crate::spec::filters::with;
use crate::template::{Cells, Value};

/// An image of the list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Summary {
    pub(crate) id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    pub(super) created: i64,
    pub(crate) size: i64,
    pub(crate) shared_size: i64,
    pub(crate) containers: i64,
    last_used: Option<Timestamp>,
    pub(super) manifests: Option<Vec<Manifest>>,
    labels: Option<BTreeMap<String, String>>,
}

/// What a row of the list stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

const NONE: &str = "<none>";

const HEADERS: [(&str, &str); 12] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
    ("LastUsed", "LAST USED"),
];

const LAYOUT: Layout = Layout {
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    quiet: "ID",
    headers: &HEADERS,
};

const WITH_DIGESTS: Layout = Layout {
    table: "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    ..LAYOUT
};

/// `docker images`.
pub(crate) async fn ls(session: &Session, args: Ls) -> Done {
    if args.tree {
        return tree(session, &args).await;
    }
    let pattern = args
        .operands
        .first()
        .map(|pattern| ("reference", pattern.as_str()));
    let configured = session.settings.config()?.images_format.clone();
    let format = args
        .format
        .or((!args.quiet && !configured.is_empty()).then_some(configured));
    let digests = args.digests || format.as_deref().is_some_and(|format| format.contains(".Digest"));
    let layout = if args.digests { &WITH_DIGESTS } else { &LAYOUT };
    let mut list = layout.list(format.as_deref(), args.quiet)?;
    let mut none = true;
    let sort = args.sort.as_deref().map(str::parse::<Sort>).transpose()?;
    let uses = sort.is_some_and(Sort::needs_uses)
        || format
            .as_deref()
            .is_some_and(|format| format.contains(".LastUsed"));
    let mut sorted = Vec::new();
    let mut unknown = false;
    session
        .client()?
        .get("/images/json")
        .query_if("all", args.all)
        .query_if("last-used", uses)
        .query_some("filters", with(&args.filter, pattern.as_slice())?)
        .each(|image: Summary| {
            none = false;
            unknown |= uses && image.last_used.is_none();
            let rows = image.sortable_rows(!args.no_trunc, digests);
            match sort {
                Some(_) => sorted.extend(rows),
                None => rows.into_iter().for_each(|row| list.add(&Value::cells(row))),
            }
        })
        .await?;
    if unknown {
        return Err(CliError::Invalid(
            "this engine does not know when images were last used: a Havre engine does".to_owned(),
        ));
    }
    if let Some(sort) = sort {
        sorted.sort_by(|one, other| sort.compare(one, other));
        sorted.into_iter().for_each(|row| list.add(&Value::cells(row)));
    }
    session.printer.out(&list.finish()?);
    if none && pattern.is_some_and(|(_, name)| matches!(name, "build" | "history" | "inspect" | "pull")) {
        session.printer.warn(&format!(
            "No images found matching \"{0}\": did you mean \"{1} image {0}\"?",
            args.operands[0], session.program
        ));
    }
    Ok(ExitStatus::SUCCESS)
}

impl Summary {
    /// The rows of an image: one per tag, one of its own when it has none.
    pub(crate) fn rows(self, trunc: bool, digests: bool) -> Vec<Value> {
        let rows = self.sortable_rows(trunc, digests);
        rows.into_iter().map(Value::cells).collect()
    }

    fn sortable_rows(self, trunc: bool, digests: bool) -> Vec<Row> {
        let names = self.names(digests);
        let image = Rc::new(self);
        let row = |name| Row {
            image: Rc::clone(&image),
            name,
            trunc,
        };
        names.into_iter().map(row).collect()
    }

    /// Its names with tag.
    pub(super) fn tags(&self) -> Vec<String> {
        let tags = self.repo_tags.iter().flatten();
        tags.filter(|tag| *tag != "<none>:<none>").cloned().collect()
    }

    fn names(&self, digests: bool) -> Vec<Name> {
        let mut tags: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for tag in self
            .repo_tags
            .iter()
            .flatten()
            .filter(|tag| *tag != "<none>:<none>")
        {
            if let Some((repository, tag)) = tag.rsplit_once(':') {
                tags.entry(repository).or_default().push(tag);
            }
        }
        let mut pinned: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for digest in self
            .repo_digests
            .iter()
            .flatten()
            .filter(|digest| *digest != "<none>@<none>")
        {
            if let Some((repository, digest)) = digest.rsplit_once('@') {
                pinned.entry(repository).or_default().push(digest);
            }
        }
        let name = |repository: &str, tag: &str, digest: &str| Name {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            digest: digest.to_owned(),
        };
        let mut names = Vec::new();
        for (repository, tags) in &tags {
            let found = pinned.remove(repository).unwrap_or_default();
            for tag in tags {
                if digests && !found.is_empty() {
                    names.extend(found.iter().map(|digest| name(repository, tag, digest)));
                } else {
                    names.push(name(repository, tag, NONE));
                }
            }
        }
        for (repository, found) in &pinned {
            if digests {
                names.extend(found.iter().map(|digest| name(repository, NONE, digest)));
            } else {
                names.push(name(repository, NONE, NONE));
            }
        }
        if names.is_empty() {
            names.push(name(NONE, NONE, NONE));
        }
        names
    }
}

/// `--sort`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    key: SortKey,
    descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SortKey {
    Size,
    Created,
    Name,
    LastUsed,
}

impl FromStr for Sort {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        let (name, order) = text.split_once(':').unwrap_or((text, ""));
        let key = match name {
            "size" => Some(SortKey::Size),
            "created" => Some(SortKey::Created),
            "name" => Some(SortKey::Name),
            "last-used" => Some(SortKey::LastUsed),
            _ => None,
        };
        let descending = match order {
            "" => Some(key != Some(SortKey::Name)),
            "asc" => Some(false),
            "desc" => Some(true),
            _ => None,
        };
        match (key, descending) {
            (Some(key), Some(descending)) if !text.ends_with(':') => Ok(Self { key, descending }),
            _ => Err(CliError::Invalid(format!(
                "invalid --sort {text}: use size, created, name or last-used, and ':asc' or ':desc' after it"
            ))),
        }
    }
}

impl Sort {
    pub(super) fn needs_uses(self) -> bool {
        self.key == SortKey::LastUsed
    }

    /// By the first name, where it is names.
    pub(super) fn images(self, one: &Summary, other: &Summary) -> Ordering {
        self.order(one, other, || one.tags().cmp(&other.tags()))
    }

    fn compare(self, one: &Row, other: &Row) -> Ordering {
        let name = |row: &Row| (row.name.repository.clone(), row.name.tag.clone());
        self.order(&one.image, &other.image, || name(one).cmp(&name(other)))
    }

    fn order(self, one: &Summary, other: &Summary, names: impl Fn() -> Ordering) -> Ordering {
        let order = match self.key {
            SortKey::Size => one.size.cmp(&other.size),
            SortKey::Created => one.created.cmp(&other.created),
            SortKey::LastUsed => one.last_used.cmp(&other.last_used),
            SortKey::Name => names(),
        };
        if self.descending { order.reverse() } else { order }
    }
}

struct Row {
    image: Rc<Summary>,
    name: Name,
    trunc: bool,
}

impl Cells for Row {
    fn names(&self) -> Vec<&'static str> {
        // What Docker's client does not have is shown where it was asked for.
        let shown = |name: &&str| *name != "LastUsed" || self.image.last_used.is_some();
        HEADERS.iter().map(|(name, _)| *name).filter(shown).collect()
    }

    fn cell(&self, name: &str) -> Option<Value> {
        let image = &self.image;
        let known = |number: i64, text: String| if number < 0 { "N/A".to_owned() } else { text };
        let text = match name {
            "Repository" => self.name.repository.clone(),
            "Tag" => self.name.tag.clone(),
            "Digest" => self.name.digest.clone(),
            "ID" if self.trunc => short_id(&image.id),
            "ID" => image.id.clone(),
            "CreatedSince" => time::ago(image.created),
            "CreatedAt" => time::local(image.created),
            "Size" => size::short(image.size),
            "Containers" => known(image.containers, image.containers.to_string()),
            "SharedSize" => known(image.shared_size, size::long(image.shared_size)),
            "UniqueSize" => known(image.shared_size, size::long(image.size - image.shared_size)),
            "VirtualSize" => size::long(image.size),
            "LastUsed" => {
                (image.last_used).map_or_else(|| "N/A".to_owned(), |used| time::ago(used.as_second()))
            }
            _ => return None,
        };
        Some(text.into())
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.image.labels.as_ref()?.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(json: &str) -> Summary {
        serde_json::from_str(json).unwrap()
    }

    fn render(layout: &Layout, image: &Summary, digests: bool) -> String {
        layout
            .render(
                Some("{{.Repository}}|{{.Tag}}|{{.Digest}}|{{.ID}}|{{.Size}}"),
                false,
                &image.clone().rows(true, digests),
            )
            .unwrap()
    }

    #[test]
    fn a_row_per_tag_and_digest() {
        let image = image(
            r#"{"Id":"sha256:0123456789abcdef","RepoTags":["localhost:5000/a:1","localhost:5000/a:2","b:x"],
                "RepoDigests":["localhost:5000/a@sha256:11","c@sha256:22"],"Created":1,"Size":1234567}"#,
        );
        assert_eq!(
            render(&LAYOUT, &image, false),
            "b|x|<none>|0123456789ab|1.23MB\nc|<none>|<none>|0123456789ab|1.23MB\n"
                .replacen("c|", "localhost:5000/a|1|<none>|0123456789ab|1.23MB\nlocalhost:5000/a|2|<none>|0123456789ab|1.23MB\nc|", 1)
        );
        assert!(render(&LAYOUT, &image, true).contains("localhost:5000/a|2|sha256:11|0123456789ab"));
        assert!(render(&LAYOUT, &image, true).contains("c|<none>|sha256:22|0123456789ab"));
    }

    #[test]
    fn an_image_without_names() {
        let image = image(
            r#"{"Id":"sha256:0123456789abcdef","RepoTags":null,"RepoDigests":[],"Created":0,"Size":0}"#,
        );
        let text = LAYOUT.render(None, false, &image.rows(true, false)).unwrap();
        assert_eq!(
            text,
            "REPOSITORY   TAG       IMAGE ID       CREATED   SIZE\n<none>       <none>    0123456789ab   N/A       0B\n"
        );
    }

    #[test]
    fn rows_are_sorted() {
        let images = [
            r#"{"Id":"sha256:1","RepoTags":["b:1","a:2"],"Created":3,"Size":10,"LastUsed":"2024-01-05T00:00:00Z"}"#,
            r#"{"Id":"sha256:2","RepoTags":["a:1"],"Created":1,"Size":30,"LastUsed":"2024-01-09T00:00:00Z"}"#,
            r#"{"Id":"sha256:3","RepoTags":[],"Created":2,"Size":20,"LastUsed":"2024-01-07T00:00:00Z"}"#,
        ];
        let sorted = |text: &str| -> String {
            let sort: Sort = text.parse().unwrap();
            let rows = images
                .iter()
                .flat_map(|json| image(json).sortable_rows(true, false));
            let mut rows: Vec<Row> = rows.collect();
            rows.sort_by(|one, other| sort.compare(one, other));
            let names = rows
                .iter()
                .map(|row| format!("{}{}", row.name.repository, row.name.tag));
            names.collect::<Vec<_>>().join(" ")
        };
        for (sort, expected) in [
            ("size", "a1 <none><none> a2 b1"),
            ("size:asc", "a2 b1 <none><none> a1"),
            ("created", "a2 b1 <none><none> a1"),
            ("created:desc", "a2 b1 <none><none> a1"),
            ("last-used", "a1 <none><none> a2 b1"),
            ("name", "<none><none> a1 a2 b1"),
            ("name:desc", "b1 a2 a1 <none><none>"),
        ] {
            assert_eq!(sorted(sort), expected, "{sort}");
        }
        for bad in ["", "Size", "size:", "size:up", "tag"] {
            assert!(bad.parse::<Sort>().is_err(), "{bad}");
        }
    }
}
