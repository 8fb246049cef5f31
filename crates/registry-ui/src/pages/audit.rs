//! What was done: in the registry for administrators, in a namespace for those it belongs to.

use askama::Template;
use axum::response::Response;
use havre_hub::AuditQuery;

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::pages::account::name as account_name;
use crate::respond;
use crate::show::{self, Moment};
use crate::visit::Visit;

/// Entries of a page.
const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page<'a> {
    frame: Frame<'a>,
    namespace: String,
    actor: String,
    action: String,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    at: Moment,
    actor: String,
    address: String,
    action: String,
    target: String,
    detail: String,
}

pub(crate) async fn page(visit: &Visit) -> Result<Response, PageError> {
    visit.must_be_somebody()?;
    let text = |field: &str| Some(visit.query.text(field).to_owned()).filter(|text| !text.is_empty());
    let (namespace, actor, action) = (text("namespace"), text("actor"), text("action"));
    let query = AuditQuery {
        namespace: namespace.as_deref().map(account_name).transpose()?,
        actor: actor.clone(),
        action: action.clone(),
        before: text("before"),
        limit: ROWS,
    };
    let entries = visit.people(move |hub, who| hub.audit(who, &query)).await?;
    let (namespace, actor, action) = (
        namespace.unwrap_or_default(),
        actor.unwrap_or_default(),
        action.unwrap_or_default(),
    );
    let next = entries.last().filter(|_| entries.len() == ROWS).map(|last| {
        let [namespace, actor, action, before] =
            [&namespace, &actor, &action, &last.id].map(|text| link::value(text));
        format!("/audit?namespace={namespace}&actor={actor}&action={action}&before={before}")
    });
    let rows = entries.iter().map(|entry| Row {
        at: Moment::of_millis(entry.at),
        actor: match entry.actor.is_empty() {
            true => "somebody unknown".to_owned(),
            false => show::line(&entry.actor),
        },
        address: show::line(entry.address.as_deref().unwrap_or_default()),
        action: show::line(&entry.action),
        target: show::line(&entry.target),
        detail: show::line(&entry.detail),
    });
    respond::html(&Page {
        rows: rows.collect(),
        frame: Frame::new(visit, "Audit log"),
        namespace: show::line(&namespace),
        actor: show::line(&actor),
        action: show::line(&action),
        next,
    })
}
