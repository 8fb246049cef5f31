//! An image: its layers and what made them, its configuration and history, what refers to it. Of an index, one of its images.

use askama::Template;
use axum::response::Response;
use havre_hub::Action;
use havre_oci::{Descriptor, Digest, ImageConfig, Manifest, RunConfig};
use havre_registry_store::{Identifier, Referrer, RepositoryName, Tag};

use crate::error::PageError;
use crate::frame::Frame;
use crate::image::{self, Chosen, Kind};
use crate::link;
use crate::plot::treemap;
use crate::respond;
use crate::show::{self, Count, Moment, Size};
use crate::visit::Visit;

/// The picture of the layers, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 180.0;
/// Values of one list (labels, environment, …) that are shown.
const MAX_VALUES: usize = 200;
/// Bytes of a manifest that are shown.
const MAX_TEXT: usize = 64 << 10;

#[derive(Template)]
#[template(path = "image.html")]
struct Page<'a> {
    frame: Frame<'a>,
    /// `app:1.0`, or with a digest.
    name: String,
    repository: String,
    pulls: Vec<String>,
    digest: String,
    media_type: String,
    /// Of the image that is shown, if it is one of an index.
    of_index: Option<String>,
    platforms: Vec<Choice>,
    tags: Vec<(String, String)>,
    facts: Vec<(&'static str, Fact)>,
    layers: Vec<Layer>,
    others: Vec<Other>,
    files: Option<String>,
    compare: Option<Compare>,
    config: Vec<(&'static str, Vec<String>)>,
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
    history: Vec<Step>,
    referrers: Vec<Refers>,
    manifest: String,
    delete: Option<String>,
}

enum Fact {
    Text(String),
    Time(Moment),
}

/// A platform of an index.
struct Choice {
    name: String,
    link: String,
    is_shown: bool,
}

struct Layer {
    number: usize,
    size: Size,
    share: String,
    command: String,
    link: String,
    digest: String,
    short: String,
    media_type: String,
    /// The number of its colour.
    colour: usize,
    x: String,
    y: String,
    width: String,
    height: String,
    text_x: String,
    text_y: String,
    /// Whether there is room for its number, and for its size as well.
    is_wide: bool,
    is_labelled: bool,
}

/// What a manifest that is no image names.
struct Other {
    title: String,
    media_type: String,
    size: Size,
    digest: String,
    link: Option<String>,
}

struct Compare {
    link: String,
    reference: String,
    platform: String,
}

struct Step {
    command: String,
    created: Option<Moment>,
    comment: String,
    layer: Option<usize>,
}

struct Refers {
    kind: String,
    size: Size,
    link: String,
    short: String,
    annotations: Vec<(String, String)>,
}

struct Found {
    chosen: Chosen,
    referrers: Vec<Referrer>,
    tags: Vec<Tag>,
}

/// The manifest of an index that is asked for.
pub(super) fn wanted(visit: &Visit) -> Result<Option<Digest>, PageError> {
    match visit.query.text("manifest") {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| PageError::NotFound),
    }
}

pub(crate) async fn page(
    visit: &Visit,
    name: RepositoryName,
    reference: Identifier,
) -> Result<Response, PageError> {
    let wanted = wanted(visit)?;
    let (asked, by) = (name.clone(), reference.clone());
    let found = visit
        .blocking(move |pages| {
            let store = pages.store();
            let chosen = Chosen::read(store, &asked, &by, wanted.as_ref(), None)?;
            let digest = &chosen.shown().stored.digest;
            let mut referrers = store.referrers(&asked, digest, None)?;
            if chosen.named().is_some() {
                referrers.extend(store.referrers(&asked, &chosen.outer.stored.digest, None)?);
            }
            let tags = store.tags_of(&asked, &chosen.outer.stored.digest, 20)?;
            Ok(Found {
                chosen,
                referrers,
                tags,
            })
        })
        .await?;
    let may_delete = visit.pages.settings().deletes && visit.must(&name, Action::Delete).await.is_ok();
    respond::html(&view(visit, &name, &reference, &found, may_delete))
}

fn view<'a>(
    visit: &'a Visit,
    name: &RepositoryName,
    reference: &Identifier,
    found: &Found,
    may_delete: bool,
) -> Page<'a> {
    let chosen = &found.chosen;
    let (outer, shown) = (&chosen.outer, chosen.shown());
    let title = match reference {
        Identifier::Tag(tag) => format!("{name}:{tag}"),
        Identifier::Digest(digest) => format!("{name}@{}", show::short(digest)),
    };
    let frame = Frame::new(visit, &*title)
        .below("Repositories", "/")
        .below(name.as_str(), link::repository(name));
    let host = frame.host().to_owned();
    let by_digest = format!("docker pull {host}/{name}@{}", outer.stored.digest);
    let pulls = match reference {
        Identifier::Tag(tag) => vec![format!("docker pull {host}/{name}:{tag}"), by_digest],
        Identifier::Digest(_) => vec![by_digest],
    };
    let tags = found
        .tags
        .iter()
        .filter(|tag| !matches!(reference, Identifier::Tag(own) if own == *tag));
    let tags = tags.map(|tag| {
        let link = link::image(name, &Identifier::Tag(tag.clone()), None);
        (tag.to_string(), link)
    });
    let image = chosen.image();
    let delete = match (reference, may_delete) {
        (Identifier::Tag(tag), true) => Some(format!(
            "{}?tag={}",
            link::about(name, "delete"),
            link::value(tag.as_str())
        )),
        _ => None,
    };
    Page {
        repository: name.to_string(),
        pulls,
        digest: shown.stored.digest.to_string(),
        media_type: show::line(&shown.stored.media_type),
        of_index: chosen.named().map(|_| outer.stored.digest.to_string()),
        platforms: platforms(name, reference, chosen),
        tags: tags.collect(),
        facts: facts(chosen),
        layers: image.map_or_else(Vec::new, |(manifest, config)| {
            layers(name, reference, chosen, manifest, config)
        }),
        others: others(name, chosen),
        files: image.map(|_| link::files(name, reference, b"", chosen.named(), None)),
        compare: image.map(|(_, config)| Compare {
            link: link::about(name, "compare"),
            reference: reference.to_string(),
            platform: show::line(&config.platform().to_string()),
        }),
        config: image.map_or_else(Vec::new, |(_, config)| settings(&config.config)),
        labels: image.map_or_else(Vec::new, |(_, config)| pairs(&config.config.labels)),
        annotations: match &shown.kind {
            Kind::Index(index) => pairs(&index.annotations),
            Kind::Image(manifest, _) | Kind::Artifact(manifest) => pairs(&manifest.annotations),
            Kind::Unknown => Vec::new(),
        },
        history: image.map_or_else(Vec::new, |(_, config)| history(config)),
        referrers: found.referrers.iter().map(|one| refers(name, one)).collect(),
        manifest: pretty(&shown.bytes),
        name: title,
        frame,
        delete,
    }
}

fn platforms(name: &RepositoryName, reference: &Identifier, chosen: &Chosen) -> Vec<Choice> {
    let Kind::Index(index) = &chosen.outer.kind else {
        return Vec::new();
    };
    let choices = image::images(index).map(|descriptor| Choice {
        name: image::platform(descriptor),
        link: link::image(name, reference, Some(&descriptor.digest)),
        is_shown: chosen.named() == Some(&descriptor.digest),
    });
    choices.collect()
}

fn facts(chosen: &Chosen) -> Vec<(&'static str, Fact)> {
    let mut facts = Vec::new();
    match &chosen.shown().kind {
        Kind::Image(manifest, config) => {
            facts.push(("Platform", Fact::Text(show::line(&config.platform().to_string()))));
            facts.push((
                "To be pulled",
                Fact::Text(Size(image::size(manifest)).to_string()),
            ));
            if let Some(created) = config.created {
                facts.push(("Built", Fact::Time(Moment::at(created))));
            }
            if !config.author.is_empty() {
                facts.push(("Author", Fact::Text(show::line(&config.author))));
            }
        }
        Kind::Artifact(manifest) => {
            let kind = manifest.artifact_type.as_deref();
            let kind = kind.unwrap_or(&manifest.config.media_type);
            facts.push(("Kind", Fact::Text(show::line(kind))));
            facts.push((
                "To be pulled",
                Fact::Text(Size(image::size(manifest)).to_string()),
            ));
        }
        Kind::Index(index) => {
            let count = Count(index.manifests.len() as u64);
            facts.push(("Manifests", Fact::Text(count.to_string())));
        }
        Kind::Unknown => facts.push((
            "Kind",
            Fact::Text("a manifest that these pages cannot read".to_owned()),
        )),
    }
    facts
}

/// A command of a history, without what every build writes.
pub(super) fn command(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("/bin/sh -c #(nop)").unwrap_or(text).trim();
    let text = match text.strip_prefix("/bin/sh -c ") {
        Some(command) => format!("RUN {}", command.trim()),
        None => text.to_owned(),
    };
    let text = text.strip_suffix("# buildkit").map_or(&*text, str::trim);
    // Lines that were broken for the eye.
    let words: Vec<&str> = text.split_whitespace().collect();
    show::line(&words.join(" "))
}

/// The commands that made the layers, in their order.
pub(super) fn commands(config: &ImageConfig) -> Vec<String> {
    let steps = config.history.iter().filter(|step| !step.empty_layer);
    steps.map(|step| command(&step.created_by)).collect()
}

fn layers(
    name: &RepositoryName,
    reference: &Identifier,
    chosen: &Chosen,
    manifest: &Manifest,
    config: &ImageConfig,
) -> Vec<Layer> {
    let commands = commands(config);
    let sizes: Vec<u64> = manifest.layers.iter().map(|layer| layer.size).collect();
    let total = sizes
        .iter()
        .fold(0, |sum: u64, size| sum.saturating_add(*size))
        .max(1);
    let areas = treemap::layout(&sizes, WIDTH, HEIGHT);
    let number = |number: f64| format!("{number:.1}");
    let layers = manifest.layers.iter().zip(areas).enumerate();
    layers
        .map(|(at, (layer, area))| Layer {
            number: at + 1,
            size: Size(layer.size),
            share: format!("{:.0} %", layer.size as f64 / total as f64 * 100.0),
            command: commands.get(at).cloned().unwrap_or_default(),
            link: link::files(name, reference, b"", chosen.named(), Some(at + 1)),
            digest: layer.digest.to_string(),
            short: show::short(&layer.digest).to_owned(),
            media_type: show::line(&layer.media_type),
            colour: at % 6,
            x: number(area.x + 1.0),
            y: number(area.y + 1.0),
            width: number((area.width - 2.0).max(0.0)),
            height: number((area.height - 2.0).max(0.0)),
            text_x: number(area.x + 10.0),
            text_y: number(area.y + 26.0),
            is_wide: area.width > 110.0 && area.height > 40.0,
            is_labelled: area.width > 34.0 && area.height > 36.0,
        })
        .collect()
}

fn others(name: &RepositoryName, chosen: &Chosen) -> Vec<Other> {
    let descriptors: Vec<(&Descriptor, bool)> = match (&chosen.outer.kind, &chosen.shown().kind) {
        (_, Kind::Artifact(manifest)) => manifest.layers.iter().map(|layer| (layer, false)).collect(),
        (Kind::Index(index), _) => {
            let statements = index.manifests.iter().filter(|one| one.is_attestation());
            statements.map(|one| (one, true)).collect()
        }
        _ => Vec::new(),
    };
    let descriptors = descriptors.into_iter().take(MAX_VALUES);
    descriptors
        .map(|(one, is_manifest)| {
            let title = one.annotations.get("org.opencontainers.image.title");
            let title = title.or_else(|| one.annotations.get("vnd.docker.reference.type"));
            Other {
                title: show::line(title.map_or("", String::as_str)),
                media_type: show::line(&one.media_type),
                size: Size(one.size),
                digest: one.digest.to_string(),
                link: is_manifest.then(|| link::image(name, &Identifier::Digest(one.digest.clone()), None)),
            }
        })
        .collect()
}

/// Words as a shell would take them.
fn words(words: &[String]) -> String {
    let plain = |word: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
        !word.is_empty() && word.chars().all(fits)
    };
    let words: Vec<String> = words
        .iter()
        .map(|word| match plain(word) {
            true => word.clone(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        })
        .collect();
    show::line(&words.join(" "))
}

/// What an image says about containers, in lines.
pub(super) fn settings(config: &RunConfig) -> Vec<(&'static str, Vec<String>)> {
    let mut settings: Vec<(&'static str, Vec<String>)> = Vec::new();
    let mut add = |name, lines: Vec<String>| {
        if !lines.is_empty() {
            settings.push((name, lines));
        }
    };
    let one = |text: &str| match text.is_empty() {
        true => Vec::new(),
        false => vec![show::line(text)],
    };
    let list = |list: &Option<Vec<String>>| list.iter().map(|list| words(list)).collect::<Vec<_>>();
    let keys = |keys: Vec<&String>| {
        keys.into_iter()
            .take(MAX_VALUES)
            .map(|key| show::line(key))
            .collect()
    };
    add("Entrypoint", list(&config.entrypoint));
    add("Command", list(&config.cmd));
    add("Working directory", one(&config.working_dir));
    add("User", one(&config.user));
    add("Ports", keys(config.exposed_ports.keys().collect()));
    add("Volumes", keys(config.volumes.keys().collect()));
    add("Environment", keys(config.env.iter().collect()));
    add("Stop signal", one(&config.stop_signal));
    let check = config.healthcheck.as_ref().map(|check| words(&check.test));
    add(
        "Health check",
        check.into_iter().filter(|check| !check.is_empty()).collect(),
    );
    add("Shell", list(&config.shell));
    add("On build", keys(config.on_build.iter().collect()));
    settings
}

pub(super) fn pairs(pairs: &std::collections::BTreeMap<String, String>) -> Vec<(String, String)> {
    let pairs = pairs.iter().take(MAX_VALUES);
    pairs
        .map(|(key, value)| (show::line(key), show::line(value)))
        .collect()
}

fn history(config: &ImageConfig) -> Vec<Step> {
    let mut layer = 0;
    let steps = config.history.iter().take(1000).map(|step| {
        layer += usize::from(!step.empty_layer);
        Step {
            command: command(&step.created_by),
            created: step.created.map(Moment::at),
            comment: show::line(&step.comment),
            layer: (!step.empty_layer).then_some(layer),
        }
    });
    steps.collect()
}

fn refers(name: &RepositoryName, referrer: &Referrer) -> Refers {
    let kind = referrer.artifact_type.as_deref();
    Refers {
        kind: show::line(kind.unwrap_or(&referrer.media_type)),
        size: Size(referrer.size),
        link: link::image(name, &Identifier::Digest(referrer.digest.clone()), None),
        short: show::short(&referrer.digest).to_owned(),
        annotations: pairs(&referrer.annotations),
    }
}

/// A manifest as people read it.
fn pretty(bytes: &[u8]) -> String {
    let value = serde_json::from_slice::<serde_json::Value>(bytes);
    let text = value
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok());
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    let lines = text.lines().map(show::line);
    let mut shown = String::new();
    for line in lines {
        if shown.len() + line.len() > MAX_TEXT {
            shown.push('…');
            break;
        }
        shown.push_str(&line);
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_without_what_every_build_writes() {
        for (written, shown) in [
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", "CMD [\"sh\"]"),
            (
                "/bin/sh -c apt-get update &&     apt-get install",
                "RUN apt-get update && apt-get install",
            ),
            ("RUN /bin/sh -c make # buildkit", "RUN /bin/sh -c make"),
            ("COPY a b # buildkit", "COPY a b"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(command(written), shown);
        }
    }

    #[test]
    fn words_can_be_copied_into_a_shell() {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(words(&list(&["sh", "-c", "echo it's"])), "sh -c 'echo it'\\''s'");
        assert_eq!(words(&list(&["", "a\nb"])), "'' 'a\\nb'");
    }
}
