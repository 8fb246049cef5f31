//! `images`.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;

use crate::args::image::ls::Ls;
use crate::commands::Done;
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
    created: i64,
    pub(crate) size: i64,
    pub(crate) shared_size: i64,
    pub(crate) containers: i64,
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

const HEADERS: [(&str, &str); 11] = [
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
    session
        .client()?
        .get("/images/json")
        .query_if("all", args.all)
        .query_some("filters", with(&args.filter, pattern.as_slice())?)
        .each(|image: Summary| {
            none = false;
            for row in image.rows(!args.no_trunc, digests) {
                list.add(&row);
            }
        })
        .await?;
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
        let names = self.names(digests);
        let image = Rc::new(self);
        let row = |name| {
            Value::cells(Row {
                image: Rc::clone(&image),
                name,
                trunc,
            })
        };
        names.into_iter().map(row).collect()
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

struct Row {
    image: Rc<Summary>,
    name: Name,
    trunc: bool,
}

impl Cells for Row {
    fn names(&self) -> Vec<&'static str> {
        HEADERS.iter().map(|(name, _)| *name).collect()
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
}
