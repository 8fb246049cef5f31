//! Reading the json-file log a shim writes.

use std::path::PathBuf;

use crate::error::RuntimeError;

/// Which lines to read.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    pub stdout: bool,
    pub stderr: bool,
    /// The last so many lines; `None` is all.
    pub tail: Option<u64>,
    pub since: Option<jiff::Timestamp>,
    pub until: Option<jiff::Timestamp>,
    /// Go on after the end of the file until the container has ended.
    pub follow: bool,
}

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// One line as the container wrote it, with its newline; a piece of a line longer than 16 KiB has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub stream: LogStream,
    pub time: jiff::Timestamp,
    pub line: Vec<u8>,
}

/// An iterator over the entries a [`LogQuery`] selects; blocks while following.
pub struct LogReader {
    _path: PathBuf,
}

impl LogReader {
    /// Opens the log at `path` (with its rotated files `path.1`, `path.2` …). A missing log is an empty one.
    ///
    /// `ended` is asked while following whether the container has ended: once it says yes and the file is drained,
    /// the iterator ends. `wake` it by nothing: it is polled, at most every 100 ms.
    pub fn open(
        _path: &std::path::Path,
        _query: LogQuery,
        _ended: Box<dyn FnMut() -> bool + Send>,
    ) -> Result<LogReader, RuntimeError> {
        todo!()
    }
}

impl Iterator for LogReader {
    type Item = Result<LogEntry, RuntimeError>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
