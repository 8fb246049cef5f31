//! `logout`.

use crate::args::logout::Logout;
use crate::commands::Done;
use crate::credentials::{self, HUB_KEY};
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker logout`.
pub(crate) async fn logout(session: &Session, args: Logout) -> Done {
    let server = args.operands.first().map(String::as_str).unwrap_or_default();
    let key = credentials::key(server);
    let shown = if server.is_empty() { HUB_KEY } else { server };
    let mut config = session.settings.config()?.clone();
    let names: Vec<String> = config
        .auths
        .keys()
        .filter(|name| **name == key || credentials::key(name) == key)
        .cloned()
        .collect();
    session
        .printer
        .line(&format!("Removing login credentials for {shown}"));
    if let Some(helper) = config.helper(&key).map(str::to_owned) {
        credentials::erase_with_helper(&helper, &key)?;
    }
    for name in &names {
        config.vault.remove(name)?;
        config.auths.remove(name);
    }
    if !names.is_empty() {
        config.write(session.settings.directory())?;
    }
    Ok(ExitStatus::SUCCESS)
}
