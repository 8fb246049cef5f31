//! What every command works with.

use std::cell::OnceCell;

use crate::autostart::Autostart;
use crate::client::Client;
use crate::endpoint::Endpoint;
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
}

impl Session {
    /// Nothing is opened yet.
    pub(crate) fn new(program: String, settings: Settings) -> Self {
        Self {
            program,
            settings,
            printer: Printer,
            client: OnceCell::new(),
        }
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
        let tls = match (&target.endpoint, &target.tls) {
            (Endpoint::Tcp(_), Some(tls)) => Some(tls.config().map_err(|reason| {
                CliError::Invalid(format!(
                    "Failed to initialize: failed to retrieve context tls info: {reason}"
                ))
            })?),
            _ => None,
        };
        let autostart = target.implied.then(Autostart::local);
        Ok(self
            .client
            .get_or_init(|| Client::new(target.endpoint, tls, autostart)))
    }
}
