//! Takes over what storage of the reference registry holds: the database of what its links say.

use havre_oci::Digest;

use crate::blobs::insert_blob;
use crate::layout;
use crate::manifests::Facts;
use crate::name::{RepositoryName, Tag};
use crate::{MAX_MANIFEST, RegistryStore, Result, StoreError};
use havre_database::{Connection, now};

const MILESTONE: &str = "adopted";

impl RegistryStore {
    /// Tells the database what is in the files, once in its life. What is damaged there is left out, and said.
    pub(crate) fn adopt(&self) -> Result<()> {
        if self.reading(|connection| is_adopted(connection))? {
            return Ok(());
        }
        let mut repositories = Vec::new();
        self.files().each_repository(&mut |name, names| {
            if names
                .iter()
                .any(|name| matches!(name.as_str(), "_manifests" | "_layers"))
            {
                repositories.push(name);
            }
            Ok(())
        })?;
        self.writing(|connection| {
            connection.lock(MILESTONE)?;
            if is_adopted(connection)? {
                return Ok(());
            }
            for name in &repositories {
                self.adopt_repository(connection, name)?;
            }
            connection.execute(
                "INSERT INTO milestones (name, reached) VALUES ($1, $2)",
                &[MILESTONE.into(), now().into()],
            )?;
            Ok(())
        })?;
        if !repositories.is_empty() {
            tracing::info!(
                repositories = repositories.len(),
                "took over what the reference registry left"
            );
        }
        Ok(())
    }

    fn adopt_repository(&self, connection: &mut dyn Connection, name: &RepositoryName) -> Result<()> {
        crate::blobs::make_repository(connection, name)?;
        for digest in self.files().linked(&layout::layers(name))? {
            match self.files().size(&digest)? {
                Some(size) => {
                    insert_blob(connection, &digest, size)?;
                    self.give(connection, name, &digest)?;
                }
                None => tracing::warn!(repository = %name, %digest, "a blob is missing"),
            }
        }
        for digest in self.files().linked(&layout::revisions(name))? {
            match self.read_revision(&digest) {
                Ok((size, facts)) => {
                    insert_blob(connection, &digest, size)?;
                    self.insert_manifest(connection, name, &digest, size, &facts)?;
                }
                Err(error) => {
                    tracing::warn!(repository = %name, %digest, %error, "a manifest cannot be used");
                }
            }
        }
        for tag in self.files().storage.names(&layout::tags(name))? {
            let Ok(tag) = tag.parse::<Tag>() else { continue };
            let Some(digest) = self.files().tag_link(name, &tag)? else {
                continue;
            };
            let known = connection.query_one(
                "SELECT 1 FROM manifests WHERE repository = $1 AND digest = $2",
                &[name.as_str().into(), (&digest).into()],
            )?;
            match known {
                Some(_) => self.set_tag(connection, name, &tag, &digest)?,
                None => tracing::warn!(repository = %name, %tag, %digest, "a tag stands for nothing"),
            }
        }
        Ok(())
    }

    fn read_revision(&self, digest: &Digest) -> Result<(u64, Facts)> {
        match self.files().size(digest)? {
            None => return Err(StoreError::BlobUnknown(digest.clone())),
            Some(size) if size > MAX_MANIFEST => {
                let limit = MAX_MANIFEST;
                return Err(StoreError::ManifestTooLarge { size, limit });
            }
            Some(_) => {}
        }
        let bytes = self.files().read(digest)?;
        let actual = Digest::of(digest.algorithm(), &bytes);
        if actual != *digest {
            let expected = digest.clone();
            return Err(StoreError::DigestMismatch { expected, actual });
        }
        Ok((bytes.len() as u64, Facts::read(&bytes, None)?))
    }
}

fn is_adopted(connection: &mut dyn Connection) -> Result<bool> {
    let reached = connection.query_one(
        "SELECT reached FROM milestones WHERE name = $1",
        &[MILESTONE.into()],
    )?;
    Ok(reached.is_some())
}
