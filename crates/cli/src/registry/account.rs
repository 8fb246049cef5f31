//! `registry account`: an account is made, or gets another password, by who may write to what the registry holds.

use std::io::{self, Read as _};

use havre_hub::{Actor, Hub, HubError, NewAccount};

use super::{open, read_config, root};
use crate::args::registry::account::Account;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::printer::Printer;
use crate::terminal::read_hidden_line;

/// No password is longer.
const MAX_PASSWORD: u64 = 64 << 10;

pub(super) fn run(args: Account) -> Result<ExitStatus, CliError> {
    let (verb, name) = (args.operands[0].as_str(), &args.operands[1]);
    if !matches!(verb, "add" | "password") {
        return Err(CliError::Invalid(format!(
            "{verb:?} is not known: use add or password"
        )));
    }
    let config = read_config(&args.place, None)?;
    let root = root(&config)?;
    let password = password(args.password_stdin)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = open(&config, &root, runtime.handle().clone())?;
    let hub = Hub::open(&store, config.accounts.unwrap_or_default()).map_err(failed)?;
    let system = Actor::system();
    if verb == "password" {
        let name = name.parse().map_err(failed)?;
        hub.set_password(&system, &name, None, &password)
            .map_err(failed)?;
        return Ok(ExitStatus::SUCCESS);
    }
    let who = NewAccount {
        name: name.clone(),
        email: args.email,
        title: args.title.unwrap_or_default(),
        password,
        admin: args.admin,
    };
    let made = hub.create_account(&system, &who).map_err(failed)?;
    Printer.line(made.name.as_str());
    Ok(ExitStatus::SUCCESS)
}

fn failed(error: HubError) -> CliError {
    CliError::Invalid(error.to_string())
}

fn password(stdin: bool) -> Result<String, CliError> {
    if stdin {
        let mut bytes = Vec::new();
        io::stdin().lock().take(MAX_PASSWORD).read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| CliError::Invalid("the password is not UTF-8".to_owned()))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if !Printer.in_is_terminal() {
        return Err(CliError::Invalid(
            "there is no terminal to ask for the password: use --password-stdin".to_owned(),
        ));
    }
    let ask = |what: &'static str| {
        let password = read_hidden_line(|| Printer.out(what));
        Printer.line("");
        password
    };
    let password = ask("Password: ")?;
    match ask("Again: ")? == password {
        true => Ok(password),
        false => Err(CliError::Invalid("the two are not the same".to_owned())),
    }
}
