//! What is around every page.

use crate::assets::{LINKS, Links};
use crate::form;
use crate::show;
use crate::visit::{Theme, Visit};

/// A way back: what it is called and where it leads.
#[derive(Clone, Debug)]
pub(crate) struct Crumb {
    pub(crate) name: String,
    pub(crate) link: String,
}

/// What is around a page.
pub(crate) struct Frame<'a> {
    pub(crate) title: String,
    pub(crate) crumbs: Vec<Crumb>,
    pub(crate) links: &'static Links,
    visit: &'a Visit,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(visit: &'a Visit, title: impl Into<String>) -> Self {
        Self {
            title: show::line(&title.into()),
            crumbs: Vec::new(),
            links: &LINKS,
            visit,
        }
    }

    /// With a way back behind those that are there.
    pub(crate) fn below(mut self, name: impl Into<String>, link: impl Into<String>) -> Self {
        self.crumbs.push(Crumb {
            name: show::line(&name.into()),
            link: link.into(),
        });
        self
    }

    pub(crate) fn theme(&self) -> &'static str {
        self.visit.theme.name()
    }

    /// What the button changes the colours to.
    pub(crate) fn next_theme(&self) -> &'static str {
        match self.visit.theme {
            Theme::System => Theme::Dark.name(),
            Theme::Dark => Theme::Light.name(),
            Theme::Light => Theme::System.name(),
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.visit.address
    }

    pub(crate) fn host(&self) -> &str {
        &self.visit.host
    }

    pub(crate) fn field(&self) -> &'static str {
        form::FIELD
    }

    pub(crate) fn token(&self) -> &str {
        &self.visit.token
    }

    /// Whether the registry has accounts.
    pub(crate) fn has_accounts(&self) -> bool {
        self.visit.has_accounts()
    }

    /// What who looks is called, if they are somebody.
    pub(crate) fn account(&self) -> Option<&str> {
        let name = self.visit.actor.as_ref()?.name()?;
        Some(name.as_str())
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.visit.is_admin()
    }

    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.visit.path == path
    }
}
