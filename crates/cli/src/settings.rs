//! What the flags, the environment and the configuration files together say.

use std::cell::OnceCell;
use std::env;
use std::path::{Path, PathBuf};

use crate::autostart::Autostart;
use crate::client::Client;
use crate::client::tls::{Material, Tls};
use crate::config_file::ConfigFile;
use crate::contexts::{self, Context, Docker, Store};
use crate::endpoint::{DEFAULT_TLS_HOST, Endpoint};
use crate::error::CliError;
use crate::invocation::{Globals, TlsFlags};

/// Resolved settings of one invocation. The configuration file is read when first needed.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    directory: PathBuf,
    config: OnceCell<ConfigFile>,
    /// `-H`, as often as it was given.
    hosts: Vec<String>,
    /// `DOCKER_HOST`.
    host: Option<String>,
    /// `--context`, or `DOCKER_CONTEXT` where nothing comes before it.
    context: Option<String>,
    tls: Option<TlsFiles>,
}

/// An endpoint and where it came from.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where the engine is.
    pub(crate) endpoint: Endpoint,
    /// How to speak TLS with it, over TCP.
    pub(crate) tls: Option<Tls>,
    /// Nobody named it: an engine may be started there.
    pub(crate) implied: bool,
}

impl Target {
    /// A client of this engine; certificates that cannot be used are an error before anybody is asked.
    pub(crate) fn client(self, autostart: Option<Autostart>) -> Result<Client, CliError> {
        let tls = match (&self.endpoint, &self.tls) {
            (Endpoint::Tcp(_), Some(tls)) => Some(tls.config().map_err(|reason| {
                CliError::Invalid(format!("failed to retrieve context tls info: {reason}"))
            })?),
            _ => None,
        };
        Ok(Client::new(self.endpoint, tls, autostart))
    }
}

/// TLS as flags and environment ask for it; the files are not read yet.
#[derive(Clone, Debug)]
struct TlsFiles {
    verify: bool,
    ca: PathBuf,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

impl TlsFiles {
    /// Whether TLS is wanted, and by which files: those flags name must exist, the usual ones of a client may be missing.
    fn resolve(flags: &TlsFlags, directory: &Path) -> Option<Self> {
        let verify = flags.verify.unwrap_or(variable("DOCKER_TLS_VERIFY").is_some());
        // To speak of verifying at all switches TLS on.
        let wanted = flags.tls.unwrap_or(variable("DOCKER_TLS").is_some());
        if !(wanted || verify || flags.verify.is_some()) {
            return None;
        }
        let usual = variable("DOCKER_CERT_PATH").map_or_else(|| directory.to_owned(), PathBuf::from);
        let own = |flag: &Option<String>, name: &str| match flag {
            Some(path) => (!path.is_empty()).then(|| PathBuf::from(path)),
            None => Some(usual.join(name)).filter(|path| path.exists()),
        };
        Some(Self {
            verify,
            ca: flags
                .ca
                .as_ref()
                .map_or_else(|| usual.join("ca.pem"), PathBuf::from),
            certificate: own(&flags.certificate, "cert.pem"),
            key: own(&flags.key, "key.pem"),
        })
    }

    fn read(&self) -> Result<Tls, CliError> {
        let read = |path: Option<&PathBuf>| path.map(|path| contexts::read_file(path)).transpose();
        let ca = Some(&self.ca).filter(|path| !path.as_os_str().is_empty());
        Ok(Tls {
            material: Material {
                ca: read(ca)?,
                certificate: read(self.certificate.as_ref())?,
                key: read(self.key.as_ref())?,
            },
            skip_verify: !self.verify,
        })
    }
}

impl Settings {
    /// Flags first, then the environment.
    pub(crate) fn resolve(globals: &Globals) -> Result<Self, CliError> {
        let directory = match globals.config.clone().or_else(|| variable("DOCKER_CONFIG")) {
            Some(directory) => PathBuf::from(directory),
            None => env::home_dir()
                .unwrap_or_else(|| PathBuf::from("/"))
                .join(".docker"),
        };
        if !globals.hosts.is_empty() && globals.context.is_some() {
            return Err(CliError::Invalid(
                "conflicting options: cannot specify both --host and --context".to_owned(),
            ));
        }
        let host = variable("DOCKER_HOST");
        let context = match &globals.context {
            Some(context) => Some(context.clone()),
            None if !globals.hosts.is_empty() || host.is_some() => None,
            None => variable("DOCKER_CONTEXT"),
        };
        Ok(Self {
            tls: TlsFiles::resolve(&globals.tls, &directory),
            directory,
            config: OnceCell::new(),
            hosts: globals.hosts.clone(),
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
        if let Some(context) = &self.context {
            return Ok(context.clone());
        }
        if !self.hosts.is_empty() || self.host.is_some() {
            return Ok(contexts::DEFAULT.to_owned());
        }
        let current = &self.config()?.current_context;
        Ok(if current.is_empty() {
            contexts::DEFAULT.to_owned()
        } else {
            current.clone()
        })
    }

    /// Whether `DOCKER_HOST` decides, so that the context that is set has no say.
    pub(crate) fn host_overrides(&self) -> bool {
        self.host.is_some()
    }

    /// The context `default`: what flags and environment say, with its TLS files.
    pub(crate) fn default_context(&self) -> Result<(Context, Material), CliError> {
        let host = match self.hosts.as_slice() {
            [] => self.host.clone(),
            [host] => Some(host.clone()),
            _ => return Err(CliError::Invalid("Specify only one -H".to_owned())),
        };
        let tls = self.tls.as_ref().map(TlsFiles::read).transpose()?;
        let mut context = Context::new(contexts::DEFAULT);
        context.endpoints.docker = Docker {
            host: host.unwrap_or_else(|| match tls {
                Some(_) => DEFAULT_TLS_HOST.to_owned(),
                None => Endpoint::local().to_string(),
            }),
            skip_tls_verify: tls.as_ref().is_some_and(|tls| tls.skip_verify),
        };
        Ok((context, tls.map(|tls| tls.material).unwrap_or_default()))
    }

    /// Where the engine is.
    pub(crate) fn target(&self) -> Result<Target, CliError> {
        let name = self.context_name()?;
        let unresolved =
            |error: CliError| CliError::Invalid(format!("unable to resolve docker endpoint: {error}"));
        if name == contexts::DEFAULT {
            let (context, material) = self.default_context().map_err(unresolved)?;
            let docker = context.endpoints.docker;
            return Ok(Target {
                endpoint: Endpoint::parse(&docker.host)?,
                tls: self.tls.is_some().then_some(Tls {
                    material,
                    skip_verify: docker.skip_tls_verify,
                }),
                implied: self.hosts.is_empty() && self.host.is_none() && self.tls.is_none(),
            });
        }
        self.target_of(&name).map_err(unresolved)
    }

    /// Where the engine of a context is that a file describes.
    fn target_of(&self, name: &str) -> Result<Target, CliError> {
        let store = self.contexts();
        let context = store.get(name)?;
        let material = store.material(name)?;
        let docker = context.endpoints.docker;
        let endpoint = match docker.host.as_str() {
            "" => Endpoint::local(),
            host => Endpoint::parse(host)?,
        };
        let wanted = docker.skip_tls_verify || material != Material::default();
        Ok(Target {
            endpoint,
            tls: wanted.then_some(Tls {
                material,
                skip_verify: docker.skip_tls_verify,
            }),
            implied: false,
        })
    }

    /// Where the engine is that somebody named by its address or by a context.
    pub(crate) fn target_named(&self, name: &str) -> Result<Target, CliError> {
        if self.contexts().exists(name) {
            return self.target_of(name);
        }
        Ok(Target {
            endpoint: Endpoint::parse(name)?,
            tls: None,
            implied: false,
        })
    }
}
