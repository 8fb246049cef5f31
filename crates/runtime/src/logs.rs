//! Reading the json-file log a shim writes.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;

use crate::error::RuntimeError;

/// Bytes read at once.
const BLOCK: usize = 64 << 10;
/// An entry holds at most 16 KiB of a line, each byte of which may take six; longer lines are not ours.
const MAX_ENTRY: usize = 1 << 20;
/// More rotated files than anybody configures.
const MAX_FILES: u32 = 1000;
/// How often a follower asks whether the container has ended.
const POLL_NANOSECONDS: i64 = 100_000_000;

/// Which lines to read.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    pub stdout: bool,
    pub stderr: bool,
    /// The last so many lines, of both streams; `None` is all.
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

#[derive(serde::Deserialize)]
struct Line {
    log: String,
    stream: LogStream,
    time: jiff::Timestamp,
}

/// An iterator over the entries a [`LogQuery`] selects; blocks while following. Uses a bounded amount of memory
/// whatever the size of the log. Lines that are not entries (after a crash of the machine) are left out.
pub struct LogReader {
    path: PathBuf,
    query: LogQuery,
    ended: Box<dyn FnMut() -> bool + Send>,
    /// Being read.
    current: Option<fs::File>,
    /// To be read after it, oldest first.
    next: VecDeque<fs::File>,
    /// Read but not consumed: `buffer[at..]`.
    buffer: Vec<u8>,
    at: usize,
    watch: Option<OwnedFd>,
    /// The container had ended before the last look at the file.
    last_look: bool,
    finished: bool,
}

impl LogReader {
    /// Opens the log at `path` (with its rotated files `path.1`, `path.2` …). A missing log is an empty one.
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

    /// Opens all files newer than the one with inode `after`, oldest first.
    fn open_files(&mut self, after: Option<u64>) -> io::Result<()> {
        let mut files: Vec<(u64, fs::File)> = Vec::new();
        for number in 0..MAX_FILES {
            let mut path = self.path.clone().into_os_string();
            if number > 0 {
                path.push(format!(".{number}"));
            }
            let file = match fs::File::open(PathBuf::from(path)) {
                Ok(file) => file,
                // Between a rename and the new file there is no current one for a moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let metadata = file.metadata()?;
            if Some(metadata.ino()) == after {
                break;
            }
            // A rotation while we look shows a file twice.
            if files.iter().all(|(inode, _)| *inode != metadata.ino()) {
                files.push((metadata.ino(), file));
            }
        }
        self.next = files.into_iter().rev().map(|(_, file)| file).collect();
        self.current = self.next.pop_front();
        self.buffer.clear();
        self.at = 0;
        Ok(())
    }

    /// Moves to where the last `tail` lines begin, reading backwards from the end.
    fn seek_tail(&mut self, tail: u64) -> io::Result<()> {
        let mut files: Vec<fs::File> = self
            .current
            .take()
            .into_iter()
            .chain(self.next.drain(..))
            .collect();
        let mut wanted = tail;
        let mut first = files.len();
        for (index, file) in files.iter_mut().enumerate().rev() {
            let length = file.metadata()?.len();
            first = index;
            match start_of_last_lines(file, length, &mut wanted)? {
                Some(offset) => {
                    file.seek(SeekFrom::Start(offset))?;
                    break;
                }
                None => file.rewind().map(|_| ())?,
            }
        }
        self.next = files.into_iter().skip(first).collect();
        self.current = self.next.pop_front();
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

    /// The next complete line in the buffer.
    fn buffered_line(&mut self) -> Option<std::ops::Range<usize>> {
        let length = self.buffer[self.at..].iter().position(|byte| *byte == b'\n')?;
        let range = self.at..self.at + length;
        self.at += length + 1;
        Some(range)
    }

    /// Reads more of the current file; false at its end.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.current else {
            return Ok(false);
        };
        self.buffer.drain(..self.at);
        self.at = 0;
        if self.buffer.len() > MAX_ENTRY {
            self.buffer.clear();
        }
        let length = self.buffer.len();
        self.buffer.resize(length + BLOCK, 0);
        let read = file.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }

    /// At the end of the current file: goes to the next, waits, or ends. False if there is nothing more.
    fn advance(&mut self) -> io::Result<bool> {
        if let Some(next) = self.next.pop_front() {
            self.current = Some(next);
            self.buffer.clear();
            self.at = 0;
            return Ok(true);
        }
        if !self.query.follow {
            return Ok(false);
        }
        let newest = fs::metadata(&self.path).map(|metadata| metadata.ino());
        let current = match &self.current {
            Some(file) => Some(file.metadata()?.ino()),
            None => None,
        };
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
            let Some(range) = self.buffered_line() else {
                if self.fill()? || self.advance()? {
                    continue;
                }
                return Ok(None);
            };
            let Ok(line) = serde_json::from_slice::<Line>(&self.buffer[range]) else {
                continue;
            };
            if self.query.until.is_some_and(|until| line.time > until) {
                return Ok(None);
            }
            let wanted = match line.stream {
                LogStream::Stdout => self.query.stdout,
                LogStream::Stderr => self.query.stderr,
            };
            if wanted && self.query.since.is_none_or(|since| line.time >= since) {
                return Ok(Some(LogEntry {
                    stream: line.stream,
                    time: line.time,
                    line: line.log.into_bytes(),
                }));
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

/// Where the last `wanted` lines of a file begin, or `None` if it has fewer; then `wanted` becomes what is missing.
fn start_of_last_lines(file: &mut fs::File, length: u64, wanted: &mut u64) -> io::Result<Option<u64>> {
    if *wanted == 0 {
        return Ok(Some(length));
    }
    let mut block = vec![0; BLOCK];
    let mut end = length;
    let mut lines = 0;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let size = (end - start) as usize;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..size])?;
        for at in (0..size).rev() {
            // Each newline but the last of the file ends the line before one that is counted.
            if block[at] == b'\n' && start + at as u64 + 1 < length {
                lines += 1;
                if lines == *wanted {
                    return Ok(Some(start + at as u64 + 1));
                }
            }
        }
        end = start;
    }
    if length > 0 {
        lines += 1;
    }
    if lines == *wanted {
        return Ok(Some(0));
    }
    *wanted -= lines;
    Ok(None)
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
        stdout: true,
        stderr: true,
        tail: None,
        since: None,
        until: None,
        follow: false,
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
