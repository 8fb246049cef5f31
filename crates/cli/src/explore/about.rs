//! What is known of an image besides its files.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Contents, Subject};
use crate::error::CliError;
use crate::image_files::Image;
use crate::session::Session;

/// Names, history, and what became of its tags.
#[derive(Debug, Default)]
pub(crate) struct About {
    pub(crate) tags: Vec<String>,
    /// What made each step, those without a layer too, the first first.
    pub(crate) history: Vec<String>,
    /// Tags that name a version and stood for other images before.
    pub(crate) moved: Vec<String>,
    /// It was made from a container.
    pub(crate) committed: bool,
}

impl Subject {
    pub(crate) async fn about(&self, session: &Session) -> Result<About, CliError> {
        match &self.contents {
            Contents::Engine(image) => engine(session, image, &self.id).await,
            Contents::Archive(archive) => Ok(About {
                tags: archive.tags.clone(),
                history: archive.history.clone(),
                ..About::default()
            }),
        }
    }
}

async fn engine(session: &Session, image: &Image, id: &str) -> Result<About, CliError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inspected {
        #[serde(default)]
        repo_tags: Option<Vec<String>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Step {
        #[serde(default)]
        created_by: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Change {
        #[serde(default)]
        id: Option<String>,
        command: String,
    }
    let client = session.client()?;
    let found: Inspected = image.docker_call(session, "json")?.answer().await?;
    let steps: Vec<Step> = image.docker_call(session, "history")?.answer().await?;
    let mut about = About {
        tags: found.repo_tags.unwrap_or_default(),
        history: steps.into_iter().rev().map(|step| step.created_by).collect(),
        ..About::default()
    };
    for tag in &about.tags {
        // Other engines keep no history of tags.
        let call = client.get("/havre/images/log").query("name", tag);
        let changes: Vec<Change> = match call.answer().await {
            Ok(changes) => changes,
            Err(CliError::Daemon { status: 404, .. }) => break,
            Err(error) => return Err(error),
        };
        let images: BTreeSet<&str> = changes.iter().filter_map(|change| change.id.as_deref()).collect();
        if images.len() > 1 && names_a_version(tag) {
            about.moved.push(tag.clone());
        }
        about.committed |= changes
            .iter()
            .any(|change| change.command == "commit" && change.id.as_deref() == Some(id));
    }
    Ok(about)
}

/// Whether a tag promises to be always the same: `1.2`, `v1.0.0-alpine`, `20261120`; but not `1`, which follows its releases.
fn names_a_version(name: &str) -> bool {
    let Some((_, tag)) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) else {
        return false;
    };
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    let number = tag.split(['-', '_', '+']).next().unwrap_or_default();
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let only = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    only && (number.matches('.').count() >= 2 || digits >= 8 || (number.contains('.') && digits >= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_promise_to_stay() {
        for tag in [
            "app:1.0.0",
            "app:v1.2",
            "host:5000/app:v1.0.0-alpine",
            "app:20261120",
        ] {
            assert!(names_a_version(tag), "{tag}");
        }
        for tag in [
            "app:latest",
            "app:1",
            "app:dev",
            "host:5000/app",
            "app:2026",
            "app:stable",
        ] {
            assert!(!names_a_version(tag), "{tag}");
        }
    }
}
