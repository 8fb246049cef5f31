//! Explore and search: the repositories of the registry.

use askama::Template;
use axum::response::Response;
use havre_hub::{Order, Repository, RepositoryQuery, SearchQuery};
use havre_registry_store::Summary;

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::respond;
use crate::show::{self, Count, Moment, Size};
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
    /// Whether rows say what people think of a repository.
    has_people: bool,
}

struct Row {
    name: String,
    link: String,
    tags: String,
    size: Size,
    pushed: Option<Moment>,
    description: String,
    private: bool,
    official: bool,
    stars: Count,
    pulls: Count,
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
            description: String::new(),
            private: false,
            official: false,
            stars: Count(0),
            pulls: Count(0),
        }
    }

    fn described(repository: &Repository) -> Self {
        Self {
            name: repository.name.to_string(),
            link: link::repository(&repository.name),
            tags: String::new(),
            size: Size(0),
            pushed: Some(Moment::of_millis(repository.updated)),
            description: show::line(&repository.description),
            private: !repository.public,
            official: repository.official,
            stars: Count(repository.stars),
            pulls: Count(repository.pulls),
        }
    }
}

/// What somebody may see, where there are accounts.
async fn for_somebody(visit: &Visit) -> Result<Response, PageError> {
    let words = visit.query.text("q").chars().take(200).collect::<String>();
    let skip = visit.query.text("after").parse::<usize>().unwrap_or(0);
    let asked = words.clone();
    let (found, last) = visit
        .people(move |hub, actor| {
            let (limit, words) = (ROWS, asked.trim());
            if !words.is_empty() {
                let query = SearchQuery {
                    text: words.to_owned(),
                    official: None,
                    stars: 0,
                    skip,
                    limit,
                };
                return Ok((hub.search(actor, &query)?, Vec::new()));
            }
            let listed = |order, skip, limit| {
                let query = RepositoryQuery {
                    order,
                    skip,
                    limit,
                    ..Default::default()
                };
                hub.repositories(actor, &query)
            };
            let last = match skip {
                0 => listed(Order::Updated, 0, 6)?.repositories,
                _ => Vec::new(),
            };
            Ok((listed(Order::Name, skip, limit)?, last))
        })
        .await?;
    let seen = skip.saturating_add(found.repositories.len());
    let next = (seen < found.total).then(|| format!("/?q={}&after={seen}", link::value(&words)));
    let last = last.iter().map(|one| Last {
        name: one.name.to_string(),
        link: link::repository(&one.name),
        pushed: Moment::of_millis(one.updated),
    });
    let title = match words.is_empty() {
        true => "Repositories".to_owned(),
        false => format!("Search for {words}"),
    };
    let host = &visit.host;
    let whose = visit.actor.as_ref().and_then(|actor| actor.name());
    let whose = whose.map_or("NAME", |name| name.as_str());
    let image = format!("{host}/{whose}/IMAGE");
    respond::html(&Page {
        hint: format!("docker login {host} && docker tag IMAGE {image} && docker push {image}"),
        frame: Frame::new(visit, title),
        first: format!("/?q={}", link::value(&words)),
        words: show::line(&words),
        rows: found.repositories.iter().map(Row::described).collect(),
        last: last.collect(),
        next,
        is_first: skip == 0,
        has_people: true,
    })
}

pub(crate) async fn page(visit: &Visit) -> Result<Response, PageError> {
    if visit.has_accounts() {
        return for_somebody(visit).await;
    }
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
        has_people: false,
    })
}
