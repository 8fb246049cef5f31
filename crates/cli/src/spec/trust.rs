//! `--disable-content-trust=false`, which nobody can be given here.

use crate::args::trust::TrustFlags;
use crate::error::CliError;

/// Refuses to be asked for verification.
pub(crate) fn check(flags: &TrustFlags) -> Result<(), CliError> {
    if flags.disable_content_trust {
        return Ok(());
    }
    Err(CliError::Invalid(
        "content trust is not supported: name the image by its digest to be sure of what it is".to_owned(),
    ))
}
