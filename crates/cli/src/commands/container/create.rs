//! `create`, and the part of `run` that makes the container.

use std::io;
use std::path::Path;

use fs_err as fs;
use serde::Deserialize;
use serde_json::Value;

use super::api_socket;
use crate::args::container::create::Create;
use crate::commands::Done;
use crate::commands::image::pull;
use crate::commands::image::tag::reference;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::spec::container::{Extra, body};

/// What is created and how its image is come by.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) body: Value,
    pub(super) image: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) platform: Option<&'a str>,
    pub(super) pull: Option<&'a str>,
    pub(super) quiet: bool,
    pub(super) cidfile: Option<&'a str>,
    /// The engine's socket shall be in it.
    pub(super) api_socket: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

/// `docker create`.
pub(crate) async fn create(session: &Session, args: Create) -> Done {
    let [image, command @ ..] = args.operands.as_slice() else {
        return Ok(ExitStatus::FAILURE);
    };
    let extra = Extra {
        image,
        command,
        remove: args.rm,
        detach: false,
    };
    let body = body(&args.container, &extra).map_err(|error| error.with_help(&session.program, "create"))?;
    let request = Request {
        body,
        image,
        name: args.name.as_deref(),
        platform: args.platform.as_deref(),
        pull: args.pull.as_deref(),
        quiet: args.quiet,
        cidfile: args.container.cidfile.as_deref(),
        api_socket: args.container.use_api_socket,
    };
    check_pull(request.pull).map_err(|error| error.with_help(&session.program, "create"))?;
    let id = make(session, request).await?;
    session.printer.line(&id);
    Ok(ExitStatus::SUCCESS)
}

/// Refuses a `--pull` that says nothing known.
pub(super) fn check_pull(policy: Option<&str>) -> Result<(), CliError> {
    match policy {
        None | Some("" | "always" | "missing" | "never") => Ok(()),
        Some(other) => Err(CliError::Invalid(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

/// Makes a container, pulling its image when it is missing, and gives its ID.
pub(super) async fn make(session: &Session, mut request: Request<'_>) -> Result<String, CliError> {
    if let Some(path) = request.cidfile
        && Path::new(path).exists()
    {
        return Err(CliError::Invalid(format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        )));
    }
    if !request.body["HostConfig"]["KernelMemory"].is_null() {
        session.printer.warn(
            "Flag --kernel-memory has been deprecated, and no longer supported by the kernel: --memory counts it",
        );
    }
    let is_id = request.image.len() == 64 && request.image.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id && !request.image.starts_with("sha256:") {
        // An entry of a tag's history, `NAME@{2}`, is the engine's to read.
        let entry = request.image.strip_suffix('}');
        let name = entry.and_then(|entry| entry.split_once("@{"));
        reference(name.map_or(request.image, |(name, _)| name))?;
    }
    if request.pull == Some("always") {
        fetch(session, &request).await?;
    }
    let secrets = match request.api_socket {
        true => Some(api_socket::mount(session, &mut request.body).await?),
        false => None,
    };
    let created = match post(session, &request).await {
        Err(CliError::Daemon { status: 404, message })
            if message.to_lowercase().contains("no such image") && request.pull != Some("never") =>
        {
            let shown = pull::familiar_with_tag(request.image);
            session
                .printer
                .warn(&format!("Unable to find image '{shown}' locally"));
            fetch(session, &request).await?;
            post(session, &request).await?
        }
        other => other?,
    };
    for warning in created.warnings.iter().flatten() {
        session.printer.warn(&format!("WARNING: {warning}"));
    }
    if let Some(secrets) = secrets {
        secrets.put(session.client()?, &created.id).await?;
    }
    if let Some(path) = request.cidfile {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        io::Write::write_all(&mut file, created.id.as_bytes())?;
    }
    Ok(created.id)
}

async fn fetch(session: &Session, request: &Request<'_>) -> Result<(), CliError> {
    pull::pull_image(session, request.image, request.platform, request.quiet).await
}

async fn post(session: &Session, request: &Request<'_>) -> Result<Created, CliError> {
    session
        .client()?
        .post("/containers/create")
        .query_some("name", request.name)
        .query_some("platform", request.platform)
        .json(&request.body)
        .answer()
        .await
}
