//! Search, among what somebody may see: names, descriptions, tags, labels.

use havre_registry_store::RepositoryName;

use crate::name::escaped;
use crate::permission::Sight;
use crate::repositories::{Repositories, SELECT, read};
use crate::{Actor, Hub, Repository, Result};

/// Words that are looked for.
const WORDS: usize = 8;
/// The longest text that is looked for.
const LONGEST: usize = 200;

/// Where a word may be. `{}` is the parameter.
const ANYWHERE: &str = "(lower(repositories.name) LIKE {} ESCAPE '!' OR lower(description) LIKE {} ESCAPE '!'
     OR EXISTS (SELECT 1 FROM tags WHERE tags.repository = repositories.name AND lower(tags.name) LIKE {} ESCAPE '!')
     OR EXISTS (SELECT 1 FROM labels WHERE labels.repository = repositories.name
         AND (lower(labels.name) LIKE {} ESCAPE '!' OR lower(labels.value) LIKE {} ESCAPE '!')))";

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct SearchQuery {
    /// Words that must all be somewhere; none finds everything.
    pub text: String,
    /// Only those that administrators stand for, or only others.
    pub official: Option<bool>,
    /// Only those with so many stars.
    pub stars: u64,
    pub skip: usize,
    pub limit: usize,
}

impl Hub {
    /// The repositories somebody may see in which all words are, the best first.
    pub fn search(&self, actor: &Actor, query: &SearchQuery) -> Result<Repositories> {
        let text: String = query
            .text
            .chars()
            .take(LONGEST)
            .collect::<String>()
            .to_lowercase();
        let words: Vec<&str> = text.split_whitespace().take(WORDS).collect();
        let who = actor.name().map_or("", |name| name.as_str());
        let mut values = vec![who.into()];
        let mut sql = format!("{SELECT} WHERE 1 = 1");
        for word in &words {
            // Parameters are numbered in the order of their appearance.
            values.push(format!("%{}%", escaped(&word.replace('\0', ""))).into());
            let place = format!("${}", values.len());
            sql.push_str(&format!(" AND {}", ANYWHERE.replace("{}", &place)));
        }
        sql.push_str(" ORDER BY repositories.name");
        self.reading(|connection| {
            let sight = Sight::of(connection, actor)?;
            let rows = connection.query(&sql, &values)?;
            let seen = rows
                .iter()
                .map(|row| read(row, &sight))
                .filter_map(Result::transpose);
            let mut seen = seen.collect::<Result<Vec<_>>>()?;
            seen.retain(|one| {
                one.stars >= query.stars && query.official.is_none_or(|wanted| one.official == wanted)
            });
            seen.sort_by_cached_key(|one| {
                let known = (one.official, one.stars, one.pulls);
                (std::cmp::Reverse((fit(one, &words), known)), one.name.clone())
            });
            let total = seen.len();
            let repositories = seen.into_iter().skip(query.skip).take(query.limit).collect();
            Ok(Repositories { repositories, total })
        })
    }

    /// What a repository is found by besides its name, description and tags: the labels of the image last pushed to it.
    pub fn labels(&self, actor: &Actor, name: &RepositoryName) -> Result<Vec<(String, String)>> {
        self.reading(|connection| {
            crate::permission::must(connection, actor, name, crate::Action::Pull)?;
            let rows = connection.query(
                "SELECT name, value FROM labels WHERE repository = $1 ORDER BY name",
                &[name.as_str().into()],
            )?;
            rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
        })
    }
}

/// How well a repository fits: the more, the better.
fn fit(one: &Repository, words: &[&str]) -> u32 {
    let name = one.name.as_str();
    let last = name.rsplit('/').next().unwrap_or(name);
    let description = one.description.to_lowercase();
    let of = |word: &&str| {
        let word = *word;
        if name == word {
            16
        } else if last == word {
            12
        } else if last.starts_with(word) {
            8
        } else if name.contains(word) {
            4
        } else if description.contains(word) {
            2
        } else {
            0
        }
    };
    words.iter().map(of).sum()
}
