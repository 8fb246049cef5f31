//! Extended headers of POSIX archives: `length key=value\n` records.

use super::sparse::Records;

/// What the records of one extended header say, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) sparse: Records,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why a record is refused.
pub(super) type Problem = &'static str;

const XATTR: &[u8] = b"SCHILY.xattr.";
/// The most attributes of one entry; Linux allows 64 KiB of names in all.
const MAX_XATTRS: usize = 1024;
const MAX_XATTR_NAME: usize = 255;
const MAX_XATTR_VALUE: usize = 64 << 10;

impl Pax {
    pub(super) fn clear(&mut self) {
        self.path.clear();
        self.link.clear();
        self.xattrs.clear();
        self.sparse.clear();
        (self.size, self.uid, self.gid, self.mtime) = (None, None, None, None);
    }

    /// Takes in all records of an extended header, replacing what an earlier one said.
    pub(super) fn read(&mut self, mut data: &[u8]) -> Result<(), Problem> {
        self.clear();
        while !data.is_empty() {
            let (key, value, rest) = record(data)?;
            data = rest;
            self.set(key, value)?;
        }
        Ok(())
    }

    /// An empty value takes back what was said before.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        match key {
            b"path" => replace(&mut self.path, value)?,
            b"linkpath" => replace(&mut self.link, value)?,
            b"size" => self.size = given(value).map(unsigned).transpose()?,
            b"uid" => self.uid = given(value).map(id).transpose()?,
            b"gid" => self.gid = given(value).map(id).transpose()?,
            b"mtime" => self.mtime = given(value).map(time).transpose()?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.set_xattr(name, value)?;
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(key, value)?;
                }
            }
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), Problem> {
        add_xattr(&mut self.xattrs, name, value)
    }
}

/// Adds an attribute, or gives it another value; overlay's own are left out.
pub(super) fn add_xattr(
    xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>,
    name: &[u8],
    value: &[u8],
) -> Result<(), Problem> {
    if name.is_empty() || name.len() > MAX_XATTR_NAME || name.contains(&0) {
        return Err("invalid name of an extended attribute");
    }
    if value.len() > MAX_XATTR_VALUE {
        return Err("an extended attribute is larger than 64 KiB");
    }
    if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
        return Ok(());
    }
    xattrs.retain(|(known, _)| known != name);
    if xattrs.len() == MAX_XATTRS {
        return Err("more than 1024 extended attributes");
    }
    xattrs.push((name.to_vec(), value.to_vec()));
    Ok(())
}

/// A record's key and value, and what follows it.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits off one record.
fn record(data: &[u8]) -> Result<Record<'_>, Problem> {
    const MALFORMED: Problem = "malformed record";
    let space = data.iter().take(21).position(|&b| b == b' ').ok_or(MALFORMED)?;
    let len = usize::try_from(unsigned(&data[..space])?).map_err(|_| MALFORMED)?;
    if len <= space + 1 || len > data.len() {
        return Err("record length is wrong");
    }
    let (record, rest) = data.split_at(len);
    let record = record[space + 1..]
        .strip_suffix(b"\n")
        .ok_or("record does not end with a newline")?;
    let equals = record.iter().position(|&b| b == b'=').ok_or(MALFORMED)?;
    if equals == 0 {
        return Err("record without a key");
    }
    Ok((&record[..equals], &record[equals + 1..], rest))
}

pub(super) fn replace(field: &mut Vec<u8>, value: &[u8]) -> Result<(), Problem> {
    if value.contains(&0) {
        return Err("a name contains a zero byte");
    }
    field.clear();
    field.extend_from_slice(value);
    Ok(())
}

fn given(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}

pub(super) fn unsigned(text: &[u8]) -> Result<u64, Problem> {
    if text.is_empty() {
        return Err("a number is missing");
    }
    text.iter()
        .try_fold(0u64, |value, &digit| {
            let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
            value.checked_mul(10)?.checked_add(u64::from(digit))
        })
        .ok_or("not a number")
}

fn id(text: &[u8]) -> Result<u32, Problem> {
    u32::try_from(unsigned(text)?)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or("user or group is out of range")
}

/// `[-]seconds[.fraction]` as whole seconds, rounded down, and nanoseconds on top.
fn time(text: &[u8]) -> Result<(i64, u32), Problem> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|&b| b == b'.');
    let (whole, fraction) = dot.map_or((text, &b""[..]), |dot| (&text[..dot], &text[dot + 1..]));
    let seconds = i64::try_from(unsigned(whole)?).map_err(|_| "time is out of range")?;
    let mut nanos = 0u32;
    for i in 0..9 {
        nanos = nanos * 10
            + fraction
                .get(i)
                .map_or(0, |&b| u32::from(b.wrapping_sub(b'0')) % 10);
    }
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err("not a time");
    }
    Ok(match (negative, nanos) {
        (false, nanos) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, nanos) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records() {
        let mut pax = Pax::default();
        pax.read(b"11 path=abc\n30 mtime=1350244992.023960108\n9 uid=7\n27 SCHILY.xattr.user.k=a=\nb\n")
            .unwrap_err();
        pax.read(b"12 path=abc\n30 mtime=1350244992.023960108\n8 uid=7\n28 SCHILY.xattr.user.k=a=\nb\n")
            .unwrap();
        assert_eq!(pax.path, b"abc");
        assert_eq!(pax.mtime, Some((1_350_244_992, 23_960_108)));
        assert_eq!(pax.uid, Some(7));
        assert_eq!(pax.xattrs, vec![(b"user.k".to_vec(), b"a=\nb".to_vec())]);
    }

    #[test]
    fn later_and_empty_records_win() {
        let mut pax = Pax::default();
        pax.read(b"10 path=a\n10 path=b\n9 uid=12\n7 uid=\n").unwrap();
        assert_eq!((pax.path.as_slice(), pax.uid), (&b"b"[..], None));
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", (0, 0)),
            ("1.5", (1, 500_000_000)),
            ("-1", (-1, 0)),
            ("-1.25", (-2, 750_000_000)),
            ("-0.000000001", (-1, 999_999_999)),
            ("1.1234567899999", (1, 123_456_789)),
            ("3.", (3, 0)),
        ] {
            assert_eq!(time(text.as_bytes()), Ok(expected), "{text}");
        }
        for text in ["", "-", ".5", "1.x", "1e3", "99999999999999999999"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn hostile_records() {
        for data in [
            &b"0 path=a\n"[..],
            b"99 path=a\n",
            b"10 path=ab\n",
            b"99999999999999999999999 path=a\n",
            b"path=a\n",
            b"6 path\n",
            b"5 =a\n",
            b"12 size=-12\n",
            b"11 path=a\0b\n",
            b"16 uid=4294967295\n",
        ] {
            assert!(
                Pax::default().read(data).is_err(),
                "{}",
                String::from_utf8_lossy(data)
            );
        }
    }

    #[test]
    fn overlay_attributes_are_dropped() {
        let mut pax = Pax::default();
        pax.read(b"39 SCHILY.xattr.trusted.overlay.opaque=y\n".as_slice())
            .unwrap_err();
        pax.read(b"41 SCHILY.xattr.trusted.overlay.opaque=y\n").unwrap();
        assert!(pax.xattrs.is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pax::default().read(&data);
        }
    }
}
