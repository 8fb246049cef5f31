//! Takes over what a folder of the reference registry holds: the database of what its links say.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::{Algorithm, Digest};

use crate::blobs::insert_blob;
use crate::files::read_link;
use crate::manifests::Facts;
use crate::name::{RepositoryName, Tag};
use crate::{MAX_MANIFEST, RegistryStore, Result, StoreError};
use havre_database::{Connection, now};

const MILESTONE: &str = "adopted";

impl RegistryStore {
    /// Tells the database what is in the files, once in its life. What is damaged there is left out, and said.
    pub(crate) fn adopt(&self) -> Result<()> {
        let reached = self.reading(|connection| {
            Ok(connection.query_one(
                "SELECT reached FROM milestones WHERE name = $1",
                &[MILESTONE.into()],
            )?)
        })?;
        if reached.is_some() {
            return Ok(());
        }
        let mut repositories = Vec::new();
        find_repositories(&self.files().layout.repositories(), "", &mut repositories)?;
        self.writing(|connection| {
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
                "took over a folder of the reference registry"
            );
        }
        Ok(())
    }

    fn adopt_repository(&self, connection: &mut dyn Connection, name: &RepositoryName) -> Result<()> {
        crate::blobs::make_repository(connection, name)?;
        let folder = self.files().layout.repository(name);
        for digest in linked(&folder.join("_layers"))? {
            match self.files().size(&digest)? {
                Some(size) => {
                    insert_blob(connection, &digest, size)?;
                    self.give(connection, name, &digest)?;
                }
                None => tracing::warn!(repository = %name, %digest, "a blob is missing"),
            }
        }
        for digest in linked(&folder.join("_manifests/revisions"))? {
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
        for tag in names(&folder.join("_manifests/tags"))? {
            let Ok(tag) = tag.parse::<Tag>() else { continue };
            let Some(digest) = read_link(&self.files().layout.current_link(name, &tag))? else {
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

/// The names in a folder, sorted; none if there is no folder.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", folder))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The digests that have a folder with a link to them.
fn linked(folder: &Path) -> Result<Vec<Digest>> {
    let mut digests = Vec::new();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let folder = folder.join(algorithm.name());
        for hex in names(&folder)? {
            let named = format!("{algorithm}:{hex}").parse::<Digest>();
            if let (Ok(named), Some(linked)) = (named, read_link(&folder.join(&hex).join("link"))?)
                && named == linked
            {
                digests.push(linked);
            }
        }
    }
    Ok(digests)
}

/// Folders that have what repositories have, however deep; `name` is the way to `folder`.
fn find_repositories(folder: &Path, name: &str, found: &mut Vec<RepositoryName>) -> Result<()> {
    for entry in names(folder)? {
        let inner: PathBuf = folder.join(&entry);
        if entry.starts_with('_') || !inner.is_dir() {
            continue;
        }
        let name = match name {
            "" => entry,
            name => format!("{name}/{entry}"),
        };
        let Ok(valid) = name.parse::<RepositoryName>() else {
            continue;
        };
        if inner.join("_manifests").is_dir() || inner.join("_layers").is_dir() {
            found.push(valid);
        }
        find_repositories(&inner, &name, found)?;
    }
    Ok(())
}
