//! Names that an engine or the contexts have at this moment.

use std::env;
use std::time::Duration;

use serde::Deserialize;

use super::Candidate;
use super::kinds::{Names, States};
use crate::client::Client;
use crate::contexts::DEFAULT;
use crate::settings::Settings;

/// How long the user waits for an engine.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
    #[serde(default)]
    driver: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volumes {
    #[serde(default)]
    volumes: Option<Vec<Named>>,
}

/// The names of a kind; none if the engine does not answer.
pub(super) async fn names(settings: &Settings, names: Names) -> Vec<Candidate> {
    if names == Names::Contexts {
        return contexts(settings);
    }
    // No engine is started because somebody presses a key.
    let Ok(client) = settings.target().and_then(|target| target.client(None)) else {
        return Vec::new();
    };
    let asked = tokio::time::timeout(PATIENCE, ask(&client, names)).await;
    asked.unwrap_or_default()
}

async fn ask(client: &Client, names: Names) -> Vec<Candidate> {
    let ending = |suffix: &'static str| {
        move |candidate: Candidate| Candidate {
            value: candidate.value + suffix,
            ..candidate
        }
    };
    match names {
        Names::Containers(states) => containers(client, states).await,
        Names::ContainerPaths => {
            let found = containers(client, States::All).await;
            found.into_iter().map(ending(":")).collect()
        }
        Names::Namespaces(modes) => {
            let found = containers(client, States::Running).await;
            let joined = found.into_iter().map(|candidate| Candidate {
                value: format!("container:{}", candidate.value),
                ..candidate
            });
            let modes = modes.iter().map(|mode| Candidate::new(*mode, ""));
            modes.chain(joined).collect()
        }
        Names::Images => images(client).await,
        Names::Volumes => volumes(client).await,
        Names::VolumePaths => volumes(client).await.into_iter().map(ending(":")).collect(),
        Names::Networks => networks(client).await,
        Names::Objects => {
            let mut all = containers(client, States::All).await;
            all.extend(images(client).await);
            all.extend(volumes(client).await);
            all.extend(networks(client).await);
            all
        }
        Names::Contexts => Vec::new(),
    }
}

async fn containers(client: &Client, states: States) -> Vec<Candidate> {
    let call = client
        .get("/containers/json")
        .query_if("all", states != States::Alive);
    let found: Vec<Container> = call.answer().await.unwrap_or_default();
    let ids = env::var("DOCKER_COMPLETION_SHOW_CONTAINER_IDS").is_ok_and(|value| value == "yes");
    let mut candidates = Vec::new();
    for container in found {
        let state = container.state.as_str();
        let wanted = match states {
            States::All => true,
            States::Running => state == "running",
            States::Alive => matches!(state, "running" | "paused" | "restarting"),
            States::Paused => state == "paused",
            States::Stopped => matches!(state, "created" | "exited" | "dead"),
        };
        if !wanted {
            continue;
        }
        if ids {
            let short: String = container.id.chars().take(12).collect();
            candidates.push(Candidate::new(short, &container.image));
        }
        // A second slash is a link's name.
        let names = container.names.iter().filter_map(|name| name.strip_prefix('/'));
        let own = names.filter(|name| !name.contains('/'));
        candidates.extend(own.map(|name| Candidate::new(name, &container.image)));
    }
    candidates
}

async fn images(client: &Client) -> Vec<Candidate> {
    let found: Vec<Image> = client.get("/images/json").answer().await.unwrap_or_default();
    let mut candidates = Vec::new();
    for tag in found
        .into_iter()
        .flat_map(|image| image.repo_tags.unwrap_or_default())
    {
        if let Some(repository) = tag.strip_suffix(":latest") {
            candidates.push(Candidate::new(repository, ""));
        }
        if tag != "<none>:<none>" {
            candidates.push(Candidate::new(tag, ""));
        }
    }
    candidates
}

async fn volumes(client: &Client) -> Vec<Candidate> {
    let found: Option<Volumes> = client.get("/volumes").answer().await.ok();
    described(found.and_then(|found| found.volumes).unwrap_or_default())
}

async fn networks(client: &Client) -> Vec<Candidate> {
    described(client.get("/networks").answer().await.unwrap_or_default())
}

fn described(found: Vec<Named>) -> Vec<Candidate> {
    let candidate = |named: Named| Candidate::new(named.name, named.driver);
    found.into_iter().map(candidate).collect()
}

fn contexts(settings: &Settings) -> Vec<Candidate> {
    let mut candidates = vec![Candidate::new(DEFAULT, crate::contexts::DEFAULT_DESCRIPTION)];
    for context in settings.contexts().list().unwrap_or_default() {
        let words = match context.description() {
            "" => &context.endpoints.docker.host,
            description => description,
        };
        candidates.push(Candidate::new(&context.name, words));
    }
    candidates
}
