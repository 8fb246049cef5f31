//! Explore and search: the repositories of the registry.

use askama::Template;
use axum::response::Response;
use havre_registry_store::Summary;

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::respond;
use crate::show::{self, Moment, Size};
use crate::visit::Visit;

/// Repositories of a page.
const ROWS: usize = 30;
/// Words of a search that count.
const MAX_WORDS: usize = 8;

#[derive(Template)]
#[template(path = "explore.html")]
struct Page<'a> {
    frame: Frame<'a>,
    /// What is looked for.
    words: String,
    rows: Vec<Row>,
    /// Repositories that were pushed to last.
    last: Vec<Last>,
    first: String,
    next: Option<String>,
    is_first: bool,
    /// How something comes here.
    hint: String,
}

struct Row {
    name: String,
    link: String,
    tags: String,
    size: Size,
    pushed: Option<Moment>,
}

struct Last {
    name: String,
    link: String,
    pushed: Moment,
}

impl Row {
    fn of(summary: &Summary) -> Self {
        Self {
            name: summary.name.to_string(),
            link: link::repository(&summary.name),
            tags: show::counted(summary.tags, "tag", "tags"),
            size: Size(summary.bytes),
            pushed: summary.pushed.map(Moment::of_millis),
        }
    }
}

pub(crate) async fn page(visit: &Visit) -> Result<Response, PageError> {
    let words = visit.query.text("q").chars().take(200).collect::<String>();
    let after = visit.query.text("after").to_owned();
    let is_first = after.is_empty();
    let asked = words.clone();
    let (mut rows, last) = visit
        .ask(move |store| {
            let words: Vec<&str> = asked.split_whitespace().take(MAX_WORDS).collect();
            let rows = store.summaries(&words, &after, ROWS + 1)?;
            let last = match words.is_empty() && after.is_empty() {
                true => store.last_pushed(6)?,
                false => Vec::new(),
            };
            Ok((rows, last))
        })
        .await?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let next = rows.last().filter(|_| more).map(|row| {
        let (words, after) = (link::value(&words), link::value(row.name.as_str()));
        format!("/?q={words}&after={after}")
    });
    let last = last.iter().map(|(name, pushed)| Last {
        name: name.to_string(),
        link: link::repository(name),
        pushed: Moment::of_millis(*pushed),
    });
    let title = match words.is_empty() {
        true => "Repositories".to_owned(),
        false => format!("Search for {words}"),
    };
    let host = &visit.host;
    respond::html(&Page {
        hint: format!("docker tag IMAGE {host}/IMAGE && docker push {host}/IMAGE"),
        frame: Frame::new(visit, title),
        first: format!("/?q={}", link::value(&words)),
        words,
        rows: rows.iter().map(Row::of).collect(),
        last: last.collect(),
        next,
        is_first,
    })
}
