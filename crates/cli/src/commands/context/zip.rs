//! As much of zip (APPNOTE 6.3) as an archive of small files needs: stored or deflated, no encryption, no zip64. Offsets and
//! sizes come from a stranger and are held against the bytes there are.

use std::io::{self, Read};

use flate2::Crc;
use flate2::read::DeflateDecoder;

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const DIRECTORY: &[u8] = b"PK\x01\x02";
const DIRECTORY_LENGTH: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;
/// Contexts have a handful.
const MAX_ENTRIES: usize = 1000;

/// Why bytes are no such archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ZipError {
    #[error("the zip is cut or damaged")]
    Damaged,
    #[error("the zip is encrypted or packed in an unknown way")]
    Unsupported,
    #[error("the zip has more than {MAX_ENTRIES} entries")]
    TooMany,
    #[error("a file in the zip is larger than {0} bytes")]
    TooLarge(u64),
}

/// Whether these are the first bytes of a zip.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL) || bytes.starts_with(END)
}

/// The regular files of an archive by name. None may be larger than `limit` bytes.
pub(super) fn files(archive: &[u8], limit: u64) -> Result<Vec<(String, Vec<u8>)>, ZipError> {
    let start = archive.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let tail = &archive[start..];
    let at = tail
        .windows(END.len())
        .rposition(|bytes| bytes == END)
        .ok_or(ZipError::Damaged)?;
    let end = Fields(record(tail, at, END_LENGTH)?);
    let count = usize::from(end.u16(10));
    if count > MAX_ENTRIES {
        return Err(ZipError::TooMany);
    }
    let mut files = Vec::new();
    let mut at = end.u32(16) as usize;
    for _ in 0..count {
        let header = record(archive, at, DIRECTORY_LENGTH)?;
        if !header.starts_with(DIRECTORY) {
            return Err(ZipError::Damaged);
        }
        let header = Fields(header);
        let name_length = usize::from(header.u16(28));
        let name = record(archive, at + DIRECTORY_LENGTH, name_length)?;
        at += DIRECTORY_LENGTH + name_length + usize::from(header.u16(30)) + usize::from(header.u16(32));
        let name = String::from_utf8_lossy(name).into_owned();
        if !name.ends_with('/') {
            files.push((name, contents(archive, &header, limit)?));
        }
    }
    Ok(files)
}

/// What the local entry of a record of the directory holds.
fn contents(archive: &[u8], header: &Fields<'_>, limit: u64) -> Result<Vec<u8>, ZipError> {
    const ENCRYPTED: u16 = 1;
    let (flags, method) = (header.u16(8), header.u16(10));
    let (crc, packed, size) = (header.u32(16), header.u32(20) as usize, header.u32(24));
    if flags & ENCRYPTED != 0 {
        return Err(ZipError::Unsupported);
    }
    if u64::from(size) > limit {
        return Err(ZipError::TooLarge(limit));
    }
    let at = header.u32(42) as usize;
    let local = record(archive, at, LOCAL_LENGTH)?;
    if !local.starts_with(LOCAL) {
        return Err(ZipError::Damaged);
    }
    let local = Fields(local);
    let skipped = LOCAL_LENGTH + usize::from(local.u16(26)) + usize::from(local.u16(28));
    let data = record(archive, at.saturating_add(skipped), packed)?;
    let mut bytes = Vec::new();
    let read = |reader: &mut dyn Read, bytes: &mut Vec<u8>| -> io::Result<usize> {
        reader.take(u64::from(size) + 1).read_to_end(bytes)
    };
    match method {
        0 => read(&mut &*data, &mut bytes),
        8 => read(&mut DeflateDecoder::new(data), &mut bytes),
        _ => return Err(ZipError::Unsupported),
    }
    .map_err(|_| ZipError::Damaged)?;
    let mut sum = Crc::new();
    sum.update(&bytes);
    if bytes.len() as u64 != u64::from(size) || sum.sum() != crc {
        return Err(ZipError::Damaged);
    }
    Ok(bytes)
}

fn record(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], ZipError> {
    let end = at.checked_add(length).ok_or(ZipError::Damaged)?;
    bytes.get(at..end).ok_or(ZipError::Damaged)
}

/// Little-endian numbers of a record that is long enough for them.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | (u32::from(self.u16(at + 2)) << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `meta.json` deflated, `tls/docker/ca.pem` stored, and a directory; made by Python's zipfile.
    const SAMPLE: &[u8] = include_bytes!("../../../tests/data/context.zip");

    #[test]
    fn stored_and_deflated_files_are_read() {
        assert!(begins(SAMPLE));
        let files = files(SAMPLE, 1 << 20).unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["meta.json", "tls/docker/ca.pem"]);
        assert!(files[0].1.starts_with(b"{\"Name\":\"box\","));
        assert_eq!(files[1].1, b"ca");
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(files(SAMPLE, 10), Err(ZipError::TooLarge(10)));
        assert_eq!(files(b"", 10), Err(ZipError::Damaged));
        for length in 0..SAMPLE.len() {
            assert!(files(&SAMPLE[..length], 1 << 20).is_err(), "cut at {length}");
        }
    }

    proptest::proptest! {
        /// Whatever is changed: an answer or an error, and never other contents.
        #[test]
        fn damage_is_noticed(at in 0..SAMPLE.len(), to in 0_u8..) {
            let mut bytes = SAMPLE.to_vec();
            bytes[at] = to;
            if let Ok(found) = files(&bytes, 1 << 20) {
                for (name, contents) in &found {
                    if name == "tls/docker/ca.pem" {
                        proptest::prop_assert_eq!(contents, b"ca");
                    }
                }
            }
        }
    }
}
