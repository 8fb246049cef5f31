//! Which runtime makes a container: the engine's own, or a program of the host with the command line of runc.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_runtime::ExternalRuntime;
use serde::Deserialize;

use crate::{EngineError, Result};

/// What the engine's own is called.
pub(crate) const OWN: &str = "havre";

/// Other names of the default, as Docker's clients may give it.
const DEFAULT: &[&str] = &["", "io.containerd.runc.v2", "io.containerd.runtime.v1.linux"];

/// Used without being configured, where they are installed.
const WELL_KNOWN: &[&str] = &["runc", "crun"];

/// Where programs of the host are looked for.
const DIRECTORIES: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// One of the configuration, `[runtimes.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeSettings {
    /// Absolute, or a program's name.
    pub path: String,
    /// Options before the command.
    #[serde(alias = "runtimeArgs")]
    pub args: Vec<String>,
}

/// The runtimes there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runtimes {
    pub configured: BTreeMap<String, RuntimeSettings>,
    /// For containers that choose none; empty is the engine's own.
    pub default: String,
}

impl Runtimes {
    /// Refuses names and paths that can't be meant.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, settings) in &self.configured {
            let wrong = |expected: &str| {
                Err(EngineError::invalid(format!(
                    "runtimes.{name}: expected {expected}"
                )))
            };
            if name == OWN || DEFAULT.contains(&name.as_str()) {
                return wrong("a name that is not the engine's own");
            }
            if settings.path.is_empty() || (settings.path.contains('/') && !settings.path.starts_with('/')) {
                return wrong("the absolute path or the name of a program as its path");
            }
        }
        let known =
            |name: &str| name == OWN || WELL_KNOWN.contains(&name) || self.configured.contains_key(name);
        if !DEFAULT.contains(&self.default.as_str()) && !known(&self.default) {
            return Err(EngineError::invalid(format!(
                "default-runtime: {:?} is not among the runtimes: {OWN}, {}",
                self.default,
                WELL_KNOWN.join(", ")
            )));
        }
        Ok(())
    }

    /// What a container that asks for this gets.
    pub(crate) fn name(&self, asked: &str) -> String {
        match asked {
            asked if !DEFAULT.contains(&asked) => asked.to_owned(),
            _ if !DEFAULT.contains(&self.default.as_str()) => self.default.clone(),
            _ => OWN.to_owned(),
        }
    }

    /// The program of a runtime; `None` is the engine's own.
    pub(crate) fn find(&self, asked: &str) -> Result<Option<ExternalRuntime>> {
        let name = self.name(asked);
        if name == OWN {
            return Ok(None);
        }
        self.external(&name).map(Some).ok_or_else(|| {
            let known: Vec<String> = self.all().into_keys().collect();
            EngineError::invalid(match self.configured.get(&name) {
                Some(settings) => format!(
                    "runtime {name}: there is no program {}: install it or correct runtimes.{name}.path",
                    settings.path
                ),
                None => format!(
                    "unknown or invalid runtime name: {name} (there are {})",
                    known.join(", ")
                ),
            })
        })
    }

    /// Every runtime that can be used, with its program and its options; that of the engine has none.
    pub(crate) fn all(&self) -> BTreeMap<String, Option<ExternalRuntime>> {
        let named = self
            .configured
            .keys()
            .map(String::as_str)
            .chain(WELL_KNOWN.iter().copied());
        let found = named.filter_map(|name| Some((name.to_owned(), Some(self.external(name)?))));
        found.chain([(OWN.to_owned(), None)]).collect()
    }

    fn external(&self, name: &str) -> Option<ExternalRuntime> {
        let settings = self.configured.get(name);
        let program = match settings {
            Some(settings) => settings.path.as_str(),
            None if WELL_KNOWN.contains(&name) => name,
            None => return None,
        };
        Some(ExternalRuntime {
            name: name.to_owned(),
            path: locate(program)?,
            args: settings.map(|settings| settings.args.clone()).unwrap_or_default(),
        })
    }
}

fn locate(program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    match program.starts_with('/') {
        true => Some(PathBuf::from(program)).filter(is_program),
        false => DIRECTORIES
            .iter()
            .map(|directory| Path::new(directory).join(program))
            .find(is_program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtimes(name: &str, path: &str) -> Runtimes {
        let settings = RuntimeSettings {
            path: path.to_owned(),
            args: vec!["--debug".to_owned()],
        };
        Runtimes {
            configured: [(name.to_owned(), settings)].into(),
            default: String::new(),
        }
    }

    #[test]
    fn names_of_the_default() {
        let mut known = runtimes("other", "/bin/sh");
        for name in ["", "io.containerd.runc.v2", "havre"] {
            assert_eq!(known.find(name).unwrap(), None, "{name}");
            assert_eq!(known.name(name), "havre");
        }
        known.default = "other".to_owned();
        known.check().unwrap();
        assert_eq!(known.name("io.containerd.runc.v2"), "other");
        assert_eq!(known.name("havre"), "havre");
        assert_eq!(known.find("").unwrap().unwrap().path, Path::new("/bin/sh"));
    }

    #[test]
    fn configured_ones_are_found_and_others_refused() {
        let known = runtimes("other", "sh");
        let found = known.find("other").unwrap().unwrap();
        assert!(found.path.ends_with("sh") && found.path.is_absolute());
        assert_eq!(found.args, ["--debug"]);
        assert!(known.all().contains_key("other") && known.all().contains_key("havre"));
        let unknown = known.find("nosuch").unwrap_err().to_string();
        assert!(
            unknown.starts_with("unknown or invalid runtime name: nosuch (there are ")
                && unknown.contains("havre, other"),
            "{unknown}"
        );
        let gone = runtimes("other", "/no/such/program");
        assert!(!gone.all().contains_key("other"));
        assert_eq!(
            gone.find("other").unwrap_err().to_string(),
            "runtime other: there is no program /no/such/program: install it or correct runtimes.other.path"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (name, path) in [
            ("havre", "/bin/sh"),
            ("io.containerd.runc.v2", "/bin/sh"),
            ("x", ""),
            ("x", "bin/sh"),
        ] {
            assert!(runtimes(name, path).check().is_err(), "{name} {path}");
        }
        let mut known = runtimes("runc", "/opt/runc");
        known.check().unwrap();
        known.default = "nosuch".to_owned();
        assert!(
            known
                .check()
                .unwrap_err()
                .to_string()
                .contains("default-runtime: \"nosuch\"")
        );
    }
}
