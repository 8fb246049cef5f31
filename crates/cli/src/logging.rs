//! What roles that serve say of themselves, on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::error::CliError;

/// Says from now on what is of that level or graver: `info` if none is named.
pub(crate) fn begin(level: Option<&str>) -> Result<(), CliError> {
    let filter = match level.unwrap_or("info") {
        level @ ("error" | "warn" | "info" | "debug" | "trace") => EnvFilter::new(level),
        other => {
            return Err(CliError::Invalid(format!(
                "unknown log level {other:?}: use error, warn, info, debug or trace"
            )));
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    Ok(())
}
