//! Where the result of a build goes: `--output`, `--push`, `--load` and `--metadata-file`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use fs_err as fs;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::archive;
use crate::args::image::build::{Build, OutputFlags};
use crate::commands::image::{push, tag};
use crate::error::CliError;
use crate::output_file::{check, write_answer};
use crate::session::Session;
use crate::spec::mounts::csv;

/// One destination.
#[derive(Debug, PartialEq, Eq)]
enum Output {
    /// Among the engine's images.
    Image,
    /// A file with the image, in the layouts of Docker's and of OCI's archives at once; `-` is standard output.
    Archive(String),
    /// A tar archive of the files; `-` is standard output.
    Tar(String),
    /// The files in a directory.
    Directory(String),
}

/// All destinations of a build.
#[derive(Debug)]
pub(super) struct Outputs {
    outputs: Vec<Output>,
    /// Names beside those of `--tag`.
    names: Vec<String>,
    push: bool,
    /// Whether the image is wanted among the engine's, by its names.
    keeps_image: bool,
}

fn invalid(text: &str, reason: &str) -> CliError {
    CliError::Invalid(format!("invalid value {text:?} for --output: {reason}"))
}

fn boolean(text: &str, name: &str, value: &str) -> Result<bool, CliError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(invalid(text, &format!("{name} is true or false"))),
    }
}

impl Outputs {
    /// Reads the flags; what has no effect is refused.
    pub(super) fn read(flags: &OutputFlags) -> Result<Self, CliError> {
        for (name, value) in [("provenance", &flags.provenance), ("sbom", &flags.sbom)] {
            if let Some(value) = value
                && !matches!(value.as_str(), "false" | "0" | "disabled=true")
            {
                return Err(CliError::Invalid(format!(
                    "--{name}={value} is not supported: builds make no attestations; leave the flag out, or say --{name}=false"
                )));
            }
        }
        let mut read = Self {
            outputs: Vec::new(),
            names: Vec::new(),
            push: flags.push,
            keeps_image: flags.load || flags.push || flags.output.is_empty(),
        };
        for text in &flags.output {
            read.add(text)?;
        }
        read.keeps_image |= read.outputs.contains(&Output::Image);
        Ok(read)
    }

    fn add(&mut self, text: &str) -> Result<(), CliError> {
        if text == "-" {
            self.outputs.push(Output::Tar(text.to_owned()));
            return Ok(());
        }
        if !text.contains('=') {
            self.outputs.push(Output::Directory(text.to_owned()));
            return Ok(());
        }
        let mut fields = BTreeMap::new();
        for field in csv(text) {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| invalid(text, &format!("{field:?} is not NAME=VALUE")))?;
            fields.insert(name.trim().to_ascii_lowercase(), value.to_owned());
        }
        let kind = fields.remove("type").unwrap_or_default();
        let destination = fields.remove("dest");
        let needed = || {
            let value = destination.clone().filter(|value| !value.is_empty());
            value.ok_or_else(|| invalid(text, "dest is missing"))
        };
        let output = match kind.as_str() {
            "local" => Output::Directory(needed()?),
            "tar" => Output::Tar(needed()?),
            "oci" => Output::Archive(needed()?),
            "docker" if destination.is_some() => Output::Archive(needed()?),
            "docker" | "image" | "registry" if destination.is_none() => Output::Image,
            "docker" | "image" | "registry" => {
                return Err(invalid(text, &format!("type={kind} has no dest")));
            }
            "" => return Err(invalid(text, "type is missing")),
            other => {
                return Err(invalid(
                    text,
                    &format!("type {other:?} is none of local, tar, oci, docker, image, registry"),
                ));
            }
        };
        let of_image = matches!(output, Output::Image | Output::Archive(_));
        self.push |= kind == "registry";
        for (name, value) in fields {
            match name.as_str() {
                "name" if of_image => self.names.extend(value.split(',').map(str::to_owned)),
                "push" if output == Output::Image => self.push |= boolean(text, &name, &value)?,
                // What a plain archive is in any case.
                "tar" if boolean(text, &name, &value)? && matches!(output, Output::Archive(_)) => {}
                other => {
                    return Err(invalid(
                        text,
                        &format!("{other} is not supported for type={kind}"),
                    ));
                }
            }
        }
        self.outputs.push(output);
        Ok(())
    }

    /// All names the image is to get: none where only its files are wanted. An archive has its names from the image,
    /// which then stays.
    pub(super) fn names(&mut self, tags: &[String]) -> Result<Vec<String>, CliError> {
        let is_archived = self
            .outputs
            .iter()
            .any(|output| matches!(output, Output::Archive(_)));
        if !self.keeps_image && !is_archived {
            return Ok(Vec::new());
        }
        let mut names = tags.to_vec();
        for name in &self.names {
            tag::reference(name)?;
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        if self.push && names.is_empty() {
            return Err(CliError::Invalid(
                "a name is needed when pushing to a registry: give it with --tag".to_owned(),
            ));
        }
        self.keeps_image |= !names.is_empty();
        Ok(names)
    }

    /// Refuses what cannot be written before anything is built.
    pub(super) fn check(&self, session: &Session) -> Result<(), CliError> {
        for output in &self.outputs {
            match output {
                Output::Archive(path) | Output::Tar(path) => check(session, file(path))?,
                Output::Directory(path) if Path::new(path).exists() && !Path::new(path).is_dir() => {
                    return Err(CliError::Invalid(format!(
                        "invalid output path: {path:?} is not a directory"
                    )));
                }
                Output::Directory(_) | Output::Image => {}
            }
        }
        Ok(())
    }

    /// Refuses what several platforms have no form for.
    pub(super) fn check_several(&self, names: &[String]) -> Result<(), CliError> {
        for output in &self.outputs {
            if let Output::Tar(path) | Output::Directory(path) = output {
                return Err(CliError::Invalid(format!(
                    "{path:?} can hold the files of one platform: build for one at a time"
                )));
            }
        }
        match names.is_empty() {
            true => Err(CliError::Invalid(
                "images for several platforms need a name that stands for all of them: give it with --tag"
                    .to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// The images there are before a build whose image is not wanted; nothing where it is.
    pub(super) async fn known(&self, session: &Session) -> Result<BTreeSet<String>, CliError> {
        if self.keeps_image {
            return Ok(BTreeSet::new());
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            id: String,
        }
        let call = session.client()?.get("/images/json").query_if("all", true);
        let listed: Vec<Listed> = call.answer().await?;
        Ok(listed.into_iter().map(|image| image.id).collect())
    }

    /// Writes and pushes what was built as `id`, where there were the images `known` before.
    pub(super) async fn deliver(
        &self,
        session: &Session,
        args: &Build,
        names: &[String],
        id: &str,
        known: &BTreeSet<String>,
    ) -> Result<(), CliError> {
        for output in &self.outputs {
            match output {
                Output::Image => {}
                Output::Archive(path) => {
                    let call = session.client()?.get("/images/get");
                    let call = match names {
                        [] => call.query("names", id),
                        names => names.iter().fold(call, |call, name| call.query("names", name)),
                    };
                    write_answer(session, call, file(path)).await?;
                }
                Output::Tar(path) => {
                    let container = Shell::make(session, id).await?;
                    let call = session
                        .client()?
                        .get(format!("/containers/{}/export", container.id));
                    let written = write_answer(session, call, file(path)).await;
                    container.remove(session).await?;
                    written?;
                }
                Output::Directory(path) => {
                    fs::create_dir_all(path)?;
                    let container = Shell::make(session, id).await?;
                    let unpacked = container.unpack(session, Path::new(path)).await;
                    container.remove(session).await?;
                    unpacked?;
                }
            }
        }
        let mut pushed = Vec::new();
        if self.push {
            for name in names {
                let name = tag::reference(name)?.with_default_tag();
                pushed.extend(push::send(session, &name, name.tag(), None, args.quiet).await?);
            }
        }
        if let Some(path) = &args.outputs.metadata_file {
            write_metadata(path, id, names, &pushed)?;
        }
        if !self.keeps_image && !known.contains(id) {
            forget(session, id).await?;
        }
        Ok(())
    }
}

/// Standard output, or a file.
fn file(path: &str) -> Option<&str> {
    Some(path).filter(|path| *path != "-")
}

/// What Docker's plugin writes of a build.
fn write_metadata(path: &str, id: &str, names: &[String], pushed: &[Value]) -> Result<(), CliError> {
    let mut metadata = json!({"containerimage.config.digest": id});
    if let Some(digest) = pushed.iter().rev().find_map(|aux| aux["Digest"].as_str()) {
        metadata["containerimage.digest"] = json!(digest);
    }
    if !names.is_empty() {
        let names = names
            .iter()
            .map(|name| Ok(tag::reference(name)?.with_default_tag().canonical()))
            .collect::<Result<Vec<_>, CliError>>()?;
        metadata["image.name"] = json!(names.join(","));
    }
    let text = serde_json::to_vec_pretty(&metadata).map_err(io::Error::from)?;
    Ok(havre_sys::atomic::write_relaxed(Path::new(path), &text, 0o600)?)
}

/// Removes an image that was built for its files alone, unless somebody uses it already.
async fn forget(session: &Session, id: &str) -> Result<(), CliError> {
    match session.client()?.delete(format!("/images/{id}")).status().await {
        Err(CliError::Daemon {
            status: 404 | 409, ..
        }) => Ok(()),
        other => other.map(drop),
    }
}

/// A container that never runs: the image's files are read from it.
struct Shell {
    id: String,
}

impl Shell {
    async fn make(session: &Session, image: &str) -> Result<Self, CliError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
        }
        let created: Created = session
            .client()?
            .post("/containers/create")
            // Its command is needed by the rules, and used by nobody.
            .json(&json!({"Image": image, "Entrypoint": [], "Cmd": ["/"], "HostConfig": {"NetworkMode": "none"}}))
            .answer()
            .await?;
        Ok(Self { id: created.id })
    }

    async fn unpack(&self, session: &Session, target: &Path) -> Result<(), CliError> {
        let body = session
            .client()?
            .get(format!("/containers/{}/export", self.id))
            .send()
            .await?
            .into_body();
        archive::receive(body, String::new(), target.to_owned(), false).await?;
        Ok(())
    }

    async fn remove(self, session: &Session) -> Result<(), CliError> {
        let call = session.client()?.delete(format!("/containers/{}", self.id));
        call.query_if("v", true).query_if("force", true).status().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(outputs: &[&str]) -> Result<Outputs, String> {
        let flags = OutputFlags {
            output: outputs.iter().map(|text| (*text).to_owned()).collect(),
            ..OutputFlags::default()
        };
        Outputs::read(&flags).map_err(|error| error.to_string())
    }

    #[test]
    fn destinations_are_read_as_dockers_plugin_reads_them() {
        assert_eq!(read(&["out"]).unwrap().outputs, [Output::Directory("out".into())]);
        assert_eq!(read(&["-"]).unwrap().outputs, [Output::Tar("-".into())]);
        assert_eq!(
            read(&["type=oci,dest=a.tar"]).unwrap().outputs,
            [Output::Archive("a.tar".into())]
        );
        let mut image = read(&["type=image,\"name=a,b\",push=true"]).unwrap();
        assert!(image.push && image.keeps_image);
        assert_eq!(image.names(&["a".to_owned()]).unwrap(), ["a", "b"]);
        assert!(read(&["type=registry"]).unwrap().names(&[]).is_err());
        let mut files = read(&["type=local,dest=out"]).unwrap();
        assert!(!files.keeps_image);
        assert!(files.names(&["a".to_owned()]).unwrap().is_empty());
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        for (text, reason) in [
            ("type=local", "dest is missing"),
            ("type=tarball,dest=x", "none of"),
            ("dest=x", "type is missing"),
            ("type=image,dest=x", "has no dest"),
            ("type=image,compression=zstd", "compression is not supported"),
            ("type=image,push=perhaps", "true or false"),
            ("type=oci,dest=x,tar=false", "tar is not supported"),
            ("type=image,name", "not NAME=VALUE"),
        ] {
            let error = read(&[text]).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
