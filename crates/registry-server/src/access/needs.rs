//! What a request takes, and the words in which it is asked for.

use havre_hub::Action;
use havre_registry_store::RepositoryName;
use http::Method;

use crate::path::Place;

/// What a request takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needs<'a> {
    /// Somebody who asked for a token, at least.
    Token(Option<&'static str>),
    Action(&'a RepositoryName, Action),
    /// It leads nowhere.
    Nothing,
}

/// What a request takes, by its method and where it leads.
pub(super) fn needs<'a>(method: &Method, place: Option<&'a Place>) -> Needs<'a> {
    let reads = *method == Method::GET || *method == Method::HEAD;
    match place {
        None => Needs::Nothing,
        Some(Place::Base) => Needs::Token(None),
        Some(Place::Catalog) => Needs::Token(Some("registry:catalog:*")),
        Some(Place::Uploads(name) | Place::Upload(name, _)) => Needs::Action(name, Action::Push),
        Some(
            Place::Tags(name) | Place::Manifest(name, _) | Place::Blob(name, _) | Place::Referrers(name, _),
        ) => {
            let action = match *method {
                Method::DELETE => Action::Delete,
                _ if reads => Action::Pull,
                _ => Action::Push,
            };
            Needs::Action(name, action)
        }
    }
}

/// What a token must be asked for with.
pub(super) fn scope(needs: Needs<'_>) -> Option<String> {
    match needs {
        Needs::Nothing => None,
        Needs::Token(scope) => scope.map(str::to_owned),
        Needs::Action(name, action) => {
            let actions = match action {
                Action::Pull => "pull",
                Action::Push => "pull,push",
                Action::Delete | Action::Manage => "pull,delete",
            };
            Some(format!("repository:{name}:{actions}"))
        }
    }
}
