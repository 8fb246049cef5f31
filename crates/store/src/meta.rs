//! The database: images, references and their history, documents, build cache, what is known of layers.

use havre_oci::{Descriptor, Digest, Platform};
use jiff::Timestamp;

use crate::Result;

/// An image of one platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Its id: the digest of its configuration, which is a blob of the content store.
    pub id: Digest,
    /// The manifest it was pulled by, if it was.
    pub manifest: Option<Descriptor>,
    /// Diff IDs, base first.
    pub layers: Vec<Digest>,
    /// Bytes of all its layers' files.
    pub size: u64,
    /// When it was made, as its configuration says.
    pub created: Option<Timestamp>,
    /// What it runs on.
    pub platform: Platform,
    /// When it came into this store.
    pub added: Timestamp,
    /// When a container was last made from it.
    pub last_used: Option<Timestamp>,
    /// The image it was built on, if that is known.
    pub parent: Option<Digest>,
}

/// The outcome of a search by the beginning of an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup<T> {
    /// Nothing begins so.
    None,
    /// Exactly one does.
    One(T),
    /// Several do; these are (some of) their ids.
    Ambiguous(Vec<Digest>),
}

/// A name and the image it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Canonical name with tag: `docker.io/library/debian:12`.
    pub name: String,
    /// The image.
    pub image: Digest,
    /// What the registry answered for the name (a manifest or an index), if it came from one.
    pub target: Option<Descriptor>,
    /// When it was last set.
    pub updated: Timestamp,
}

/// One line of a name's history.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceChange {
    /// Canonical name with tag.
    pub name: String,
    /// The image it stood for from then on; `None` when it was removed.
    pub image: Option<Digest>,
    /// What the registry answered, if it came from one.
    pub target: Option<Descriptor>,
    /// The command that did it, for people: `pull`, `tag`, `build`, `rmi`.
    pub command: String,
    /// When.
    pub at: Timestamp,
}

/// A digest under which a repository serves an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoDigest {
    /// Canonical repository: `docker.io/library/debian`.
    pub repository: String,
    /// Digest of the manifest or index there.
    pub digest: Digest,
    /// The image it stands for on this machine's platform.
    pub image: Digest,
}

/// A JSON value kept for another part of the program: a container, a volume, a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it is: `container`, `volume`, `network`.
    pub kind: String,
    /// Unique in its kind.
    pub id: String,
    /// Unique in its kind where there is one.
    pub name: Option<String>,
    /// The JSON text.
    pub body: String,
}

/// What the build cache remembers for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRecord {
    /// Diff IDs of the result, base first. They stay in the store as long as the record.
    pub layers: Vec<Digest>,
    /// Whatever else the builder needs, as JSON text.
    pub body: String,
    /// Bytes this step added.
    pub size: u64,
}

/// A build cache record with its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The builder's key.
    pub key: String,
    /// What it stands for.
    pub record: CacheRecord,
    /// When it was put.
    pub created: Timestamp,
    /// When it was last got.
    pub last_used: Timestamp,
    /// How often it was got.
    pub hits: u64,
}

/// The database of a store. All functions are short transactions; any thread may call them.
#[derive(Debug)]
pub struct Meta {}

impl Meta {
    /// Inserts or replaces an image's row. `added` and `last_used` of an existing row stay.
    pub fn put_image(&self, _image: &Image) -> Result<()> {
        todo!()
    }
    /// The image, if it is there.
    pub fn find_image(&self, _id: &Digest) -> Result<Option<Image>> {
        todo!()
    }
    /// The image whose id's hex begins with `hex` (lower case, 1 to 64 characters).
    pub fn find_image_by_prefix(&self, _hex: &str) -> Result<Lookup<Image>> {
        todo!()
    }
    /// All images, newest `created` first.
    pub fn images(&self) -> Result<Vec<Image>> {
        todo!()
    }
    /// Notes that a container was made from the image now.
    pub fn touch_image(&self, _id: &Digest) -> Result<()> {
        todo!()
    }
    /// Deletes the row, its references (with a line of history each) and repository digests; whether there was one.
    pub fn delete_image(&self, _id: &Digest, _command: &str) -> Result<bool> {
        todo!()
    }
    /// Lets `name` stand for `image` and appends to its history. The image must exist.
    pub fn set_reference(
        &self,
        _name: &str,
        _image: &Digest,
        _target: Option<&Descriptor>,
        _command: &str,
    ) -> Result<()> {
        todo!()
    }
    /// What `name` stands for.
    pub fn reference(&self, _name: &str) -> Result<Option<Reference>> {
        todo!()
    }
    /// All references, by name.
    pub fn references(&self) -> Result<Vec<Reference>> {
        todo!()
    }
    /// The references of one image, by name.
    pub fn references_to(&self, _image: &Digest) -> Result<Vec<Reference>> {
        todo!()
    }
    /// Removes the name and appends to its history; what it stood for.
    pub fn delete_reference(&self, _name: &str, _command: &str) -> Result<Option<Reference>> {
        todo!()
    }
    /// The history of one name, newest first.
    pub fn reference_history(&self, _name: &str) -> Result<Vec<ReferenceChange>> {
        todo!()
    }
    /// Notes that `repository` serves `image` as `digest`.
    pub fn add_repo_digest(&self, _repository: &str, _digest: &Digest, _image: &Digest) -> Result<()> {
        todo!()
    }
    /// The image that `repository` serves as `digest`, if it is known.
    pub fn find_repo_digest(&self, _repository: &str, _digest: &Digest) -> Result<Option<RepoDigest>> {
        todo!()
    }
    /// Under which digests registries serve this image.
    pub fn repo_digests(&self, _image: &Digest) -> Result<Vec<RepoDigest>> {
        todo!()
    }
    /// All repository digests.
    pub fn all_repo_digests(&self) -> Result<Vec<RepoDigest>> {
        todo!()
    }
    /// Forgets a repository digest; whether there was one.
    pub fn delete_repo_digest(&self, _repository: &str, _digest: &Digest) -> Result<bool> {
        todo!()
    }
    /// The compressed forms known of a layer; their blobs may or may not be in the content store. Newest first.
    pub fn layer_blobs(&self, _diff_id: &Digest) -> Result<Vec<Descriptor>> {
        todo!()
    }
    /// The layer whose compressed form has this digest.
    pub fn layer_of_blob(&self, _blob: &Digest) -> Result<Option<Digest>> {
        todo!()
    }
    /// Notes a compressed form of a layer. The layer must exist.
    pub fn add_layer_blob(&self, _diff_id: &Digest, _blob: &Descriptor) -> Result<()> {
        todo!()
    }
    /// Inserts a document. Its id and its name must be free in its kind.
    pub fn put_document(&self, _kind: &str, _id: &str, _name: Option<&str>, _body: &str) -> Result<()> {
        todo!()
    }
    /// Replaces the body of a document that exists.
    pub fn update_document(&self, _kind: &str, _id: &str, _body: &str) -> Result<()> {
        todo!()
    }
    /// Gives a document another name, which must be free; and another body at the same time, if given.
    pub fn rename_document(&self, _kind: &str, _id: &str, _name: &str, _body: Option<&str>) -> Result<()> {
        todo!()
    }
    /// The document, if it is there.
    pub fn find_document(&self, _kind: &str, _id: &str) -> Result<Option<Document>> {
        todo!()
    }
    /// The document with this name, if there is one.
    pub fn find_document_by_name(&self, _kind: &str, _name: &str) -> Result<Option<Document>> {
        todo!()
    }
    /// All documents of a kind, oldest first.
    pub fn documents(&self, _kind: &str) -> Result<Vec<Document>> {
        todo!()
    }
    /// Deletes a document; whether there was one.
    pub fn delete_document(&self, _kind: &str, _id: &str) -> Result<bool> {
        todo!()
    }
    /// Remembers a build step's result, replacing what the key had.
    pub fn cache_put(&self, _key: &str, _record: &CacheRecord) -> Result<()> {
        todo!()
    }
    /// The result of an earlier build step whose layers all exist; notes the use.
    pub fn cache_get(&self, _key: &str) -> Result<Option<CacheRecord>> {
        todo!()
    }
    /// All records, least recently used first.
    pub fn cache_list(&self) -> Result<Vec<CacheEntry>> {
        todo!()
    }
    /// Forgets a record; whether there was one.
    pub fn cache_delete(&self, _key: &str) -> Result<bool> {
        todo!()
    }
}
