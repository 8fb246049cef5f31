//! What every command works with.

use std::cell::OnceCell;
use std::ops::Deref;

use crate::autostart::Autostart;
use crate::client::Client;
use crate::error::CliError;
use crate::printer::Printer;
use crate::settings::{Settings, Target};

/// One invocation: its program name, settings, output, and the engine.
#[derive(Debug)]
pub(crate) struct Session {
    /// `docker` or `havre`.
    pub(crate) program: String,
    /// Flags, environment and files.
    pub(crate) settings: Settings,
    /// Output.
    pub(crate) printer: Printer,
    client: OnceCell<Client>,
    operation: OnceCell<String>,
}

impl Session {
    /// Nothing is opened yet.
    pub(crate) fn new(program: String, settings: Settings) -> Self {
        Self {
            program,
            settings,
            printer: Printer,
            client: OnceCell::new(),
            operation: OnceCell::new(),
        }
    }

    /// Ties together the requests of this invocation: what they remove comes back together.
    pub(crate) fn operation(&self) -> &str {
        self.operation.get_or_init(|| {
            let now = jiff::Timestamp::now().as_nanosecond();
            format!("{:x}-{now:x}", std::process::id())
        })
    }

    /// The engine the settings name.
    pub(crate) fn client(&self) -> Result<&Client, CliError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let target = self
            .settings
            .target()
            .map_err(|error| CliError::Invalid(format!("Failed to initialize: {error}")))?;
        let autostart = target.implied.then(Autostart::local);
        let client = target
            .client(autostart)
            .map_err(|error| CliError::Invalid(format!("Failed to initialize: {error}")))?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Another session with the engine of a node of a builder.
    pub(crate) fn with_engine(&self, target: Target) -> Result<Self, CliError> {
        let client = target.client(None)?;
        Ok(Self {
            program: self.program.clone(),
            settings: self.settings.clone(),
            printer: Printer,
            client: OnceCell::from(client),
            operation: self.operation.clone(),
        })
    }
}

/// A session with the engine that is wanted: the one there is, or one made for it.
#[derive(Debug)]
pub(crate) enum Reaching<'a> {
    /// The invocation's.
    Own(&'a Session),
    /// Another engine's.
    Other(Box<Session>),
}

impl Deref for Reaching<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        match self {
            Self::Own(session) => session,
            Self::Other(session) => session,
        }
    }
}
