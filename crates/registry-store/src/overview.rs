//! What people look at: repositories and tags with what there is to say of them, and what takes the space.

use havre_oci::Digest;

use crate::name::{RepositoryName, Tag};
use crate::{RegistryStore, Result, StoreError};
use havre_database::{Row, Value};

/// A repository in few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub name: RepositoryName,
    pub tags: u64,
    /// Bytes of all its blobs, each once.
    pub bytes: u64,
    /// When a tag was last pushed, in milliseconds since 1970.
    pub pushed: Option<i64>,
}

/// A tag and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    pub tag: Tag,
    pub digest: Digest,
    pub media_type: String,
    /// When it was last pushed, in milliseconds since 1970.
    pub pushed: i64,
}

/// What takes the space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub repositories: u64,
    pub tags: u64,
    pub manifests: u64,
    /// Blobs and manifests, each once however many repositories have it.
    pub blobs: u64,
    pub bytes: u64,
    /// Bytes if every repository had its own.
    pub bytes_apart: u64,
    /// The repositories with the most bytes, the largest first.
    pub largest: Vec<Share>,
    /// By day (days since 1970): manifests that came.
    pub pushes: Vec<(i64, u64)>,
}

/// What a repository takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub name: RepositoryName,
    pub bytes: u64,
    /// Of these, what no other repository has.
    pub own: u64,
}

const DAY: i64 = 24 * 60 * 60 * 1000;

impl RegistryStore {
    /// The repositories behind `after`, sorted by name, whose names have all of the words in them; at most `limit`.
    pub fn summaries(&self, words: &[&str], after: &str, limit: usize) -> Result<Vec<Summary>> {
        let mut sql = "SELECT name,
             (SELECT count(*) FROM tags WHERE tags.repository = found.name),
             (SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM repository_blobs AS held JOIN blobs USING (digest)
              WHERE held.repository = found.name),
             (SELECT max(updated) FROM tags WHERE tags.repository = found.name)
             FROM (SELECT name FROM repositories WHERE name > $1"
            .to_owned();
        let mut values = vec![Value::from(after)];
        for word in words {
            values.push(Value::Text(containing(&word.to_lowercase())));
            sql.push_str(&format!(" AND name LIKE ${} ESCAPE '!'", values.len()));
        }
        values.push((limit as i64).into());
        sql.push_str(&format!(
            " ORDER BY name LIMIT ${}) AS found ORDER BY name",
            values.len()
        ));
        let rows = self.reading(|connection| Ok(connection.query(&sql, &values)?))?;
        rows.iter().map(summary).collect()
    }

    /// The repositories that were last pushed to, the last one first; at most `limit`, of the last thousand pushes.
    pub fn last_pushed(&self, limit: usize) -> Result<Vec<(RepositoryName, i64)>> {
        let rows = self.reading(|connection| {
            Ok(connection.query(
                "SELECT repository, max(updated) FROM
                     (SELECT repository, updated FROM tags ORDER BY updated DESC LIMIT 1000) AS last
                 GROUP BY repository ORDER BY max(updated) DESC, repository LIMIT $1",
                &[(limit as i64).into()],
            )?)
        })?;
        rows.iter()
            .map(|row| Ok((row.parsed(0)?, row.integer(1)?)))
            .collect()
    }

    /// A repository in few words.
    pub fn summary(&self, name: &RepositoryName) -> Result<Summary> {
        let row = self.reading(|connection| {
            Ok(connection.query_one(
                "SELECT name,
                 (SELECT count(*) FROM tags WHERE repository = $1),
                 (SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM repository_blobs JOIN blobs USING (digest)
                  WHERE repository = $1),
                 (SELECT max(updated) FROM tags WHERE repository = $1)
                 FROM repositories WHERE name = $1",
                &[name.as_str().into()],
            )?)
        })?;
        match row {
            Some(row) => summary(&row),
            None => Err(StoreError::NameUnknown(name.to_string())),
        }
    }

    /// The tags of a repository that have a text in them, the last pushed first; behind one that was pushed then, if it is
    /// named; at most `limit`.
    pub fn newest_tags(
        &self,
        name: &RepositoryName,
        text: &str,
        after: Option<(i64, &str)>,
        limit: usize,
    ) -> Result<Vec<Tagged>> {
        let (pushed, last) = after.unwrap_or((i64::MAX, ""));
        let rows = self.reading(|connection| {
            Ok(connection.query(
                "SELECT name, digest, media_type, updated FROM tags JOIN manifests USING (repository, digest)
                 WHERE repository = $1 AND (updated < $2 OR updated = $2 AND name > $3)
                   AND name LIKE $4 ESCAPE '!'
                 ORDER BY updated DESC, name LIMIT $5",
                &[
                    name.as_str().into(),
                    pushed.into(),
                    last.into(),
                    containing(text).into(),
                    (limit as i64).into(),
                ],
            )?)
        })?;
        rows.iter()
            .map(|row| {
                Ok(Tagged {
                    tag: row.parsed(0)?,
                    digest: row.parsed(1)?,
                    media_type: row.text(2)?,
                    pushed: row.integer(3)?,
                })
            })
            .collect()
    }

    /// The tags of a repository that stand for a manifest, sorted by name; at most `limit`.
    pub fn tags_of(&self, name: &RepositoryName, digest: &Digest, limit: usize) -> Result<Vec<Tag>> {
        let rows = self.reading(|connection| {
            Ok(connection.query(
                "SELECT name FROM tags WHERE repository = $1 AND digest = $2 ORDER BY name LIMIT $3",
                &[name.as_str().into(), digest.into(), (limit as i64).into()],
            )?)
        })?;
        rows.iter().map(|row| Ok(row.parsed(0)?)).collect()
    }

    /// What takes the space, with so many of the largest repositories and the manifests of so many days.
    pub fn usage(&self, largest: usize, days: i64) -> Result<Usage> {
        let today = havre_database::now().div_euclid(DAY);
        self.reading(|connection| {
            let sums = connection.query_one(
                "SELECT (SELECT count(*) FROM repositories), (SELECT count(*) FROM tags),
                     (SELECT count(*) FROM manifests), (SELECT count(*) FROM blobs),
                     (SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM blobs),
                     (SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM repository_blobs JOIN blobs USING (digest)),
                     (SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM manifests)",
                &[],
            )?;
            let Some(sums) = sums else {
                return Ok(Usage::default());
            };
            let shares = connection.query(
                "SELECT held.repository, CAST(sum(size) AS BIGINT) AS bytes, CAST(sum(CASE WHEN EXISTS
                     (SELECT 1 FROM repository_blobs AS other
                      WHERE other.digest = held.digest AND other.repository <> held.repository)
                     THEN 0 ELSE size END) AS BIGINT)
                 FROM repository_blobs AS held JOIN blobs USING (digest)
                 GROUP BY held.repository ORDER BY bytes DESC, held.repository LIMIT $1",
                &[(largest as i64).into()],
            )?;
            let pushes = connection.query(
                "SELECT added / 86400000 AS day, count(*) FROM manifests WHERE added >= $1
                 GROUP BY added / 86400000 ORDER BY day",
                &[((today - days + 1) * DAY).into()],
            )?;
            let share = |row: &Row| -> Result<Share> {
                Ok(Share {
                    name: row.parsed(0)?,
                    bytes: row.size(1)?,
                    own: row.size(2)?,
                })
            };
            let mut by_day: Vec<(i64, u64)> = (today - days + 1..=today).map(|day| (day, 0)).collect();
            for row in &pushes {
                let (day, count) = (row.integer(0)?, row.size(1)?);
                if let Some(found) = by_day.iter_mut().find(|(other, _)| *other == day) {
                    found.1 = count;
                }
            }
            Ok(Usage {
                repositories: sums.size(0)?,
                tags: sums.size(1)?,
                manifests: sums.size(2)?,
                blobs: sums.size(3)?,
                bytes: sums.size(4)?,
                bytes_apart: sums.size(5)?.saturating_add(sums.size(6)?),
                largest: shares.iter().map(share).collect::<Result<_>>()?,
                pushes: by_day,
            })
        })
    }
}

fn summary(row: &Row) -> Result<Summary> {
    let pushed = match row.integer(3) {
        Ok(pushed) => Some(pushed),
        // Without a tag.
        Err(_) => {
            row.text_or_null(3)?;
            None
        }
    };
    Ok(Summary {
        name: row.parsed(0)?,
        tags: row.size(1)?,
        bytes: row.size(2)?,
        pushed,
    })
}

/// A pattern for what has the text in it.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
