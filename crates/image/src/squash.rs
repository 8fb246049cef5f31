//! Several layers of an image as one.

use std::io::{self, Write};

use havre_oci::{Digest, History, ImageConfig, Reference};
use havre_store::{Layer, Lease};
use jiff::Timestamp;

use crate::{CreateImage, ImageError, ImageFiles, ImageService};

/// Which layers become one: all above those that stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SquashFrom {
    /// All of them.
    Bottom,
    /// From this layer on; 0 is the lowest.
    Layer(usize),
    /// Those above the layers of this image, which the image begins with.
    Image(String),
}

/// What squashing has made of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squashed {
    pub id: Digest,
    pub before: Weight,
    pub after: Weight,
}

/// Layers, and the bytes of the files in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    pub layers: usize,
    pub bytes: u64,
}

/// Why layers can't be made one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SquashError {
    #[error("{image} does not begin with the layers of {base}")]
    NotTheBase { image: String, base: String },
    #[error("{image} has layers 0 to {last}: there is no layer {layer} to begin with")]
    NoSuchLayer {
        image: String,
        last: usize,
        layer: usize,
    },
    #[error("{0} has no layers")]
    NoLayers(String),
}

impl ImageService {
    /// Makes an image with the same files and settings whose layers from `from` on are one. The image stays as it is. The layer
    /// is the same whenever the layers are; the history says which steps are in it, as Docker's `--squash` does.
    pub async fn squash(
        &self,
        name: &str,
        from: SquashFrom,
        tags: Vec<Reference>,
    ) -> Result<Squashed, ImageError> {
        let name = name.to_owned();
        self.blocking(move |service| service.squash_blocking(&name, &from, tags, "squash"))
            .await
    }

    /// The same for what a build has made of the image `base`, or of nothing.
    pub async fn squash_built(
        &self,
        id: &Digest,
        base: Option<&Digest>,
        tags: Vec<Reference>,
    ) -> Result<Squashed, ImageError> {
        let name = id.to_string();
        let from = base.map_or(SquashFrom::Bottom, |base| SquashFrom::Image(base.to_string()));
        self.blocking(move |service| service.squash_blocking(&name, &from, tags, "build"))
            .await
    }

    fn squash_blocking(
        &self,
        name: &str,
        from: &SquashFrom,
        tags: Vec<Reference>,
        command: &str,
    ) -> Result<Squashed, ImageError> {
        if tags.iter().any(|tag| tag.digest().is_some()) {
            return Err(ImageError::TagWithDigest);
        }
        let image = self.find(name)?.image;
        let count = image.layers.len();
        let (kept, base) = match from {
            SquashFrom::Bottom => (0, None),
            SquashFrom::Layer(layer) => (*layer, None),
            SquashFrom::Image(base) => {
                let found = self.find(base)?.image;
                if !image.layers.starts_with(&found.layers) {
                    return Err(SquashError::NotTheBase {
                        image: name.to_owned(),
                        base: base.clone(),
                    }
                    .into());
                }
                (found.layers.len(), Some(found.id))
            }
        };
        if count == 0 {
            return Err(SquashError::NoLayers(name.to_owned()).into());
        }
        // An image that adds nothing to its base has nothing to be made one.
        if kept > count || (kept == count && base.is_none()) {
            return Err(SquashError::NoSuchLayer {
                image: name.to_owned(),
                last: count - 1,
                layer: kept,
            }
            .into());
        }
        let lease = self.lease();
        for layer in &image.layers {
            lease.hold(layer);
        }
        let mut layers = image.layers[..kept].to_vec();
        if kept < count {
            let files = self.files_blocking(name.to_owned())?;
            layers.push(self.merged(&files, kept, &lease)?.diff_id);
        }
        let mut config = self.read_config(&image.id)?;
        rewrite(&mut config, kept, &image.id, base.as_ref());
        let request = CreateImage {
            parent: base,
            layers,
            config,
            tags,
            command: command.to_owned(),
        };
        let made = self.create_blocking(request, &lease)?;
        let weight = |image: &havre_store::Image| Weight {
            layers: image.layers.len(),
            bytes: image.size,
        };
        Ok(Squashed {
            before: weight(&image),
            after: weight(&made),
            id: made.id,
        })
    }

    /// Writes the layer that all from `kept` on are together, while it is unpacked.
    fn merged(&self, files: &ImageFiles, kept: usize, lease: &Lease) -> Result<Layer, ImageError> {
        let (reader, writer) = io::pipe().map_err(ImageError::Output)?;
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let mut output = io::BufWriter::with_capacity(1 << 20, writer);
                files.merge(kept, &mut output)?;
                output.flush().map_err(ImageError::Output)
            });
            let limits = havre_store::Limits::default();
            let applied = self
                .store
                .layers()
                .apply(reader, None, &limits, &mut |_| {}, lease);
            let written = writing.join().unwrap_or(Err(ImageError::Interrupted));
            match (written, applied) {
                // Who reads has gone: what it has to say is why.
                (Err(ImageError::Output(_)) | Ok(()), Err(source)) => {
                    Err(ImageError::Layer { digest: None, source })
                }
                (Err(error), _) => Err(error),
                (Ok(()), Ok(layer)) => Ok(layer),
            }
        })
    }
}

/// The steps of the merged layers have none of their own any more; one behind them has it.
fn rewrite(config: &mut ImageConfig, kept: usize, image: &Digest, base: Option<&Digest>) {
    let mut layers = 0;
    for step in &mut config.history {
        if !step.empty_layer {
            layers += 1;
            step.empty_layer = layers > kept;
        }
    }
    let now = Timestamp::now();
    let comment = match base {
        Some(base) => format!("merge {image} to {base}"),
        None => format!("create new from {image}"),
    };
    config.history.push(History {
        created: Some(now),
        comment,
        ..History::default()
    });
    config.created = Some(now);
}
