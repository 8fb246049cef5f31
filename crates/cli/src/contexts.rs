//! Docker's contexts: named endpoints under `~/.docker/contexts`.
//!
//! Each is a file `meta/<sha256 of its name>/meta.json`. `default` is what `-H`, `DOCKER_HOST` or this machine give.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::CliError;

/// The context that no file describes.
pub(crate) const DEFAULT: &str = "default";

/// A context as its file has it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Context {
    /// Its name.
    pub(crate) name: String,
    /// Description and what else clients put there.
    pub(crate) metadata: serde_json::Map<String, Value>,
    /// Endpoints; the one called `docker` counts.
    pub(crate) endpoints: Endpoints,
}

/// The endpoints of a context.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Endpoints {
    /// The engine's.
    pub(crate) docker: Docker,
}

/// Where the engine of a context listens.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Docker {
    /// `unix://…` or `tcp://…`.
    #[serde(rename = "Host")]
    pub(crate) host: String,
    /// Kept for output only: TLS is not spoken.
    #[serde(rename = "SkipTLSVerify")]
    pub(crate) skip_tls_verify: bool,
}

impl Context {
    /// The words that describe it.
    pub(crate) fn description(&self) -> &str {
        self.metadata
            .get("Description")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// The contexts below a configuration directory.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Nothing is read yet.
    pub(crate) fn new(config: &Path) -> Self {
        Self {
            directory: config.join("contexts"),
        }
    }

    /// The directory of a context's metadata.
    pub(crate) fn meta_path(&self, name: &str) -> PathBuf {
        self.directory
            .join("meta")
            .join(Digest::sha256_of(name.as_bytes()).hex())
    }

    /// The directory of a context's TLS material.
    pub(crate) fn tls_path(&self, name: &str) -> PathBuf {
        self.directory
            .join("tls")
            .join(Digest::sha256_of(name.as_bytes()).hex())
    }

    /// Reads one context.
    pub(crate) fn get(&self, name: &str) -> Result<Context, CliError> {
        let path = self.meta_path(name).join("meta.json");
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CliError::Invalid(format!(
                "context \"{name}\": context not found: open {}: no such file or directory",
                path.display()
            )),
            _ => error.into(),
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|error| CliError::Invalid(format!("context \"{name}\": {}: {error}", path.display())))
    }

    /// All contexts with a file, by name.
    pub(crate) fn list(&self) -> Result<Vec<Context>, CliError> {
        let entries = match fs::read_dir(self.directory.join("meta")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut contexts = Vec::new();
        for entry in entries {
            let path = entry?.path().join("meta.json");
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let context: Context = serde_json::from_slice(&bytes)
                .map_err(|error| CliError::Invalid(format!("{}: {error}", path.display())))?;
            contexts.push(context);
        }
        contexts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(contexts)
    }
}
