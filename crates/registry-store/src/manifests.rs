//! Manifests: what they must be to be taken, and how they come and go.

use std::collections::{BTreeMap, BTreeSet};

use havre_oci::{Descriptor, Digest, Document, media_type};
use serde::Deserialize;

use crate::blobs::{
    insert_blob, lock_bytes, lock_repository, make_repository, refuse_if_used, size_in, touch_blob,
};
use crate::name::{Identifier, RepositoryName, Tag};
use crate::tags::{digest_of, note_change};
use crate::{MAX_MANIFEST, RegistryStore, Result, StoreError};
use havre_database::{Connection, Value, now};

/// A manifest that is there, by what is known without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub media_type: String,
    /// In bytes.
    pub size: u64,
}

/// Whether something may be done to a manifest, by rules that are not the store's.
pub type Allowed<'a> = &'a dyn Fn(&mut dyn Connection, &Digest) -> Result<()>;

/// What became of a manifest that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutManifest {
    pub digest: Digest,
    /// The manifest it is about.
    pub subject: Option<Digest>,
}

/// What there is to know of a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) media_type: String,
    pub(crate) subject: Option<Digest>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// It cannot do without them.
    pub(crate) blobs: BTreeSet<Digest>,
    pub(crate) manifests: BTreeSet<Digest>,
}

/// A manifest of a kind that is not known: what all kinds have in common.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unknown {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    blobs: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn invalid(reason: impl std::fmt::Display) -> StoreError {
    StoreError::ManifestInvalid(reason.to_string())
}

/// Blobs that registries do not keep are not asked for.
fn digests<'a>(descriptors: impl IntoIterator<Item = &'a Descriptor>) -> BTreeSet<Digest> {
    let kept = |descriptor: &&Descriptor| !media_type::is_nondistributable(&descriptor.media_type);
    let kept = descriptors.into_iter().filter(kept);
    kept.map(|descriptor| descriptor.digest.clone()).collect()
}

impl Identifier {
    /// The digest of what it stands for; an error if it stands for something else.
    pub(crate) fn digest_of(&self, bytes: &[u8]) -> Result<Digest> {
        let Self::Digest(expected) = self else {
            return Ok(Digest::sha256_of(bytes));
        };
        let actual = Digest::of(expected.algorithm(), bytes);
        match actual == *expected {
            true => Ok(actual),
            false => Err(StoreError::DigestMismatch {
                expected: expected.clone(),
                actual,
            }),
        }
    }
}

impl Facts {
    /// Reads a manifest that came with this `Content-Type`.
    pub(crate) fn read(bytes: &[u8], content_type: Option<&str>) -> Result<Self> {
        let size = bytes.len() as u64;
        if size > MAX_MANIFEST {
            let limit = MAX_MANIFEST;
            return Err(StoreError::ManifestTooLarge { size, limit });
        }
        let served = content_type.map(media_type::essence).filter(|served| {
            // What generic clients send.
            !matches!(*served, "" | "application/json" | "application/octet-stream")
        });
        let unknown: Unknown = serde_json::from_slice(bytes).map_err(invalid)?;
        let inside = unknown.media_type.as_deref().filter(|inside| !inside.is_empty());
        if let (Some(inside), Some(served)) = (inside, served)
            && inside != served
        {
            return Err(invalid(format!(
                "the manifest says it is {inside:?}, but was sent as {served:?}"
            )));
        }
        let named = inside.or(served);
        let is_known = |media_type: &str| {
            media_type::is_index(media_type)
                || media_type::is_manifest(media_type)
                || media_type::is_schema1(media_type)
        };
        if named.is_some_and(|named| !is_known(named)) {
            return Ok(Self {
                media_type: named.unwrap_or_default().to_owned(),
                blobs: digests(unknown.config.iter().chain(&unknown.layers).chain(&unknown.blobs)),
                manifests: digests(&unknown.manifests),
                subject: unknown.subject.map(|subject| subject.digest),
                artifact_type: unknown
                    .artifact_type
                    .or_else(|| unknown.config.map(|config| config.media_type)),
                annotations: unknown.annotations,
            });
        }
        match Document::parse(bytes, served).map_err(invalid)? {
            Document::Manifest(manifest) => Ok(Self {
                blobs: digests([&manifest.config].into_iter().chain(&manifest.layers)),
                manifests: BTreeSet::new(),
                media_type: manifest.media_type,
                subject: manifest.subject.map(|subject| subject.digest),
                artifact_type: manifest
                    .artifact_type
                    .filter(|kind| !kind.is_empty())
                    .or(Some(manifest.config.media_type)),
                annotations: manifest.annotations,
            }),
            Document::Index(index) => Ok(Self {
                blobs: BTreeSet::new(),
                manifests: digests(&index.manifests),
                media_type: index.media_type,
                subject: index.subject.map(|subject| subject.digest),
                artifact_type: index.artifact_type,
                annotations: index.annotations,
            }),
        }
    }
}

impl RegistryStore {
    /// What a tag or digest of a repository stands for.
    pub fn find_manifest(&self, name: &RepositoryName, wanted: &Identifier) -> Result<Stored> {
        self.reading(|connection| {
            let digest = match wanted {
                Identifier::Digest(digest) => Some(digest.clone()),
                Identifier::Tag(tag) => digest_of(connection, name, tag)?,
            };
            let found = match digest {
                Some(digest) => stored(connection, name, &digest)?,
                None => None,
            };
            found.ok_or_else(|| StoreError::ManifestUnknown(wanted.to_string()))
        })
    }

    /// The same with its bytes.
    pub fn manifest(&self, name: &RepositoryName, wanted: &Identifier) -> Result<(Stored, Vec<u8>)> {
        let stored = self.find_manifest(name, wanted)?;
        let bytes = self.files().read(&stored.digest)?;
        Ok((stored, bytes))
    }

    /// Takes a manifest, and lets a tag stand for it or checks it against a digest. All it names but its subject must be in the
    /// repository.
    pub fn put_manifest(
        &self,
        name: &RepositoryName,
        wanted: &Identifier,
        content_type: Option<&str>,
        bytes: &[u8],
    ) -> Result<PutManifest> {
        self.put_manifest_if(name, wanted, content_type, bytes, &|_, _| Ok(()))
    }

    /// The same if it is `allowed`, which is asked in the transaction, before anything else changes the repository.
    pub fn put_manifest_if(
        &self,
        name: &RepositoryName,
        wanted: &Identifier,
        content_type: Option<&str>,
        bytes: &[u8],
        allowed: Allowed<'_>,
    ) -> Result<PutManifest> {
        let facts = Facts::read(bytes, content_type)?;
        let digest = wanted.digest_of(bytes)?;
        let ready = |connection: &mut dyn Connection| {
            allowed(connection, &digest)?;
            complete(connection, name, &facts)
        };
        // Before bytes are written for nothing; they count within the transaction only.
        self.reading(ready)?;
        self.files().write(&digest, bytes)?;
        self.writing(|connection| {
            lock_repository(connection, name)?;
            lock_bytes(connection, &digest)?;
            ready(connection)?;
            self.take_manifest(connection, name, wanted, &digest, bytes, &facts)
        })?;
        Ok(PutManifest {
            digest,
            subject: facts.subject,
        })
    }

    /// Takes a manifest whose bytes were written, and [whose digest](lock_bytes) and [repository](lock_repository) are locked.
    pub(crate) fn take_manifest(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
        wanted: &Identifier,
        digest: &Digest,
        bytes: &[u8],
        facts: &Facts,
    ) -> Result<()> {
        // They may have been taken away meanwhile (`collect.rs`).
        self.files().write(digest, bytes)?;
        insert_blob(connection, digest, bytes.len() as u64)?;
        self.insert_manifest(connection, name, digest, bytes.len() as u64, facts)?;
        match wanted {
            Identifier::Tag(tag) => self.set_tag(connection, name, tag, digest),
            Identifier::Digest(_) => Ok(()),
        }
    }

    /// Takes a manifest away, with the tags that stand for it. One that an index of the repository names stays.
    pub fn delete_manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        self.delete_manifest_if(name, digest, &|_, _| Ok(()))
    }

    /// The same if it is `allowed`, which is asked in the transaction, before anything else changes the repository.
    pub fn delete_manifest_if(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        allowed: Allowed<'_>,
    ) -> Result<()> {
        self.writing(|connection| {
            lock_repository(connection, name)?;
            allowed(connection, digest)?;
            if stored(connection, name, digest)?.is_none() {
                return Err(StoreError::ManifestUnknown(digest.to_string()));
            }
            refuse_if_used(connection, name, digest)?;
            touch_blob(connection, digest)?;
            forget_manifest(self, connection, name, digest)
        })
    }

    pub(crate) fn insert_manifest(
        &self,
        connection: &mut dyn Connection,
        name: &RepositoryName,
        digest: &Digest,
        size: u64,
        facts: &Facts,
    ) -> Result<()> {
        make_repository(connection, name)?;
        let annotations = match facts.annotations.is_empty() {
            true => None,
            false => Some(serde_json::to_string(&facts.annotations).map_err(invalid)?),
        };
        connection.execute(
            "INSERT INTO manifests
                 (repository, digest, media_type, size, subject, artifact_type, annotations, added)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            &[
                name.as_str().into(),
                digest.into(),
                facts.media_type.as_str().into(),
                (size as i64).into(),
                facts.subject.as_ref().into(),
                facts.artifact_type.as_deref().into(),
                annotations.as_deref().into(),
                now().into(),
            ],
        )?;
        for part in facts.blobs.iter().chain(&facts.manifests) {
            connection.execute(
                "INSERT INTO parts (repository, manifest, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                &[name.as_str().into(), digest.into(), part.into()],
            )?;
        }
        self.files().link_revision(name, digest)
    }
}

/// Takes a manifest away from a repository, whoever needs it, with the tags that stand for it.
pub(crate) fn forget_manifest(
    store: &RegistryStore,
    connection: &mut dyn Connection,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<()> {
    let which = [name.as_str().into(), Value::from(digest)];
    let tags = connection.query(
        "SELECT name FROM tags WHERE repository = $1 AND digest = $2",
        &which,
    )?;
    for sql in [
        "DELETE FROM tags WHERE repository = $1 AND digest = $2",
        "DELETE FROM parts WHERE repository = $1 AND manifest = $2",
        "DELETE FROM manifests WHERE repository = $1 AND digest = $2",
    ] {
        connection.execute(sql, &which)?;
    }
    if !tags.is_empty() {
        note_change(connection, name)?;
    }
    for tag in tags {
        let tag: Tag = tag.parsed(0)?;
        store.files().unlink_tag(name, &tag)?;
    }
    store.files().unlink_revision(name, digest)
}

/// An error unless everything a manifest names is there.
fn complete(connection: &mut dyn Connection, name: &RepositoryName, facts: &Facts) -> Result<()> {
    for blob in &facts.blobs {
        if size_in(connection, name, blob)?.is_none() {
            return Err(StoreError::PartUnknown(blob.clone()));
        }
    }
    for manifest in &facts.manifests {
        if stored(connection, name, manifest)?.is_none() {
            return Err(StoreError::PartUnknown(manifest.clone()));
        }
    }
    Ok(())
}

pub(crate) fn stored(
    connection: &mut dyn Connection,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Stored>> {
    let row = connection.query_one(
        "SELECT media_type, size FROM manifests WHERE repository = $1 AND digest = $2",
        &[name.as_str().into(), digest.into()],
    )?;
    let stored = row.map(|row| {
        Ok(Stored {
            digest: digest.clone(),
            media_type: row.text(0)?,
            size: row.size(1)?,
        })
    });
    stored.transpose()
}
