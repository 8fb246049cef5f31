//! What is known of the compressed forms of a layer: which repositories have them, and which were made here.
//!
//! It is written into the annotations of the descriptors the database holds, under containerd's names where it has some.
//! These descriptors go into no manifest as they are.

use havre_oci::{Descriptor, Digest, Reference};

use crate::options::Packing;
use crate::{ImageError, ImageService};

/// `containerd.io/distribution.source.DOMAIN` = paths of repositories, with commas between.
const SOURCE: &str = "containerd.io/distribution.source.";
/// What made it here.
const MADE: &str = "havre.made-by";
/// Repositories remembered per registry; the newest stay.
const MAX_SOURCES: usize = 8;

/// Changes with every change of the compressor's output.
fn maker(packing: &Packing) -> String {
    format!("{:?}-{}-1", packing.compression, packing.level).to_lowercase()
}

/// The repositories that have the blob, as `DOMAIN/PATH`, the newest first of each registry.
pub(crate) fn repositories(blob: &Descriptor) -> Vec<Reference> {
    blob.annotations
        .iter()
        .filter_map(|(key, paths)| Some((key.strip_prefix(SOURCE)?, paths)))
        .flat_map(|(domain, paths)| paths.split(',').map(move |path| format!("{domain}/{path}")))
        .filter_map(|name| Reference::parse(&name).ok())
        .collect()
}

/// Whether compressing the layer with `packing` gives this blob again.
pub(crate) fn is_made_by(blob: &Descriptor, packing: &Packing) -> bool {
    blob.annotations
        .get(MADE)
        .is_some_and(|made| *made == maker(packing))
}

/// Adds a repository; whether that is news.
fn add(blob: &mut Descriptor, repository: &str) -> bool {
    let Some((domain, path)) = repository.split_once('/') else {
        return false;
    };
    let known = blob.annotations.entry(format!("{SOURCE}{domain}")).or_default();
    if known.split(',').any(|known| known == path) {
        return false;
    }
    let mut paths = vec![path];
    paths.extend(
        known
            .split(',')
            .filter(|path| !path.is_empty())
            .take(MAX_SOURCES - 1),
    );
    *known = paths.join(",");
    true
}

impl ImageService {
    /// Notes a verified compressed form of a layer, the repository (`DOMAIN/PATH`) that has it, and what made it here.
    pub(crate) fn remember(
        &self,
        diff_id: &Digest,
        blob: &Descriptor,
        repository: Option<&str>,
        made: Option<&Packing>,
    ) -> Result<(), ImageError> {
        let meta = self.store.meta();
        let known = meta.layer_blobs(diff_id)?;
        let known = known.into_iter().find(|known| known.digest == blob.digest);
        let mut news = known.is_none();
        let mut blob =
            known.unwrap_or_else(|| Descriptor::new(blob.media_type.clone(), blob.digest.clone(), blob.size));
        if let Some(repository) = repository {
            news |= add(&mut blob, repository);
        }
        if let Some(packing) = made {
            let maker = maker(packing);
            news |= blob.annotations.get(MADE) != Some(&maker);
            blob.annotations.insert(MADE.to_owned(), maker);
        }
        if news {
            meta.add_layer_blob(diff_id, &blob)?;
        }
        Ok(())
    }

    /// Notes that a repository has a form of a layer that is known already. A form nobody has verified is not noted.
    pub(crate) fn seen_at(
        &self,
        diff_id: &Digest,
        blob: &Digest,
        repository: &str,
    ) -> Result<(), ImageError> {
        let meta = self.store.meta();
        let known = meta.layer_blobs(diff_id)?;
        if let Some(mut known) = known.into_iter().find(|known| known.digest == *blob)
            && add(&mut known, repository)
        {
            meta.add_layer_blob(diff_id, &known)?;
        }
        Ok(())
    }

    /// After compressed forms may have been added: drops the least recently used ones that are too many.
    pub(crate) async fn settle(&self) -> Result<(), ImageError> {
        if !self.keep.is_bounded() {
            return Ok(());
        }
        self.blocking(|service| service.settle_compressed().map(drop))
            .await
    }

    /// Drops compressed forms beyond what the configuration allows; the least recently used first.
    pub(crate) fn settle_compressed(&self) -> Result<u64, ImageError> {
        match self.keep.limit() {
            u64::MAX => Ok(0),
            limit => Ok(self.store.evict_compressed(limit)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_few_and_new_ones_come_first() {
        let mut blob = Descriptor::new("x", Digest::sha256_of(b"x"), 1);
        assert!(add(&mut blob, "docker.io/library/debian"));
        assert!(!add(&mut blob, "docker.io/library/debian"));
        for n in 0..20 {
            assert!(add(&mut blob, &format!("localhost:5000/app{n}")));
        }
        let names: Vec<_> = repositories(&blob)
            .iter()
            .map(|reference| reference.repository())
            .collect();
        assert_eq!(names.len(), 1 + MAX_SOURCES);
        assert_eq!(names[0], "docker.io/library/debian");
        assert_eq!(names[1], "localhost:5000/app19");
    }

    #[test]
    fn what_was_made_here_is_told_from_what_came() {
        let mut blob = Descriptor::new("x", Digest::sha256_of(b"x"), 1);
        let packing = Packing::default();
        assert!(!is_made_by(&blob, &packing));
        blob.annotations.insert(MADE.to_owned(), maker(&packing));
        assert!(is_made_by(&blob, &packing));
        let other = Packing {
            level: packing.level + 1,
            ..packing
        };
        assert!(!is_made_by(&blob, &other));
    }
}
