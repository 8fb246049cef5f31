//! `docker manifest`: indexes of several platforms, made here and pushed to a registry.

pub(crate) mod annotate;
pub(crate) mod create;
pub(crate) mod inspect;
pub(crate) mod push;
pub(crate) mod rm;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use havre_oci::{Descriptor, Reference};
use serde::Deserialize;

use crate::commands::image::tag;
use crate::credentials;
use crate::error::CliError;
use crate::manifest_lists::{Listed, Lists};
use crate::session::Session;

/// A manifest or index as the engine hands it on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Remote {
    descriptor: Descriptor,
    raw: String,
}

impl Remote {
    fn bytes(&self) -> Result<Vec<u8>, CliError> {
        let invalid = |error| CliError::Invalid(format!("unexpected manifest from the engine: {error}"));
        STANDARD.decode(&self.raw).map_err(invalid)
    }
}

/// A whole name; `latest` without a tag.
fn reference(name: &str) -> Result<Reference, CliError> {
    Ok(tag::reference(name)?.with_default_tag())
}

fn lists(session: &Session) -> Lists {
    Lists::new(session.settings.directory())
}

fn no_such(reference: &Reference) -> CliError {
    CliError::Invalid(format!("no such manifest: {}", reference.canonical()))
}

/// What a registry has under a name; `None` when there is nothing.
async fn remote(
    session: &Session,
    reference: &Reference,
    insecure: bool,
) -> Result<Option<Remote>, CliError> {
    let mut call = session
        .client()?
        .get(format!("/havre/manifests/{}", reference.canonical()))
        .query_if("insecure", insecure);
    if let Some(header) = credentials::header(&session.settings, reference.domain())? {
        call = call.header("x-registry-auth", header);
    }
    match call.answer().await {
        Ok(remote) => Ok(Some(remote)),
        Err(CliError::Daemon { status: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The manifest a name stands for in a list, or else at its registry.
async fn manifest(
    session: &Session,
    list: &Reference,
    name: &Reference,
    insecure: bool,
) -> Result<Listed, CliError> {
    if let Some(listed) = lists(session).manifest(list, name)? {
        return Ok(listed);
    }
    let Some(remote) = remote(session, name, insecure).await? else {
        return Err(no_such(name));
    };
    let bytes = remote.bytes()?;
    Listed::new(name, remote.descriptor, bytes)
}
