//! Content trust, which nobody can be given here: whoever asks for it must not get an image unverified.

use std::env;

use crate::args::trust::TrustFlags;
use crate::error::CliError;
use crate::values::parse_bool;

/// Refuses to be asked for verification, by `--disable-content-trust=false` or by `DOCKER_CONTENT_TRUST=1`.
pub(crate) fn check(flags: &TrustFlags) -> Result<(), CliError> {
    let wanted = || env::var("DOCKER_CONTENT_TRUST").is_ok_and(|value| parse_bool(&value) == Ok(true));
    let (refused, way_out) = match flags.disable_content_trust {
        Some(disabled) => (!disabled, "leave the flag out"),
        None => (wanted(), "unset DOCKER_CONTENT_TRUST"),
    };
    if !refused {
        return Ok(());
    }
    Err(CliError::Invalid(format!(
        "content trust is not supported: {way_out}, and name the image by its digest to be sure of what it is"
    )))
}
