//! `~/.docker/config.json`: what is read of it, and how it is changed without losing what is not understood.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::CliError;
use crate::input_stream::plain;
use crate::vault::Vault;

/// The keys that are understood.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConfigFile {
    /// Credentials by registry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) auths: BTreeMap<String, AuthEntry>,
    /// Helper that stores all credentials.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) creds_store: String,
    /// Helpers by registry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) cred_helpers: BTreeMap<String, String>,
    /// The context in use.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) current_context: String,
    /// Key sequence that detaches from a container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detach_keys: String,
    /// Default `--format` of `ps`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) ps_format: String,
    /// Default `--format` of `images`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) images_format: String,
    /// Default `--format` of `volume ls`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) volumes_format: String,
    /// Default `--format` of `network ls`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) networks_format: String,
    /// Everything else.
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
    /// The credentials that are not in this file but beside it.
    #[serde(skip)]
    pub(crate) vault: Vault,
}

/// Credentials for one registry as the file has them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct AuthEntry {
    /// `user:password` in base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) auth: String,
    /// A token that stands for the password.
    #[serde(rename = "identitytoken", skip_serializing_if = "String::is_empty")]
    pub(crate) identity_token: String,
    /// Everything else.
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
}

impl ConfigFile {
    /// Reads the file in `directory`; a missing file is an empty one.
    pub(crate) fn read(directory: &Path) -> Result<Self, CliError> {
        let path = directory.join("config.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut config = match bytes.iter().all(u8::is_ascii_whitespace) {
            true => Self::default(),
            false => serde_json::from_slice(&bytes).map_err(|error| {
                CliError::Invalid(format!("{}: invalid configuration: {error}", path.display()))
            })?,
        };
        config.vault = Vault::new(directory);
        Ok(config)
    }

    /// Writes the file aside with mode 0600 and renames it into place; a link is followed first. A directory that is
    /// missing is made with mode 0700: what the file holds may be passwords.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), CliError> {
        private_directory(directory)?;
        let path = directory.join("config.json");
        let path: PathBuf = fs::canonicalize(&path).unwrap_or(path);
        let mut bytes = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        bytes.push(b'\n');
        // Docker indents with tabs.
        let text = tabbed(&String::from_utf8_lossy(&bytes));
        let aside = path.with_file_name(format!("config.json{}", std::process::id()));
        let mode = fs::metadata(&path)
            .map(|meta| meta.permissions().mode() & 0o777)
            .unwrap_or(0o600);
        let result = (|| -> io::Result<()> {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(mode)
                .open(&aside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, &path)
        })();
        if result.is_err() {
            let _ = fs::remove_file(&aside);
        }
        Ok(result?)
    }

    /// The helper responsible for a registry.
    pub(crate) fn helper(&self, registry: &str) -> Option<&str> {
        self.cred_helpers
            .get(registry)
            .map(String::as_str)
            .or((!self.creds_store.is_empty()).then_some(self.creds_store.as_str()))
    }
}

/// Makes a directory and its parents, closed to others. One that is there keeps its mode.
pub(crate) fn private_directory(directory: &Path) -> Result<(), CliError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(|error| CliError::Invalid(format!("mkdir {}: {}", directory.display(), plain(&error))))
}

/// Two blanks of indentation become a tab.
fn tabbed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let blanks = line.len() - line.trim_start_matches(' ').len();
        out.push_str(&"\t".repeat(blanks / 2));
        out.push_str(&line[blanks..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_survive_a_rewrite() {
        let directory = tempfile::tempdir().unwrap();
        let text =
            r#"{"auths":{"r.example":{"auth":"eDp5","email":"e"}},"plugins":{"x":{"y":"1"}},"proxies":{}}"#;
        fs::write(directory.path().join("config.json"), text).unwrap();
        let mut config = ConfigFile::read(directory.path()).unwrap();
        assert_eq!(config.auths["r.example"].auth, "eDp5");
        config.current_context = "box".to_owned();
        config.write(directory.path()).unwrap();
        let written: Value =
            serde_json::from_slice(&fs::read(directory.path().join("config.json")).unwrap()).unwrap();
        assert_eq!(written["plugins"]["x"]["y"], "1");
        assert_eq!(written["auths"]["r.example"]["email"], "e");
        assert_eq!(written["currentContext"], "box");
    }

    #[test]
    fn a_new_file_and_its_directory_are_private() {
        let home = tempfile::tempdir().unwrap();
        let mode = |path: &str| fs::metadata(home.path().join(path)).unwrap().permissions().mode() & 0o777;
        let directory = home.path().join("new/.docker");
        ConfigFile::default().write(&directory).unwrap();
        assert_eq!(
            (mode("new"), mode("new/.docker"), mode("new/.docker/config.json")),
            (0o700, 0o700, 0o600)
        );
        fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        ConfigFile::default().write(&directory).unwrap();
        assert_eq!(mode("new/.docker"), 0o755, "the modes of a user's own are his");
        fs::write(home.path().join("file"), "").unwrap();
        let error = ConfigFile::default()
            .write(&home.path().join("file/.docker"))
            .unwrap_err();
        assert!(error.to_string().contains("file/.docker"), "{error}");
    }

    #[test]
    fn a_missing_file_is_empty_and_a_broken_one_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        assert!(ConfigFile::read(directory.path()).unwrap().auths.is_empty());
        fs::write(directory.path().join("config.json"), "{").unwrap();
        let error = ConfigFile::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
    }
}
