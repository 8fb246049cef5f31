//! Sparse files: which pieces of a file an archive stores, the rest being zeros.
//!
//! GNU tar has four forms of saying it ("Storing Sparse Files" in its manual): a header of type `S` with pairs of numbers in it
//! and in blocks behind it; and in extended headers of ordinary files the pairs as records of their own (0.0), as one list (0.1),
//! or before the contents as lines of text (1.0).

use super::header::{BLOCK, Field, Header};
use super::pax::{Problem, replace, unsigned};

/// A piece of a sparse file that the archive stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored {
    /// Where it is in the file.
    pub offset: u64,
    /// At least 1.
    pub len: u64,
}

/// What the `GNU.sparse.` records of an extended header say.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// There are some.
    pub(super) any: bool,
    pub(super) name: Vec<u8>,
    /// Size of the whole file.
    pub(super) size: Option<u64>,
    version: (Option<u64>, Option<u64>),
    /// Offsets and lengths in turn.
    pub(super) numbers: Vec<u64>,
}

impl Records {
    pub(super) fn clear(&mut self) {
        self.any = false;
        self.name.clear();
        self.numbers.clear();
        (self.size, self.version) = (None, (None, None));
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        self.any = true;
        match key {
            b"name" => replace(&mut self.name, value)?,
            b"size" | b"realsize" => self.size = Some(unsigned(value)?),
            b"major" => self.version.0 = Some(unsigned(value)?),
            b"minor" => self.version.1 = Some(unsigned(value)?),
            b"offset" if self.numbers.len().is_multiple_of(2) => self.numbers.push(unsigned(value)?),
            b"numbytes" if !self.numbers.len().is_multiple_of(2) => self.numbers.push(unsigned(value)?),
            b"offset" | b"numbytes" => return Err("a piece of a sparse file without its other half"),
            b"map" => {
                self.numbers.clear();
                for number in value.split(|&b| b == b',').filter(|_| !value.is_empty()) {
                    self.numbers.push(unsigned(number)?);
                }
            }
            // The number of pieces, which the map says as well.
            _ => {}
        }
        Ok(())
    }

    /// Whether the map comes before the contents.
    pub(super) fn is_map_in_contents(&self) -> Result<bool, Problem> {
        match self.version {
            (Some(1), Some(0)) => Ok(true),
            (None | Some(0), None | Some(0 | 1)) => Ok(false),
            _ => Err("its form is of a version that is not known"),
        }
    }
}

/// Pieces in a header block of type `S`, and in each of the blocks that may follow it.
const IN_HEADER: (usize, usize) = (386, 4);
const IN_BLOCK: (usize, usize) = (0, 21);
/// Whether a block (or another one) follows.
const HEADER_CONTINUES: usize = 482;
const BLOCK_CONTINUES: usize = 504;
const REAL_SIZE: Field = (483, 12);

/// The size of the whole file, from a header block of type `S`.
pub(super) fn real_size(header: &Header<'_>) -> Option<u64> {
    u64::try_from(header.number(REAL_SIZE)?).ok()
}

/// Takes the pairs of one block; whether another block follows.
pub(super) fn pairs(block: &[u8; BLOCK], first: bool, numbers: &mut Vec<u64>) -> Result<bool, Problem> {
    const WIDTH: usize = 12;
    let (start, count) = if first { IN_HEADER } else { IN_BLOCK };
    for pair in 0..count {
        let at = start + 2 * WIDTH * pair;
        // The first pair without a length ends the list.
        if block[at + WIDTH] == 0 {
            break;
        }
        for at in [at, at + WIDTH] {
            let number = Header(block).number((at, WIDTH));
            let number = number.and_then(|number| u64::try_from(number).ok());
            numbers.push(number.ok_or("a piece is nowhere")?);
        }
    }
    Ok(block[if first { HEADER_CONTINUES } else { BLOCK_CONTINUES }] != 0)
}

/// Lines of numbers, of which the first says how many pairs follow, as they come in blocks.
#[derive(Debug, Default)]
pub(super) struct Lines {
    digits: Vec<u8>,
    pairs: Option<u64>,
}

impl Lines {
    /// Whether the map is complete with this block, the rest of which is padding.
    pub(super) fn take(&mut self, block: &[u8; BLOCK], numbers: &mut Vec<u64>) -> Result<bool, Problem> {
        for &byte in block {
            if byte != b'\n' {
                // More digits than any number has.
                if self.digits.len() == 20 {
                    return Err("its map is no list of numbers");
                }
                self.digits.push(byte);
                continue;
            }
            let number = unsigned(&self.digits)?;
            self.digits.clear();
            match self.pairs {
                None => self.pairs = Some(number),
                Some(_) => numbers.push(number),
            }
            if self.pairs.and_then(|pairs| pairs.checked_mul(2)) == Some(numbers.len() as u64) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The pieces that `numbers` (offsets and lengths in turn) mean in a file of `size` bytes of which `stored` are in the archive.
/// They ascend and never touch each other.
pub(super) fn pieces(numbers: &[u64], size: u64, stored: u64) -> Result<Vec<Stored>, Problem> {
    if !numbers.len().is_multiple_of(2) {
        return Err("a piece of a sparse file without its other half");
    }
    let mut pieces: Vec<Stored> = Vec::new();
    let (mut end, mut sum) = (0, 0);
    for pair in numbers.chunks_exact(2) {
        let (offset, len) = (pair[0], pair[1]);
        if offset < end {
            return Err("its pieces overlap");
        }
        end = offset
            .checked_add(len)
            .filter(|end| *end <= size)
            .ok_or("a piece lies beyond its end")?;
        // Cannot overflow: they follow each other.
        sum += len;
        match pieces.last_mut() {
            _ if len == 0 => {}
            Some(last) if last.offset + last.len == offset => last.len += len,
            _ => pieces.push(Stored { offset, len }),
        }
    }
    if sum != stored {
        return Err("its pieces are not what is stored");
    }
    Ok(pieces)
}
