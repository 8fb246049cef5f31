//! `docker buildx`: builders, builds, and indexes of registries.

pub(crate) mod build;
pub(crate) mod create;
pub(crate) mod du;
pub(crate) mod imagetools;
pub(crate) mod inspect;
pub(crate) mod ls;
mod node;
pub(crate) mod prune;
pub(crate) mod rm;
pub(crate) mod r#use;
pub(crate) mod version;

use std::env;

use havre_oci::Platform;

use crate::builders::{Builder, Builders, ENGINE, Node, endpoint_key};
use crate::contexts::DEFAULT;
use crate::error::CliError;
use crate::session::{Reaching, Session};

fn builders(session: &Session) -> Builders {
    Builders::new(session.settings.directory())
}

/// The builder that the context in use is.
fn own(session: &Session) -> Result<Builder, CliError> {
    Ok(Builder::of_context(&session.settings.context_name()?))
}

/// The builder of that name: one with a file, or a context.
fn named(session: &Session, name: &str) -> Result<Option<Builder>, CliError> {
    if let Some(builder) = builders(session).get(name)? {
        return Ok(Some(builder));
    }
    let known = name == DEFAULT || session.settings.contexts().exists(name);
    Ok(known.then(|| Builder::of_context(name)))
}

fn no_such(name: &str) -> CliError {
    CliError::Invalid(format!("no builder {name:?} found"))
}

/// The builder that a flag or the environment names; `None` where neither does.
fn asked(session: &Session, flag: Option<&str>) -> Result<Option<Builder>, CliError> {
    let variable = env::var("BUILDX_BUILDER").ok();
    let name = flag.or(variable.as_deref()).filter(|name| !name.is_empty());
    name.map(|name| named(session, name)?.ok_or_else(|| no_such(name)))
        .transpose()
}

/// The builder that a flag or the environment names, or else the one in use.
fn chosen(session: &Session, flag: Option<&str>) -> Result<Builder, CliError> {
    if let Some(builder) = asked(session, flag)? {
        return Ok(builder);
    }
    match builders(session).current(&endpoint_key(&session.settings)?)? {
        // One that is gone has no say.
        Some(name) => Ok(named(session, &name)?.unwrap_or(own(session)?)),
        None => own(session),
    }
}

/// A session with the engine of a node.
fn session_of<'a>(session: &'a Session, node: &Node) -> Result<Reaching<'a>, CliError> {
    let settings = &session.settings;
    let own = settings.context_name()?;
    if node.endpoint == own || node.endpoint == endpoint_key(settings)? {
        return Ok(Reaching::Own(session));
    }
    let other = session.with_engine(settings.target_named(&node.endpoint)?)?;
    Ok(Reaching::Other(Box::new(other)))
}

/// A session with the engine of a builder that is to build for a platform.
fn engine_of<'a>(
    session: &'a Session,
    builder: &Builder,
    platform: Option<&Platform>,
) -> Result<Reaching<'a>, CliError> {
    if !builder.is_reachable() {
        return Err(CliError::Invalid(format!(
            "builder {:?} is of the kind {:?}, which needs Docker's own buildx: here an engine ({ENGINE:?}) builds",
            builder.name,
            builder.kind()
        )));
    }
    match builder.node_for(platform) {
        Some(node) => session_of(session, node),
        None => Err(CliError::Invalid(format!(
            "builder {:?} has no nodes: add one with 'buildx create --append --name {0} ENDPOINT'",
            builder.name
        ))),
    }
}

/// A session with the engine a command on builders is about.
fn engine<'a>(session: &'a Session, flag: Option<&str>) -> Result<Reaching<'a>, CliError> {
    engine_of(session, &chosen(session, flag)?, None)
}

/// The session for `build`, which takes another engine only when a flag or the environment asks for a builder.
pub(crate) fn for_build<'a>(
    session: &'a Session,
    flag: Option<&str>,
    platform: Option<&Platform>,
) -> Result<Reaching<'a>, CliError> {
    match asked(session, flag)? {
        Some(builder) => engine_of(session, &builder, platform),
        None => Ok(Reaching::Own(session)),
    }
}
