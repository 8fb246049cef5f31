//! Builders of `buildx`, below `~/.docker/buildx` in the layout of Docker's plugin, so that both know the same ones.
//!
//! ```text
//! buildx/instances/<name>                a builder and its nodes
//! buildx/current                         the one in use, and for which endpoint
//! buildx/defaults/<sha256 of endpoint>   the one an endpoint begins with
//! ```
//! A node is an engine: the engine builds by itself, for every platform it can run, so a builder made here starts no
//! container. It is written down as the plugin's usual kind, whose nodes are engines as well. Every context is a builder
//! too, of one node; no file describes those.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::{Digest, Platform};
use serde::{Deserialize, Deserializer, Serialize};

use crate::contexts::{DEFAULT, read_file};
use crate::error::CliError;
use crate::settings::Settings;

/// The kind of the context's own builder, and of those made here as people see it: the engine builds.
pub(crate) const ENGINE: &str = "docker";
/// The kind written to files.
const ENGINE_IN_FILES: &str = "docker-container";

/// A builder.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Builder {
    /// Its name, lower case.
    pub(crate) name: String,
    /// How its nodes are reached; see [`Builder::kind`].
    driver: String,
    /// In the order they were added.
    #[serde(deserialize_with = "or_default")]
    pub(crate) nodes: Vec<Node>,
    /// What the plugin keeps beside it.
    dynamic: bool,
}

/// An engine that builds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// An address (`unix://…`, `tcp://…`, `ssh://…`) or the name of a context.
    pub(crate) endpoint: String,
    /// Platforms it is to build, where somebody chose them.
    #[serde(deserialize_with = "or_default")]
    pub(crate) platforms: Vec<Platform>,
}

/// The builder in use.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Current {
    /// The endpoint it was chosen for.
    key: String,
    /// Empty is the endpoint's own.
    name: String,
    /// Whether it counts for all endpoints.
    global: bool,
}

/// A list as Go writes it: an empty one may be `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Builder {
    /// Without nodes.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            driver: ENGINE_IN_FILES.to_owned(),
            ..Self::default()
        }
    }

    /// The builder that a context is.
    pub(crate) fn of_context(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            driver: ENGINE.to_owned(),
            nodes: vec![Node {
                name: name.to_owned(),
                endpoint: name.to_owned(),
                platforms: Vec::new(),
            }],
            dynamic: false,
        }
    }

    /// What its nodes are, as people see it: engines, or something this program cannot reach.
    pub(crate) fn kind(&self) -> &str {
        match self.driver.as_str() {
            "" | ENGINE_IN_FILES => ENGINE,
            other => other,
        }
    }

    /// Whether its nodes are engines.
    pub(crate) fn is_reachable(&self) -> bool {
        self.kind() == ENGINE
    }

    /// The node that is to build for a platform: the first that was chosen for it, or else the first.
    pub(crate) fn node_for(&self, platform: Option<&Platform>) -> Option<&Node> {
        let chosen = |node: &&Node| {
            platform.is_some_and(|wanted| node.platforms.iter().any(|platform| wanted.matches(platform)))
        };
        self.nodes.iter().find(chosen).or_else(|| self.nodes.first())
    }
}

/// Whether a builder may be called so.
pub(crate) fn check_name(name: &str) -> Result<(), CliError> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_uppercase();
    let rest = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.starts_with(first) || !name.chars().all(rest) {
        return Err(CliError::Invalid(format!(
            "invalid builder name {name:?}: it begins with a letter and holds letters, digits and . _ -"
        )));
    }
    Ok(())
}

/// The builders below a configuration directory.
#[derive(Debug)]
pub(crate) struct Builders {
    directory: PathBuf,
}

impl Builders {
    pub(crate) fn new(config: &Path) -> Self {
        let own = std::env::var_os("BUILDX_CONFIG").filter(|value| !value.is_empty());
        Self {
            directory: own.map_or_else(|| config.join("buildx"), PathBuf::from),
        }
    }

    fn instance(&self, name: &str) -> PathBuf {
        self.directory.join("instances").join(name.to_ascii_lowercase())
    }

    fn default_of(&self, endpoint: &str) -> PathBuf {
        self.directory
            .join("defaults")
            .join(Digest::sha256_of(endpoint.as_bytes()).hex())
    }

    /// A builder with a file.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Builder>, CliError> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        json(&self.instance(name))
    }

    /// All builders with a file, by name.
    pub(crate) fn list(&self) -> Result<Vec<Builder>, CliError> {
        let entries = match fs::read_dir(self.directory.join("instances")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut builders = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            // What is being written has a name that no builder may have.
            if let Some(builder) = name.to_str().map(|name| self.get(name)).transpose()?.flatten() {
                builders.push(builder);
            }
        }
        builders.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(builders)
    }

    /// Writes a builder, new or again.
    pub(crate) fn put(&self, builder: &Builder) -> Result<(), CliError> {
        write(&self.instance(&builder.name), builder)
    }

    /// Removes a builder.
    pub(crate) fn remove(&self, name: &str) -> Result<(), CliError> {
        remove(&self.instance(name))
    }

    /// The builder in use for an endpoint; `None` is the endpoint's own.
    pub(crate) fn current(&self, endpoint: &str) -> Result<Option<String>, CliError> {
        let current: Current = json(&self.directory.join("current"))?.unwrap_or_default();
        let name = match current.key == endpoint || current.global {
            true => current.name,
            false => match fs::read_to_string(self.default_of(endpoint)) {
                Ok(name) => name.trim().to_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Some(name).filter(|name| !name.is_empty()))
    }

    /// Sets the builder in use. `global`: whatever the endpoint is. `default`: the endpoint begins with it when another
    /// has been in use between.
    pub(crate) fn choose(
        &self,
        endpoint: &str,
        name: &str,
        global: bool,
        default: bool,
    ) -> Result<(), CliError> {
        let current = Current {
            key: endpoint.to_owned(),
            name: name.to_owned(),
            global,
        };
        write(&self.directory.join("current"), &current)?;
        let file = self.default_of(endpoint);
        match default {
            true => {
                fs::create_dir_all(self.directory.join("defaults"))?;
                Ok(havre_sys::atomic::write_relaxed(&file, name.as_bytes(), 0o600)?)
            }
            false => remove(&file),
        }
    }
}

/// What the builder in use is kept by: the context, or the address where none is set.
pub(crate) fn endpoint_key(settings: &Settings) -> Result<String, CliError> {
    let context = settings.context_name()?;
    if context != DEFAULT {
        return Ok(context);
    }
    Ok(settings.default_context()?.0.endpoints.docker.host)
}

fn json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, CliError> {
    if !path.exists() {
        return Ok(None);
    }
    serde_json::from_slice(&read_file(path)?)
        .map(Some)
        .map_err(|error| CliError::Invalid(format!("{}: {error}", path.display())))
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), CliError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let bytes = serde_json::to_vec(value).map_err(io::Error::from)?;
    Ok(havre_sys::atomic::write_relaxed(path, &bytes, 0o600)?)
}

fn remove(path: &Path) -> Result<(), CliError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_dockers_plugin_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let builders = Builders {
            directory: directory.path().to_owned(),
        };
        fs::create_dir_all(directory.path().join("instances")).unwrap();
        let text = r#"{"Name":"multiarch","Driver":"docker-container","Nodes":[
            {"Name":"multiarch0","Endpoint":"unix:///var/run/docker.sock","Platforms":null,"DriverOpts":null,"Flags":null,"Files":null},
            {"Name":"arm","Endpoint":"far","Platforms":[{"architecture":"arm64","os":"linux"}],"DriverOpts":null,"Flags":null,"Files":null}],
            "Dynamic":false}"#;
        fs::write(directory.path().join("instances/multiarch"), text).unwrap();
        let builder = builders.get("Multiarch").unwrap().unwrap();
        assert_eq!(builder.kind(), ENGINE);
        let arm = Platform::parse("linux/arm64").unwrap();
        let s390x = Platform::parse("linux/s390x").unwrap();
        assert_eq!(builder.node_for(Some(&arm)).unwrap().name, "arm");
        assert_eq!(builder.node_for(Some(&s390x)).unwrap().name, "multiarch0");
        assert_eq!(builder.node_for(None).unwrap().name, "multiarch0");
        assert!(builders.get("../current").unwrap().is_none());
    }

    #[test]
    fn the_builder_in_use_belongs_to_an_endpoint() {
        let directory = tempfile::tempdir().unwrap();
        let builders = Builders {
            directory: directory.path().to_owned(),
        };
        let current = |endpoint| builders.current(endpoint).unwrap();
        assert_eq!(current("a"), None);
        builders.choose("a", "one", false, true).unwrap();
        builders.choose("b", "two", false, false).unwrap();
        assert_eq!(
            (current("a"), current("b")),
            (Some("one".into()), Some("two".into()))
        );
        assert_eq!(current("c"), None);
        builders.choose("b", "two", true, false).unwrap();
        assert_eq!(current("c"), Some("two".into()));
        builders.choose("b", "", false, false).unwrap();
        assert_eq!((current("b"), current("a")), (None, Some("one".into())));
    }
}
