//! What a stage has become so far: its layers, its configuration, its arguments.

use std::collections::BTreeMap;

use havre_dockerfile::PROXY_ARGS;
use havre_oci::{Digest, History, ImageConfig, Platform};
use jiff::Timestamp;

use crate::expand::Variables;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Arguments known outside of stages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Globals {
    /// `--build-arg`.
    pub(crate) given: BTreeMap<String, String>,
    /// `ARG` before the first `FROM`, with its value.
    pub(crate) declared: BTreeMap<String, String>,
    /// `TARGETPLATFORM` and its kin.
    pub(crate) platform: BTreeMap<String, String>,
}

impl Variables for Globals {
    fn get(&self, name: &str) -> Option<&str> {
        self.declared
            .get(name)
            .or_else(|| self.platform.get(name))
            .map(String::as_str)
    }
}

impl Globals {
    pub(crate) fn new(given: BTreeMap<String, String>, target: &Platform) -> Self {
        let mut platform = BTreeMap::new();
        for (prefix, value) in [("TARGET", target.clone()), ("BUILD", Platform::host())] {
            platform.insert(format!("{prefix}PLATFORM"), value.to_string());
            platform.insert(format!("{prefix}OS"), value.os.clone());
            platform.insert(format!("{prefix}ARCH"), value.architecture.clone());
            platform.insert(format!("{prefix}VARIANT"), value.variant.clone());
        }
        for (name, value) in &mut platform {
            if let Some(over) = given.get(name) {
                value.clone_from(over);
            }
        }
        Globals {
            given,
            declared: BTreeMap::new(),
            platform,
        }
    }

    /// The value an `ARG` without default takes in a stage.
    pub(crate) fn inherited(&self, name: &str) -> Option<&str> {
        self.given
            .get(name)
            .or_else(|| self.declared.get(name))
            .or_else(|| self.platform.get(name))
            .map(String::as_str)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    /// Diff IDs, base first.
    pub(crate) layers: Vec<Digest>,
    pub(crate) config: ImageConfig,
    /// Identity of everything so far; the next step's key begins with it.
    pub(crate) key: Digest,
    /// Identity of what the stage began with, its configuration included.
    pub(crate) base: Digest,
    /// Declared arguments that have a value.
    pub(crate) args: BTreeMap<String, String>,
    /// `CMD` was given in this stage, so `ENTRYPOINT` keeps it.
    pub(crate) cmd_set: bool,
    /// The image it began with.
    pub(crate) image: Option<Digest>,
    /// Something was done to the image.
    pub(crate) changed: bool,
}

impl Variables for State {
    fn get(&self, name: &str) -> Option<&str> {
        self.env(name).or_else(|| self.args.get(name).map(String::as_str))
    }
}

impl State {
    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        let lines = self.config.config.env.iter().rev();
        lines
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        let line = format!("{name}={value}");
        let env = &mut self.config.config.env;
        let is_it = |old: &&mut String| old.split_once('=').is_some_and(|(key, _)| key == name);
        match env.iter_mut().find(is_it) {
            Some(old) => *old = line,
            None => env.push(line),
        }
    }

    pub(crate) fn shell(&self) -> Vec<String> {
        match &self.config.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        }
    }

    /// Absolute.
    pub(crate) fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            set => set,
        }
    }

    /// The environment of a `RUN`: the image's, arguments that are not in it, a `PATH`.
    pub(crate) fn run_env(&self) -> Vec<String> {
        let mut env = self.config.config.env.clone();
        for (name, value) in &self.args {
            if self.env(name).is_none() {
                env.push(format!("{name}={value}"));
            }
        }
        if self.get("PATH").is_none() {
            env.push(format!("PATH={DEFAULT_PATH}"));
        }
        env
    }

    /// Proxy arguments that were given and not declared.
    pub(crate) fn proxy_env(&self, globals: &Globals) -> Vec<String> {
        PROXY_ARGS
            .iter()
            .filter(|name| self.get(name).is_none())
            .filter_map(|name| globals.given.get(*name).map(|value| format!("{name}={value}")))
            .collect()
    }

    pub(crate) fn record(&mut self, created: Timestamp, created_by: String, empty_layer: bool) {
        self.changed = true;
        self.config.created = Some(created);
        self.config.history.push(History {
            created: Some(created),
            author: self.config.author.clone(),
            created_by,
            comment: String::new(),
            empty_layer,
        });
    }

    /// The history text of a step without a command, as Docker's builder writes it.
    pub(crate) fn nop(&self, comment: &str) -> String {
        format!("{} #(nop)  {comment}", self.shell().join(" "))
    }
}
