//! The explorer: an image of the engine, of a registry or of an archive, as one tree of all its layers with a way to their contents.
//!
//! ```text
//! engine   ─┐ (its images, and those of registries)
//! archive  ─┴► Subject (layers, Tree, Contents) ─┬► screen   what a person walks through
//!                                                ├► report   --ci, --json
//!                                                └► page     --html
//! ```
//! Another source of images has to give the entries of each layer, the lowest first, and a file's bytes by layer and path.

mod about;
mod archive;
mod compare;
mod engine;
mod page;
mod report;
mod rules;
mod screen;

use std::collections::HashMap;

use havre_explore::Tree;
use havre_oci::Digest;
use serde_json::Value;

use crate::args::image::remote::RemoteFlags;
use crate::error::CliError;
use crate::image_files::Image;
use crate::session::Session;

use archive::Archive;
pub(crate) use archive::is_archive;
pub(crate) use compare::{Changed, Compared, FileChange, FileOf, LayerRow, Parts, compare};
pub(crate) use report::Summary;
pub(crate) use rules::{Given, Rules};
pub(crate) use screen::show;

/// An image that is looked into.
pub(crate) struct Subject {
    /// As it was asked for.
    pub(crate) name: String,
    /// IMAGE ID.
    pub(crate) id: String,
    /// The lowest first.
    pub(crate) layers: Vec<LayerOf>,
    pub(crate) tree: Tree,
    pub(crate) contents: Contents,
}

/// A layer.
#[derive(Debug, Clone)]
pub(crate) struct LayerOf {
    /// Diff ID: the digest of its uncompressed archive.
    pub(crate) digest: String,
    /// The step that made it.
    pub(crate) command: String,
}

/// Where the bytes of files come from.
pub(crate) enum Contents {
    /// The engine: one of its images, or one of a registry.
    Engine(Image),
    Archive(Archive),
}

/// Bytes of a file that are shown: the rest is only counted.
pub(crate) const SHOWN: u64 = 2 << 20;

impl Contents {
    /// The first `limit` bytes of a file in a layer.
    pub(crate) async fn read(
        &self,
        session: &Session,
        layer: usize,
        path: &[u8],
        limit: u64,
    ) -> Result<Vec<u8>, CliError> {
        match self {
            Self::Engine(id) => engine::read(session, id, layer, path, limit).await,
            Self::Archive(archive) => archive.read(layer, path, limit),
        }
    }

    /// The digests of the contents of files in a layer, by path.
    pub(crate) async fn digests(
        &self,
        session: &Session,
        layer: usize,
        paths: &[Vec<u8>],
    ) -> Result<HashMap<Vec<u8>, Digest>, CliError> {
        match self {
            Self::Engine(id) => engine::digests(session, id, layer, paths).await,
            Self::Archive(archive) => archive.digests(layer, paths),
        }
    }
}

impl Contents {
    /// The first `limit` bytes of files in a layer, by path.
    pub(crate) async fn several(
        &self,
        session: &Session,
        layer: usize,
        paths: &[Vec<u8>],
        limit: u64,
    ) -> Result<HashMap<Vec<u8>, Vec<u8>>, CliError> {
        match self {
            Self::Archive(archive) => archive.several(layer, paths, limit),
            Self::Engine(_) => {
                let mut found = HashMap::new();
                for path in paths {
                    found.insert(path.clone(), self.read(session, layer, path, limit).await?);
                }
                Ok(found)
            }
        }
    }
}

impl Subject {
    /// What containers are made with, in the words of Docker's API.
    pub(crate) async fn config(&self, session: &Session) -> Result<Value, CliError> {
        match &self.contents {
            Contents::Engine(id) => engine::config(session, id).await,
            Contents::Archive(archive) => Ok(archive.config.clone()),
        }
    }
}

/// Opens what is named: an archive if it is written as one, else an image of the engine or of a registry.
pub(crate) async fn open(session: &Session, name: &str, at: &RemoteFlags) -> Result<Subject, CliError> {
    match archive::written_as(name).filter(|_| !at.registry.remote) {
        Some(path) => {
            // They would have no effect.
            Image::new(name, at)?;
            Archive::open(name, &path)
        }
        None => engine::open(session, name, Image::new(name, at)?).await,
    }
}

/// What a step says of itself, without what every step says.
fn command(created_by: &str) -> String {
    let text = created_by
        .strip_prefix("/bin/sh -c #(nop) ")
        .unwrap_or(created_by);
    let text = text
        .strip_prefix("/bin/sh -c ")
        .map_or_else(|| text.to_owned(), |run| format!("RUN {run}"));
    text.trim().to_owned()
}
