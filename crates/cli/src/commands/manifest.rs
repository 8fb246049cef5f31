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
use serde_json::json;

use crate::commands::image::tag;
use crate::credentials;
use crate::error::CliError;
use crate::manifest_lists::{Listed, Lists};
use crate::session::Session;

/// A manifest or index as the engine hands it on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Remote {
    pub(crate) descriptor: Descriptor,
    raw: String,
}

impl Remote {
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, CliError> {
        let invalid = |error| CliError::Invalid(format!("unexpected manifest from the engine: {error}"));
        STANDARD.decode(&self.raw).map_err(invalid)
    }
}

/// A whole name; `latest` without a tag.
pub(crate) fn reference(name: &str) -> Result<Reference, CliError> {
    Ok(tag::reference(name)?.with_default_tag())
}

fn lists(session: &Session) -> Lists {
    Lists::new(session.settings.directory())
}

fn no_such(reference: &Reference) -> CliError {
    CliError::Invalid(format!("no such manifest: {}", reference.canonical()))
}

/// What a registry has under a name; `None` when there is nothing.
pub(crate) async fn remote(
    session: &Session,
    reference: &Reference,
    insecure: bool,
) -> Result<Option<Remote>, CliError> {
    let call = session
        .client()?
        .get(format!("/havre/manifests/{}", reference.canonical()))
        .query_if("insecure", insecure);
    let call = credentials::sign(call, &session.settings, &reference.repository())?;
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pushed {
    descriptor: Descriptor,
}

/// Puts a manifest or index under a name, after what it names, which comes from the repositories of `sources`.
pub(crate) async fn put(
    session: &Session,
    target: &Reference,
    media_type: &str,
    bytes: &[u8],
    sources: &[String],
    insecure: bool,
) -> Result<Descriptor, CliError> {
    let header = credentials::header(&session.settings, &target.repository())?;
    let call = session
        .client()?
        .put(format!("/havre/manifests/{}", target.canonical()))
        .query_if("insecure", insecure)
        .header("x-registry-auth", header.unwrap_or_else(credentials::nobody));
    let call = credentials::sign_for_all(call, &session.settings)?;
    let body = json!({"MediaType": media_type, "Raw": STANDARD.encode(bytes), "Sources": sources});
    let pushed: Pushed = call.json(&body).answer().await?;
    Ok(pushed.descriptor)
}
