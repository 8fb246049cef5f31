//! What is said of a repository, who may see it, and who may do what in it.

use askama::Template;
use axum::response::Response;
use havre_registry_store::RepositoryName;

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::pages::account::{name as account_name, role};
use crate::respond;
use crate::show;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "settings.html")]
struct Page<'a> {
    frame: Frame<'a>,
    here: String,
    policies: String,
    description: String,
    readme: String,
    public: bool,
    official: bool,
    is_admin: bool,
    people: Vec<(String, &'static str)>,
}

pub(crate) async fn page(visit: &Visit, name: RepositoryName) -> Result<Response, PageError> {
    let asked = name.clone();
    let (repository, people) = visit
        .people(move |hub, actor| Ok((hub.repository(actor, &asked)?, hub.collaborators(actor, &asked)?)))
        .await?;
    respond::html(&Page {
        frame: Frame::new(visit, format!("Settings of {name}"))
            .below("Repositories", "/")
            .below(name.as_str(), link::repository(&name)),
        here: link::about(&name, "settings"),
        policies: format!("/policies?scope={}", link::value(name.as_str())),
        description: show::line(&repository.description),
        // As it was written: it is edited here.
        readme: repository.readme,
        public: repository.public,
        official: repository.official,
        is_admin: visit.is_admin(),
        people: people
            .iter()
            .map(|(name, role)| (name.to_string(), role.as_str()))
            .collect(),
    })
}

/// Does what a form of the page asks for.
pub(crate) async fn changed(visit: &Visit, name: RepositoryName) -> Result<Response, PageError> {
    let form = &visit.form;
    let here = link::about(&name, "settings");
    match form.text("do") {
        "describe" => {
            let description = form.text("description").to_owned();
            let readme = form.get("readme").unwrap_or_default().replace("\r\n", "\n");
            visit
                .people(move |hub, actor| hub.describe(actor, &name, &description, &readme))
                .await?;
        }
        "visibility" => {
            let public = form.text("public") == "yes";
            visit
                .people(move |hub, actor| hub.set_public(actor, &name, public))
                .await?;
        }
        "official" => {
            let official = form.text("official") == "yes";
            visit
                .people(move |hub, actor| hub.set_official(actor, &name, official))
                .await?;
        }
        "person" => {
            let who = account_name(form.text("name"))?;
            let role = match form.text("role") {
                "" => None,
                text => Some(role(text)?),
            };
            visit
                .people(move |hub, actor| hub.set_collaborator(actor, &name, &who, role))
                .await?;
        }
        _ => {
            return Err(PageError::Bad(
                "the form asks for nothing that is known".to_owned(),
            ));
        }
    }
    Ok(respond::to(&here))
}

/// Says that somebody likes a repository, or no more.
pub(crate) async fn starred(visit: &Visit, name: RepositoryName) -> Result<Response, PageError> {
    let (back, liked) = (link::repository(&name), visit.form.text("star") == "yes");
    visit
        .people(move |hub, actor| hub.star(actor, &name, liked))
        .await?;
    Ok(respond::to(&back))
}
