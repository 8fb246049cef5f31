//! Images of the engine, and images of registries, which it looks at.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use havre_explore::Tree;
use havre_oci::{Digest, Digester};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;

use super::{Archive, Contents, LayerOf, Subject, command};
use crate::client::escape;
use crate::error::CliError;
use crate::format::short_id;
use crate::image_files::{self, Image, ImageLine, Line, Lines};
use crate::progress::Progress;
use crate::session::Session;

/// So many files of a layer are read one by one; of more, the engine reads them all.
const SINGLE: usize = 32;

pub(super) async fn open(session: &Session, name: &str, image: Image) -> Result<Subject, CliError> {
    let call = image.call(session, "layers", None)?;
    let mut lines = match Lines::ask(call).await {
        Err(CliError::Daemon { status: 404, message })
            if message == "page not found" && !image.is_remote() =>
        {
            return saved(session, name).await;
        }
        asked => asked.map_err(image_files::explained)?,
    };
    let mut progress = Progress::to_errors();
    let about: ImageLine = lines.next().await?.ok_or_else(|| cut(name))?;
    let mut tree = Tree::new();
    while let Some(line) = lines.next::<Line>().await? {
        match line {
            Line::Layer { layer } => {
                if tree.begin_layer() != layer {
                    return Err(cut(name));
                }
            }
            Line::Reading {
                reading,
                current,
                total,
            } => {
                let layer = about.layers.get(reading).ok_or_else(|| cut(name))?;
                progress.bar(
                    &session.printer,
                    &short_id(&layer.diff_id),
                    "Reading",
                    current,
                    total,
                );
            }
            Line::Entry(entry) => tree.add(entry.entry()?),
            Line::Failed { error } => return Err(failed(error)),
        }
    }
    if tree.layer_count() != about.layers.len() {
        return Err(cut(name));
    }
    let layers = about.layers.into_iter().map(|layer| LayerOf {
        digest: layer.diff_id,
        command: command(&layer.created_by),
    });
    Ok(Subject {
        name: name.to_owned(),
        layers: layers.collect(),
        tree,
        contents: Contents::Engine(image.pinned(&about.id, about.manifest.as_deref())),
        id: about.id,
    })
}

/// The archive of an image, from an engine that knows nothing of this: Docker's.
async fn saved(session: &Session, name: &str) -> Result<Subject, CliError> {
    // It has no name any more when it is open, and is gone with the last who has.
    let mut aside = tempfile::NamedTempFile::new()?;
    let call = session.client()?.get(format!("/images/{}/get", escape(name)));
    let mut body = call.send().await?.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CliError::Broken(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            aside.write_all(&data)?;
        }
    }
    aside.flush()?;
    Archive::open(name, &aside.path().to_string_lossy())
}

fn failed(message: String) -> CliError {
    CliError::Daemon { status: 500, message }
}

fn cut(name: &str) -> CliError {
    CliError::Protocol {
        request: format!("layers of {name}"),
        reason: "layers are missing".to_owned(),
    }
}

/// The configuration, as `inspect` tells of it.
pub(super) async fn config(session: &Session, image: &Image) -> Result<Value, CliError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inspected {
        architecture: String,
        os: String,
        config: Value,
    }
    let found: Inspected = image.docker_call(session, "json")?.answer().await?;
    let mut config = found.config;
    if let Some(settings) = config.as_object_mut() {
        settings.insert("Architecture".to_owned(), found.architecture.into());
        settings.insert("Os".to_owned(), found.os.into());
    }
    Ok(config)
}

/// Gives the contents of a file piece by piece, until `each` says `false`.
async fn pieces(
    session: &Session,
    image: &Image,
    layer: usize,
    path: &[u8],
    each: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), CliError> {
    let call = image.call(session, "file", Some(layer))?;
    let mut body = image_files::with_path(call, path).send().await?.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CliError::Broken(error.to_string()))?;
        if let Ok(data) = frame.into_data()
            && !each(&data)
        {
            break;
        }
    }
    Ok(())
}

pub(super) async fn digests(
    session: &Session,
    image: &Image,
    layer: usize,
    paths: &[Vec<u8>],
) -> Result<HashMap<Vec<u8>, Digest>, CliError> {
    let mut found = HashMap::new();
    if paths.len() > SINGLE {
        let wanted: HashSet<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        let call = image.call(session, "layers", Some(layer))?.query("digests", "1");
        let mut lines = Lines::ask(call).await?;
        let _: Option<ImageLine> = lines.next().await?;
        while let Some(line) = lines.next::<Line>().await? {
            match line {
                Line::Layer { .. } | Line::Reading { .. } => {}
                Line::Entry(mut line) => {
                    let digest = line.digest.take();
                    let path = line.entry()?.path;
                    if wanted.contains(path.as_slice()) {
                        found.extend(digest.map(|digest| (path, digest)));
                    }
                }
                Line::Failed { error } => return Err(failed(error)),
            }
        }
        return Ok(found);
    }
    for path in paths {
        let mut digester = Digester::sha256();
        pieces(session, image, layer, path, &mut |piece| {
            digester.update(piece);
            true
        })
        .await?;
        found.insert(path.clone(), digester.finish());
    }
    Ok(found)
}

pub(super) async fn read(
    session: &Session,
    image: &Image,
    layer: usize,
    path: &[u8],
    limit: u64,
) -> Result<Vec<u8>, CliError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    pieces(session, image, layer, path, &mut |piece| {
        bytes.extend_from_slice(piece);
        bytes.len() < limit
    })
    .await?;
    bytes.truncate(limit);
    Ok(bytes)
}
