//! A repository: its tags.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use havre_hub::{Action, Repository};
use havre_registry_store::{Identifier, RepositoryName, Tagged};

use crate::error::PageError;
use crate::frame::Frame;
use crate::image::Facts;
use crate::link;
use crate::readme;
use crate::respond;
use crate::show::{self, Count, Moment, Size};
use crate::visit::Visit;

/// Tags of a page.
const ROWS: usize = 50;
/// Platforms that a row names.
const PLATFORMS: usize = 8;

#[derive(Template)]
#[template(path = "repository.html")]
struct Page<'a> {
    frame: Frame<'a>,
    name: String,
    about: String,
    size: Size,
    tags: String,
    pushed: Option<Moment>,
    pull: Option<String>,
    /// How something gets there, if it is not from elsewhere.
    push: Option<String>,
    /// Where it is from, if it is.
    upstream: Option<String>,
    /// What the tags that are shown have in them.
    text: String,
    rows: Vec<Row>,
    next: Option<String>,
    is_first: bool,
    deletes: bool,
    /// Tags that may come back.
    gone: usize,
    /// What people say of it, where there are some.
    said: Option<Said>,
}

struct Said {
    description: String,
    /// HTML that needs no escaping.
    readme: String,
    private: bool,
    official: bool,
    stars: Count,
    pulls: Count,
    starred: bool,
    may_star: bool,
    may_manage: bool,
}

impl Said {
    fn of(visit: &Visit, repository: &Repository) -> Self {
        Self {
            description: show::line(&repository.description),
            readme: readme::render(&repository.readme),
            private: !repository.public,
            official: repository.official,
            stars: Count(repository.stars),
            pulls: Count(repository.pulls),
            starred: repository.starred,
            may_star: visit.must_be_somebody().is_ok(),
            may_manage: repository.role >= Action::Manage.needs(),
        }
    }
}

struct Row {
    tag: String,
    link: String,
    digest: String,
    short: String,
    platforms: Vec<(String, String)>,
    others: usize,
    artifact: Option<String>,
    sizes: String,
    pushed: Moment,
}

impl Row {
    fn of(name: &RepositoryName, tagged: &Tagged, facts: &Facts) -> Self {
        let reference = Identifier::Tag(tagged.tag.clone());
        let platforms = facts.platforms.iter().take(PLATFORMS);
        Self {
            tag: tagged.tag.to_string(),
            link: link::image(name, &reference, None),
            digest: tagged.digest.to_string(),
            short: show::short(&tagged.digest).to_owned(),
            platforms: platforms
                .map(|(platform, digest)| (platform.clone(), link::image(name, &reference, digest.as_ref())))
                .collect(),
            others: facts.platforms.len().saturating_sub(PLATFORMS),
            artifact: facts.artifact.clone(),
            sizes: facts.sizes(),
            pushed: Moment::of_millis(tagged.pushed),
        }
    }
}

/// Where a list goes on: `<milliseconds>,<tag>`.
fn place(text: &str) -> Option<(i64, &str)> {
    let (pushed, tag) = text.split_once(',')?;
    Some((pushed.parse().ok()?, tag))
}

pub(crate) async fn page(visit: &Visit, name: RepositoryName) -> Result<Response, PageError> {
    let said = match visit.has_accounts() {
        true => {
            let asked = name.clone();
            let found = visit
                .people(move |hub, actor| hub.repository(actor, &asked))
                .await?;
            Some(Said::of(visit, &found))
        }
        false => None,
    };
    let text = visit.query.text("q").to_owned();
    let after = visit.query.text("after").to_owned();
    let (asked, wanted, from) = (name.clone(), text.clone(), after.clone());
    let (summary, tagged, more, gone) = visit
        .blocking(move |pages| {
            let store = pages.store();
            let summary = store.summary(&asked)?;
            let mut tagged = store.newest_tags(&asked, &wanted, place(&from), ROWS + 1)?;
            let more = tagged.len() > ROWS;
            tagged.truncate(ROWS);
            let gone = store.deleted_tags(&asked, pages.window(), 1000)?.len();
            let tagged: Vec<(Tagged, Arc<Facts>)> = tagged
                .into_iter()
                .map(|tagged| {
                    // One that cannot be read is listed all the same.
                    let facts = pages.0.documents.facts(store, &asked, &tagged.digest);
                    (tagged, facts.unwrap_or_default())
                })
                .collect();
            Ok((summary, tagged, more, gone))
        })
        .await?;
    let may_delete = said.as_ref().is_none_or(|said| said.may_manage);
    let next = tagged.last().filter(|_| more).map(|(last, _)| {
        let after = format!("{},{}", last.pushed, last.tag);
        format!(
            "{}?q={}&after={}",
            link::repository(&name),
            link::value(&text),
            link::value(&after)
        )
    });
    // What most people want: the tag that clients ask for by themselves, else the newest.
    let preferred = tagged.iter().find(|(one, _)| one.tag.as_str() == "latest");
    let preferred = preferred.or(tagged.first());
    let upstream = visit.pages.0.caches.of(&name);
    let upstream = upstream.map(|cache| show::line(cache.upstream()));
    let frame = Frame::new(visit, name.as_str()).below("Repositories", "/");
    respond::html(&Page {
        push: upstream
            .is_none()
            .then(|| format!("docker push {}/{name}:TAG", frame.host())),
        pull: preferred.map(|(one, _)| format!("docker pull {}/{name}:{}", frame.host(), one.tag)),
        frame,
        about: link::repository(&name),
        size: Size(summary.bytes),
        tags: show::counted(summary.tags, "tag", "tags"),
        pushed: summary.pushed.map(Moment::of_millis),
        text: show::line(&text),
        upstream,
        rows: tagged
            .iter()
            .map(|(tagged, facts)| Row::of(&name, tagged, facts))
            .collect(),
        name: name.to_string(),
        next,
        is_first: after.is_empty(),
        deletes: visit.pages.settings().deletes && may_delete,
        gone,
        said,
    })
}
