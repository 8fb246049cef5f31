//! What every command works with.

use std::cell::OnceCell;

use crate::autostart::Autostart;
use crate::client::Client;
use crate::error::CliError;
use crate::printer::Printer;
use crate::settings::Settings;

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
}
