//! The files of an image, read without mounting anything: its layers one by one, and what a container would see. The image is
//! in the store, or in a registry ([`remote`]).

mod archive;
mod descent;
mod remote;
mod view;

pub(crate) use remote::unwrapped;
pub use remote::{Abandon, Watch};
pub use view::{Located, View};

use std::io::{self, Read};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use havre_oci::{Digest, Digester};
use havre_store::{LayerTree, TreeEntry, TreeFile, TreeKind};
use jiff::Timestamp;

use self::descent::Descent;
use self::remote::{Aim, Contents, RemoteLayer};

use crate::{ImageError, ImageService};

/// Links that may follow one another, as in Linux.
const MAX_LINKS: u32 = 40;

/// An image whose files are being read. Its layers stay while this value lives.
#[derive(Debug)]
pub struct ImageFiles {
    /// The name it was asked for by.
    name: String,
    id: Digest,
    /// Of one that is in a registry.
    manifest: Option<Digest>,
    layers: Vec<LayerAbout>,
    sources: Vec<LayerSource>,
    /// Nobody waits any more.
    left: Arc<AtomicBool>,
}

/// Where the files of a layer are.
#[derive(Debug)]
enum LayerSource {
    Here(LayerTree),
    Remote(Box<Mutex<RemoteLayer>>),
}

/// The contents of a file.
#[derive(Debug)]
pub struct FileContents(Opened);

#[derive(Debug)]
enum Opened {
    Here(TreeFile),
    Remote(Contents),
}

impl FileContents {
    /// In bytes.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Opened::Here(file) => file.size(),
            Opened::Remote(contents) => contents.size(),
        }
    }
}

impl Read for FileContents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Opened::Here(file) => file.read(buffer),
            Opened::Remote(contents) => contents.read(buffer),
        }
    }
}

/// What is known of a layer without looking into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerAbout {
    pub diff_id: Digest,
    /// Bytes of its files; unknown of one that isn't here.
    pub size: Option<u64>,
    pub created: Option<Timestamp>,
    /// The step that made it; empty if the history doesn't tell.
    pub created_by: String,
    pub comment: String,
}

impl ImageService {
    /// Opens the files of an image.
    pub async fn files(&self, name: &str) -> Result<ImageFiles, ImageError> {
        let name = name.to_owned();
        self.blocking(move |service| service.files_blocking(name)).await
    }

    pub(crate) fn files_blocking(&self, name: String) -> Result<ImageFiles, ImageError> {
        let image = self.find(&name)?.image;
        let config = self.read_config(&image.id)?;
        let mut steps = config.history.into_iter().filter(|step| !step.empty_layer);
        let mut layers = Vec::with_capacity(image.layers.len());
        let mut sources = Vec::with_capacity(image.layers.len());
        for diff_id in &image.layers {
            let store = self.store.layers();
            let missing = || ImageError::MissingLayer {
                diff_id: diff_id.clone(),
            };
            let layer = store.find(diff_id)?.ok_or_else(missing)?;
            sources.push(LayerSource::Here(store.tree(diff_id)?));
            let step = steps.next().unwrap_or_default();
            layers.push(LayerAbout {
                diff_id: diff_id.clone(),
                size: Some(layer.size),
                created: step.created,
                created_by: step.created_by,
                comment: step.comment,
            });
        }
        Ok(ImageFiles {
            name,
            id: image.id,
            manifest: None,
            layers,
            sources,
            left: Arc::default(),
        })
    }
}

impl ImageFiles {
    pub fn id(&self) -> &Digest {
        &self.id
    }

    /// The digest of the manifest, if it was asked for in its registry.
    pub fn manifest(&self) -> Option<&Digest> {
        self.manifest.as_ref()
    }

    /// The layers from the bottom.
    pub fn layers(&self) -> &[LayerAbout] {
        &self.layers
    }

    /// Reads a layer that is not here to its end, or to the end of its table of contents, with the digests of its contents if
    /// they are wanted. `watch` is told of the progress; an error of it ends the reading.
    pub fn read_layer(&self, layer: usize, digests: bool, watch: &mut Watch<'_>) -> Result<(), ImageError> {
        match self.source(layer)? {
            LayerSource::Here(_) => Ok(()),
            LayerSource::Remote(remote) => {
                let aim = Aim {
                    digests,
                    ..Aim::default()
                };
                lock(remote).advance(&aim, watch)
            }
        }
    }

    /// Forgets what is known of a layer that is not here.
    pub fn forget_layer(&mut self, layer: usize) {
        if let Some(LayerSource::Remote(remote)) = self.sources.get_mut(layer) {
            lock(remote).forget();
        }
    }

    /// Every entry of a layer, its whiteouts too: see [`LayerTree::walk`]. An error of `each` ends the walk.
    pub fn walk_layer(
        &self,
        layer: usize,
        each: &mut dyn FnMut(TreeEntry) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        self.read_layer(layer, false, &mut |_, _| Ok(()))?;
        self.with_tree(layer, |tree| tree.walk(each))
    }

    /// The digest of a regular file's contents in a layer; [`None`] if there is no such file.
    pub fn digest(&self, layer: usize, path: &[u8]) -> Result<Option<Digest>, ImageError> {
        if let LayerSource::Remote(remote) = self.source(layer)?
            && let Some(digest) = lock(remote).digest(path)?
        {
            return Ok(Some(digest));
        }
        let Some(mut file) = self.open_file(layer, path)? else {
            return Ok(None);
        };
        let mut digester = Digester::sha256();
        io::copy(&mut file, &mut digester).map_err(ImageError::reading)?;
        Ok(Some(digester.finish()))
    }

    /// What a container sees of the image, or with a number (from 0, the lowest) what that layer alone has.
    pub fn view(&self, layer: Option<usize>) -> Result<View<'_>, ImageError> {
        let chosen = match layer {
            Some(layer) => {
                self.source(layer)?;
                vec![layer]
            }
            None => (0..self.sources.len()).rev().collect(),
        };
        Ok(View::new(self, chosen, layer.is_some()))
    }

    fn source(&self, layer: usize) -> Result<&LayerSource, ImageError> {
        self.sources.get(layer).ok_or_else(|| ImageError::NoSuchLayer {
            image: self.name.clone(),
            count: self.layers.len(),
            layer,
        })
    }

    /// Does something with what is known of a layer.
    fn with_tree<T, E: Into<ImageError>>(
        &self,
        layer: usize,
        work: impl FnOnce(&LayerTree) -> Result<T, E>,
    ) -> Result<T, ImageError> {
        match self.source(layer)? {
            LayerSource::Here(tree) => work(tree).map_err(Into::into),
            // What is done may ask for more of the layer.
            LayerSource::Remote(remote) => {
                let tree = lock(remote).tree()?;
                work(&tree).map_err(Into::into)
            }
        }
    }

    /// The contents of a regular file of a layer; [`None`] if there is none.
    fn open_file(&self, layer: usize, path: &[u8]) -> Result<Option<FileContents>, ImageError> {
        Ok(match self.source(layer)? {
            LayerSource::Here(tree) => tree.open_file(path)?.map(Opened::Here),
            LayerSource::Remote(remote) => lock(remote).contents(path)?.map(Opened::Remote),
        }
        .map(FileContents))
    }

    /// Reads so much of `layers`, the uppermost first, that it is known what is at `path`: of a directory all that is in it.
    fn prepare(&self, layers: &[usize], path: &[u8], keep: bool) -> Result<(), ImageError> {
        Descent::new(self, layers, path, keep).run()
    }

    fn no_such_file(&self, path: &[u8]) -> ImageError {
        ImageError::NoSuchFile {
            image: self.name.clone(),
            path: format!("/{}", String::from_utf8_lossy(path)),
        }
    }
}

fn lock(layer: &Mutex<RemoteLayer>) -> std::sync::MutexGuard<'_, RemoteLayer> {
    layer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether nothing of what lower layers have at `path` is seen.
fn hides(tree: &LayerTree, path: &[u8]) -> Result<bool, ImageError> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let ends = ends.map(|(at, _)| at).chain([path.len()]);
    for end in std::iter::once(0).chain(ends) {
        match tree.find(&path[..end])?.map(|entry| entry.kind) {
            Some(TreeKind::Directory { opaque: false }) => {}
            None => return Ok(false),
            Some(_) => return Ok(true),
        }
    }
    Ok(false)
}
