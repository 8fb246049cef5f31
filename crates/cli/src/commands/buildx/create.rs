//! `buildx create`.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use havre_oci::Platform;

use super::builders;
use super::node::ask;
use crate::args::buildx::create::Create;
use crate::builders::{Builder, Builders, Node, check_name, endpoint_key};
use crate::commands::Done;
use crate::contexts::DEFAULT;
use crate::endpoint::Endpoint;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker buildx create`: notes a builder, or changes its nodes. Nothing is started: engines build.
pub(crate) async fn create(session: &Session, args: Create) -> Done {
    if let Some(driver) = args.driver.as_deref()
        && !matches!(driver, "docker" | "docker-container")
    {
        return Err(CliError::Invalid(format!(
            "driver {driver:?} is not supported: an engine builds; name its context or address as the node's endpoint"
        )));
    }
    let builders = builders(session);
    let builder = match args.leave {
        true => leave(&builders, &args)?,
        false => enter(session, &builders, &args)?,
    };
    builders.put(&builder)?;
    if args.choose {
        builders.choose(&endpoint_key(&session.settings)?, &builder.name, false, false)?;
    }
    if args.bootstrap {
        for status in ask(session, &builder).await {
            status.answer.map_err(CliError::Invalid)?;
        }
    }
    session.printer.line(&builder.name);
    Ok(ExitStatus::SUCCESS)
}

/// The builder without a node.
fn leave(builders: &Builders, args: &Create) -> Result<Builder, CliError> {
    let (Some(name), Some(node)) = (&args.name, &args.node) else {
        return Err(CliError::Invalid(
            "leave requires instance name and node name: give --name and --node".to_owned(),
        ));
    };
    let Some(mut builder) = builders.get(name)? else {
        return Err(CliError::Invalid(format!(
            "failed to find instance {name:?} for leave"
        )));
    };
    let before = builder.nodes.len();
    builder.nodes.retain(|known| known.name != *node);
    match (before - builder.nodes.len(), builder.nodes.len()) {
        (0, _) => Err(CliError::Invalid(format!(
            "builder {name:?} has no node {node:?}"
        ))),
        (_, 0) => Err(CliError::Invalid(format!(
            "node {node:?} is the last of builder {name:?}: remove the builder with 'buildx rm {name}'"
        ))),
        _ => Ok(builder),
    }
}

/// The builder with a node more, or with a node as it is to be now.
fn enter(session: &Session, builders: &Builders, args: &Create) -> Result<Builder, CliError> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None if args.append => {
            return Err(CliError::Invalid(
                "append requires a builder name: give --name".to_owned(),
            ));
        }
        None => unused_name(builders)?,
    };
    check_name(&name)?;
    if name == DEFAULT || session.settings.contexts().exists(&name) {
        return Err(CliError::Invalid(format!(
            "instance name {name:?} already exists as context builder"
        )));
    }
    let known = builders.get(&name)?;
    if known.is_none() && args.append {
        session.printer.warn(&format!(
            "WARNING: failed to find {name:?} for append, creating a new instance instead"
        ));
    }
    if known.is_some() && !args.append && args.node.is_none() {
        return Err(CliError::Invalid(format!(
            "existing instance for {name:?} but no append mode, specify the node name to make changes for existing instances"
        )));
    }
    let mut builder = known.unwrap_or_else(|| Builder::new(&name.to_ascii_lowercase()));
    let endpoint = match args.operands.first() {
        None => endpoint_key(&session.settings)?,
        Some(context) if context == DEFAULT || session.settings.contexts().exists(context) => context.clone(),
        Some(address) => {
            let is_address = address.contains("://") && Endpoint::parse(address).is_ok();
            if !is_address {
                return Err(CliError::Invalid(format!(
                    "{address:?} is neither a context nor an address (unix://, tcp://, ssh://)"
                )));
            }
            address.clone()
        }
    };
    let platforms = args
        .platform
        .iter()
        .map(|text| Platform::parse(text).map_err(|error| CliError::Invalid(error.to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    let place = args
        .node
        .as_ref()
        .and_then(|node| builder.nodes.iter().position(|known| known.name == *node));
    let twin = builder
        .nodes
        .iter()
        .enumerate()
        .any(|(at, known)| known.endpoint == endpoint && Some(at) != place);
    if twin {
        return Err(CliError::Invalid(format!(
            "invalid duplicate endpoint {endpoint}"
        )));
    }
    match place {
        Some(place) => {
            let node = &mut builder.nodes[place];
            if !args.operands.is_empty() {
                node.endpoint = endpoint;
            }
            if !platforms.is_empty() {
                node.platforms = platforms;
            }
        }
        None => {
            let name = args.node.clone().unwrap_or_else(|| unused_node(&builder));
            check_name(&name)?;
            builder.nodes.push(Node {
                name,
                endpoint,
                platforms,
            });
        }
    }
    Ok(builder)
}

/// The builder's name and the first number no node has.
fn unused_node(builder: &Builder) -> String {
    let taken = |name: &String| builder.nodes.iter().any(|node| node.name == *name);
    (0..)
        .map(|number| format!("{}{number}", builder.name))
        .find(|name| !taken(name))
        .unwrap_or_default()
}

fn unused_name(builders: &Builders) -> Result<String, CliError> {
    loop {
        let name = format!("builder_{:016x}", RandomState::new().build_hasher().finish());
        if builders.get(&name)?.is_none() {
            return Ok(name);
        }
    }
}
