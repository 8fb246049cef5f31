//! Where things lie: the layout of the reference registry (its storage/paths.go), as keys of a storage.
//!
//! ```text
//! docker/registry/v2/
//!   blobs/sha256/ab/<hex>/data             bytes of blobs and manifests; sha512 likewise; ab = first two digits
//!   repositories/<name>/
//!     _layers/sha256/<hex>/link            the repository has the blob; a link holds the digest as text
//!     _manifests/revisions/sha256/<hex>/link   … the manifest
//!     _manifests/tags/<tag>/current/link   what the tag stands for
//!     _manifests/tags/<tag>/index/sha256/<hex>/link   what it ever stood for
//!     _uploads/<id>/data                   an upload under way; in a folder its modification time says whether anybody cares
//!     _uploads/<id>/rest                   … what is too little for a part of its own (`uploads/parts.rs`)
//! ```

use havre_oci::Digest;

use crate::name::{RepositoryName, Tag};

/// Of all bytes that are blobs or manifests.
pub(crate) const BLOBS: &str = "docker/registry/v2/blobs";
/// Of what repositories have.
pub(crate) const REPOSITORIES: &str = "docker/registry/v2/repositories";

fn link(parent: &str, digest: &Digest) -> String {
    format!("{parent}/{}/{}/link", digest.algorithm(), digest.hex())
}

/// What a blob has for itself.
pub(crate) fn blob(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{BLOBS}/{}/{}/{hex}", digest.algorithm(), &hex[..2])
}

pub(crate) fn blob_data(digest: &Digest) -> String {
    blob(digest) + "/data"
}

pub(crate) fn repository(name: &RepositoryName) -> String {
    format!("{REPOSITORIES}/{name}")
}

pub(crate) fn layers(name: &RepositoryName) -> String {
    repository(name) + "/_layers"
}

pub(crate) fn revisions(name: &RepositoryName) -> String {
    repository(name) + "/_manifests/revisions"
}

pub(crate) fn tags(name: &RepositoryName) -> String {
    repository(name) + "/_manifests/tags"
}

pub(crate) fn layer_link(name: &RepositoryName, digest: &Digest) -> String {
    link(&layers(name), digest)
}

pub(crate) fn revision_link(name: &RepositoryName, digest: &Digest) -> String {
    link(&revisions(name), digest)
}

pub(crate) fn tag(name: &RepositoryName, tag: &Tag) -> String {
    format!("{}/{tag}", tags(name))
}

pub(crate) fn current_link(name: &RepositoryName, of: &Tag) -> String {
    tag(name, of) + "/current/link"
}

pub(crate) fn index_link(name: &RepositoryName, of: &Tag, digest: &Digest) -> String {
    link(&(tag(name, of) + "/index"), digest)
}

/// `id` was made by us, or looked up among the names that are there: it is one component of a key.
pub(crate) fn upload(name: &RepositoryName, id: &str) -> String {
    format!("{}/_uploads/{id}", repository(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_reference_registry_has_it() {
        let (name, of) = ("a/b".parse().expect("a name"), "1".parse().expect("a tag"));
        let digest = Digest::sha256_of(b"");
        let hex = digest.hex();
        let v2 = "docker/registry/v2";
        for (path, expected) in [
            (blob_data(&digest), format!("{v2}/blobs/sha256/e3/{hex}/data")),
            (
                layer_link(&name, &digest),
                format!("{v2}/repositories/a/b/_layers/sha256/{hex}/link"),
            ),
            (
                revision_link(&name, &digest),
                format!("{v2}/repositories/a/b/_manifests/revisions/sha256/{hex}/link"),
            ),
            (
                current_link(&name, &of),
                format!("{v2}/repositories/a/b/_manifests/tags/1/current/link"),
            ),
            (
                index_link(&name, &of, &digest),
                format!("{v2}/repositories/a/b/_manifests/tags/1/index/sha256/{hex}/link"),
            ),
            (upload(&name, "u"), format!("{v2}/repositories/a/b/_uploads/u")),
        ] {
            assert_eq!(path, expected);
        }
    }
}
