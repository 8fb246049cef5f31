//! Where bytes are kept: objects by key. A key is components joined by `/`, none of which is empty, `.` or `..`.

mod folder;

use std::fmt;
use std::io::Read;
use std::ops::Range;

pub(crate) use folder::Folder;

use crate::Result;

/// Bytes as they come.
pub type Contents = Box<dyn Read + Send>;

/// A kind of storage. What was written is there, whole, for whoever asks after that, in all processes.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Bytes of an object, if it is there.
    fn size(&self, key: &str) -> Result<Option<u64>>;

    /// A small object, if it is there.
    fn read(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// A part of an object that is there and has these bytes.
    fn open(&self, key: &str, range: Range<u64>) -> Result<Contents>;

    /// Puts an object down, or another in its place. It survives a power cut.
    fn write(&self, key: &str, bytes: &[u8]) -> Result<()>;

    /// The same for what can be made again: it may not survive a power cut.
    fn note(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.write(key, bytes)
    }

    /// Removes all objects whose key begins with these components; there may be none.
    fn remove(&self, prefix: &str) -> Result<()>;

    /// The next components of the keys that begin with these, sorted.
    fn names(&self, prefix: &str) -> Result<Vec<String>>;

    /// When an object was written, in milliseconds since 1970.
    fn written(&self, key: &str) -> Result<Option<i64>>;

    /// Where a client can read an object itself for a while, if it may.
    fn url(&self, key: &str) -> Result<Option<String>> {
        let _ = key;
        Ok(None)
    }
}

/// Storage whose objects can't be appended to: large ones are made of parts.
pub trait ObjectStorage: Storage {
    /// Begins an object of parts; what it is called until its end.
    fn begin(&self, key: &str) -> Result<String>;

    /// Takes a part, numbered from 0; what it is called. All but the last have at least 5 MiB.
    fn put_part(&self, key: &str, id: &str, number: usize, bytes: Vec<u8>) -> Result<String>;

    /// Makes the object of its parts.
    fn complete(&self, key: &str, id: &str, parts: Vec<String>) -> Result<()>;

    /// Gives an object of parts up.
    fn abort(&self, key: &str, id: &str) -> Result<()>;

    /// Puts an object down under another key as well, in its place if there is one.
    fn copy(&self, from: &str, to: &str) -> Result<()>;
}
