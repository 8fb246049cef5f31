//! Manifest lists in the making, below `~/.docker/manifests` in the layout of Docker's client, so that both use the same ones.
//!
//! ```text
//! manifests/<list>/<manifest>      names with `:` as `-` and `/` as `_`
//! ```

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use havre_oci::{Descriptor, Digest, Document, Reference, media_type};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::contexts::read_file;
use crate::error::CliError;

/// A manifest of a list.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    /// The whole name it was added by.
    #[serde(rename = "Ref")]
    pub(crate) reference: String,
    /// With its platform.
    pub(crate) descriptor: Descriptor,
    /// The manifest, in base64.
    raw: String,
    /// The same for readers, of a Docker manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema_v2_manifest: Option<Box<RawValue>>,
    /// The same for readers, of an OCI manifest.
    #[serde(rename = "OCIManifest", default, skip_serializing_if = "Option::is_none")]
    oci_manifest: Option<Box<RawValue>>,
}

impl Listed {
    /// A manifest as the registry has it under `reference`; an index is none.
    pub(crate) fn new(
        reference: &Reference,
        descriptor: Descriptor,
        bytes: Vec<u8>,
    ) -> Result<Self, CliError> {
        let reference = reference.canonical();
        let invalid = |error: &dyn std::fmt::Display| CliError::Invalid(format!("{reference}: {error}"));
        let document =
            Document::parse(&bytes, Some(&descriptor.media_type)).map_err(|error| invalid(&error))?;
        if matches!(document, Document::Index(_)) {
            return Err(CliError::Invalid(format!("{reference} is a manifest list")));
        }
        let raw = STANDARD.encode(&bytes);
        let text = String::from_utf8(bytes).map_err(|error| invalid(&error))?;
        let readable = Some(RawValue::from_string(text).map_err(|error| invalid(&error))?);
        let is_oci = descriptor.media_type == media_type::OCI_MANIFEST;
        let (oci_manifest, schema_v2_manifest) = match is_oci {
            true => (readable, None),
            false => (None, readable),
        };
        Ok(Self {
            reference,
            descriptor,
            raw,
            schema_v2_manifest,
            oci_manifest,
        })
    }

    /// The manifest's bytes.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, CliError> {
        let broken = || CliError::Invalid(format!("the local manifest of {} is damaged", self.reference));
        let bytes = STANDARD.decode(&self.raw).map_err(|_| broken())?;
        if Digest::of(self.descriptor.digest.algorithm(), &bytes) != self.descriptor.digest {
            return Err(broken());
        }
        Ok(bytes)
    }
}

/// The lists below a configuration directory.
#[derive(Debug)]
pub(crate) struct Lists {
    directory: PathBuf,
}

impl Lists {
    pub(crate) fn new(config: &Path) -> Self {
        Self {
            directory: config.join("manifests"),
        }
    }

    fn list(&self, list: &Reference) -> PathBuf {
        self.directory.join(file_name(list))
    }

    /// The manifests of a list, by file name; `None` when there is no such list.
    pub(crate) fn get(&self, list: &Reference) -> Result<Option<Vec<Listed>>, CliError> {
        let entries = match fs::read_dir(self.list(list)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.retain(|path| path.file_name().is_some_and(|name| !is_aside(name)));
        paths.sort();
        let manifests: Result<Vec<_>, _> = paths.iter().map(|path| read(path)).collect();
        Ok(Some(manifests?).filter(|manifests| !manifests.is_empty()))
    }

    /// One manifest of a list.
    pub(crate) fn manifest(
        &self,
        list: &Reference,
        manifest: &Reference,
    ) -> Result<Option<Listed>, CliError> {
        let path = self.list(list).join(file_name(manifest));
        match path.exists() {
            true => read(&path).map(Some),
            false => Ok(None),
        }
    }

    /// Puts a manifest into a list, in place of one of the same name.
    pub(crate) fn put(
        &self,
        list: &Reference,
        manifest: &Reference,
        listed: &Listed,
    ) -> Result<(), CliError> {
        let directory = self.list(list);
        fs::create_dir_all(&directory)?;
        let aside = directory.join(format!(".{}", std::process::id()));
        fs::write(&aside, serde_json::to_vec(listed).map_err(io::Error::from)?)?;
        Ok(fs::rename(&aside, directory.join(file_name(manifest)))?)
    }

    /// Forgets a list; whether there was one.
    pub(crate) fn remove(&self, list: &Reference) -> Result<bool, CliError> {
        match fs::remove_dir_all(self.list(list)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn read(path: &Path) -> Result<Listed, CliError> {
    serde_json::from_slice(&read_file(path)?)
        .map_err(|error| CliError::Invalid(format!("{}: {error}", path.display())))
}

/// A whole name as the name of a file.
fn file_name(reference: &Reference) -> String {
    reference.canonical().replace(':', "-").replace('/', "_")
}

/// A file that was not finished.
fn is_aside(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
