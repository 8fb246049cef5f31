//! `buildx version`.

use crate::args::buildx::version::Version;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker buildx version`: these commands come with the program.
pub(crate) async fn version(session: &Session, _: Version) -> Done {
    session.printer.line(&format!(
        "havre/buildx v{0} (in havre {0})",
        env!("CARGO_PKG_VERSION")
    ));
    Ok(ExitStatus::SUCCESS)
}
