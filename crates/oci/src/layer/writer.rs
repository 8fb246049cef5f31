//! The archive writer.

use std::io::{self, Read, Write};

use super::header::{self, BLOCK, Field, USTAR_MAGIC};
use super::{Entry, Kind, LayerError};

/// Appends the header blocks of `entry` to `out`: ustar, preceded by a pax header only where ustar cannot say it (long
/// names, large numbers, fractions of a second, extended attributes). Equal entries give equal bytes. [`Entry::class`] is
/// not looked at: a whiteout is a file named as one. Directories get a trailing slash.
pub fn encode_header(entry: &Entry, out: &mut Vec<u8>) {
    let mut name = entry.path.clone();
    if name.is_empty() {
        name.push(b'.');
    }
    if entry.kind == Kind::Dir {
        name.push(b'/');
    }
    let size = if entry.kind == Kind::File { entry.size } else { 0 };
    let split = split_name(&name);

    let mut pax = Vec::new();
    if split.is_none() {
        record(&mut pax, b"path", &name);
    }
    if entry.target.len() > header::LINK.1 {
        record(&mut pax, b"linkpath", &entry.target);
    }
    if !fits(size, header::SIZE) {
        record(&mut pax, b"size", size.to_string().as_bytes());
    }
    for (key, id, field) in [
        (&b"uid"[..], entry.uid, header::UID),
        (b"gid", entry.gid, header::GID),
    ] {
        if !fits(id.into(), field) {
            record(&mut pax, key, id.to_string().as_bytes());
        }
    }
    let seconds = u64::try_from(entry.mtime)
        .ok()
        .filter(|seconds| fits(*seconds, header::MTIME));
    if seconds.is_none() || entry.mtime_nanos != 0 {
        record(
            &mut pax,
            b"mtime",
            time(entry.mtime, entry.mtime_nanos).as_bytes(),
        );
    }
    let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
    xattrs.sort();
    for (name, value) in xattrs {
        record(&mut pax, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }

    if !pax.is_empty() {
        let mut block = Block::new(b'x');
        block.text(header::NAME, b"PaxHeaders.0/entry");
        block.number(header::MODE, 0o644);
        block.number(header::SIZE, pax.len() as u64);
        block.finish(out);
        out.extend_from_slice(&pax);
        out.extend_from_slice(padding(pax.len() as u64));
    }

    let (flag, major, minor) = match entry.kind {
        Kind::File => (b'0', 0, 0),
        Kind::Hardlink => (b'1', 0, 0),
        Kind::Symlink => (b'2', 0, 0),
        Kind::Char { major, minor } => (b'3', major, minor),
        Kind::Block { major, minor } => (b'4', major, minor),
        Kind::Dir => (b'5', 0, 0),
        Kind::Fifo => (b'6', 0, 0),
    };
    let mut block = Block::new(flag);
    let (prefix, name) = split.unwrap_or_else(|| (b"", &name[..header::NAME.1]));
    block.text(header::NAME, name);
    block.text(header::PREFIX, prefix);
    block.text(
        header::LINK,
        &entry.target[..entry.target.len().min(header::LINK.1)],
    );
    block.number(header::MODE, u64::from(entry.mode & 0o7777));
    block.number(header::UID, entry.uid.into());
    block.number(header::GID, entry.gid.into());
    block.number(header::SIZE, size);
    block.number(header::MTIME, seconds.unwrap_or(0));
    block.number(header::MAJOR, major.into());
    block.number(header::MINOR, minor.into());
    block.finish(out);
}

/// The zeros that follow a payload of `size` bytes.
pub fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    const SIZE: u64 = BLOCK as u64;
    &ZEROS[..(size.wrapping_neg() % SIZE) as usize]
}

/// Writes entries one after another, as the caller ordered them.
pub struct TarWriter<W: Write> {
    output: W,
    header: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    pub fn new(output: W) -> Self {
        Self {
            output,
            header: Vec::new(),
        }
    }

    /// Appends `entry` with exactly [`Entry::size`] bytes of `payload` (files only; others ignore it). A payload of
    /// another length is an error, and the archive is then not to be used.
    pub fn entry(&mut self, entry: &Entry, payload: &mut dyn Read) -> Result<(), LayerError> {
        self.header.clear();
        encode_header(entry, &mut self.header);
        self.output.write_all(&self.header).map_err(LayerError::Write)?;
        if entry.kind != Kind::File {
            return Ok(());
        }
        let actual = io::copy(&mut payload.take(entry.size), &mut self.output).map_err(LayerError::Write)?;
        if actual != entry.size {
            let path = LayerError::show(&entry.path);
            return Err(LayerError::Length {
                path,
                announced: entry.size,
                actual,
            });
        }
        self.output
            .write_all(padding(entry.size))
            .map_err(LayerError::Write)
    }

    /// Writes the end-of-archive marker (two zero blocks) and gives the writer back.
    pub fn finish(mut self) -> Result<W, LayerError> {
        self.output
            .write_all(&[0; 2 * BLOCK])
            .map_err(LayerError::Write)?;
        Ok(self.output)
    }
}

/// Divides a name into prefix and name so that both fit, at a slash that neither holds.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= header::NAME.1 {
        return Some((b"", name));
    }
    let earliest = name.len() - header::NAME.1 - 1;
    let slash = (earliest..=header::PREFIX.1.min(name.len() - 2)).find(|&at| name[at] == b'/')?;
    (slash > 0).then(|| (&name[..slash], &name[slash + 1..]))
}

/// Whether a number can be written as octal digits with a zero byte behind them.
fn fits(number: u64, (_, len): Field) -> bool {
    number < 1 << (3 * (len - 1))
}

fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + decimal_digits(len) {
        len = rest + decimal_digits(len);
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

fn time(seconds: i64, nanos: u32) -> String {
    let (sign, seconds, nanos) = match (seconds, nanos) {
        (s, n) if s >= 0 => ("", s.unsigned_abs(), n),
        (s, 0) => ("-", s.unsigned_abs(), 0),
        (s, n) => ("-", (s + 1).unsigned_abs(), 1_000_000_000 - n),
    };
    if nanos == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{nanos:09}")
        .trim_end_matches('0')
        .to_owned()
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(flag: u8) -> Self {
        let mut block = Self([0; BLOCK]);
        block.0[header::FLAG] = flag;
        block.text(header::MAGIC, USTAR_MAGIC);
        for field in [
            header::MODE,
            header::UID,
            header::GID,
            header::SIZE,
            header::MTIME,
            header::MAJOR,
            header::MINOR,
        ] {
            block.number(field, 0);
        }
        block
    }

    fn text(&mut self, (at, _): Field, text: &[u8]) {
        self.0[at..at + text.len()].copy_from_slice(text);
    }

    /// Octal digits and a zero byte; 0 for what does not fit, which a pax record then says.
    fn number(&mut self, field: Field, number: u64) {
        let (at, len) = field;
        let mut number = if fits(number, field) { number } else { 0 };
        for i in (at..at + len - 1).rev() {
            self.0[i] = b'0' + (number & 7) as u8;
            number >>= 3;
        }
        self.0[at + len - 1] = 0;
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        let (at, len) = header::CHECKSUM;
        self.0[at..at + len].fill(b' ');
        let sum: u64 = self.0.iter().map(|&b| u64::from(b)).sum();
        self.number((at, len - 1), sum);
        out.extend_from_slice(&self.0);
    }
}
