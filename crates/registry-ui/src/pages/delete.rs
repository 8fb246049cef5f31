//! Deleting tags: what would go, and the form that does it.

use askama::Template;
use axum::response::Response;
use havre_oci::Digest;
use havre_registry_store::{Identifier, RepositoryName, StoreError, Tag};

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::respond;
use crate::show;
use crate::visit::Visit;

/// Tags that go at once.
const MOST: usize = 500;

#[derive(Template)]
#[template(path = "delete.html")]
struct Page<'a> {
    frame: Frame<'a>,
    repository: String,
    back: String,
    here: String,
    rows: Vec<Row>,
    count: String,
    /// How long they may come back.
    window: String,
}

struct Row {
    tag: String,
    link: String,
    /// `tag@digest`, what the form sends.
    value: String,
    short: String,
    digest: String,
    sizes: String,
    platforms: String,
    /// Other tags that stand for the same.
    others: Vec<String>,
}

/// An error unless tags may be deleted here.
pub(super) fn allowed(visit: &Visit) -> Result<(), PageError> {
    match visit.pages.settings().deletes {
        true => Ok(()),
        false => Err(PageError::Forbidden(
            "Deleting is switched off. Whoever runs the registry can switch it on: storage.delete.enabled in its \
             configuration, or REGISTRY_STORAGE_DELETE_ENABLED=true."
                .to_owned(),
        )),
    }
}

pub(crate) async fn page(visit: &Visit, name: RepositoryName) -> Result<Response, PageError> {
    allowed(visit)?;
    let mut tags = Vec::new();
    for text in visit.query.all("tag") {
        let tag = text.parse::<Tag>()?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if tags.is_empty() {
        return Err(PageError::Bad("no tag was chosen".to_owned()));
    }
    if tags.len() > MOST {
        return Err(PageError::Bad(format!(
            "at most {MOST} tags can be deleted at once"
        )));
    }
    let asked = name.clone();
    let rows = visit
        .blocking(move |pages| {
            let store = pages.store();
            let mut rows = Vec::new();
            for tag in &tags {
                let unknown = || StoreError::ManifestUnknown(tag.to_string());
                let digest = store.tag(&asked, tag)?.ok_or_else(unknown)?;
                let facts = pages
                    .0
                    .documents
                    .facts(store, &asked, &digest)
                    .unwrap_or_default();
                let others = store.tags_of(&asked, &digest, MOST)?;
                let others = others.iter().filter(|other| !tags.contains(other));
                let platforms: Vec<String> = facts.platforms.iter().map(|(name, _)| name.clone()).collect();
                rows.push(Row {
                    link: link::image(&asked, &Identifier::Tag(tag.clone()), None),
                    value: format!("{tag}@{digest}"),
                    short: show::short(&digest).to_owned(),
                    digest: digest.to_string(),
                    sizes: facts.sizes(),
                    platforms: platforms.join(", "),
                    others: others.take(5).map(ToString::to_string).collect(),
                    tag: tag.to_string(),
                });
            }
            Ok(rows)
        })
        .await?;
    let count = show::counted(rows.len() as u64, "tag", "tags");
    let title = match rows.as_slice() {
        [one] => format!("Delete {name}:{}?", one.tag),
        _ => format!("Delete {count} of {name}?"),
    };
    respond::html(&Page {
        frame: Frame::new(visit, title)
            .below("Repositories", "/")
            .below(name.as_str(), link::repository(&name)),
        repository: name.to_string(),
        back: link::repository(&name),
        here: link::about(&name, "delete"),
        rows,
        count,
        window: show::span(visit.pages.window().as_secs()),
    })
}

/// The tags of a form, each with what it stood for when the page was made.
pub(super) fn chosen(visit: &Visit) -> Result<Vec<(Tag, Digest)>, PageError> {
    let chosen = visit.form.all("tag").map(|text| {
        let (tag, digest) = text.split_once('@')?;
        Some((tag.parse::<Tag>().ok()?, digest.parse::<Digest>().ok()?))
    });
    let chosen = chosen.collect::<Option<Vec<_>>>();
    match chosen {
        Some(chosen) if chosen.len() > MOST => Err(PageError::Bad(format!(
            "at most {MOST} tags can be chosen at once"
        ))),
        Some(chosen) if !chosen.is_empty() => Ok(chosen),
        Some(_) => Err(PageError::Bad("no tag was chosen".to_owned())),
        None => Err(PageError::Bad(
            "the form names something that is no tag".to_owned(),
        )),
    }
}

/// Deletes what the page has shown, all of it or nothing.
pub(crate) async fn done(visit: &Visit, name: RepositoryName) -> Result<Response, PageError> {
    allowed(visit)?;
    let chosen = chosen(visit)?;
    let (count, asked) = (chosen.len(), name.clone());
    match visit.has_accounts() {
        true => {
            let work = visit.people(move |hub, actor| hub.delete_tags(actor, &asked, &chosen));
            work.await?;
        }
        false => visit.ask(move |store| store.delete_tags(&asked, &chosen)).await?,
    }
    Ok(respond::to(&format!(
        "{}?went={count}",
        link::about(&name, "deleted")
    )))
}
