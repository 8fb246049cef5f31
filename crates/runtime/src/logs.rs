//! Reading the logs a shim writes: in the form of Docker's json-file driver or of its local one, rotated files, packed ones
//! too.

mod files;
mod form;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;

use crate::error::RuntimeError;
use files::{Opened, Source};

pub(crate) use files::{Identity, numbered, packed};
pub use form::LogFormat;
pub(crate) use form::local;

/// Bytes read at once.
const BLOCK: usize = 64 << 10;
/// An entry holds at most 16 KiB of a line, each byte of which may take six; longer lines are not ours.
const MAX_ENTRY: usize = 1 << 20;
/// How often a follower asks whether the container has ended.
const POLL_NANOSECONDS: i64 = 100_000_000;

/// Which lines to read.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// How the log is written.
    pub format: LogFormat,
    pub stdout: bool,
    pub stderr: bool,
    /// The last so many lines, of both streams; `None` is all.
    pub tail: Option<u64>,
    pub since: Option<jiff::Timestamp>,
    pub until: Option<jiff::Timestamp>,
    /// Go on after the end of the file until the container has ended.
    pub follow: bool,
    /// Nothing that was written after this; not together with `follow`.
    pub end: Option<LogPosition>,
}

/// A place in a log between two entries. It stays the same place when the log is rotated and packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogPosition {
    identity: Identity,
    /// Bytes of that file before it.
    offset: u64,
}

impl LogPosition {
    /// The end of a log that nobody writes to; `None` if there is no log.
    pub fn end_of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::after(&metadata))
    }

    /// The end of a file as it is.
    pub(crate) fn after(metadata: &std::fs::Metadata) -> Self {
        Self {
            identity: Identity::of(metadata),
            offset: metadata.len(),
        }
    }
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
    /// What the log says of the container besides; the local form says nothing.
    pub attributes: BTreeMap<String, String>,
}

/// An iterator over the entries a [`LogQuery`] selects; blocks while following. Uses a bounded amount of memory
/// whatever the size of the log. Lines that are not entries (after a crash of the machine) are left out.
pub struct LogReader {
    path: PathBuf,
    query: LogQuery,
    ended: Box<dyn FnMut() -> bool + Send>,
    /// Being read.
    current: Option<Opened>,
    /// To be read after it, oldest first.
    next: VecDeque<Source>,
    /// Read but not consumed: `buffer[at..]`.
    buffer: Vec<u8>,
    at: usize,
    watch: Option<OwnedFd>,
    /// The container had ended before the last look at the file.
    last_look: bool,
    finished: bool,
}

impl LogReader {
    /// Opens the log at `path` (with its rotated files `path.1`, `path.2.gz` …). A missing log is an empty one.
    ///
    /// `ended` is asked while following, at least every 100 ms, whether the container has ended: once it says yes and
    /// the file is drained, the iterator ends. A reader that nobody wants any more is ended the same way.
    pub fn open(
        path: &Path,
        query: LogQuery,
        ended: Box<dyn FnMut() -> bool + Send>,
    ) -> Result<LogReader, RuntimeError> {
        let mut reader = LogReader {
            path: path.to_owned(),
            query,
            ended,
            current: None,
            next: VecDeque::new(),
            buffer: Vec::new(),
            at: 0,
            watch: None,
            last_look: false,
            finished: false,
        };
        // Watch before looking, or what comes in between is noticed late.
        if reader.query.follow {
            reader.watch();
        }
        reader.open_files(None).map_err(|source| reader.error(source))?;
        if let Some(tail) = reader.query.tail {
            reader.seek_tail(tail).map_err(|source| reader.error(source))?;
        }
        Ok(reader)
    }

    fn error(&self, source: io::Error) -> RuntimeError {
        RuntimeError::Io {
            action: "read the log",
            path: self.path.clone(),
            source,
        }
    }

    /// Opens all files newer than `after`, oldest first.
    fn open_files(&mut self, after: Option<Identity>) -> io::Result<()> {
        self.next = files::open(&self.path, after)?;
        if let Some(end) = self.query.end {
            // Where it is not among them it was rotated away: all there are came after it.
            let last = (self.next.iter()).position(|source| source.identity() == Some(end.identity));
            self.next.truncate(last.map_or(0, |last| last + 1));
        }
        self.current = match self.next.pop_front() {
            Some(source) => Some(source.plain()?),
            None => None,
        };
        self.buffer.clear();
        self.at = 0;
        Ok(())
    }

    /// Moves to where the last `tail` lines begin, reading backwards from the end.
    fn seek_tail(&mut self, tail: u64) -> io::Result<()> {
        let mut older: Vec<Source> = (self.current.take().map(Source::from).into_iter())
            .chain(self.next.drain(..))
            .collect();
        let mut wanted = tail;
        // Packed files are unpacked only when they are reached.
        while let Some(source) = older.pop() {
            let mut opened = source.plain()?;
            let file = &mut opened.file;
            let mut length = file.metadata()?.len();
            if let Some(end) = self.query.end.filter(|end| opened.identity == Some(end.identity)) {
                length = length.min(end.offset);
            }
            // What is written from now on would be lines too many.
            if let Some(identity) = opened.identity
                && !self.query.follow
                && self.query.end.is_none()
            {
                self.query.end = Some(LogPosition {
                    identity,
                    offset: length,
                });
            }
            let start = self.query.format.start_of_last(file, length, &mut wanted)?;
            file.seek(SeekFrom::Start(start.unwrap_or(0)))?;
            self.next.push_front(opened.into());
            if start.is_some() {
                break;
            }
        }
        self.current = match self.next.pop_front() {
            Some(source) => Some(source.plain()?),
            None => None,
        };
        Ok(())
    }

    fn watch(&mut self) {
        use inotify::{CreateFlags, WatchFlags};
        // Without inotify the file is polled.
        self.watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        if let Some(watch) = &self.watch {
            let _ = inotify::add_watch(watch, &self.path, WatchFlags::MODIFY | WatchFlags::MOVE_SELF);
        }
    }

    fn wait(&mut self) {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: POLL_NANOSECONDS,
        };
        let Some(watch) = &self.watch else {
            let _ = rustix::event::poll(&mut [], Some(&timeout));
            return;
        };
        let _ = rustix::event::poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&timeout));
        let mut events = [0; 4096];
        while let Ok(1..) = rustix::io::read(watch, &mut events) {}
    }

    /// The next complete record in the buffer.
    fn buffered(&mut self) -> Option<std::ops::Range<usize>> {
        let (record, length) = self.query.format.split(&self.buffer[self.at..])?;
        let range = self.at + record.start..self.at + record.end;
        self.at += length;
        Some(range)
    }

    /// Reads more of the current file; false at its end.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(Opened { file, identity }) = &mut self.current else {
            return Ok(false);
        };
        let mut block = BLOCK;
        if let Some(end) = self.query.end.filter(|end| *identity == Some(end.identity)) {
            let left = end.offset.saturating_sub(file.stream_position()?);
            block = block.min(usize::try_from(left).unwrap_or(BLOCK));
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        if self.buffer.len() > MAX_ENTRY {
            self.buffer.clear();
        }
        let length = self.buffer.len();
        self.buffer.resize(length + block, 0);
        let read = file.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }

    /// At the end of the current file: goes to the next, waits, or ends. False if there is nothing more.
    fn advance(&mut self) -> io::Result<bool> {
        if let Some(next) = self.next.pop_front() {
            self.current = Some(next.plain()?);
            self.buffer.clear();
            self.at = 0;
            return Ok(true);
        }
        if !self.query.follow {
            return Ok(false);
        }
        let newest = fs::metadata(&self.path).map(|metadata| Identity::of(&metadata));
        let current = self.current.as_ref().and_then(|current| current.identity);
        if let Ok(newest) = newest
            && Some(newest) != current
        {
            // Rotated. What was written before the rename is drained first: one more look at the old file.
            if self.fill()? {
                return Ok(true);
            }
            self.watch();
            self.open_files(current)?;
            self.last_look = false;
            return Ok(true);
        }
        if self.last_look {
            return Ok(false);
        }
        if (self.ended)() {
            self.last_look = true;
        } else {
            self.wait();
        }
        Ok(true)
    }

    fn read(&mut self) -> io::Result<Option<LogEntry>> {
        loop {
            let Some(range) = self.buffered() else {
                if self.fill()? || self.advance()? {
                    continue;
                }
                return Ok(None);
            };
            let Some(entry) = self.query.format.decode(&self.buffer[range]) else {
                continue;
            };
            if self.query.until.is_some_and(|until| entry.time > until) {
                return Ok(None);
            }
            let wanted = match entry.stream {
                LogStream::Stdout => self.query.stdout,
                LogStream::Stderr => self.query.stderr,
            };
            if wanted && self.query.since.is_none_or(|since| entry.time >= since) {
                return Ok(Some(entry));
            }
        }
    }
}

impl Iterator for LogReader {
    type Item = Result<LogEntry, RuntimeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        match self.read() {
            Ok(Some(entry)) => Some(Ok(entry)),
            Ok(None) => {
                self.finished = true;
                None
            }
            Err(source) => {
                self.finished = true;
                Some(Err(self.error(source)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    fn entry(number: u32) -> String {
        let stream = if number.is_multiple_of(2) {
            "stdout"
        } else {
            "stderr"
        };
        format!(
            "{{\"log\":\"line {number}\\n\",\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{:02}Z\"}}\n",
            number % 60
        )
    }

    fn entries(numbers: std::ops::Range<u32>) -> String {
        numbers.map(entry).collect()
    }

    fn read(path: &Path, query: LogQuery) -> Vec<String> {
        LogReader::open(path, query, Box::new(|| true))
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().line).unwrap().trim().to_owned())
            .collect()
    }

    fn expected(numbers: impl Iterator<Item = u32>) -> Vec<String> {
        numbers.map(|number| format!("line {number}")).collect()
    }

    const BOTH: LogQuery = LogQuery {
        format: LogFormat::Json,
        stdout: true,
        stderr: true,
        tail: None,
        since: None,
        until: None,
        follow: false,
        end: None,
    };

    #[test]
    fn all_tail_and_streams_across_rotated_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(read(&path, BOTH).is_empty(), "a missing log is an empty one");
        fs::write(dir.path().join("log.2"), entries(0..10)).unwrap();
        fs::write(dir.path().join("log.1"), entries(10..20)).unwrap();
        fs::write(&path, entries(20..25)).unwrap();
        assert_eq!(read(&path, BOTH), expected(0..25));
        for tail in [0, 1, 4, 5, 6, 14, 15, 16, 24, 25, 26, 1000] {
            let lines = read(
                &path,
                LogQuery {
                    tail: Some(tail),
                    ..BOTH
                },
            );
            assert_eq!(lines, expected(25 - tail.min(25) as u32..25), "tail {tail}");
        }
        let even = read(
            &path,
            LogQuery {
                stderr: false,
                ..BOTH
            },
        );
        assert_eq!(even, expected((0..25).filter(|n| n % 2 == 0)));
    }

    #[test]
    fn since_and_until() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, entries(0..30)).unwrap();
        let at = |second: u32| Some(format!("2026-01-01T00:00:{second:02}Z").parse().unwrap());
        let lines = read(
            &path,
            LogQuery {
                since: at(10),
                until: at(12),
                ..BOTH
            },
        );
        assert_eq!(lines, expected(10..13));
    }

    #[test]
    fn tail_of_long_logs_and_broken_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut text = entries(0..20_000);
        text.push_str("\0\0\0\0 not an entry\n");
        text.push_str(&entry(7));
        text.push_str("{\"log\":\"unfinished");
        fs::write(&path, text).unwrap();
        let lines = read(
            &path,
            LogQuery {
                tail: Some(5003),
                ..BOTH
            },
        );
        assert_eq!(lines.len(), 5001);
        assert_eq!(lines.last().unwrap(), "line 7");
        fs::write(
            &path,
            [vec![b'x'; 3 << 20], b"\n".to_vec(), entry(1).into_bytes()].concat(),
        )
        .unwrap();
        assert_eq!(read(&path, BOTH), ["line 1"]);
    }

    #[test]
    fn lines_that_come_while_the_last_are_read_are_not_among_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, entries(0..10)).unwrap();
        let query = LogQuery {
            tail: Some(2),
            ..BOTH
        };
        let reader = LogReader::open(&path, query, Box::new(|| true)).unwrap();
        let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
        log.write_all(entries(10..12).as_bytes()).unwrap();
        let lines: Vec<_> = reader
            .map(|entry| String::from_utf8(entry.unwrap().line).unwrap())
            .collect();
        assert_eq!(lines, ["line 8\n", "line 9\n"]);
    }

    #[test]
    fn reads_up_to_a_place_wherever_it_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(LogPosition::end_of(&path), None);
        fs::write(dir.path().join("log.1"), entries(0..10)).unwrap();
        fs::write(&path, entries(10..15)).unwrap();
        let end = LogPosition::end_of(&path);
        let up_to = |tail| read(&path, LogQuery { end, tail, ..BOTH });
        let append = |text: String| {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append(entries(15..20));
        assert_eq!(up_to(None), expected(0..15));
        assert_eq!(up_to(Some(3)), expected(12..15));
        assert_eq!(up_to(Some(7)), expected(8..15));
        fs::rename(dir.path().join("log.1"), dir.path().join("log.2")).unwrap();
        fs::rename(&path, dir.path().join("log.1")).unwrap();
        append(entries(20..25));
        assert_eq!(up_to(None), expected(0..15));
        assert_eq!(up_to(Some(3)), expected(12..15));
        // What was before it is gone too, and what there is came after it.
        fs::remove_file(dir.path().join("log.2")).unwrap();
        fs::remove_file(dir.path().join("log.1")).unwrap();
        assert_eq!(up_to(None), expected(0..0));
        assert_eq!(up_to(Some(3)), expected(0..0));
    }

    #[test]
    fn follows_across_rotation_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(AtomicU32::new(0));
        let writer = std::thread::spawn({
            let (path, ended, seen) = (path.clone(), Arc::clone(&ended), Arc::clone(&seen));
            move || {
                let mut file = std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(&path)
                    .unwrap();
                for number in 0..2000 {
                    if number % 500 == 499 {
                        // Two files are kept: a reader further behind would miss lines, as it should.
                        while seen.load(Ordering::SeqCst) + 700 < number {
                            std::thread::sleep(std::time::Duration::from_millis(1));
                        }
                        let _ = fs::rename(path.with_extension("1"), path.with_extension("2"));
                        fs::rename(&path, path.with_extension("1")).unwrap();
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        file = std::fs::OpenOptions::new()
                            .append(true)
                            .create(true)
                            .open(&path)
                            .unwrap();
                    }
                    // In halves, so that unfinished lines are seen.
                    let text = entry(number);
                    file.write_all(&text.as_bytes()[..10]).unwrap();
                    file.write_all(&text.as_bytes()[10..]).unwrap();
                    if number % 100 == 0 {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                }
                ended.store(true, Ordering::SeqCst);
            }
        });
        let query = LogQuery { follow: true, ..BOTH };
        let lines: Vec<_> = LogReader::open(&path, query, Box::new(move || ended.load(Ordering::SeqCst)))
            .unwrap()
            .map(|entry| {
                seen.fetch_add(1, Ordering::SeqCst);
                String::from_utf8(entry.unwrap().line).unwrap().trim().to_owned()
            })
            .collect();
        writer.join().unwrap();
        for (line, expected) in lines.iter().zip(expected(0..2000)) {
            assert_eq!(*line, expected);
        }
        assert_eq!(lines.len(), 2000);
    }
}
