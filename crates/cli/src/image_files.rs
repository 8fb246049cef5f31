//! Files of images, as the engine tells of them: a JSON document a line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use havre_explore::{Entry, Kind};
use havre_oci::Digest;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::args::image::remote::{RegistryFlags, RemoteFlags};
use crate::client::{Body, Call, escape};
use crate::commands::image::tag::reference;
use crate::credentials;
use crate::error::CliError;
use crate::session::Session;
use crate::spec::platform;

/// No line is longer: two paths of 4 KiB, each byte written as six.
const MAX_LINE: usize = 16 << 20;

/// What says that an image is looked at in its registry. `docker://` would say so to skopeo, and the opposite to dive; `registry:`
/// alone is how the image of that name is called.
const REGISTRY: &str = "registry://";

/// An image somebody asks about.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// As the engine knows it, or whole with its registry.
    name: String,
    remote: Option<Remote>,
    /// Of one the engine has.
    platform: Option<String>,
}

/// How an image is found in its registry.
#[derive(Clone, Debug)]
struct Remote {
    repository: String,
    flags: RemoteFlags,
}

/// Whether it is written as one of a registry.
pub(crate) fn is_remote(text: &str) -> bool {
    text.starts_with(REGISTRY)
}

/// Tells the image from the path in `IMAGE:/PATH`.
pub(crate) fn split(text: &str) -> (&str, Option<&str>) {
    let start = if is_remote(text) { REGISTRY.len() } else { 0 };
    match text[start..].find(":/") {
        Some(at) => (&text[..start + at], Some(&text[start + at + 1..])),
        None => (text, None),
    }
}

/// The image, and the paths in it, of `IMAGE PATH…` or `IMAGE:/PATH PATH…`.
pub(crate) fn operands<'a>(
    words: &'a [String],
    flags: &RemoteFlags,
) -> Result<(Image, Vec<&'a str>), CliError> {
    let (image, path) = split(words.first().map_or("", String::as_str));
    let others = words.iter().skip(1).map(String::as_str);
    Ok((
        Image::new(image, flags)?,
        path.into_iter().chain(others).collect(),
    ))
}

impl Image {
    /// As it is written, with the flags beside it.
    pub(crate) fn new(text: &str, flags: &RemoteFlags) -> Result<Self, CliError> {
        let name = match text.strip_prefix(REGISTRY) {
            Some(name) => name,
            None if flags.registry.remote => text,
            None => {
                let given = [
                    (flags.registry.insecure, "insecure"),
                    (flags.platform.is_some(), "platform"),
                ];
                if let Some((_, flag)) = given.iter().find(|(given, _)| *given) {
                    return Err(CliError::Invalid(format!(
                        "--{flag} is for images in a registry: say --remote, or registry://{text}"
                    )));
                }
                return Ok(Self {
                    name: text.to_owned(),
                    remote: None,
                    platform: None,
                });
            }
        };
        let reference = reference(name)?.with_default_tag();
        Ok(Self {
            name: reference.canonical(),
            remote: Some(Remote {
                repository: reference.repository(),
                flags: flags.clone(),
            }),
            platform: None,
        })
    }

    /// The same where a platform can be chosen of what the engine has, too.
    pub(crate) fn docker(
        text: &str,
        platform: Option<&str>,
        registry: &RegistryFlags,
    ) -> Result<Self, CliError> {
        let flags = RemoteFlags {
            platform: platform
                .filter(|_| registry.remote || is_remote(text))
                .map(str::to_owned),
            registry: registry.clone(),
        };
        Ok(Self {
            platform: platform.map(str::to_owned),
            ..Self::new(text, &flags)?
        })
    }

    /// The same image, whatever its name comes to mean: by the ID, or by the digest of its manifest in the registry.
    pub(crate) fn pinned(&self, id: &str, manifest: Option<&str>) -> Self {
        let name = match (&self.remote, manifest) {
            (Some(remote), Some(digest)) => format!("{}@{digest}", remote.repository),
            (Some(_), None) => self.name.clone(),
            (None, _) => id.to_owned(),
        };
        Self { name, ..self.clone() }
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// `GET /havre/images/IMAGE/what`.
    pub(crate) fn call<'a>(
        &self,
        session: &'a Session,
        what: &str,
        layer: Option<usize>,
    ) -> Result<Call<'a>, CliError> {
        let call = session
            .client()?
            .get(format!("/havre/images/{}/{what}", escape(&self.name)))
            .query_some("layer", layer.map(|layer| layer.to_string()));
        let Some(Remote { repository, flags }) = &self.remote else {
            return Ok(call);
        };
        let call = call
            .query("remote", "1")
            .query_some("platform", flags.platform.as_ref())
            .query_if("insecure", flags.registry.insecure);
        credentials::sign(call, &session.settings, repository)
    }

    /// Docker's `GET /images/IMAGE/what`, or what is the same of an image in its registry.
    pub(crate) fn docker_call<'a>(&self, session: &'a Session, what: &str) -> Result<Call<'a>, CliError> {
        match self.remote {
            Some(_) => self.call(session, what, None),
            None => Ok(session
                .client()?
                .get(format!("/images/{}/{what}", escape(&self.name)))
                .query_some("platform", platform::json_of(self.platform.as_deref())?)),
        }
    }
}

/// Asks for a path, of whatever bytes it is.
pub(crate) fn with_path<'a>(call: Call<'a>, path: &[u8]) -> Call<'a> {
    match std::str::from_utf8(path) {
        Ok(path) => call.query("path", path),
        Err(_) => call.query("path64", STANDARD.encode(path)),
    }
}

/// An engine of others knows nothing of this.
pub(crate) fn explained(error: CliError) -> CliError {
    match error {
        CliError::Daemon { status: 404, message } if message == "page not found" => CliError::Invalid(
            "this engine cannot tell of the files of its images or of images in registries, havre's can; 'explore' and 'diff' read any engine's images"
                .to_owned(),
        ),
        error => error,
    }
}

/// The image, in the first line about its layers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageLine {
    pub(crate) id: String,
    /// Of an image in a registry: the digest of its manifest.
    #[serde(default)]
    pub(crate) manifest: Option<String>,
    pub(crate) layers: Vec<LayerLine>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LayerLine {
    #[serde(rename = "DiffID")]
    pub(crate) diff_id: String,
    pub(crate) created_by: String,
}

/// A later line.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Layer {
        #[serde(rename = "Layer")]
        layer: usize,
    },
    /// Bytes that were read of a layer in a registry.
    #[serde(rename_all = "PascalCase")]
    Reading {
        reading: usize,
        current: i64,
        total: i64,
    },
    Entry(EntryLine),
    Failed {
        error: String,
    },
}

/// Text, or bytes that are none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Text(String),
    Bytes { base64: String },
}

impl Text {
    fn bytes(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Bytes { base64 } => STANDARD.decode(base64).map_err(|error| error.to_string()),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct EntryLine {
    path: Text,
    kind: String,
    #[serde(default)]
    size: u64,
    mode: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    mtime: i64,
    #[serde(default)]
    target: Option<Text>,
    #[serde(default)]
    major: u32,
    #[serde(default)]
    minor: u32,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    opaque: bool,
    /// Where it comes from, in lists of a whole image.
    #[serde(default)]
    pub(crate) layer: usize,
    /// Of its contents, if that was asked for.
    #[serde(default)]
    pub(crate) digest: Option<Digest>,
}

impl EntryLine {
    pub(crate) fn entry(self) -> Result<Entry, CliError> {
        let (major, minor) = (self.major, self.minor);
        let kind = match self.kind.as_str() {
            "directory" => Kind::Directory { opaque: self.opaque },
            "file" => Kind::File,
            "link" => Kind::Link {
                target: self
                    .target
                    .map(Text::bytes)
                    .transpose()
                    .map_err(unexpected)?
                    .unwrap_or_default(),
            },
            "char" => Kind::Char { major, minor },
            "block" => Kind::Block { major, minor },
            "fifo" => Kind::Fifo,
            "socket" => Kind::Socket,
            "removed" => Kind::Removed,
            other => return Err(unexpected(format!("unknown kind of file {other:?}"))),
        };
        Ok(Entry {
            path: self.path.bytes().map_err(unexpected)?,
            kind,
            size: self.size,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            inode: self.inode,
        })
    }
}

fn unexpected(reason: String) -> CliError {
    CliError::Protocol {
        request: "files of an image".to_owned(),
        reason,
    }
}

/// Lines of an answer, read as it comes.
pub(crate) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// Bytes of the buffer without a line end.
    searched: usize,
}

impl Lines {
    pub(crate) async fn ask(call: Call<'_>) -> Result<Self, CliError> {
        Ok(Self {
            body: call.send().await?.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
        })
    }

    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CliError> {
        loop {
            let unseen = &self.buffer[self.searched..];
            if let Some(end) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                let value = serde_json::from_slice(&line).map_err(|error| unexpected(error.to_string()))?;
                return Ok(Some(value));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(unexpected(format!("a line longer than {MAX_LINE} bytes")));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(unexpected("it ends in the middle of a line".to_owned())),
                Some(frame) => {
                    let frame = frame.map_err(|error| CliError::Broken(error.to_string()))?;
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// The next entry of a list.
    pub(crate) async fn next_entry(&mut self) -> Result<Option<(Entry, usize)>, CliError> {
        match self.next::<Line>().await? {
            None => Ok(None),
            Some(Line::Entry(line)) => {
                let layer = line.layer;
                Ok(Some((line.entry()?, layer)))
            }
            Some(Line::Failed { error }) => Err(CliError::Daemon {
                status: 500,
                message: error,
            }),
            Some(Line::Layer { .. } | Line::Reading { .. }) => {
                Err(unexpected("a layer within a list".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_paths() {
        for (text, image, path) in [
            ("app:v1:/etc/os-release", "app:v1", Some("/etc/os-release")),
            (
                "registry://localhost:5000/app:/etc",
                "registry://localhost:5000/app",
                Some("/etc"),
            ),
            (
                "registry://localhost:5000/app:v1",
                "registry://localhost:5000/app:v1",
                None,
            ),
            ("app@sha256:00", "app@sha256:00", None),
        ] {
            assert_eq!(split(text), (image, path), "{text}");
        }
    }

    #[test]
    fn flags_of_registries_need_one() {
        let flags = RemoteFlags {
            platform: Some("linux/arm64".to_owned()),
            ..RemoteFlags::default()
        };
        let error = Image::new("app", &flags).unwrap_err().to_string();
        assert_eq!(
            error,
            "--platform is for images in a registry: say --remote, or registry://app"
        );
        let image = Image::new("registry://app", &flags).unwrap();
        assert_eq!(
            (image.name.as_str(), image.is_remote()),
            ("docker.io/library/app:latest", true)
        );
        let pinned = image.pinned("sha256:1", Some("sha256:2"));
        assert_eq!(pinned.name, "docker.io/library/app@sha256:2");
        assert_eq!(
            Image::new("app", &RemoteFlags::default())
                .unwrap()
                .pinned("sha256:1", None)
                .name,
            "sha256:1"
        );
    }
}
