//! `context create`, and what it shares with `update`: an endpoint from `--docker`.

use crate::args::context::create::Create;
use crate::client::tls::{Material, Tls};
use crate::commands::Done;
use crate::contexts::{self, Context, Docker, TlsFiles};
use crate::endpoint::Endpoint;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::values::{Pairs, parse_bool};

/// `docker context create`.
pub(crate) async fn create(session: &Session, args: Create) -> Done {
    let name = &args.operands[0];
    contexts::check_name(name)?;
    let store = session.settings.contexts();
    if store.exists(name) {
        return Err(CliError::Invalid(format!("context {name:?} already exists")));
    }
    let (mut context, tls) = match (&args.from, args.docker.is_empty()) {
        (Some(_), false) => {
            return Err(CliError::Invalid(
                "cannot use --docker flag when --from is set".to_owned(),
            ));
        }
        (Some(from), true) => existing(session, from)?,
        (None, true) => existing(session, &session.settings.context_name()?)?,
        (None, false) => {
            let (docker, tls) = endpoint(session, &args.docker).map_err(|error| {
                CliError::Invalid(format!("unable to create docker endpoint config: {error}"))
            })?;
            let mut context = Context::default();
            context.endpoints.docker = docker;
            (context, tls)
        }
    };
    context.name.clone_from(name);
    if let Some(description) = args.description.filter(|description| !description.is_empty()) {
        context.describe(&description);
    }
    store.put(&context, &tls)?;
    session.printer.line(name);
    session
        .printer
        .warn(&format!("Successfully created context {name:?}"));
    Ok(ExitStatus::SUCCESS)
}

/// A context that is there, `default` too, to be copied.
pub(super) fn existing(session: &Session, name: &str) -> Result<(Context, TlsFiles), CliError> {
    if name != contexts::DEFAULT {
        let store = session.settings.contexts();
        return Ok((store.get(name)?, store.tls_files(name)?));
    }
    let (mut context, material) = session.settings.default_context()?;
    context.describe(contexts::DEFAULT_DESCRIPTION);
    Ok((context, material.into_files()))
}

/// The endpoint that `--docker` describes. Host and certificates are checked: a context that nobody could use is not made.
pub(super) fn endpoint(session: &Session, pairs: &[Pairs]) -> Result<(Docker, TlsFiles), CliError> {
    let mut docker = Docker::default();
    let mut material = Material::default();
    let mut from = None;
    for (key, value) in pairs.iter().flat_map(|pairs| &pairs.0) {
        let file = || -> Result<Option<Vec<u8>>, CliError> {
            match value.as_str() {
                "" => Ok(None),
                path => contexts::read_file(path.as_ref()).map(Some),
            }
        };
        match key.as_str() {
            "from" => from = Some(value),
            "host" => docker.host.clone_from(value),
            "ca" => material.ca = file()?,
            "cert" => material.certificate = file()?,
            "key" => material.key = file()?,
            "skip-tls-verify" => {
                docker.skip_tls_verify = parse_bool(value).map_err(|_| {
                    CliError::Invalid(format!("skip-tls-verify: parsing {value:?}: invalid syntax"))
                })?;
            }
            key => return Err(CliError::Invalid(format!("unrecognized config key: {key}"))),
        }
    }
    if let Some(from) = from {
        let (context, tls) = existing(session, from)?;
        return Ok((context.endpoints.docker, tls));
    }
    if !docker.host.is_empty() {
        Endpoint::parse(&docker.host)?;
    }
    let tls = Tls {
        material,
        skip_verify: docker.skip_tls_verify,
    };
    if tls.material != Material::default() {
        tls.config().map_err(|reason| {
            CliError::Invalid(format!(
                "invalid docker endpoint options: failed to retrieve context tls info: {reason}"
            ))
        })?;
    }
    Ok((docker, tls.material.into_files()))
}
