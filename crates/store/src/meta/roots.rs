//! Which blobs the rows name: the roots of a collection.

use havre_oci::{Descriptor, Digest};

use super::{Meta, digest, json};
use crate::Result;

impl Meta {
    /// Configurations and manifests of images and what came with them, targets of references, repository digests; of removed images
    /// too.
    pub(crate) fn blob_roots(&self) -> Result<Vec<Digest>> {
        self.read("list blobs in use", |connection| {
            let mut roots = Vec::new();
            for names in [
                "SELECT id FROM images",
                "SELECT digest FROM repo_digests",
                "SELECT digest FROM image_blobs",
                "SELECT digest FROM removed_blobs",
            ] {
                let mut statement = connection.prepare_cached(names)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    roots.push(digest(row, 0)?);
                }
            }
            for descriptors in [
                "SELECT manifest FROM images WHERE manifest IS NOT NULL",
                "SELECT target FROM refs WHERE target IS NOT NULL",
            ] {
                let mut statement = connection.prepare_cached(descriptors)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    roots.push(json::<Descriptor>(row, 0)?.digest);
                }
            }
            Ok(roots)
        })
    }

    /// Whether a row names the blob directly.
    pub(crate) fn names_blob(&self, blob: &Digest) -> Result<bool> {
        self.read("find a blob's users", |connection| {
            connection
                .prepare_cached(
                    "SELECT 1 WHERE EXISTS (SELECT 1 FROM images WHERE id = ?1)
                        OR EXISTS (SELECT 1 FROM images WHERE manifest ->> 'digest' = ?1)
                        OR EXISTS (SELECT 1 FROM refs WHERE target ->> 'digest' = ?1)
                        OR EXISTS (SELECT 1 FROM repo_digests WHERE digest = ?1)
                        OR EXISTS (SELECT 1 FROM image_blobs WHERE digest = ?1)
                        OR EXISTS (SELECT 1 FROM layer_blobs WHERE digest = ?1)
                        OR EXISTS (SELECT 1 FROM removed_blobs WHERE digest = ?1)",
                )?
                .exists([blob.as_str()])
        })
    }
}
