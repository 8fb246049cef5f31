//! Docker's contexts: named endpoints under `~/.docker/contexts`, in the layout of Docker's client, so that both use the
//! same ones.
//!
//! ```text
//! contexts/meta/<sha256 of the name>/meta.json
//! contexts/tls/<sha256 of the name>/docker/{ca,cert,key}.pem
//! ```
//! `default` is what flags, `DOCKER_HOST` or this machine give; no file describes it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::tls::Material;
use crate::error::CliError;
use crate::input_stream::plain;
use crate::template::escape_html;

/// The context that no file describes.
pub(crate) const DEFAULT: &str = "default";
/// Its words.
pub(crate) const DEFAULT_DESCRIPTION: &str = "Current DOCKER_HOST based configuration";
/// The endpoint that counts here.
const DOCKER: &str = "docker";
/// No file of a context is larger.
pub(crate) const MAX_FILE: u64 = 10 << 20;

/// TLS files by endpoint and name.
pub(crate) type TlsFiles = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

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
    /// Those of other programs.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Where the engine of a context listens.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Docker {
    /// `unix://…`, `tcp://…` or `ssh://…`; empty is the engine of this machine.
    #[serde(rename = "Host", skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    /// Any certificate of the engine will do.
    #[serde(rename = "SkipTLSVerify")]
    pub(crate) skip_tls_verify: bool,
}

impl Context {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The words that describe it.
    pub(crate) fn description(&self) -> &str {
        self.metadata
            .get("Description")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn describe(&mut self, description: &str) {
        self.metadata.insert("Description".to_owned(), description.into());
    }

    /// As its file has it, byte for byte as Docker's client writes it.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, CliError> {
        let text = serde_json::to_string(self).map_err(io::Error::from)?;
        Ok(escape_html(&text).into_bytes())
    }
}

/// The contexts below a configuration directory.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

/// The file of a context, as errors name what is wrong with one.
fn unreadable(name: &str, path: &Path, error: &io::Error) -> CliError {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "context not found: open {}: no such file or directory",
                path.display()
            )
        }
        _ => error.to_string(),
    };
    CliError::Invalid(format!("context {name:?}: {reason}"))
}

/// Reads a file of bounded size, with Docker's words when that fails.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error: io::Error| CliError::Invalid(format!("open {}: {}", path.display(), plain(&error)));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .open(path)
        .map_err(failed)?;
    read_bounded(&path.display().to_string(), file)
}

/// Reads all of something that must not be large; `name` is for the error.
pub(crate) fn read_bounded(name: &str, from: impl Read) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::Invalid(format!("read {name}: {}", plain(&error))))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(CliError::Invalid(format!(
            "{name} is larger than {MAX_FILE} bytes"
        )));
    }
    Ok(bytes)
}

/// Whether a context may be called so; the error is Docker's.
pub(crate) fn check_name(name: &str) -> Result<(), CliError> {
    let first = |c: &char| c.is_ascii_alphanumeric();
    let rest = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    if name == DEFAULT {
        return Err(CliError::Invalid(format!("{name:?} is a reserved context name")));
    }
    if name.len() < 2 || !name.chars().next().as_ref().is_some_and(first) || !name.chars().all(rest) {
        return Err(CliError::Invalid(format!(
            "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        )));
    }
    Ok(())
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

    /// Whether there is such a context.
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.meta_path(name).join("meta.json").exists()
    }

    /// Reads one context.
    pub(crate) fn get(&self, name: &str) -> Result<Context, CliError> {
        let path = self.meta_path(name).join("meta.json");
        let bytes = fs::read(&path).map_err(|error| unreadable(name, &path, &error))?;
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

    /// All TLS files of a context.
    pub(crate) fn tls_files(&self, name: &str) -> Result<TlsFiles, CliError> {
        let list = |path: &Path| match fs::read_dir(path) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let named = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut all = TlsFiles::new();
        for endpoint in list(&self.tls_path(name))? {
            let mut files = BTreeMap::new();
            for file in list(&endpoint.path())? {
                files.insert(named(&file), read_file(&file.path())?);
            }
            all.insert(named(&endpoint), files);
        }
        Ok(all)
    }

    /// The TLS files that count for the engine.
    pub(crate) fn material(&self, name: &str) -> Result<Material, CliError> {
        let mut files = self.tls_files(name)?.remove(DOCKER).unwrap_or_default();
        Ok(Material {
            ca: files.remove("ca.pem"),
            certificate: files.remove("cert.pem"),
            key: files.remove("key.pem"),
        })
    }

    /// Writes a context, new or again, with these TLS files and no others. TLS files are closed to others.
    pub(crate) fn put(&self, context: &Context, tls: &TlsFiles) -> Result<(), CliError> {
        let tls_path = self.tls_path(&context.name);
        remove_tree(&tls_path)?;
        for (endpoint, files) in tls {
            let directory = tls_path.join(endpoint);
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory);
            made.map_err(|error| {
                CliError::Invalid(format!("mkdir {}: {}", directory.display(), plain(&error)))
            })?;
            for (file, bytes) in files {
                havre_sys::atomic::write_relaxed(&directory.join(file), bytes, 0o600)?;
            }
        }
        // Last, because it is what makes the context be there.
        let directory = self.meta_path(&context.name);
        fs::create_dir_all(&directory)?;
        havre_sys::atomic::write_relaxed(&directory.join("meta.json"), &context.to_json()?, 0o644)?;
        Ok(())
    }

    /// Removes a context and its TLS files.
    pub(crate) fn remove(&self, name: &str) -> Result<(), CliError> {
        remove_tree(&self.meta_path(name))?;
        remove_tree(&self.tls_path(name))
    }
}

impl Material {
    /// As a context stores it.
    pub(crate) fn into_files(self) -> TlsFiles {
        let named = [
            ("ca.pem", self.ca),
            ("cert.pem", self.certificate),
            ("key.pem", self.key),
        ];
        let files: BTreeMap<String, Vec<u8>> = named
            .into_iter()
            .filter_map(|(name, bytes)| Some((name.to_owned(), bytes?)))
            .collect();
        match files.is_empty() {
            true => TlsFiles::new(),
            false => TlsFiles::from([(DOCKER.to_owned(), files)]),
        }
    }
}

fn remove_tree(path: &Path) -> Result<(), CliError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
