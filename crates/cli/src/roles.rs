//! Commands that serve, or look after what is served, instead of asking an engine.

use clap::Command;

use crate::args::daemon::Daemon;
use crate::args::registry::{Registry, account::Account, check::Check, gc::Gc, webhook::Webhook};
use crate::args::{Declaration, Shape};
use crate::parse::declare;

/// What may be typed of such a command.
pub(crate) struct Role {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static Shape,
    declare: fn() -> Command,
}

impl Role {
    const fn of<D: Declaration>(name: &'static str) -> Self {
        Self {
            name,
            shape: &D::SHAPE,
            declare: declare::<D>,
        }
    }

    /// Its clap tree.
    pub(crate) fn declaration(&self) -> Command {
        let mut declared = (self.declare)();
        declared.build();
        declared
    }

    /// The one of that name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ROLES.iter().find(|role| role.name == name)
    }

    /// Those within the one of that name: their last words, with what they do.
    pub(crate) fn within(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        ROLES.iter().filter_map(move |role| {
            let word = role.name.strip_prefix(name)?.strip_prefix(' ')?;
            Some((word, role.summary()))
        })
    }

    pub(crate) fn summary(&self) -> &'static str {
        self.shape.about.lines().next().unwrap_or_default()
    }
}

/// Those that may stand first, with what they do.
pub(crate) fn first() -> impl Iterator<Item = (&'static str, &'static str)> {
    let first = ROLES.iter().filter(|role| !role.name.contains(' '));
    first.map(|role| (role.name, role.summary()))
}

/// All of them, those within others after them.
pub(crate) const ROLES: &[Role] = &[
    Role::of::<Daemon>("daemon"),
    Role::of::<Registry>("registry"),
    Role::of::<Gc>("registry gc"),
    Role::of::<Check>("registry check"),
    Role::of::<Account>("registry account"),
    Role::of::<Webhook>("registry webhook"),
];
