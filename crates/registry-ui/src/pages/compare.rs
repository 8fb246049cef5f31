//! Two images of a repository side by side: configuration, layers, files.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use havre_explore::{Difference, Side, Trust, differences, permissions};
use havre_oci::{Descriptor, ImageConfig, Manifest, Platform};
use havre_registry_store::{Identifier, RepositoryName};

use crate::error::PageError;
use crate::frame::Frame;
use crate::image::{self, Chosen};
use crate::layers::Files;
use crate::link;
use crate::pages::{files, image as image_page};
use crate::respond;
use crate::show::{self, Count, Size};
use crate::visit::Visit;

/// Files that are listed.
const ROWS: usize = 1000;
/// Tags that are offered.
const OFFERED: usize = 50;

#[derive(Template)]
#[template(path = "compare.html")]
struct Page<'a> {
    frame: Frame<'a>,
    here: String,
    from: String,
    to: String,
    platform: String,
    offered: Vec<String>,
    /// Without, only the form is shown.
    found: Option<Found>,
}

struct Found {
    same: bool,
    old: About,
    new: About,
    settings: Vec<Setting>,
    layers_same: String,
    layers_old: Vec<Layer>,
    layers_new: Vec<Layer>,
    files: Result<Changes, String>,
}

struct About {
    name: String,
    link: String,
    platform: String,
    size: Size,
    short: String,
}

/// Lines of the configuration that only one of the two has.
struct Setting {
    name: String,
    old: Vec<String>,
    new: Vec<String>,
}

struct Layer {
    number: usize,
    size: Size,
    command: String,
}

struct Changes {
    added: Count,
    removed: Count,
    changed: Count,
    rows: Vec<Row>,
    others: Option<Count>,
}

struct Row {
    sign: &'static str,
    word: &'static str,
    path: String,
    link: String,
    what: String,
    old: Option<Size>,
    new: Option<Size>,
}

pub(crate) async fn page(visit: &Visit, name: RepositoryName) -> Result<Response, PageError> {
    let (from, to) = (
        visit.query.text("from").to_owned(),
        visit.query.text("to").to_owned(),
    );
    let platform = visit.query.text("platform").to_owned();
    let wanted = match platform.as_str() {
        "" => None,
        text => Some(
            Platform::parse(text)
                .map_err(|_| PageError::Bad(format!("{text:?} is no platform: os/architecture")))?,
        ),
    };
    let asked = name.clone();
    let (one, two) = (from.clone(), to.clone());
    let (offered, found) = visit
        .blocking(move |pages| {
            let store = pages.store();
            store.summary(&asked)?;
            let offered = store.newest_tags(&asked, "", None, OFFERED)?;
            let offered = offered.iter().map(|one| one.tag.to_string()).collect::<Vec<_>>();
            if one.is_empty() || two.is_empty() {
                return Ok((offered, None));
            }
            let read = |text: &str| -> Result<(Identifier, Chosen), PageError> {
                let reference: Identifier = text.parse().map_err(|_| {
                    PageError::Bad(format!("{:?} is neither a tag nor a digest", show::line(text)))
                })?;
                let chosen = Chosen::read(store, &asked, &reference, None, wanted.as_ref())?;
                Ok((reference, chosen))
            };
            let (old, new) = (read(&one)?, read(&two)?);
            let parts = |(reference, chosen): &(Identifier, Chosen)| match chosen.image() {
                Some((manifest, config)) => Ok((manifest.clone(), config.clone())),
                None => Err(PageError::Bad(format!(
                    "{reference} is no image: only images can be compared"
                ))),
            };
            let (was, is) = (parts(&old)?, parts(&new)?);
            let opened = |manifest: &Manifest| pages.0.layers.files(store, &asked, &manifest.layers);
            let both = opened(&was.0).and_then(|one| Ok((one, opened(&is.0)?)));
            let about = |(reference, chosen): &(Identifier, Chosen),
                         (manifest, config): &(Manifest, ImageConfig)| About {
                name: reference.to_string(),
                link: link::image(&asked, reference, chosen.named()),
                platform: show::line(&config.platform().to_string()),
                size: Size(image::size(manifest)),
                short: show::short(&chosen.shown().stored.digest).to_owned(),
            };
            let (layers_same, layers_old, layers_new) = layers(&was, &is);
            Ok((
                offered,
                Some(Found {
                    same: old.1.shown().stored.digest == new.1.shown().stored.digest,
                    settings: settings(&was.1, &is.1),
                    layers_same,
                    layers_old,
                    layers_new,
                    files: match both {
                        Ok((before, after)) => Ok(changes(&asked, &before, &after, &old, &new)),
                        // What can be compared is.
                        Err(error) => Err(error.to_string()),
                    },
                    old: about(&old, &was),
                    new: about(&new, &is),
                }),
            ))
        })
        .await?;
    let title = match &found {
        Some(found) => format!("{} and {} of {name}", found.old.name, found.new.name),
        None => format!("Compare images of {name}"),
    };
    respond::html(&Page {
        frame: Frame::new(visit, title)
            .below("Repositories", "/")
            .below(name.as_str(), link::repository(&name)),
        here: link::about(&name, "compare"),
        from: show::line(&from),
        to: show::line(&to),
        platform: show::line(&platform),
        offered,
        found,
    })
}

/// What is said of the layers that are the same, and those that are not.
fn layers(old: &(Manifest, ImageConfig), new: &(Manifest, ImageConfig)) -> (String, Vec<Layer>, Vec<Layer>) {
    let (was, is) = (&old.0.layers, &new.0.layers);
    let same = was
        .iter()
        .zip(is)
        .take_while(|(one, two)| one.digest == two.digest)
        .count();
    let list = |layers: &[Descriptor], config: &ImageConfig| {
        let commands = image_page::commands(config);
        let layers = layers.iter().enumerate().skip(same);
        layers
            .map(|(at, layer)| Layer {
                number: at + 1,
                size: Size(layer.size),
                command: commands.get(at).cloned().unwrap_or_default(),
            })
            .collect()
    };
    let said = match same {
        0 => "They have no layer in common.".to_owned(),
        1 => "The first layer is the same.".to_owned(),
        same => format!("The first {same} layers are the same."),
    };
    (said, list(was, &old.1), list(is, &new.1))
}

/// The lines of two configurations that are not in both.
fn settings(old: &ImageConfig, new: &ImageConfig) -> Vec<Setting> {
    let lines = |config: &ImageConfig| -> BTreeMap<String, Vec<String>> {
        let settings = image_page::settings(&config.config);
        let mut settings: BTreeMap<String, Vec<String>> = settings
            .into_iter()
            .map(|(name, lines)| (name.to_owned(), lines))
            .collect();
        let labels = image_page::pairs(&config.config.labels);
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !labels.is_empty() {
            settings.insert("Labels".to_owned(), labels);
        }
        settings.insert(
            "Platform".to_owned(),
            vec![show::line(&config.platform().to_string())],
        );
        settings
    };
    let (was, is) = (lines(old), lines(new));
    let mut names: Vec<&String> = was.keys().chain(is.keys()).collect();
    names.sort();
    names.dedup();
    let none = Vec::new();
    let settings = names.into_iter().map(|name| {
        let (was, is) = (was.get(name).unwrap_or(&none), is.get(name).unwrap_or(&none));
        let only = |one: &[String], other: &[String]| {
            let lines = one.iter().filter(|line| !other.contains(line));
            lines.cloned().collect::<Vec<_>>()
        };
        Setting {
            name: name.clone(),
            old: only(was, is),
            new: only(is, was),
        }
    });
    settings
        .filter(|setting| !setting.old.is_empty() || !setting.new.is_empty())
        .collect()
}

fn changes(
    name: &RepositoryName,
    before: &Arc<Files>,
    after: &Arc<Files>,
    old: &(Identifier, Chosen),
    new: &(Identifier, Chosen),
) -> Changes {
    let same_layer =
        |one: usize, two: usize| before.layer(one).is_some() && before.layer(one) == after.layer(two);
    let found = differences(&before.tree, &after.tree, &same_layer, Trust::Times);
    let count =
        |wanted: fn(&Difference<'_>) -> bool| Count(found.iter().filter(|one| wanted(one)).count() as u64);
    let rows = found.iter().take(ROWS).map(|one| row(name, one, old, new));
    Changes {
        added: count(|one| one.old.is_none()),
        removed: count(|one| one.new.is_none()),
        changed: count(|one| one.old.is_some() && one.new.is_some()),
        rows: rows.collect(),
        others: (found.len() > ROWS).then(|| Count((found.len() - ROWS) as u64)),
    }
}

fn row(
    name: &RepositoryName,
    difference: &Difference<'_>,
    old: &(Identifier, Chosen),
    new: &(Identifier, Chosen),
) -> Row {
    let size = |side: Option<Side<'_>>| {
        let version = side?.version;
        (version.kind == havre_explore::Kind::File).then_some(Size(version.size))
    };
    let (sign, word) = match (difference.old, difference.new) {
        (None, _) => ("+", "added"),
        (_, None) => ("−", "removed"),
        _ => ("~", "changed"),
    };
    let there = if difference.new.is_some() { new } else { old };
    Row {
        sign,
        word,
        path: format!("/{}", show::name(&difference.path)),
        link: link::files(name, &there.0, &difference.path, there.1.named(), None),
        what: what(difference),
        old: size(difference.old),
        new: size(difference.new),
    }
}

/// What is otherwise about a path.
fn what(difference: &Difference<'_>) -> String {
    let (Some(old), Some(new)) = (difference.old, difference.new) else {
        let side = difference.old.or(difference.new);
        let kind = side.map_or("", |side| files::kind(&side.version.kind));
        return if kind == "file" {
            String::new()
        } else {
            kind.to_owned()
        };
    };
    let (old, new) = (old.version, new.version);
    if difference.by_contents {
        return "written again, same size".to_owned();
    }
    let mut what = Vec::new();
    if files::kind(&old.kind) != files::kind(&new.kind) {
        what.push(format!("{} → {}", files::kind(&old.kind), files::kind(&new.kind)));
    } else if old.kind != new.kind && !old.kind.is_dir() {
        what.push("leads elsewhere".to_owned());
    }
    if old.kind == new.kind && old.size != new.size {
        what.push("contents".to_owned());
    }
    if old.mode != new.mode {
        what.push(format!(
            "{} → {}",
            permissions(&old.kind, old.mode),
            permissions(&new.kind, new.mode)
        ));
    }
    if (old.uid, old.gid) != (new.uid, new.gid) {
        what.push(format!("{}:{} → {}:{}", old.uid, old.gid, new.uid, new.gid));
    }
    what.join(", ")
}
