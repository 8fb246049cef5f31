//! Manifests that say they are about another (distribution specification, "Listing Referrers").

use std::collections::BTreeMap;

use havre_database::DatabaseError;
use havre_oci::Digest;
use serde::Serialize;

use crate::name::RepositoryName;
use crate::{RegistryStore, Result};

/// The descriptor of a manifest whose subject was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl RegistryStore {
    /// The manifests of a repository whose subject is `digest`, which need not be there; of one kind, if it is named.
    pub fn referrers(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>> {
        let rows = self.reading(|connection| {
            Ok(connection.query(
                "SELECT media_type, digest, size, artifact_type, annotations FROM manifests
                 WHERE repository = $1 AND subject = $2 ORDER BY added, digest",
                &[name.as_str().into(), digest.into()],
            )?)
        })?;
        let referrers = rows.iter().map(|row| {
            let annotations = row.text_or_null(4)?;
            let annotations = annotations.map(|text| serde_json::from_str(&text)).transpose();
            Ok(Referrer {
                media_type: row.text(0)?,
                digest: row.parsed(1)?,
                size: row.size(2)?,
                artifact_type: row.text_or_null(3)?,
                annotations: annotations
                    .map_err(|_| DatabaseError::not_a("a manifest's annotations"))?
                    .unwrap_or_default(),
            })
        });
        let referrers = referrers.collect::<Result<Vec<Referrer>>>()?;
        let wanted = |referrer: &Referrer| match artifact_type {
            Some(wanted) => referrer.artifact_type.as_deref() == Some(wanted),
            None => true,
        };
        Ok(referrers.into_iter().filter(wanted).collect())
    }
}
