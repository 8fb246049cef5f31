//! Where files lie: the layout of the reference registry (its storage/paths.go), and the database beside it.
//!
//! ```text
//! <root>/havre-registry.db                 SQLite, WAL
//! <root>/docker/registry/v2/
//!   blobs/sha256/ab/<hex>/data             bytes of blobs and manifests; sha512 likewise; ab = first two digits
//!   repositories/<name>/
//!     _layers/sha256/<hex>/link            the repository has the blob; a link holds the digest as text
//!     _manifests/revisions/sha256/<hex>/link   … the manifest
//!     _manifests/tags/<tag>/current/link   what the tag stands for
//!     _manifests/tags/<tag>/index/sha256/<hex>/link   what it ever stood for
//!     _uploads/<id>/data                   an upload under way; its modification time says whether anybody cares
//! ```

use std::path::{Path, PathBuf};

use havre_oci::Digest;

use crate::name::{RepositoryName, Tag};

/// The paths of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    v2: PathBuf,
}

fn by_digest(parent: PathBuf, digest: &Digest) -> PathBuf {
    parent.join(digest.algorithm().name()).join(digest.hex())
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            v2: root.join("docker/registry/v2"),
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("havre-registry.db")
    }

    pub(crate) fn repositories(&self) -> PathBuf {
        self.v2.join("repositories")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.v2.join("blobs")
    }

    /// The folder that a blob has for itself.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs()
            .join(digest.algorithm().name())
            .join(&digest.hex()[..2])
            .join(digest.hex())
    }

    pub(crate) fn blob_data(&self, digest: &Digest) -> PathBuf {
        self.blob(digest).join("data")
    }

    pub(crate) fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.repositories().join(name.as_str())
    }

    pub(crate) fn layer_link(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        by_digest(self.repository(name).join("_layers"), digest).join("link")
    }

    pub(crate) fn revision_link(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        by_digest(self.repository(name).join("_manifests/revisions"), digest).join("link")
    }

    pub(crate) fn tag(&self, name: &RepositoryName, tag: &Tag) -> PathBuf {
        self.repository(name).join("_manifests/tags").join(tag.as_str())
    }

    pub(crate) fn current_link(&self, name: &RepositoryName, tag: &Tag) -> PathBuf {
        self.tag(name, tag).join("current/link")
    }

    pub(crate) fn index_link(&self, name: &RepositoryName, tag: &Tag, digest: &Digest) -> PathBuf {
        by_digest(self.tag(name, tag).join("index"), digest).join("link")
    }

    /// `id` was made by us, or looked up among the names of the folder: it is one component of a path.
    pub(crate) fn upload(&self, name: &RepositoryName, id: &str) -> PathBuf {
        self.repository(name).join("_uploads").join(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_reference_registry_has_it() {
        let layout = Layout::new(Path::new("/r"));
        let (name, tag) = ("a/b".parse().unwrap(), "1".parse().unwrap());
        let digest = Digest::sha256_of(b"");
        let hex = digest.hex();
        let v2 = "/r/docker/registry/v2";
        for (path, expected) in [
            (
                layout.blob_data(&digest),
                format!("{v2}/blobs/sha256/e3/{hex}/data"),
            ),
            (
                layout.layer_link(&name, &digest),
                format!("{v2}/repositories/a/b/_layers/sha256/{hex}/link"),
            ),
            (
                layout.revision_link(&name, &digest),
                format!("{v2}/repositories/a/b/_manifests/revisions/sha256/{hex}/link"),
            ),
            (
                layout.current_link(&name, &tag),
                format!("{v2}/repositories/a/b/_manifests/tags/1/current/link"),
            ),
            (
                layout.index_link(&name, &tag, &digest),
                format!("{v2}/repositories/a/b/_manifests/tags/1/index/sha256/{hex}/link"),
            ),
            (
                layout.upload(&name, "u"),
                format!("{v2}/repositories/a/b/_uploads/u"),
            ),
        ] {
            assert_eq!(path, Path::new(&expected));
        }
    }
}
