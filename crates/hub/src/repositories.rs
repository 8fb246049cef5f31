//! What is said of repositories: who sees them, what they are, how often they are pulled, who likes them.

use std::collections::BTreeMap;

use havre_database::{Connection, Row, now};
use havre_oci::Digest;
use havre_registry_store::{RepositoryName, make_repository};

use crate::audit::{Change, note};
use crate::permission::{Action, Sight, is_set, must, role_in};
use crate::{Actor, Hub, HubError, Result, Role};

const LONGEST_DESCRIPTION: usize = 200;
/// In bytes.
const LONGEST_README: usize = 64 << 10;
/// Labels of an image that are looked at, and the length of their values.
const MOST_LABELS: usize = 100;
const LONGEST_LABEL: usize = 1000;

/// A repository, as somebody may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    pub name: RepositoryName,
    /// Whether everybody may pull from it.
    pub public: bool,
    pub description: String,
    /// Markdown, as it was written.
    pub readme: String,
    /// Whether the registry's administrators stand for it.
    pub official: bool,
    pub pulls: u64,
    /// When it was last pulled from, in milliseconds since 1970.
    pub pulled: Option<i64>,
    pub stars: u64,
    /// When it was first and last pushed to or changed.
    pub created: i64,
    pub updated: i64,
    /// What who asks may do in it.
    pub role: Role,
    /// Whether who asks likes it.
    pub starred: bool,
}

/// How repositories are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Name,
    Updated,
    Stars,
    Pulls,
}

/// Which repositories are listed.
#[derive(Clone, Debug, Default)]
pub struct RepositoryQuery {
    /// Of one person or organisation.
    pub namespace: Option<String>,
    /// Only those somebody likes.
    pub starred_by: Option<crate::AccountName>,
    pub order: Order,
    /// So many are passed over.
    pub skip: usize,
    pub limit: usize,
}

/// A page of repositories.
#[derive(Clone, Debug)]
pub struct Repositories {
    pub repositories: Vec<Repository>,
    /// How many there are on all pages.
    pub total: usize,
}

/// `FROM` what a repository is read of, with its columns; `$1` is who asks, or nothing.
pub(crate) const SELECT: &str = "SELECT repositories.name, public, description, official, pulls, pulled,
     COALESCE(settings.created, repositories.created), COALESCE(updated, repositories.created),
     (SELECT count(*) FROM stars WHERE stars.repository = repositories.name),
     (SELECT count(*) FROM stars WHERE stars.repository = repositories.name AND stars.account = $1)
     FROM repositories LEFT JOIN repository_settings AS settings ON settings.repository = repositories.name";

/// A row of [`SELECT`], if who asks may see it. Its README is not with it.
pub(crate) fn read(row: &Row, sight: &Sight) -> Result<Option<Repository>> {
    let (name, public) = (row.parsed::<RepositoryName>(0)?, is_set(row, 1)?);
    let Some(role) = sight.role(&name, public) else {
        return Ok(None);
    };
    Ok(Some(Repository {
        name,
        public,
        description: row.text_or_null(2)?.unwrap_or_default(),
        readme: String::new(),
        official: is_set(row, 3)?,
        pulls: row.integer_or_null(4)?.unwrap_or_default().max(0) as u64,
        pulled: row.integer_or_null(5)?,
        created: row.integer(6)?,
        updated: row.integer(7)?,
        stars: row.size(8)?,
        starred: row.integer(9)? > 0,
        role,
    }))
}

/// Makes the row of a repository, if there is none.
pub(crate) fn ensure(connection: &mut dyn Connection, name: &RepositoryName, public: bool) -> Result<()> {
    connection.execute(
        "INSERT INTO repository_settings
             (repository, public, description, readme, official, pulls, created, updated)
         VALUES ($1, $2, '', '', 0, 0, $3, $4) ON CONFLICT DO NOTHING",
        &[
            name.as_str().into(),
            i64::from(public).into(),
            now().into(),
            now().into(),
        ],
    )?;
    Ok(())
}

impl Hub {
    /// A repository that is there, for who may see it.
    pub fn repository(&self, actor: &Actor, name: &RepositoryName) -> Result<Repository> {
        self.reading(|connection| {
            must(connection, actor, name, Action::Pull)?;
            let sight = Sight::of(connection, actor)?;
            let sql = format!("{SELECT} WHERE repositories.name = $2");
            let who = actor.name().map_or("", |name| name.as_str());
            let row = connection.query_one(&sql, &[who.into(), name.as_str().into()])?;
            let found = row.map(|row| read(&row, &sight)).transpose()?.flatten();
            let mut found = found.ok_or_else(|| HubError::unknown("repository", name.as_str()))?;
            let readme = connection.query_one(
                "SELECT readme FROM repository_settings WHERE repository = $1",
                &[name.as_str().into()],
            )?;
            if let Some(row) = readme {
                found.readme = row.text(0)?;
            }
            Ok(found)
        })
    }

    /// The repositories somebody may see, without their READMEs.
    pub fn repositories(&self, actor: &Actor, query: &RepositoryQuery) -> Result<Repositories> {
        self.reading(|connection| {
            let sight = Sight::of(connection, actor)?;
            let who = actor.name().map_or("", |name| name.as_str());
            let mut values = vec![who.into()];
            let mut sql = format!("{SELECT} WHERE 1 = 1");
            if let Some(namespace) = &query.namespace {
                values.push(crate::name::within(namespace));
                sql.push_str(&format!(" AND repositories.name LIKE ${} ESCAPE '!'", values.len()));
            }
            if let Some(account) = &query.starred_by {
                values.push(account.into());
                sql.push_str(&format!(
                    " AND EXISTS (SELECT 1 FROM stars WHERE stars.repository = repositories.name AND stars.account = ${})",
                    values.len()
                ));
            }
            sql.push_str(" ORDER BY repositories.name");
            let rows = connection.query(&sql, &values)?;
            let seen = rows.iter().map(|row| read(row, &sight)).filter_map(Result::transpose);
            let mut seen = seen.collect::<Result<Vec<_>>>()?;
            match query.order {
                Order::Name => {}
                Order::Updated => seen.sort_by_key(|one| std::cmp::Reverse(one.updated)),
                Order::Stars => seen.sort_by_key(|one| std::cmp::Reverse((one.stars, one.pulls))),
                Order::Pulls => seen.sort_by_key(|one| std::cmp::Reverse((one.pulls, one.stars))),
            }
            let total = seen.len();
            let repositories = seen.into_iter().skip(query.skip).take(query.limit).collect();
            Ok(Repositories { repositories, total })
        })
    }

    /// Makes what is said of a repository before anything is pushed to it.
    pub fn create_repository(&self, actor: &Actor, name: &RepositoryName, public: bool) -> Result<()> {
        self.writing(|connection| {
            must(connection, actor, name, Action::Manage)?;
            self.must_have_room(connection, name)?;
            let known = "SELECT 1 FROM repository_settings WHERE repository = $1";
            if connection.query_one(known, &[name.as_str().into()])?.is_some() {
                return Err(HubError::exists("repository", name.as_str()));
            }
            make_repository(connection, name)?;
            ensure(connection, name, public)?;
            note(
                connection,
                actor,
                &Change::of_repository("repository.create", name),
            )
        })
    }

    /// Changes who may pull from a repository.
    pub fn set_public(&self, actor: &Actor, name: &RepositoryName, public: bool) -> Result<()> {
        let detail = if public { "public" } else { "private" };
        self.change(actor, name, "repository.visibility", detail, |connection| {
            connection.execute(
                "UPDATE repository_settings SET public = $1 WHERE repository = $2",
                &[i64::from(public).into(), name.as_str().into()],
            )
        })
    }

    /// Changes what is said of a repository: a line, and a README in Markdown.
    pub fn describe(
        &self,
        actor: &Actor,
        name: &RepositoryName,
        description: &str,
        readme: &str,
    ) -> Result<()> {
        let description = crate::accounts::line("description", description, LONGEST_DESCRIPTION)?;
        if readme.len() > LONGEST_README {
            return Err(HubError::invalid(
                "readme",
                format!("at most {LONGEST_README} bytes"),
            ));
        }
        if readme.contains('\0') {
            return Err(HubError::invalid("readme", "text without null characters"));
        }
        self.change(actor, name, "repository.describe", "", |connection| {
            connection.execute(
                "UPDATE repository_settings SET description = $1, readme = $2 WHERE repository = $3",
                &[description.as_str().into(), readme.into(), name.as_str().into()],
            )
        })
    }

    /// Marks a repository as one the registry's administrators stand for. For them.
    pub fn set_official(&self, actor: &Actor, name: &RepositoryName, official: bool) -> Result<()> {
        actor.must_be_admin()?;
        let detail = if official { "yes" } else { "no" };
        self.change(actor, name, "repository.official", detail, |connection| {
            connection.execute(
                "UPDATE repository_settings SET official = $1 WHERE repository = $2",
                &[i64::from(official).into(), name.as_str().into()],
            )
        })
    }

    fn change(
        &self,
        actor: &Actor,
        name: &RepositoryName,
        action: &str,
        detail: &str,
        mut work: impl FnMut(&mut dyn Connection) -> Result<u64, havre_database::DatabaseError>,
    ) -> Result<()> {
        self.writing(|connection| {
            must(connection, actor, name, Action::Manage)?;
            let there = "SELECT 1 FROM repositories WHERE name = $1
                 UNION SELECT 1 FROM repository_settings WHERE repository = $2";
            let which = [name.as_str().into(), name.as_str().into()];
            if connection.query_one(there, &which)?.is_none() {
                return Err(HubError::unknown("repository", name.as_str()));
            }
            ensure(connection, name, false)?;
            work(connection)?;
            connection.execute(
                "UPDATE repository_settings SET updated = $1 WHERE repository = $2",
                &[now().into(), name.as_str().into()],
            )?;
            note(
                connection,
                actor,
                &Change::of_repository(action, name).detail(detail),
            )
        })
    }

    /// Says that somebody likes a repository, or no more.
    pub fn star(&self, actor: &Actor, name: &RepositoryName, liked: bool) -> Result<()> {
        let who = actor.must_be_somebody()?;
        self.writing(|connection| {
            let known = connection.query_one(
                "SELECT 1 FROM repositories WHERE name = $1",
                &[name.as_str().into()],
            )?;
            if known.is_none() || role_in(connection, actor, name)?.is_none() {
                return Err(HubError::unknown("repository", name.as_str()));
            }
            match liked {
                true => connection.execute(
                    "INSERT INTO stars (repository, account, created) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    &[name.as_str().into(), who.into(), now().into()],
                )?,
                false => connection.execute(
                    "DELETE FROM stars WHERE repository = $1 AND account = $2",
                    &[name.as_str().into(), who.into()],
                )?,
            };
            Ok(())
        })
    }

    /// Notes that a manifest was pushed under a tag or digest, by whom [`Hub::may`] was asked about; with the labels of its
    /// configuration, by which it is found.
    pub fn pushed(
        &self,
        actor: &Actor,
        name: &RepositoryName,
        under: &str,
        digest: &Digest,
        labels: &BTreeMap<String, String>,
    ) -> Result<()> {
        self.writing(|connection| {
            ensure(connection, name, self.settings().public)?;
            connection.execute(
                "UPDATE repository_settings SET updated = $1 WHERE repository = $2",
                &[now().into(), name.as_str().into()],
            )?;
            let fits = |(name, value): &(&String, &String)| {
                name.len() + value.len() <= LONGEST_LABEL && !name.contains('\0') && !value.contains('\0')
            };
            if !labels.is_empty() {
                connection.execute(
                    "DELETE FROM labels WHERE repository = $1",
                    &[name.as_str().into()],
                )?;
            }
            for (key, value) in labels.iter().filter(fits).take(MOST_LABELS) {
                connection.execute(
                    "INSERT INTO labels (repository, name, value) VALUES ($1, $2, $3)
                     ON CONFLICT (repository, name) DO UPDATE SET value = excluded.value",
                    &[name.as_str().into(), key.as_str().into(), value.as_str().into()],
                )?;
            }
            let detail = format!("{under} {digest}");
            note(
                connection,
                actor,
                &Change::of_repository("repository.push", name).detail(&detail),
            )
        })
    }

    /// Notes that a tag, manifest or blob was deleted.
    pub fn deleted(&self, actor: &Actor, name: &RepositoryName, what: &str) -> Result<()> {
        self.writing(|connection| {
            note(
                connection,
                actor,
                &Change::of_repository("repository.delete", name).detail(what),
            )
        })
    }
}
