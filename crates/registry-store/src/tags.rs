//! Tags, and the catalog of repositories.

use havre_oci::Digest;

use crate::blobs::lock_repository;
use crate::manifests::Allowed;
use crate::name::{RepositoryName, Tag};
use crate::pages::Page;
use crate::{RegistryStore, Result, StoreError};
use havre_database::{Connection, now};

impl RegistryStore {
    /// What a tag stands for.
    pub fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        self.reading(|connection| digest_of(connection, name, tag))
    }

    /// When a tag was last pushed, in milliseconds since 1970.
    pub fn tag_updated(&self, name: &RepositoryName, tag: &str) -> Result<Option<i64>> {
        self.reading(|connection| {
            let row = connection.query_one(
                "SELECT updated FROM tags WHERE repository = $1 AND name = $2",
                &[name.as_str().into(), tag.into()],
            )?;
            Ok(row.map(|row| row.integer(0)).transpose()?)
        })
    }

    /// The tags of a repository behind `last`, sorted by bytes.
    pub fn tags(&self, name: &RepositoryName, last: &str, limit: usize) -> Result<Page> {
        let read = self.tags_unless(name, last, limit, None)?;
        let unknown = || StoreError::NameUnknown(name.to_string());
        read.map(|(_, page)| page).ok_or_else(unknown)
    }

    /// The same with the version of all tags; nothing, if that is `known`: they are what they were.
    pub fn tags_unless(
        &self,
        name: &RepositoryName,
        last: &str,
        limit: usize,
        known: Option<i64>,
    ) -> Result<Option<(i64, Page)>> {
        self.reading(|connection| {
            // Before the tags: what comes in between has another.
            let version = "SELECT tags_version FROM repositories WHERE name = $1";
            let Some(version) = connection.query_one(version, &[name.as_str().into()])? else {
                return Err(StoreError::NameUnknown(name.to_string()));
            };
            let version = version.integer(0)?;
            if known == Some(version) {
                return Ok(None);
            }
            let names = connection.texts(
                "SELECT name FROM tags WHERE repository = $1 AND name > $2 ORDER BY name LIMIT $3",
                &[name.as_str().into(), last.into(), Page::rows(limit).into()],
            )?;
            Ok(Some((version, Page::of(names, limit))))
        })
    }

    /// The repositories behind `last`, sorted by bytes.
    pub fn repositories(&self, last: &str, limit: usize) -> Result<Page> {
        self.reading(|connection| {
            let names = connection.texts(
                "SELECT name FROM repositories WHERE name > $1 ORDER BY name LIMIT $2",
                &[last.into(), Page::rows(limit).into()],
            )?;
            Ok(Page::of(names, limit))
        })
    }

    /// Takes a tag away; the manifest stays, and so the tag [may come back](Self::restore_tags).
    pub fn delete_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<()> {
        self.delete_tag_if(name, tag, &|_, _| Ok(()))
    }

    /// The same if it is `allowed`, which is asked in the transaction, before anything else changes the repository.
    pub fn delete_tag_if(&self, name: &RepositoryName, tag: &Tag, allowed: Allowed<'_>) -> Result<()> {
        self.writing(|connection| {
            lock_repository(connection, name)?;
            let digest = digest_of(connection, name, tag)?;
            let digest = digest.ok_or_else(|| StoreError::ManifestUnknown(tag.to_string()))?;
            allowed(connection, &digest)?;
            self.remove_tag(connection, name, tag, &digest)
        })
    }

    /// Lets a tag stand for a manifest of its repository.
    pub(crate) fn set_tag(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<()> {
        connection.execute(
            "INSERT INTO tags (repository, name, digest, updated) VALUES ($1, $2, $3, $4)
             ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest, updated = excluded.updated",
            &[
                name.as_str().into(),
                tag.as_str().into(),
                digest.into(),
                now().into(),
            ],
        )?;
        note_change(connection, name)?;
        self.files().link_tag(name, tag, digest)
    }
}

/// Gives the tags of a repository another version. Wherever one comes or goes.
pub(crate) fn note_change(connection: &mut dyn Connection, name: &RepositoryName) -> Result<()> {
    connection.execute(
        "UPDATE repositories SET tags_version = CASE WHEN tags_version >= $1 THEN tags_version + 1 ELSE $1 END
         WHERE name = $2",
        &[now().into(), name.as_str().into()],
    )?;
    Ok(())
}

pub(crate) fn digest_of(
    connection: &mut dyn Connection,
    name: &RepositoryName,
    tag: &Tag,
) -> Result<Option<Digest>> {
    let row = connection.query_one(
        "SELECT digest FROM tags WHERE repository = $1 AND name = $2",
        &[name.as_str().into(), tag.as_str().into()],
    )?;
    Ok(row.map(|row| row.parsed(0)).transpose()?)
}
