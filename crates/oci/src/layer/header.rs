//! The 512-byte header block: fields and numbers.

pub(super) const BLOCK: usize = 512;

/// One header block.
pub(super) struct Header<'a>(pub(super) &'a [u8; BLOCK]);

/// Where fields lie: offset and length.
pub(super) type Field = (usize, usize);
pub(super) const NAME: Field = (0, 100);
pub(super) const MODE: Field = (100, 8);
pub(super) const UID: Field = (108, 8);
pub(super) const GID: Field = (116, 8);
pub(super) const SIZE: Field = (124, 12);
pub(super) const MTIME: Field = (136, 12);
pub(super) const CHECKSUM: Field = (148, 8);
pub(super) const FLAG: usize = 156;
pub(super) const LINK: Field = (157, 100);
pub(super) const MAGIC: Field = (257, 8);
pub(super) const MAJOR: Field = (329, 8);
pub(super) const MINOR: Field = (337, 8);
pub(super) const PREFIX: Field = (345, 155);
const STAR_PREFIX: Field = (345, 131);
const STAR_TRAILER: Field = (508, 4);

pub(super) const USTAR_MAGIC: &[u8; 8] = b"ustar\x0000";
const GNU_MAGIC: &[u8; 8] = b"ustar  \0";

impl<'a> Header<'a> {
    fn field(&self, (at, len): Field) -> &'a [u8] {
        &self.0[at..at + len]
    }

    /// Compares the sum of all bytes with the one noted, which old writers took of signed bytes.
    pub(super) fn checksum_matches(&self) -> bool {
        let Some(noted) = octal(self.field(CHECKSUM)) else {
            return false;
        };
        let (at, len) = CHECKSUM;
        let unsigned = |bytes: &[u8]| bytes.iter().map(|&b| u32::from(b)).sum::<u32>();
        let spaces = 32 * len as u32;
        let sum = unsigned(&self.0[..at]) + unsigned(&self.0[at + len..]) + spaces;
        if u64::from(sum) == noted {
            return true;
        }
        let signed = |bytes: &[u8]| bytes.iter().map(|&b| i64::from(b as i8)).sum::<i64>();
        let sum = signed(&self.0[..at]) + signed(&self.0[at + len..]) + i64::from(spaces);
        i64::try_from(noted).is_ok_and(|noted| noted == sum)
    }

    pub(super) fn flag(&self) -> u8 {
        self.0[FLAG]
    }

    /// A text field, up to its first zero byte.
    pub(super) fn text(&self, field: Field) -> &'a [u8] {
        let bytes = self.field(field);
        &bytes[..bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len())]
    }

    /// Appends the name, with the prefix that POSIX and star archives keep apart.
    pub(super) fn name_into(&self, out: &mut Vec<u8>) {
        out.clear();
        let magic = self.field(MAGIC);
        if magic.starts_with(b"ustar\0") {
            let star = self.field(STAR_TRAILER) == b"tar\0";
            let prefix = self.text(if star { STAR_PREFIX } else { PREFIX });
            if !prefix.is_empty() {
                out.extend_from_slice(prefix);
                out.push(b'/');
            }
        }
        out.extend_from_slice(self.text(NAME));
    }

    /// Whether it is of an archive as GNU tar wrote them before there was POSIX's.
    pub(super) fn is_gnu(&self) -> bool {
        self.field(MAGIC) == GNU_MAGIC
    }

    /// Whether the fields behind the magic (device numbers) mean anything.
    pub(super) fn has_extended_fields(&self) -> bool {
        let magic = self.field(MAGIC);
        magic.starts_with(b"ustar\0") || magic == GNU_MAGIC
    }

    /// A number field: octal digits, or base 256 where the first bit is set.
    pub(super) fn number(&self, field: Field) -> Option<i64> {
        let bytes = self.field(field);
        if bytes[0] & 0x80 != 0 {
            base256(bytes)
        } else {
            octal(bytes).and_then(|n| i64::try_from(n).ok())
        }
    }
}

/// Octal digits between spaces and zero bytes; nothing at all is 0.
fn octal(bytes: &[u8]) -> Option<u64> {
    let blank = |b: &u8| matches!(b, b' ' | 0);
    let Some(start) = bytes.iter().position(|b| !blank(b)) else {
        return Some(0);
    };
    let digits = &bytes[start..];
    let digits = &digits[..digits.iter().position(blank).unwrap_or(digits.len())];
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 8)?;
        value.checked_mul(8)?.checked_add(u64::from(digit))
    })
}

/// Two's complement, most significant byte first, whose first bit only marks the form.
fn base256(bytes: &[u8]) -> Option<i64> {
    let negative = bytes[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (i, &byte) in bytes.iter().enumerate() {
        let byte = match (i, negative) {
            (0, false) => byte & 0x7f,
            (0, true) => byte | 0x80,
            _ => byte,
        };
        value = (value << 8) | i128::from(byte);
        if i64::try_from(value).is_err() {
            return None;
        }
    }
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields() {
        assert_eq!(octal(b"0000644\0"), Some(0o644));
        assert_eq!(octal(b"   644 \0"), Some(0o644));
        assert_eq!(octal(b"77777777777\0"), Some(0o77777777777));
        assert_eq!(octal(b"777777777777"), Some(0o777777777777));
        assert_eq!(octal(&[0; 8]), Some(0));
        assert_eq!(octal(b"0000648\0"), None);
        assert_eq!(octal(b"-000644\0"), None);
    }

    #[test]
    fn base256_fields() {
        assert_eq!(base256(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(base256(&[0xff; 12]), Some(-1));
        assert_eq!(
            base256(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]),
            Some(-256)
        );
        assert_eq!(
            base256(&[
                0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
            ]),
            None
        );
        assert_eq!(
            base256(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Some(0x3fff_ffff_ffff_ffff)
        );
    }
}
