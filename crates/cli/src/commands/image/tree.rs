//! `images --tree`: names as parents, platforms as their children.

use serde::Deserialize;

use super::ls::{Sort, Summary};
use crate::args::image::ls::Ls;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::{short_id, size};
use crate::session::Session;
use crate::spec::filters::with;

/// One platform of an image, or what else an index names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Manifest {
    #[serde(rename = "ID")]
    id: String,
    kind: String,
    available: bool,
    size: Size,
    image_data: Option<ImageData>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Size {
    content: i64,
    total: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageData {
    platform: Platform,
    containers: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Platform {
    os: String,
    architecture: String,
    variant: String,
}

impl Platform {
    /// `linux/arm64/v8`
    fn text(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        let parts: Vec<&str> = (parts.into_iter().map(String::as_str))
            .filter(|part| !part.is_empty())
            .collect();
        parts.join("/")
    }
}

/// `docker images --tree`.
pub(super) async fn tree(session: &Session, args: &Ls) -> Done {
    for (given, flag) in [
        (args.quiet, "quiet"),
        (args.digests, "digests"),
        (args.format.is_some(), "format"),
    ] {
        if given {
            return Err(CliError::Invalid(format!(
                "--{flag} is not yet supported with --tree"
            )));
        }
    }
    let sort = args.sort.as_deref().map(str::parse::<Sort>).transpose()?;
    let pattern = args
        .operands
        .first()
        .map(|pattern| ("reference", pattern.as_str()));
    let mut images: Vec<Summary> = session
        .client()?
        .get("/images/json")
        .query("manifests", "1")
        .query_if("all", args.all)
        .query_if("last-used", sort.is_some_and(Sort::needs_uses))
        .query_some("filters", with(&args.filter, pattern.as_slice())?)
        .answer()
        .await?;
    if images.iter().any(|image| image.manifests.is_none()) {
        return Err(CliError::Invalid(
            "this engine does not tell the platforms of images: --tree needs one that speaks API 1.47"
                .to_owned(),
        ));
    }
    images.sort_by(|one, other| match sort {
        Some(sort) => sort.images(one, other),
        None => other.created.cmp(&one.created),
    });
    session.printer.out(&render(&images, !args.no_trunc));
    Ok(ExitStatus::SUCCESS)
}

struct Line {
    name: String,
    /// ID, bytes on the disk, bytes of content, and whether a container uses it; without, there is only the name.
    details: Option<(String, i64, i64, bool)>,
}

impl Summary {
    fn lines(&self) -> Vec<Line> {
        let platforms: Vec<(&Manifest, &ImageData)> = (self.manifests.iter().flatten())
            .filter(|manifest| manifest.kind == "image")
            .filter_map(|manifest| Some((manifest, manifest.image_data.as_ref()?)))
            .collect();
        let used = |data: &ImageData| data.containers.as_ref().is_some_and(|users| !users.is_empty());
        let content = platforms.iter().map(|(manifest, _)| manifest.size.content).sum();
        let in_use = self.containers > 0 || platforms.iter().any(|(_, data)| used(data));
        let mut names = self.tags();
        if names.is_empty() {
            names.push("<untagged>".to_owned());
        }
        let mut lines: Vec<Line> = (names.into_iter())
            .map(|name| Line { name, details: None })
            .collect();
        if let Some(last) = lines.last_mut() {
            last.details = Some((self.id.clone(), self.size, content, in_use));
        }
        let count = platforms.len();
        for (place, (manifest, data)) in platforms.into_iter().enumerate() {
            let branch = if place + 1 == count { "└─" } else { "├─" };
            let missing = if manifest.available { "" } else { " (not here)" };
            lines.push(Line {
                name: format!("{branch} {}{missing}", data.platform.text()),
                details: Some((
                    manifest.id.clone(),
                    manifest.size.total,
                    manifest.size.content,
                    used(data),
                )),
            });
        }
        lines
    }
}

fn render(images: &[Summary], trunc: bool) -> String {
    let blocks: Vec<Vec<Line>> = images.iter().map(Summary::lines).collect();
    let ids = |id: &str| if trunc { short_id(id) } else { id.to_owned() };
    let lines = || blocks.iter().flatten();
    let width = lines()
        .map(|line| line.name.chars().count())
        .max()
        .unwrap_or(0)
        .max("IMAGE".len());
    let shown = lines().filter_map(|line| line.details.as_ref());
    let id_width = shown.map(|(id, ..)| ids(id).len()).max().unwrap_or(12).max(12);
    let row = |name: &str, id: &str, disk: &str, content: &str, extra: &str| {
        let name = format!("{name}{}", " ".repeat(width - name.chars().count()));
        format!("{name}   {id:<id_width$}   {disk:>10}   {content:>12}   {extra}\n")
    };
    let mut text = row("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA");
    for (place, block) in blocks.iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        for line in block {
            match &line.details {
                Some((id, disk, content, used)) => {
                    let extra = if *used { "U" } else { "" };
                    let row = row(
                        &line.name,
                        &ids(id),
                        &size::short(*disk),
                        &size::short(*content),
                        extra,
                    );
                    text.push_str(row.trim_end());
                    text.push('\n');
                }
                None => text.push_str(&format!("{}\n", line.name)),
            }
        }
    }
    if lines().any(|line| line.details.as_ref().is_some_and(|(.., used)| *used)) {
        text.push_str("\nU  In Use\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_children_and_attestations_are_none() {
        let images = r#"[
            {"Id":"sha256:0123456789abcdef","RepoTags":["app:1","app:latest"],"Created":2,"Size":13600000,"Manifests":[
                {"ID":"sha256:1123456789abcdef","Kind":"image","Available":true,"Size":{"Content":4090000,"Total":13600000},
                 "ImageData":{"Platform":{"os":"linux","architecture":"amd64"},"Containers":["c"],"Size":{"Unpacked":1}}},
                {"ID":"sha256:2123456789abcdef","Kind":"attestation","Available":true,"Size":{"Content":1,"Total":1},
                 "AttestationData":{"For":"sha256:11"}},
                {"ID":"sha256:3123456789abcdef","Kind":"image","Available":false,"Size":{"Content":0,"Total":0},
                 "ImageData":{"Platform":{"os":"linux","architecture":"arm64","variant":"v8"},"Containers":null,"Size":{"Unpacked":0}}}]},
            {"Id":"sha256:4123456789abcdef","RepoTags":[],"Created":1,"Size":1,"Manifests":[]}]"#;
        let images: Vec<Summary> = serde_json::from_str(images).unwrap();
        assert_eq!(
            render(&images, true),
            "\
IMAGE                          ID             DISK USAGE   CONTENT SIZE   EXTRA
app:1
app:latest                     0123456789ab       13.6MB         4.09MB   U
├─ linux/amd64                 1123456789ab       13.6MB         4.09MB   U
└─ linux/arm64/v8 (not here)   3123456789ab           0B             0B

<untagged>                     4123456789ab           1B             0B

U  In Use
"
        );
    }
}
