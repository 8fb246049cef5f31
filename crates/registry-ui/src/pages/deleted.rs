//! Tags that were deleted, and may come back.

use askama::Template;
use axum::response::Response;
use havre_registry_store::{Identifier, RepositoryName};

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::pages::delete;
use crate::respond;
use crate::show::{self, Moment};
use crate::visit::Visit;

/// Tags that are listed.
const ROWS: usize = 500;

#[derive(Template)]
#[template(path = "deleted.html")]
struct Page<'a> {
    frame: Frame<'a>,
    back: String,
    here: String,
    /// What was just done.
    went: Option<String>,
    rows: Vec<Row>,
    window: String,
    deletes: bool,
}

struct Row {
    tag: String,
    value: String,
    short: String,
    digest: String,
    link: String,
    deleted: Moment,
    /// Whether it was pushed again.
    taken: bool,
    /// Whether it just went: it is marked, so that one more click brings it back.
    is_marked: bool,
}

pub(crate) async fn page(visit: &Visit, name: RepositoryName) -> Result<Response, PageError> {
    let (asked, window) = (name.clone(), visit.pages.window());
    let gone = visit
        .ask(move |store| {
            store.summary(&asked)?;
            store.deleted_tags(&asked, window, ROWS)
        })
        .await?;
    let went = visit
        .query
        .text("went")
        .parse::<u64>()
        .ok()
        .filter(|went| *went > 0);
    let rows = gone.iter().enumerate().map(|(at, gone)| Row {
        tag: gone.tag.to_string(),
        value: format!("{}@{}", gone.tag, gone.digest),
        short: show::short(&gone.digest).to_owned(),
        digest: gone.digest.to_string(),
        link: link::image(&name, &Identifier::Digest(gone.digest.clone()), None),
        deleted: Moment::of_millis(gone.deleted),
        taken: gone.taken.is_some(),
        is_marked: went.is_some_and(|went| (at as u64) < went) && gone.taken.is_none(),
    });
    let said = went.map(|went| match went {
        1 => "1 tag was deleted.".to_owned(),
        went => format!("{} were deleted.", show::counted(went, "tag", "tags")),
    });
    respond::html(&Page {
        rows: rows.collect(),
        frame: Frame::new(visit, format!("Deleted tags of {name}"))
            .below("Repositories", "/")
            .below(name.as_str(), link::repository(&name)),
        back: link::repository(&name),
        here: link::about(&name, "deleted"),
        went: said,
        window: show::span(window.as_secs()),
        deletes: visit.pages.settings().deletes,
    })
}

/// Brings back what was chosen, all of it or nothing.
pub(crate) async fn restored(visit: &Visit, name: RepositoryName) -> Result<Response, PageError> {
    delete::allowed(visit)?;
    let chosen = delete::chosen(visit)?;
    let (asked, window) = (name.clone(), visit.pages.window());
    match visit.has_accounts() {
        true => {
            let work = visit.people(move |hub, actor| hub.restore_tags(actor, &asked, &chosen, window));
            work.await?;
        }
        false => {
            visit
                .ask(move |store| store.restore_tags(&asked, &chosen, window))
                .await?
        }
    }
    Ok(respond::to(&link::repository(&name)))
}
