//! Tags that stand for what they first stood for.

use havre_database::Connection;
use havre_oci::Digest;
use havre_registry_store::{RepositoryName, Tag};

use super::Policy;
use crate::permission::glob;
use crate::{HubError, Result};

/// The rule that makes a tag immutable, with its scope.
pub(super) fn rule<'a>(policies: &'a [(String, Policy)], tag: &str) -> Option<(&'a str, &'a str)> {
    policies.iter().find_map(|(scope, policy)| {
        let matching = |pattern: &&String| glob("immutable", pattern).is_ok_and(|glob| glob.is_match(tag));
        let rule = policy.immutable.iter().find(matching)?;
        Some((scope.as_str(), rule.as_str()))
    })
}

/// An error if a tag that is there and immutable would stand for something else, or go.
pub(super) fn check(
    connection: &mut dyn Connection,
    policies: &[(String, Policy)],
    name: &RepositoryName,
    tag: &Tag,
    digest: Option<&Digest>,
) -> Result<()> {
    let Some((scope, rule)) = rule(policies, tag.as_str()) else {
        return Ok(());
    };
    let row = connection.query_one(
        "SELECT digest FROM tags WHERE repository = $1 AND name = $2",
        &[name.as_str().into(), tag.as_str().into()],
    )?;
    match row.map(|row| row.text(0)).transpose()? {
        None => Ok(()),
        Some(stands) if digest.is_some_and(|digest| digest.as_str() == stands) => Ok(()),
        Some(_) => Err(HubError::Immutable {
            repository: name.clone(),
            tag: tag.clone(),
            rule: rule.to_owned(),
            scope: scope.to_owned(),
        }),
    }
}
