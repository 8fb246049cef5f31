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
        self.reading(|connection| {
            let known = "SELECT 1 FROM repositories WHERE name = $1";
            if connection.query_one(known, &[name.as_str().into()])?.is_none() {
                return Err(StoreError::NameUnknown(name.to_string()));
            }
            let rows = connection.query(
                "SELECT name FROM tags WHERE repository = $1 AND name > $2 ORDER BY name LIMIT $3",
                &[name.as_str().into(), last.into(), Page::rows(limit).into()],
            )?;
            let names = rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?;
            Ok(Page::of(names, limit))
        })
    }

    /// The repositories behind `last`, sorted by bytes.
    pub fn repositories(&self, last: &str, limit: usize) -> Result<Page> {
        self.reading(|connection| {
            let rows = connection.query(
                "SELECT name FROM repositories WHERE name > $1 ORDER BY name LIMIT $2",
                &[last.into(), Page::rows(limit).into()],
            )?;
            let names = rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?;
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
        self.files().link_tag(name, tag, digest)
    }
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
