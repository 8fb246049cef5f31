//! `login`.

use std::io::{self, Read};

use serde::Deserialize;
use serde_json::json;

use crate::args::login::Login;
use crate::commands::Done;
use crate::config_file::AuthEntry;
use crate::credentials::{self, Credentials, HUB_KEY};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::terminal::read_hidden_line;
use crate::vault::PASSPHRASE;

/// No password is longer.
const MAX_PASSWORD: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    status: String,
    #[serde(default)]
    identity_token: String,
}

/// `docker login`.
pub(crate) async fn login(session: &Session, args: Login) -> Done {
    let server = args.operands.first().map(String::as_str).unwrap_or_default();
    let key = credentials::key(server);
    let mut credentials = given(session, &args)?;
    let stored = credentials::get(session.settings.config()?, &key)?;
    if credentials.is_none()
        && let Some(stored) = stored.clone()
    {
        session
            .printer
            .line("Authenticating with existing credentials...");
        match authenticate(session, &key, &stored).await {
            Ok(answer) => return finish(session, &key, stored, answer),
            Err(error @ CliError::Daemon { status: 401, .. }) => {
                session
                    .printer
                    .warn(&format!("Login did not succeed, error: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    let credentials = match credentials.take() {
        Some(credentials) if !credentials.password.is_empty() => credentials,
        partial => ask(
            session,
            &key,
            partial.map(|c| c.username),
            stored.map(|c| c.username),
        )?,
    };
    let answer = authenticate(session, &key, &credentials).await?;
    finish(session, &key, credentials, answer)
}

/// What the flags give; the password may be missing.
fn given(session: &Session, args: &Login) -> Result<Option<Credentials>, CliError> {
    let invalid = |text: &str| Err(CliError::Invalid(text.to_owned()));
    let username = args.username.clone().unwrap_or_default();
    let mut password = args.password.clone().unwrap_or_default();
    if args.password.is_some() {
        if args.password_stdin {
            return invalid("conflicting options: cannot specify both --password and --password-stdin");
        }
        session
            .printer
            .warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if args.password_stdin {
        if username.is_empty() {
            return invalid("the --password-stdin option requires --username to be set");
        }
        let mut bytes = Vec::new();
        io::stdin().lock().take(MAX_PASSWORD).read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| CliError::Invalid("the password is not UTF-8".to_owned()))?;
        password = text.trim_end_matches('\n').trim_end_matches('\r').to_owned();
        if password.is_empty() {
            return invalid("password is empty");
        }
    }
    if username.is_empty() && password.is_empty() {
        return Ok(None);
    }
    Ok(Some(Credentials {
        username,
        password,
        identity_token: String::new(),
    }))
}

fn ask(
    session: &Session,
    key: &str,
    username: Option<String>,
    stored: Option<String>,
) -> Result<Credentials, CliError> {
    if !session.printer.in_is_terminal() {
        return Err(CliError::Invalid(
            "Error: Cannot perform an interactive login from a non TTY device".to_owned(),
        ));
    }
    let mut username = username.unwrap_or_default();
    if username.is_empty() {
        if key == HUB_KEY {
            session.printer.line(
                "Log in with your Docker ID or email address to push and pull images from Docker Hub. If you don't have a Docker ID, head over to https://hub.docker.com/ to create one.\n",
            );
        }
        let known = stored.unwrap_or_default();
        let shown = if known.is_empty() {
            "Username: ".to_owned()
        } else {
            format!("Username ({known}): ")
        };
        session.printer.out(&shown);
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        username = line.trim().to_owned();
        if username.is_empty() {
            username = known;
        }
    }
    if username.is_empty() {
        return Err(CliError::Invalid("Error: Non-null Username Required".to_owned()));
    }
    let password = read_hidden_line(|| session.printer.out("Password: "))?;
    session.printer.out("\n");
    if password.is_empty() {
        return Err(CliError::Invalid("Error: Password Required".to_owned()));
    }
    Ok(Credentials {
        username,
        password,
        identity_token: String::new(),
    })
}

async fn authenticate(session: &Session, key: &str, credentials: &Credentials) -> Result<Answer, CliError> {
    // Who an account is for is this machine's affair: the registry is asked.
    let registry = match key {
        HUB_KEY => key.to_owned(),
        key => credentials::host(key),
    };
    session
        .client()?
        .post("/auth")
        .json(&json!(credentials::object(credentials, &registry)))
        .answer()
        .await
}

fn finish(session: &Session, key: &str, mut credentials: Credentials, answer: Answer) -> Done {
    if !answer.identity_token.is_empty() {
        credentials.identity_token = answer.identity_token;
        credentials.password = String::new();
    }
    let mut config = session.settings.config()?.clone();
    if let Some(helper) = config.helper(key).map(str::to_owned) {
        credentials::store_with_helper(&helper, key, &credentials)?;
        // The entry says that there are credentials, not which.
        config.auths.insert(key.to_owned(), AuthEntry::default());
        config.write(session.settings.directory())?;
    } else if config.vault.put(key, &credentials)? {
        // The same, where nobody but this program has to understand it.
        if config.auths.insert(key.to_owned(), AuthEntry::default()) != Some(AuthEntry::default()) {
            config.write(session.settings.directory())?;
        }
        session.printer.warn(&format!(
            "Your credentials are stored encrypted in '{}'. Without a passphrase ({PASSPHRASE}) their key is in the kernel's keyring until the machine restarts.\n",
            config.vault.path()
        ));
    } else {
        let auth = credentials::encode(&credentials.username, &credentials.password);
        let entry = AuthEntry {
            auth,
            identity_token: credentials.identity_token,
            ..AuthEntry::default()
        };
        config.auths.insert(key.to_owned(), entry);
        config.write(session.settings.directory())?;
        let path = session.settings.directory().join("config.json");
        session.printer.warn(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}': there is no kernel keyring here.\nSet {PASSPHRASE}, or configure a credential helper, to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            path.display()
        ));
    }
    if !answer.status.is_empty() {
        session.printer.line(&answer.status);
    }
    Ok(ExitStatus::SUCCESS)
}
