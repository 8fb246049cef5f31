//! What the flags, the environment and the configuration files together say.

use std::cell::OnceCell;
use std::env;
use std::path::{Path, PathBuf};

use crate::config_file::ConfigFile;
use crate::contexts::{self, Store};
use crate::endpoint::Endpoint;
use crate::error::CliError;
use crate::invocation::Globals;

/// Resolved settings of one invocation. The configuration file is read when first needed.
#[derive(Debug)]
pub(crate) struct Settings {
    directory: PathBuf,
    config: OnceCell<ConfigFile>,
    host: Option<String>,
    context: Option<String>,
}

/// An endpoint and where it came from.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where the engine is.
    pub(crate) endpoint: Endpoint,
    /// Nobody named it: an engine may be started there.
    pub(crate) implied: bool,
}

impl Settings {
    /// Flags first, then the environment.
    pub(crate) fn resolve(globals: &Globals) -> Result<Self, CliError> {
        let variable = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
        let directory = match globals.config.clone().or_else(|| variable("DOCKER_CONFIG")) {
            Some(directory) => PathBuf::from(directory),
            None => env::home_dir()
                .unwrap_or_else(|| PathBuf::from("/"))
                .join(".docker"),
        };
        if globals.host.is_some() && globals.context.is_some() {
            return Err(CliError::Invalid(
                "conflicting options: cannot specify both --host and --context".to_owned(),
            ));
        }
        let (host, context) = match (&globals.host, &globals.context) {
            (Some(host), _) => (Some(host.clone()), None),
            (None, Some(context)) => (None, Some(context.clone())),
            (None, None) => match variable("DOCKER_HOST") {
                Some(host) => (Some(host), None),
                None => (None, variable("DOCKER_CONTEXT")),
            },
        };
        Ok(Self {
            directory,
            config: OnceCell::new(),
            host,
            context,
        })
    }

    /// The directory of `config.json`.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> Result<&ConfigFile, CliError> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = ConfigFile::read(&self.directory)?;
        Ok(self.config.get_or_init(|| config))
    }

    /// The contexts.
    pub(crate) fn contexts(&self) -> Store {
        Store::new(&self.directory)
    }

    /// The name of the context in use.
    pub(crate) fn context_name(&self) -> Result<String, CliError> {
        if self.host.is_some() {
            return Ok(contexts::DEFAULT.to_owned());
        }
        if let Some(context) = &self.context {
            return Ok(context.clone());
        }
        let current = &self.config()?.current_context;
        Ok(if current.is_empty() {
            contexts::DEFAULT.to_owned()
        } else {
            current.clone()
        })
    }

    /// The host named by `-H` or `DOCKER_HOST`.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Where the engine is.
    pub(crate) fn target(&self) -> Result<Target, CliError> {
        if let Some(host) = &self.host {
            return Ok(Target {
                endpoint: Endpoint::parse(host)?,
                implied: false,
            });
        }
        let name = self.context_name()?;
        if name == contexts::DEFAULT {
            return Ok(Target {
                endpoint: Endpoint::local(),
                implied: true,
            });
        }
        let context = self.contexts().get(&name).map_err(|error| {
            CliError::Invalid(format!(
                "Failed to initialize: unable to resolve docker endpoint: {error}"
            ))
        })?;
        Ok(Target {
            endpoint: Endpoint::parse(&context.endpoints.docker.host)?,
            implied: false,
        })
    }
}
