//! The log of a container, in the exact form of Docker's json-file driver, one object per line,
//! `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}`, or in that of its local driver
//! ([`crate::logs`]). A line longer than 16 KiB is written in pieces, all but the last without the newline and all with the
//! time of the first; so is a last line without one.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use fs_err as fs;
use havre_sys::process;
use rustix::event::{PollFd, PollFlags};

use crate::logs::{self, LogFormat, LogPosition, LogStream, numbered, packed};
use crate::spec::LogConfig;

/// Bytes of a line in one entry.
const MAX_PIECE: usize = 16 << 10;

/// Splits two streams into lines and writes them.
pub(super) struct LogWriter {
    path: PathBuf,
    file: fs::File,
    size: u64,
    max_size: Option<u64>,
    max_files: u32,
    format: LogFormat,
    /// Rotated files are packed.
    compress: bool,
    /// What packs the newest of them.
    packing: Option<OwnedFd>,
    /// As every entry has them: `"attrs":{…},`, or nothing.
    attributes: Vec<u8>,
    partial: [Partial; 2],
    encoded: Vec<u8>,
    /// Already complained about a write that failed.
    failed: bool,
}

/// A line whose end has not come yet.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    /// When the first piece was written, if one was.
    since: Option<jiff::Timestamp>,
}

impl LogWriter {
    /// Opens or makes the log; `None` if none is wanted.
    pub(super) fn open(config: &LogConfig) -> io::Result<Option<LogWriter>> {
        let Some(path) = config.path.clone() else {
            return Ok(None);
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = open(&path)?;
        let size = file.metadata()?.len();
        Ok(Some(LogWriter {
            format: config.format,
            compress: config.compress && config.max_files > 1,
            packing: None,
            attributes: encode_attributes(&config.attributes),
            path,
            file,
            size,
            max_size: config.max_size.filter(|size| *size > 0),
            max_files: config.max_files,
            partial: Default::default(),
            encoded: Vec::new(),
            failed: false,
        }))
    }

    /// Where the next entry will be, unless the log is rotated first.
    pub(super) fn position(&self) -> Option<LogPosition> {
        self.file
            .metadata()
            .ok()
            .map(|metadata| LogPosition::after(&metadata))
    }

    /// What was taken and is not in the log, for the end of the line has not come.
    pub(super) fn unfinished(&self, stream: LogStream) -> &[u8] {
        &self.partial[stream as usize].bytes
    }

    /// Takes output as it comes.
    pub(super) fn write(&mut self, stream: LogStream, mut data: &[u8]) {
        let now = jiff::Timestamp::now();
        let mut partial = std::mem::take(&mut self.partial[stream as usize]);
        while !data.is_empty() {
            let room = MAX_PIECE - partial.bytes.len();
            match data.iter().position(|byte| *byte == b'\n') {
                Some(end) if end < room => {
                    let time = partial.since.take().unwrap_or(now);
                    if partial.bytes.is_empty() {
                        self.entry(stream, time, &data[..end], true);
                    } else {
                        partial.bytes.extend_from_slice(&data[..end]);
                        self.entry(stream, time, &partial.bytes, true);
                        partial.bytes.clear();
                    }
                    data = &data[end + 1..];
                }
                _ => {
                    let taken = room.min(data.len());
                    partial.bytes.extend_from_slice(&data[..taken]);
                    data = &data[taken..];
                    if partial.bytes.len() == MAX_PIECE {
                        let time = *partial.since.get_or_insert(now);
                        self.entry(stream, time, &partial.bytes, false);
                        partial.bytes.clear();
                    }
                }
            }
        }
        if partial.bytes.is_empty() {
            partial.bytes = Vec::new();
        }
        self.partial[stream as usize] = partial;
        self.flush();
    }

    /// Writes what is left of a stream that has ended.
    pub(super) fn end(&mut self, stream: LogStream) {
        let partial = std::mem::take(&mut self.partial[stream as usize]);
        if !partial.bytes.is_empty() {
            let time = partial.since.unwrap_or_else(jiff::Timestamp::now);
            self.entry(stream, time, &partial.bytes, false);
            self.flush();
        }
    }

    fn entry(&mut self, stream: LogStream, time: jiff::Timestamp, line: &[u8], ended: bool) {
        let start = self.encoded.len();
        match self.format {
            LogFormat::Json => encode(&mut self.encoded, stream, time, line, ended, &self.attributes),
            LogFormat::Local => logs::local::encode(&mut self.encoded, stream, time, line, ended),
        }
        let length = (self.encoded.len() - start) as u64;
        if self.max_size.is_some_and(|max| self.size >= max) {
            let entry = self.encoded.split_off(start);
            self.flush();
            if let Err(error) = self.rotate() {
                self.complain("rotate", &error);
            }
            self.encoded = entry;
        }
        self.size += length;
    }

    fn flush(&mut self) {
        if self.encoded.is_empty() {
            return;
        }
        match append(&mut self.file, &self.encoded) {
            Ok(()) => self.failed = false,
            Err(error) => {
                self.size = self.size.saturating_sub(self.encoded.len() as u64);
                self.complain("write", &error);
            }
        }
        self.encoded.clear();
        self.encoded.shrink_to(MAX_PIECE);
    }

    /// A full disk must not stop the container; what cannot be written is lost, and said once.
    fn complain(&mut self, what: &str, error: &io::Error) {
        if !std::mem::replace(&mut self.failed, true) {
            let message = format!("cannot {what} the log: {error}\n");
            let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        // The file being packed is about to be renamed.
        if let Some(packing) = self.packing.take() {
            while let Err(rustix::io::Errno::INTR) =
                rustix::event::poll(&mut [PollFd::new(&packing, PollFlags::IN)], None)
            {}
        }
        for number in (1..self.max_files.max(1)).rev() {
            let (from, to) = (numbered(&self.path, number - 1), numbered(&self.path, number));
            if self.compress {
                // Also when the one before was not packed: the shim may have ended over it.
                remove(&packed(&to))?;
                rename(&packed(&from), &packed(&to))?;
            }
            rename(&from, &to)?;
        }
        if self.max_files <= 1 {
            fs::remove_file(&self.path)?;
        }
        self.file = open(&self.path)?;
        self.size = 0;
        if self.compress {
            let newest = numbered(&self.path, 1);
            let work = || {
                if let Err(error) = pack(&newest) {
                    let message = format!("cannot pack the log: {error}\n");
                    let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
                }
            };
            match process::fork_work(work) {
                Ok(packing) => self.packing = Some(packing),
                // Not in a process of its own, then.
                Err(_) => work(),
            }
        }
        Ok(())
    }
}

/// Appends all of it or nothing: on a disk that is full the first bytes of an entry may still find room, and what comes later
/// would be taken for the rest of it.
fn append(file: &mut fs::File, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    let error = loop {
        match file.write(&bytes[written..]) {
            Ok(0) => break io::ErrorKind::WriteZero.into(),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
        if written == bytes.len() {
            return Ok(());
        }
    };
    if written > 0 {
        let length = file.metadata()?.len();
        file.set_len(length.saturating_sub(written as u64))?;
    }
    Err(error)
}

/// What is not there need not be renamed.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Packs a rotated file and removes it. By the descriptor of its directory, which may be moved away meanwhile.
fn pack(path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let directory = rustix::fs::open(
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let finished = packed(Path::new(name));
    let mut unfinished = finished.clone().into_os_string();
    unfinished.push(".tmp");
    let from = openat(&directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let to = openat(
        &directory,
        &unfinished,
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR | Mode::RGRP,
    )?;
    let written = (|| {
        let mut from = std::fs::File::from(from);
        let identity = logs::Identity::of(&from.metadata()?);
        let encoder = GzBuilder::new().extra(identity.field());
        let mut encoder = encoder.write(std::fs::File::from(to), Compression::default());
        io::copy(&mut from, &mut encoder)?;
        encoder.finish()?;
        renameat(&directory, &unfinished, &directory, &finished)?;
        Ok(())
    })();
    if written.is_err() {
        let _ = unlinkat(&directory, &unfinished, AtFlags::empty());
        return written;
    }
    Ok(unlinkat(&directory, name, AtFlags::empty())?)
}

fn open(path: &std::path::Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    let file = options.open(path)?;
    Ok(fs::File::from_parts(file, path))
}

/// Appends one entry. Escapes as Go's encoder does, HTML characters included; what is not UTF-8 becomes U+FFFD.
fn encode(
    out: &mut Vec<u8>,
    stream: LogStream,
    time: jiff::Timestamp,
    line: &[u8],
    ended: bool,
    attributes: &[u8],
) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in line.utf8_chunks() {
        escape(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    if ended {
        out.extend_from_slice(b"\\n");
    }
    let stream = match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    };
    let _ = write!(out, "\",\"stream\":\"{stream}\",");
    out.extend_from_slice(attributes);
    let _ = writeln!(out, "\"time\":\"{time}\"}}");
}

fn encode_attributes(attributes: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in attributes {
        out.extend_from_slice(if out.is_empty() { b"\"attrs\":{\"" } else { b",\"" });
        escape(&mut out, key);
        out.extend_from_slice(b"\":\"");
        escape(&mut out, value);
        out.push(b'"');
    }
    if !out.is_empty() {
        out.extend_from_slice(b"},");
    }
    out
}

fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let special = matches!(byte, 0..0x20 | b'\\' | b'"' | b'<' | b'>' | b'&');
        // U+2028 and U+2029, which JavaScript takes for line ends: e2 80 a8, e2 80 a9.
        let separator = *byte == 0xe2 && matches!(bytes[at..], [_, 0x80, 0xa8 | 0xa9, ..]);
        if !special && !separator {
            continue;
        }
        if at < start {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ if separator => {
                out.extend_from_slice(b"\\u202");
                out.push(if bytes[at + 2] == 0xa8 { b'8' } else { b'9' });
                start = at + 3;
            }
            byte => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(line: &[u8], ended: bool) -> String {
        let mut out = Vec::new();
        let time: jiff::Timestamp = "2026-01-02T03:04:05.1200Z".parse().unwrap();
        encode(&mut out, LogStream::Stderr, time, line, ended, b"");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn entries_are_dockers_byte_for_byte() {
        let tail = "\",\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.12Z\"}\n";
        assert_eq!(encoded(b"hello", true), format!("{{\"log\":\"hello\\n{tail}"));
        assert_eq!(
            encoded(b"\ta\"b\\c<d>&\x1b[0m\r\xff\xfe \xe2\x80\xa8\xc3\xa9", false),
            format!(
                "{{\"log\":\"\\u0009a\\\"b\\\\c\\u003cd\\u003e\\u0026\\u001b[0m\\r\\ufffd\\ufffd \\u2028\u{e9}{tail}"
            )
        );
        let parsed: serde_json::Value =
            serde_json::from_str(&encoded("\u{2029}x\u{2028}".as_bytes(), true)).unwrap();
        assert_eq!(parsed["log"], "\u{2029}x\u{2028}\n");
    }

    fn lines(path: &std::path::Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["log"]
                    .as_str()
                    .unwrap()
                    .into()
            })
            .collect()
    }

    #[test]
    fn long_and_unfinished_lines_come_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let config = LogConfig {
            path: Some(path.clone()),
            ..LogConfig::default()
        };
        let mut log = LogWriter::open(&config).unwrap().unwrap();
        let long = vec![b'x'; MAX_PIECE + 10];
        for piece in long.chunks(1000) {
            log.write(LogStream::Stdout, piece);
        }
        log.write(LogStream::Stderr, b"between\n");
        log.write(LogStream::Stdout, b"\nnext");
        log.write(
            LogStream::Stdout,
            &[vec![b'y'; MAX_PIECE - 4], b"\n".to_vec()].concat(),
        );
        log.write(LogStream::Stdout, b"\nend");
        log.end(LogStream::Stdout);
        let lines = lines(&path);
        assert_eq!(lines.len(), 7);
        assert_eq!(lines[0].len(), MAX_PIECE);
        assert_eq!(lines[1], "between\n");
        assert_eq!(lines[2], format!("{}\n", "x".repeat(10)));
        assert_eq!(
            lines[3].len(),
            MAX_PIECE,
            "a line of exactly the limit is two pieces"
        );
        assert_eq!(lines[4..], ["\n", "\n", "end"]);
    }

    #[test]
    fn rotation_keeps_every_line_of_the_files_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let config = LogConfig {
            path: Some(path.clone()),
            max_size: Some(500),
            max_files: 3,
            ..LogConfig::default()
        };
        let mut log = LogWriter::open(&config).unwrap().unwrap();
        for number in 0..50 {
            log.write(LogStream::Stdout, format!("line {number}\n").as_bytes());
        }
        let mut all = lines(&dir.path().join("log.2"));
        all.extend(lines(&dir.path().join("log.1")));
        all.extend(lines(&path));
        assert!(!dir.path().join("log.3").exists());
        let first: usize = all[0].trim().strip_prefix("line ").unwrap().parse().unwrap();
        let expected: Vec<_> = (first..50).map(|number| format!("line {number}\n")).collect();
        assert_eq!(all, expected);
        assert!(first > 20 && fs::metadata(dir.path().join("log.1")).unwrap().len() < 700);
    }

    #[test]
    fn attributes_stand_before_the_time() {
        let attributes = BTreeMap::from([
            ("tag".to_owned(), "a\"<b>".to_owned()),
            ("com.example".to_owned(), "1".to_owned()),
        ]);
        let mut out = Vec::new();
        let time: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        encode(
            &mut out,
            LogStream::Stdout,
            time,
            b"x",
            true,
            &encode_attributes(&attributes),
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":{\"com.example\":\"1\",\"tag\":\"a\\\"\\u003cb\\u003e\"},\
             \"time\":\"2026-01-02T03:04:05Z\"}\n"
        );
    }

    fn numbers(query: logs::LogQuery, path: &Path) -> Vec<u32> {
        logs::LogReader::open(path, query, Box::new(|| true))
            .unwrap()
            .map(|entry| {
                let line = String::from_utf8(entry.unwrap().line).unwrap();
                line.trim().strip_prefix("line ").unwrap().parse().unwrap()
            })
            .collect()
    }

    #[test]
    fn packed_files_are_read_like_others_in_both_forms() {
        for format in [LogFormat::Json, LogFormat::Local] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("logs/log");
            let config = LogConfig {
                path: Some(path.clone()),
                format,
                max_size: Some(2000),
                max_files: 4,
                compress: true,
                ..LogConfig::default()
            };
            let query = |tail| logs::LogQuery {
                format,
                stdout: true,
                stderr: true,
                tail,
                ..Default::default()
            };
            let mut log = LogWriter::open(&config).unwrap().unwrap();
            for number in 0..500 {
                let stream = if number % 3 == 0 {
                    LogStream::Stderr
                } else {
                    LogStream::Stdout
                };
                log.write(stream, format!("line {number}\n").as_bytes());
            }
            for number in 1..4 {
                assert!(!numbered(&path, number).exists());
                assert!(packed(&numbered(&path, number)).exists(), "{format:?} {number}");
            }
            assert!(!packed(&numbered(&path, 4)).exists());
            let all = numbers(query(None), &path);
            assert!(all.len() > 60, "{} lines", all.len());
            let first = 500 - all.len() as u32;
            assert_eq!(all, (first..500).collect::<Vec<_>>());
            for tail in [0, 1, 7, all.len() as u64 - 1, all.len() as u64, 10_000] {
                let from = 500 - tail.min(all.len() as u64) as u32;
                assert_eq!(
                    numbers(query(Some(tail)), &path),
                    (from..500).collect::<Vec<_>>(),
                    "{format:?} {tail}"
                );
            }
            // A record that a power cut left unfinished spoils nothing before it.
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(&[0, 0, 0, 40, 1, 2, 3]).unwrap();
            if format == LogFormat::Local {
                assert_eq!(numbers(query(Some(3)), &path), [497, 498, 499]);
                assert_eq!(numbers(query(None), &path).len(), all.len());
            }
        }
    }
}
