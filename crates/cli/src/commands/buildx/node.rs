//! How a node is, asked of its engine.

use std::time::Duration;

use futures_util::future::join_all;
use havre_oci::Platform;
use serde::Deserialize;

use super::session_of;
use crate::builders::{Builder, Node};
use crate::error::CliError;
use crate::session::Session;

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an engine says of itself as a builder.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    version: String,
    platforms: Vec<Platform>,
}

/// What another engine says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    os: String,
    arch: String,
}

/// A node with its engine's answer.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) node: Node,
    pub(super) answer: Result<Engine, String>,
}

/// An engine that builds.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) version: String,
    platforms: Vec<Platform>,
}

impl Status {
    /// In a word.
    pub(super) fn word(&self) -> &'static str {
        match self.answer {
            Ok(_) => "running",
            Err(_) => "inactive",
        }
    }

    /// The engine's version; empty where nobody answers.
    pub(super) fn version(&self) -> &str {
        self.answer.as_ref().map_or("", |engine| engine.version.as_str())
    }

    /// Its platforms as people see them: those chosen for the node with a `*`, then the engine's.
    pub(super) fn platforms(&self) -> String {
        let chosen = &self.node.platforms;
        let others = self
            .answer
            .iter()
            .flat_map(|engine| &engine.platforms)
            .filter(|platform| !chosen.contains(platform));
        let chosen = chosen.iter().map(|platform| format!("{platform}*"));
        chosen
            .chain(others.map(ToString::to_string))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Asks all nodes of a builder at once.
pub(super) async fn ask(session: &Session, builder: &Builder) -> Vec<Status> {
    join_all(builder.nodes.iter().map(async |node| {
        let answer = match builder.is_reachable() {
            true => tokio::time::timeout(PATIENCE, asked(session, node)).await,
            false => Ok(Err(CliError::Invalid(format!(
                "{} needs Docker's own buildx",
                builder.kind()
            )))),
        };
        let answer = match answer {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer from {} in time", node.endpoint)),
        };
        Status {
            node: node.clone(),
            answer,
        }
    }))
    .await
}

async fn asked(session: &Session, node: &Node) -> Result<Engine, CliError> {
    let session = session_of(session, node)?;
    let client = session.client()?;
    match client.get("/havre/builder").answer::<Answer>().await {
        Ok(answer) => Ok(Engine {
            version: answer.version,
            platforms: answer.platforms,
        }),
        // Another engine of Docker's kind builds as well, for the platform it runs on.
        Err(CliError::Daemon { status: 404, .. }) => {
            let version: Version = client.get("/version").answer().await?;
            Ok(Engine {
                version: version.version,
                platforms: vec![Platform::new(version.os, version.arch)],
            })
        }
        Err(error) => Err(error),
    }
}
