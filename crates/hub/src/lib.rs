//! The people of a registry, and what they may do: accounts, organisations and teams, robots, permissions, sessions and tokens,
//! what is said of repositories (visibility, description, stars, pulls), search, policies, quotas, and a log of it all.
//!
//! A [`Hub`] keeps this in tables of its own beside those of the [`RegistryStore`]. Methods that do something for somebody take
//! the [`Actor`] and check what that one may do themselves, in the transaction that does it: whoever calls them cannot forget. For
//! who may not even know of a thing, it does not exist.
//!
//! Everything blocks, and any thread may call it. Methods that check or set a password take a processor for some time.

mod accounts;
mod audit;
mod error;
mod invitations;
mod issuer;
mod keys;
mod lockout;
mod name;
mod organisations;
mod passwords;
mod permission;
mod policy;
mod pulls;
mod quota;
mod repositories;
mod schema;
mod search;
mod secret;
mod sessions;
mod settings;
mod teams;
mod tidy;
mod tokens;

use std::sync::Arc;

use havre_database::{Connection, Database};
use havre_registry_store::RegistryStore;

pub use accounts::{Account, Kind, NewAccount};
pub use audit::{AuditEntry, AuditQuery};
pub use error::{HubError, Result};
pub use havre_registry_token::{Access, Algorithm, TokenError};
pub use invitations::{Invitation, NewInvitation};
pub use issuer::{Bearer, Issued, Scope};
pub use name::{AccountName, namespace_of};
pub use organisations::{Member, Organisation};
pub use permission::{Action, Actor, Limit, Role, Who};
pub use policy::{Doomed, Kept, Plan, Policy, PolicyScope, Retention};
pub use pulls::Allowance;
pub use quota::Usage;
pub use repositories::{Order, Repositories, Repository, RepositoryQuery};
pub use search::SearchQuery;
pub use sessions::{Session, SignedIn};
pub use settings::{Quota, Settings, Signup};
pub use teams::Team;
pub use tokens::{AccessToken, NewToken};

use crate::keys::Keys;
use crate::passwords::Passwords;
use crate::pulls::Pulls;

/// The people of a registry.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: RegistryStore,
    database: Arc<dyn Database>,
    settings: Settings,
    passwords: Passwords,
    keys: Keys,
    pulls: Pulls,
}

impl Hub {
    /// Opens or makes the tables beside those of what the registry holds.
    pub fn open(store: &RegistryStore, settings: Settings) -> Result<Self> {
        let database = store.database();
        schema::SCHEMA.prepare(&*database)?;
        let keys = Keys::open(&*database, settings.algorithm)?;
        Ok(Self(Arc::new(Inner {
            store: store.clone(),
            database,
            settings,
            passwords: Passwords::new()?,
            keys,
            pulls: Pulls::default(),
        })))
    }

    /// What was configured.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Runs a transaction that changes something, and nothing if it fails.
    fn writing<T>(&self, work: impl FnMut(&mut dyn Connection) -> Result<T>) -> Result<T> {
        self.0.database.writing(work)
    }

    /// Runs a transaction that changes nothing.
    fn reading<T>(&self, work: impl FnMut(&mut dyn Connection) -> Result<T>) -> Result<T> {
        self.0.database.reading(work)
    }
}
