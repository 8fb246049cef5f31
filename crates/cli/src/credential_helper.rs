//! `docker-credential-havre`: the encrypted file of credentials for Docker's client and whoever else knows credential helpers.
//!
//! Called by that name, as a link, the program speaks the protocol of Docker's helpers (docker-credential-helpers): the action is
//! the one word, what it is about comes on standard input, answers and errors go to standard output. With
//! `"credsStore": "havre"` in `config.json` the helper is found on the PATH.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::credentials::{Credentials, TOKEN_USER, key};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::invocation::Globals;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::vault::{PASSPHRASE, Vault};

/// What the program is called then.
pub(crate) const NAME: &str = "docker-credential-havre";
/// As Docker's client calls the helper.
pub(crate) const HELPER: &str = "havre";

/// More is no credentials.
const MAX_INPUT: u64 = 1 << 20;

/// Texts that clients compare.
const NOT_FOUND: &str = "credentials not found in native keychain";
const NO_SERVER: &str = "no credentials server URL";
const NO_USER: &str = "no credentials username";

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Does what the words say.
pub(crate) fn run(words: &[String]) -> ExitStatus {
    let usage = format!("Usage: {NAME} <store|get|erase|list|version>");
    let [action] = words else {
        Printer.line(&usage);
        return ExitStatus::FAILURE;
    };
    let done = match action.as_str() {
        "--help" | "-h" => Ok(usage),
        "version" | "--version" | "-v" => Ok(format!("{NAME} (havre) {}", env!("CARGO_PKG_VERSION"))),
        "store" | "get" | "erase" | "list" => vault().and_then(|vault| act(&vault, action)),
        _ => Err(CliError::Invalid(format!("{NAME}: unknown action: {action}"))),
    };
    let (text, status) = match done {
        Ok(text) => (text, ExitStatus::SUCCESS),
        Err(error) => (error.to_string(), ExitStatus::FAILURE),
    };
    if !text.is_empty() {
        Printer.line(&text);
    }
    status
}

fn vault() -> Result<Vault, CliError> {
    let settings = Settings::resolve(&Globals::default())?;
    Ok(settings.config()?.vault.clone())
}

fn act(vault: &Vault, action: &str) -> Result<String, CliError> {
    let invalid = |text: &str| CliError::Invalid(text.to_owned());
    if action == "list" {
        let users: BTreeMap<String, String> = vault
            .all()?
            .into_iter()
            .map(|(server, found)| (server, user(&found).to_owned()))
            .collect();
        return json(&users);
    }
    let mut input = String::new();
    io::stdin().lock().take(MAX_INPUT).read_to_string(&mut input)?;
    if action == "store" {
        let entry: Entry = serde_json::from_str(&input)
            // The parser's message would repeat the text around the error, which may be the secret.
            .map_err(|_| invalid("what came on standard input is no JSON of credentials"))?;
        if entry.server.is_empty() {
            return Err(invalid(NO_SERVER));
        }
        if entry.username.is_empty() {
            return Err(invalid(NO_USER));
        }
        return match vault.put(&key(&entry.server), &credentials(&entry))? {
            true => Ok(String::new()),
            false => Err(CliError::Invalid(format!(
                "there is no place for the key of the credentials: the kernel's keyring cannot be used here; set {PASSPHRASE}"
            ))),
        };
    }
    let server = input.trim();
    if server.is_empty() {
        return Err(invalid(NO_SERVER));
    }
    let name = key(server);
    if action == "erase" {
        vault.remove(&name)?;
        return Ok(String::new());
    }
    let found = vault.get(&name)?.ok_or_else(|| invalid(NOT_FOUND))?;
    json(&Entry {
        server: server.to_owned(),
        username: user(&found).to_owned(),
        secret: match found.identity_token.is_empty() {
            true => found.password,
            false => found.identity_token,
        },
    })
}

fn json(value: &impl Serialize) -> Result<String, CliError> {
    Ok(serde_json::to_string(value).map_err(io::Error::from)?)
}

fn user(found: &Credentials) -> &str {
    match found.identity_token.is_empty() {
        true => &found.username,
        false => TOKEN_USER,
    }
}

fn credentials(entry: &Entry) -> Credentials {
    match entry.username == TOKEN_USER {
        true => Credentials {
            identity_token: entry.secret.clone(),
            ..Credentials::default()
        },
        false => Credentials {
            username: entry.username.clone(),
            password: entry.secret.clone(),
            identity_token: String::new(),
        },
    }
}
