//! The name, the configuration and the history.

use havre_oci::Reference;

use super::Image;
use crate::finding::{Finding, Place};
use crate::rule;
use crate::secrets::{find, is_secret_name, is_secret_value};

pub(super) fn check(image: &Image<'_>, findings: &mut Vec<Finding>) {
    names(image, findings);
    let config = image.config;
    let user = config.user.split(':').next().unwrap_or_default();
    if matches!(user, "" | "root" | "0") {
        findings.push(
            Finding::new(
                rule::ROOT_USER,
                Place::Image,
                "the program in the container is root",
            )
            .fix("USER NAME at the end of the Dockerfile, or docker run --user"),
        );
    }
    for variable in &config.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if let Some(secret) = find(value).first() {
            findings.push(
                Finding::new(rule::SECRET_IN_TEXT, Place::Image, format!("ENV {name} has {}", secret.kind))
                    .fix(format!("take it out of the Dockerfile, set it with docker run --env {name} …, and change it, for it is known now")),
            );
        } else if is_secret_name(name) && is_secret_value(name, value) {
            findings.push(
                Finding::new(
                    rule::SECRET_IN_ENV,
                    Place::Image,
                    format!("the value of ENV {name} is in the image, for everybody who has it"),
                )
                .fix(format!(
                    "set it when the container is made: docker run --env {name} …, or --env-file FILE"
                )),
            );
        }
    }
    for (number, step) in image.history.iter().enumerate() {
        for secret in find(step) {
            findings.push(
                Finding::new(rule::SECRET_IN_TEXT, Place::Image, format!("step {} of the history shows {}", number + 1, secret.kind))
                    .fix("build again without it, by a file that is mounted: RUN --mount=type=bind,…; and change it, for it is known now"),
            );
        }
        // `|2 NAME=value OTHER=value /bin/sh -c …`: the arguments a step was given.
        for name in arguments(step) {
            findings.push(
                Finding::new(rule::SECRET_IN_ENV, Place::Image, format!("step {} of the history shows the value of ARG {name}", number + 1))
                    .fix("build again without it, by a file that is mounted: RUN --mount=type=bind,…; and change it, for it is known now"),
            );
        }
    }
    let exposes = !config.exposed_ports.is_empty();
    if exposes && config.healthcheck.is_none() {
        findings.push(
            Finding::new(
                rule::HEALTHCHECK_MISSING,
                Place::Image,
                "nobody notices when the service stops answering",
            )
            .fix("HEALTHCHECK CMD COMMAND in the Dockerfile, or docker run --health-cmd"),
        );
    }
    if !config
        .labels
        .keys()
        .any(|name| name.starts_with("org.opencontainers.image."))
    {
        findings.push(
            Finding::new(rule::LABELS_MISSING, Place::Image, "nothing in the image tells where it comes from and which version it is")
                .fix("docker build --label org.opencontainers.image.source=URL --label org.opencontainers.image.version=VERSION"),
        );
    }
    if image.committed {
        findings.push(
            Finding::new(
                rule::COMMITTED,
                Place::Image,
                "the image was made from a container: nobody can make it again, or see what is in it",
            )
            .fix("a Dockerfile with what was done in the container; havre image diff shows what that was"),
        );
    }
}

fn names(image: &Image<'_>, findings: &mut Vec<Finding>) {
    let tags: Vec<Reference> = image
        .tags
        .iter()
        .filter_map(|name| Reference::parse(name).ok())
        .collect();
    let Some(first) = tags.first() else { return };
    let name = first.familiar_name();
    if tags.iter().all(|tag| tag.tag().is_none_or(|tag| tag == "latest")) {
        findings.push(
            Finding::new(
                rule::LATEST_ONLY,
                Place::Image,
                "the only tag is latest: nobody can say which version runs, or go back to the one before",
            )
            .fix(format!(
                "docker tag {name}:latest {name}:1.0.0 (a version), or {name}:$(date +%Y%m%d)"
            )),
        );
    }
    let local = tags
        .iter()
        .all(|tag| tag.domain() == "docker.io" && tag.path().strip_prefix("library/").is_some());
    if local {
        findings.push(
            Finding::new(
                rule::IMAGE_NAME,
                Place::Image,
                format!("the name {name} tells neither registry nor organisation"),
            )
            .fix(format!(
                "REGISTRY/ORGANISATION/{name}:VERSION, as in registry.example.com/team/{name}:1.0.0"
            )),
        );
    }
    for tag in image.moved {
        findings.push(
            Finding::new(
                rule::VERSION_TAG_MOVED,
                Place::Image,
                format!("{tag} has stood for another image before"),
            )
            .fix(format!(
                "a new tag for each version; havre image log {tag} shows what it was"
            )),
        );
    }
}

/// The names of the secrets among the arguments of a step.
fn arguments(step: &str) -> Vec<&str> {
    let Some(rest) = step
        .trim_start()
        .strip_prefix("RUN ")
        .unwrap_or(step)
        .trim_start()
        .strip_prefix('|')
    else {
        return Vec::new();
    };
    let mut words = rest.split(' ');
    let count = words
        .next()
        .and_then(|count| count.parse::<usize>().ok())
        .unwrap_or(0);
    // A value may have blanks, so more words are looked at than there are arguments; the command ends it.
    words
        .take_while(|word| !word.starts_with("/bin/") && *word != "#(nop)")
        .filter_map(|word| word.split_once('='))
        .filter(|(name, value)| is_secret_name(name) && is_secret_value(name, value))
        .map(|(name, _)| name)
        .take(count)
        .collect()
}
