//! The two forms of a log. The json-file form is one object per line; the local form is Docker's too: the length of a protocol
//! buffer in four bytes, most significant first, the buffer, and the length once more, for reading backwards.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use fs_err as fs;

use super::{BLOCK, LogEntry, LogStream, MAX_ENTRY};

/// How a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LogFormat {
    /// `{"log":"text\n","stream":"stdout","time":"…"}`, one per line.
    #[default]
    Json,
    /// Smaller and quicker to read; only for programs.
    Local,
}

#[derive(serde::Deserialize)]
struct Line {
    log: String,
    stream: LogStream,
    time: jiff::Timestamp,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl LogFormat {
    /// The first complete record of `bytes` and how many bytes it takes; `None` if there is none yet.
    pub(super) fn split(self, bytes: &[u8]) -> Option<(Range<usize>, usize)> {
        match self {
            LogFormat::Json => {
                let length = bytes.iter().position(|byte| *byte == b'\n')?;
                Some((0..length, length + 1))
            }
            LogFormat::Local => {
                let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
                if length > MAX_ENTRY {
                    // Not ours: nothing behind it can be read either.
                    return Some((0..0, bytes.len()));
                }
                (bytes.len() >= length + 8).then_some((4..4 + length, length + 8))
            }
        }
    }

    pub(super) fn decode(self, record: &[u8]) -> Option<LogEntry> {
        match self {
            LogFormat::Json => {
                let line: Line = serde_json::from_slice(record).ok()?;
                Some(LogEntry {
                    stream: line.stream,
                    time: line.time,
                    line: line.log.into_bytes(),
                    attributes: line.attrs,
                })
            }
            LogFormat::Local => local::decode(record),
        }
    }

    /// Where the last `wanted` records of a file begin, or `None` if it has fewer; then `wanted` becomes what is missing.
    pub(super) fn start_of_last(
        self,
        file: &mut fs::File,
        length: u64,
        wanted: &mut u64,
    ) -> io::Result<Option<u64>> {
        if *wanted == 0 {
            return Ok(Some(length));
        }
        match self {
            LogFormat::Json => start_of_last_lines(file, length, wanted),
            LogFormat::Local => start_of_last_records(file, length, wanted),
        }
    }
}

fn start_of_last_lines(file: &mut fs::File, length: u64, wanted: &mut u64) -> io::Result<Option<u64>> {
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

fn start_of_last_records(file: &mut fs::File, length: u64, wanted: &mut u64) -> io::Result<Option<u64>> {
    let mut end = length;
    let mut size = [0; 4];
    while end > 0 && *wanted > 0 {
        let Some(at) = end.checked_sub(4) else { break };
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut size)?;
        let start = end.checked_sub(u64::from(u32::from_be_bytes(size)) + 8);
        let start = start.filter(|_| u32::from_be_bytes(size) as usize <= MAX_ENTRY);
        let Some(start) = start else {
            // The last record is unfinished, or was when the machine went down: count from the front.
            return start_counted(file, length, wanted);
        };
        end = start;
        *wanted -= 1;
    }
    Ok((*wanted == 0).then_some(end))
}

fn start_counted(file: &mut fs::File, length: u64, wanted: &mut u64) -> io::Result<Option<u64>> {
    let mut starts = std::collections::VecDeque::new();
    let mut at = 0;
    let mut size = [0; 4];
    while at + 8 <= length {
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut size)?;
        let next = at + u64::from(u32::from_be_bytes(size)) + 8;
        if next > length {
            break;
        }
        starts.push_back(at);
        if starts.len() as u64 > *wanted {
            starts.pop_front();
        }
        at = next;
    }
    if starts.len() as u64 == *wanted {
        return Ok(starts.front().copied());
    }
    *wanted -= starts.len() as u64;
    Ok(None)
}

/// The buffer of the local form: `source` 1, `time_nano` 2, `line` 3 (without its newline), `partial` 4.
pub(crate) mod local {
    use super::{LogEntry, LogStream};

    const SOURCE: u64 = 1 << 3 | 2;
    const TIME: u64 = 2 << 3;
    const LINE: u64 = 3 << 3 | 2;
    const PARTIAL: u64 = 4 << 3;

    /// Appends one record.
    pub(crate) fn encode(
        out: &mut Vec<u8>,
        stream: LogStream,
        time: jiff::Timestamp,
        line: &[u8],
        ended: bool,
    ) {
        let frame = out.len();
        out.extend_from_slice(&[0; 4]);
        let source = match stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        varint(out, SOURCE);
        varint(out, source.len() as u64);
        out.extend_from_slice(source.as_bytes());
        varint(out, TIME);
        varint(
            out,
            i64::try_from(time.as_nanosecond()).unwrap_or(0).cast_unsigned(),
        );
        varint(out, LINE);
        varint(out, line.len() as u64);
        out.extend_from_slice(line);
        if !ended {
            varint(out, PARTIAL);
            varint(out, 1);
        }
        let size = ((out.len() - frame - 4) as u32).to_be_bytes();
        out[frame..frame + 4].copy_from_slice(&size);
        out.extend_from_slice(&size);
    }

    /// `None`: it is none of ours.
    pub(super) fn decode(mut record: &[u8]) -> Option<LogEntry> {
        let (mut stream, mut time, mut line, mut partial) = (None, None, &[][..], false);
        while !record.is_empty() {
            let field = take_varint(&mut record)?;
            // Every field is a number or bytes; those not known are passed over.
            match field & 7 {
                0 => {
                    let value = take_varint(&mut record)?;
                    match field {
                        TIME => time = jiff::Timestamp::from_nanosecond(value.cast_signed().into()).ok(),
                        PARTIAL => partial = value != 0,
                        _ => {}
                    }
                }
                2 => {
                    let length = usize::try_from(take_varint(&mut record)?).ok()?;
                    let (value, rest) = record.split_at_checked(length)?;
                    record = rest;
                    match (field, value) {
                        (SOURCE, b"stdout") => stream = Some(LogStream::Stdout),
                        (SOURCE, b"stderr") => stream = Some(LogStream::Stderr),
                        (LINE, value) => line = value,
                        _ => {}
                    }
                }
                _ => return None,
            }
        }
        let mut line = line.to_vec();
        if !partial {
            line.push(b'\n');
        }
        Some(LogEntry {
            stream: stream?,
            time: time?,
            line,
            attributes: Default::default(),
        })
    }

    fn varint(out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_form_is_dockers_byte_for_byte() {
        let mut out = Vec::new();
        let time: jiff::Timestamp = "1970-01-01T00:00:00.0000003Z".parse().unwrap();
        local::encode(&mut out, LogStream::Stdout, time, b"hi", true);
        let record = [
            0x0a, 6, b's', b't', b'd', b'o', b'u', b't', 0x10, 0xac, 0x02, 0x1a, 2, b'h', b'i',
        ];
        assert_eq!(out, [&[0, 0, 0, 15], &record[..], &[0, 0, 0, 15]].concat());
        let entry = LogFormat::Local.decode(&record).unwrap();
        assert_eq!(
            (entry.stream, entry.time, entry.line),
            (LogStream::Stdout, time, b"hi\n".to_vec())
        );
    }

    #[test]
    fn pieces_have_no_newline_and_what_is_not_known_is_passed_over() {
        let mut out = Vec::new();
        let time = jiff::Timestamp::now();
        local::encode(&mut out, LogStream::Stderr, time, &[0xff, b'\n'], false);
        let (record, length) = LogFormat::Local.split(&out).unwrap();
        assert_eq!(length, out.len());
        let mut record = out[record].to_vec();
        record.extend_from_slice(&[0x2a, 2, 0x08, 1]);
        let entry = LogFormat::Local.decode(&record).unwrap();
        assert_eq!((entry.time, entry.line), (time, vec![0xff, b'\n']));
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for format in [LogFormat::Json, LogFormat::Local] {
                if let Some((record, length)) = format.split(&bytes) {
                    proptest::prop_assert!(length <= bytes.len() && length > 0);
                    format.decode(&bytes[record]);
                }
                format.decode(&bytes);
            }
        }
    }
}
