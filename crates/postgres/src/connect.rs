//! Connections, with TLS where the server has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use havre_database::{DatabaseError, Result};
use postgres::{Client, Config, Statement};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Connector {
    config: Config,
    tls: Arc<ClientConfig>,
}

/// Statements by their text.
pub(crate) type Statements = HashMap<String, Statement>;

/// A connection, and the statements that it has prepared.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) statements: Statements,
}

impl Connector {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let mut config: Config = url
            .parse()
            .map_err(|error: postgres::Error| DatabaseError::Failed {
                action: "understand the address of the database",
                // It may have a password in it: the address itself is not said.
                reason: super::reason(&error),
            })?;
        config.application_name("havre registry");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| DatabaseError::Failed {
                action: "set TLS up for the database",
                reason: error.to_string(),
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config,
            tls: Arc::new(tls),
        })
    }

    pub(crate) fn connect(&self) -> Result<Connected, postgres::Error> {
        let tls = MakeRustlsConnect::new(ClientConfig::clone(&self.tls));
        Ok(Connected {
            client: self.config.connect(tls)?,
            statements: Statements::new(),
        })
    }
}

impl r2d2::ManageConnection for Connector {
    type Connection = Connected;
    type Error = postgres::Error;

    fn connect(&self) -> Result<Connected, postgres::Error> {
        Self::connect(self)
    }

    fn is_valid(&self, connected: &mut Connected) -> Result<(), postgres::Error> {
        connected.client.is_valid(PATIENCE)
    }

    fn has_broken(&self, connected: &mut Connected) -> bool {
        connected.client.is_closed()
    }
}
