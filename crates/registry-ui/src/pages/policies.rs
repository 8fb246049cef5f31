//! Rules for tags, of a repository, a namespace or the whole registry; and what they would delete.

use askama::Template;
use axum::response::Response;
use havre_hub::{Plan, Policy, PolicyScope, Retention};

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::pages::account::words;
use crate::query::Query;
use crate::respond;
use crate::show;
use crate::visit::Visit;

/// Lines of a plan that are shown.
const MOST: usize = 500;

#[derive(Template)]
#[template(path = "policies.html")]
struct Page<'a> {
    frame: Frame<'a>,
    scope: String,
    immutable: String,
    naming: String,
    has_retention: bool,
    tags: String,
    keep_newest: String,
    keep_days: String,
    keep_matching: String,
    keep_pulled_days: String,
    every_hours: String,
    /// What would be done, or was.
    plans: Option<Vec<Planned>>,
    was_done: bool,
    exists: bool,
}

struct Planned {
    repository: String,
    link: String,
    tags: Vec<(String, String)>,
    manifests: Vec<(String, String)>,
    kept: Vec<(String, String)>,
}

impl Planned {
    fn of(plan: &Plan) -> Self {
        Self {
            repository: plan.repository.to_string(),
            link: link::repository(&plan.repository),
            tags: plan
                .tags
                .iter()
                .take(MOST)
                .map(|one| (one.tag.to_string(), show::line(&one.why)))
                .collect(),
            manifests: plan
                .manifests
                .iter()
                .take(MOST)
                .map(|(digest, why)| (show::short(digest).to_owned(), show::line(why)))
                .collect(),
            kept: plan
                .kept
                .iter()
                .take(MOST)
                .map(|one| (one.tag.to_string(), show::line(&one.why)))
                .collect(),
        }
    }
}

fn scope(text: &str) -> Result<PolicyScope, PageError> {
    text.parse::<PolicyScope>().map_err(|_| PageError::NotFound)
}

fn view<'a>(
    visit: &'a Visit,
    scope: &PolicyScope,
    policy: Option<&Policy>,
    plans: Option<&[Plan]>,
    was_done: bool,
) -> Page<'a> {
    let (title, frame) = match scope {
        PolicyScope::Everything => ("the registry".to_owned(), None),
        PolicyScope::Namespace(name) => (name.to_string(), Some((name.to_string(), format!("/o/{name}")))),
        PolicyScope::Repository(name) => (name.to_string(), Some((name.to_string(), link::repository(name)))),
    };
    let mut around = Frame::new(visit, format!("Policies of {title}"));
    if let Some((name, link)) = frame {
        around = around.below(name, link);
    }
    let retention = policy.and_then(|policy| policy.retention.clone());
    let has_retention = retention.is_some();
    let retention = retention.unwrap_or_default();
    let lines = |list: &[String]| list.join("\n");
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    Page {
        frame: around,
        scope: scope.to_string(),
        immutable: policy.map_or_else(String::new, |policy| lines(&policy.immutable)),
        naming: policy.map_or_else(String::new, |policy| lines(&policy.naming)),
        has_retention,
        tags: lines(&retention.tags),
        keep_newest: number(retention.keep_newest),
        keep_days: number(retention.keep_days),
        keep_matching: lines(&retention.keep_matching),
        keep_pulled_days: number(retention.keep_pulled_days),
        every_hours: number(retention.every_hours),
        plans: plans.map(|plans| plans.iter().map(Planned::of).collect()),
        was_done,
        exists: policy.is_some(),
    }
}

pub(crate) async fn page(visit: &Visit) -> Result<Response, PageError> {
    let scope = scope(visit.query.text("scope"))?;
    let asked = scope.clone();
    let policy = visit.people(move |hub, actor| hub.policy(actor, &asked)).await?;
    respond::html(&view(visit, &scope, policy.as_ref(), None, false))
}

/// The rules of a form.
fn policy(form: &Query) -> Result<Policy, PageError> {
    let number = |field: &'static str, called: &str| match form.text(field) {
        "" => Ok(None),
        text => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| PageError::Bad(format!("{called}: a number, or nothing"))),
    };
    let retention = match form.text("retention") {
        "yes" => Some(Retention {
            tags: words(form.text("tags")),
            keep_newest: number("keep_newest", "the newest")?,
            keep_days: number("keep_days", "pushed within")?,
            keep_matching: words(form.text("keep_matching")),
            keep_pulled_days: number("keep_pulled_days", "pulled within")?,
            every_hours: number("every_hours", "every")?,
        }),
        _ => None,
    };
    Ok(Policy {
        immutable: words(form.text("immutable")),
        // A regular expression may have spaces.
        naming: form
            .text("naming")
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect(),
        retention,
    })
}

/// Does what a form of the page asks for.
pub(crate) async fn changed(visit: &Visit) -> Result<Response, PageError> {
    let form = &visit.form;
    let scope = scope(form.text("scope"))?;
    let (asked, here) = (
        scope.clone(),
        format!("/policies?scope={}", link::value(&scope.to_string())),
    );
    match form.text("do") {
        "preview" => {
            let policy = policy(form)?;
            let tried = policy.clone();
            let plans = visit
                .people(move |hub, actor| hub.preview(actor, &asked, Some(&tried)))
                .await?;
            respond::html(&view(visit, &scope, Some(&policy), Some(&plans), false))
        }
        "save" => {
            let policy = policy(form)?;
            visit
                .people(move |hub, actor| hub.set_policy(actor, &asked, Some(&policy)))
                .await?;
            Ok(respond::to(&here))
        }
        "remove" => {
            visit
                .people(move |hub, actor| hub.set_policy(actor, &asked, None))
                .await?;
            Ok(respond::to(&here))
        }
        "run" => {
            let (policy, plans) = visit
                .people(move |hub, actor| {
                    let plans = hub.run_retention(actor, &asked)?;
                    Ok((hub.policy(actor, &asked)?, plans))
                })
                .await?;
            respond::html(&view(visit, &scope, policy.as_ref(), Some(&plans), true))
        }
        _ => Err(PageError::Bad(
            "the form asks for nothing that is known".to_owned(),
        )),
    }
}
