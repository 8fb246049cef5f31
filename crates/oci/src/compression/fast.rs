//! Deflate at its quickest: twice as fast as zlib's first level, for a tenth fewer bytes.
//!
//! One candidate per position from a table that stays in the first-level cache, two positions at a time, greedy matches of at
//! least four bytes, blocks with codes of their own. An entry of the table tells by a tag whether the bytes are likely the
//! same, so that only a match reads them. Branches that go either way cost most, and a match has about two; so conditions are
//! computed and then decided on once. RFC 1951 throughout; the names are its names. Nothing of one piece remains for the next,
//! so a piece's bytes depend on the piece and the window before it alone.

mod bits;
mod head;
mod huffman;

use bits::{Bits, PACKED, Packed};
use head::Head;
use huffman::{Code, lengths};

/// Input bytes of one block: codes fit what is near.
const BLOCK: usize = 128 << 10;
/// Positions in the table: 2^13 of four bytes each.
const TABLE_BITS: u32 = 13;
/// Bits of an entry that tell what bytes it is about; the others are the position.
const TAG_BITS: u32 = 12;
/// A shorter match costs as much as its literals.
const MIN_MATCH: usize = 4;
const MAX_MATCH: usize = 258;
const MAX_DISTANCE: usize = 32 << 10;
/// After so many bytes (as a power of two) without a match, one more is passed over at each step.
const PATIENCE: u32 = 5;
/// What is copied of a run of literals at once, most of which are shorter.
const RUN: usize = 16;

/// Which of eight literals are there, if so many are.
const MASKS: [[u32; 8]; 9] = {
    let mut masks = [[0; 8]; 9];
    let mut count = 0;
    while count < masks.len() {
        let mut at = 0;
        while at < count {
            masks[count][at] = u32::MAX;
            at += 1;
        }
        count += 1;
    }
    masks
};

/// Symbols: literals, end of block, lengths; distances; lengths of codes.
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END: usize = 256;
/// Four literals and what is left of a byte fit 64 bits with codes up to this length.
const LITERAL_LIMIT: u8 = 14;
const DISTANCE_LIMIT: u8 = 15;

/// RFC 1951 section 3.2.5: symbol, number of extra bits and their value of each match length.
const LENGTHS: [(u16, u8, u8); MAX_MATCH + 1] = length_symbols();

const fn length_symbols() -> [(u16, u8, u8); MAX_MATCH + 1] {
    let mut table = [(0, 0, 0); MAX_MATCH + 1];
    let (mut length, mut symbol) = (3, 257);
    while symbol < 285 {
        let bits = if symbol < 265 { 0 } else { (symbol - 261) / 4 };
        let mut extra = 0;
        while extra < 1 << bits && length < MAX_MATCH {
            table[length] = (symbol, bits as u8, extra);
            length += 1;
            extra += 1;
        }
        symbol += 1;
    }
    table[MAX_MATCH] = (285, 0, 0);
    table
}

/// RFC 1951 section 3.2.5: symbol, number of extra bits and their value of a distance (1 to 32768).
#[inline(always)]
fn distance_symbol(distance: usize) -> (usize, u32, u32) {
    let value = (distance - 1) as u32;
    let bits = (value | 2).ilog2() - 1;
    let symbol = 2 * bits + (value >> bits);
    (symbol as usize, bits, value & ((1 << bits) - 1))
}

/// What a piece and its window are in: what is read at any position is there, so that a position that is
/// kept below [`POSITIONS`] by a mask needs no check.
pub(super) type Room = [u8; ROOM];
pub(super) const ROOM: usize = POSITIONS + 16;
const POSITIONS: usize = 1 << (u32::BITS - TAG_BITS);

/// `N` bytes (up to 16) of the room.
#[inline(always)]
fn bytes<const N: usize>(room: &Room, at: usize) -> [u8; N] {
    let at = at % POSITIONS;
    let mut bytes = [0; N];
    bytes.copy_from_slice(&room[at..at + N]);
    bytes
}

/// Literals, then a match (of length 0 at the end of a block).
#[derive(Clone, Copy)]
struct Step {
    literals: u32,
    length: u16,
    distance: u16,
}

/// The encoder and its memory, to be used again.
pub(super) struct Fast {
    /// Where bytes were seen last, as [`entry`] has it; 0 may also mean nowhere, which the bytes there tell.
    table: Box<[u32; 1 << TABLE_BITS]>,
    steps: Vec<Step>,
    /// The block's literals, one after the other, and room to copy more than count.
    runs: Box<[u8; 2 * BLOCK + RUN]>,
    /// The block's codes.
    packed: Box<Packed>,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
}

impl Default for Fast {
    fn default() -> Self {
        Self {
            table: Box::new([0; 1 << TABLE_BITS]),
            steps: Vec::with_capacity(BLOCK / MIN_MATCH),
            runs: Box::new([0; 2 * BLOCK + RUN]),
            packed: Box::new([0; PACKED]),
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
        }
    }
}

#[inline(always)]
fn word(room: &Room, at: usize) -> u64 {
    u64::from_le_bytes(bytes(room, at))
}

#[inline(always)]
fn double(room: &Room, at: usize) -> u128 {
    u128::from_le_bytes(bytes(room, at))
}

/// Where the first six bytes belong in the table, and what it holds when they are at `at`.
#[inline(always)]
fn entry(word: u64, at: usize) -> (usize, u32) {
    let hash = (word << 16).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - TABLE_BITS - TAG_BITS);
    let tag = hash as u32 & ((1 << TAG_BITS) - 1);
    ((hash >> TAG_BITS) as usize, (at as u32) << TAG_BITS | tag)
}

/// How many first bytes of both are the same.
#[inline(always)]
fn common(one: &[u8], other: &[u8]) -> usize {
    let mut length = 0;
    for (one, other) in one.as_chunks().0.iter().zip(other.as_chunks().0) {
        let difference = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            return length + (difference.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    let rest = one[length..].iter().zip(&other[length..]);
    length + rest.take_while(|(one, other)| one == other).count()
}

/// Twice in the program: shifts by any number of bits, of which this is full, are quicker with the instructions of processors
/// since 2013. The output is the same. What it calls is marked to be inlined, or it would be compiled for all processors.
#[multiversion::multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn piece(fast: &mut Fast, room: &Room, start: usize, end: usize, out: &mut Vec<u8>) {
    fast.compress(room, start, end, out);
}

impl Fast {
    /// Compresses what is in `room` from `start` to `end`, with what is before as the window: blocks that are not the last ones,
    /// ending on a byte boundary.
    pub(super) fn piece(&mut self, room: &Room, start: usize, end: usize, out: &mut Vec<u8>) {
        piece(self, room, start, end, out);
    }

    #[inline(always)]
    fn compress(&mut self, room: &Room, start: usize, last: usize, out: &mut Vec<u8>) {
        self.table.fill(0);
        let mut at = start.saturating_sub(MAX_DISTANCE);
        while at + 8 <= start {
            let (slot, new) = entry(word(room, at), at);
            self.table[slot] = new;
            at += 2;
        }
        let mut bits = Bits::new(out);
        let mut begin = start;
        while begin < last {
            let end = last.min(begin + BLOCK);
            self.parse(room, begin, end);
            self.block(room, begin, end, &mut bits);
            begin = end;
        }
        bits.align();
    }

    /// Finds the steps of a block, and counts its symbols.
    #[inline(always)]
    fn parse(&mut self, room: &Room, begin: usize, end: usize) {
        self.steps.clear();
        self.literals = [0; LITERALS];
        self.distances = [0; DISTANCES];
        let data = &room[..end];
        let mut run = 0;
        // Nothing is before the first byte of all.
        let (mut anchor, mut at) = (begin, begin.max(1));
        while at + 17 <= end {
            let here = word(room, at);
            let next = here >> 8;
            let (slot_here, new_here) = entry(here, at);
            let (slot_next, new_next) = entry(next, at + 1);
            // Where the tags are the same, this is the distance; where they are not, more than any distance.
            let one = new_here
                .wrapping_sub(self.table[slot_here])
                .rotate_right(TAG_BITS);
            self.table[slot_here] = new_here;
            let two = new_next
                .wrapping_sub(self.table[slot_next])
                .rotate_right(TAG_BITS);
            self.table[slot_next] = new_next;
            let is_one = one <= MAX_DISTANCE as u32;
            if !(is_one | (two <= MAX_DISTANCE as u32)) {
                at += 2 + ((at - anchor) >> PATIENCE);
                continue;
            }
            let distance = if is_one { one } else { two } as usize;
            at += usize::from(!is_one);
            let difference = double(room, at) ^ double(room, at - distance);
            let mut length = (difference.trailing_zeros() / 8) as usize;
            // Other bytes had the same tag, or none were there at all.
            if length < MIN_MATCH {
                at += 2;
                continue;
            }
            if length == 16 {
                let (one, other) = (&data[at + 16..], &data[at - distance + 16..]);
                length += common(one, &other[..one.len()]);
            }
            let until = at + length;
            // What is the same before it, too, up to eight bytes: counted without a branch for each.
            if at >= distance + 8 {
                let difference = word(room, at - 8) ^ word(room, at - distance - 8);
                at -= ((difference.leading_zeros() / 8) as usize).min(at - anchor);
            }
            let literals = at - anchor;
            let place = run % (2 * BLOCK);
            self.runs[place..place + RUN].copy_from_slice(&bytes::<RUN>(room, anchor));
            if literals > RUN {
                self.runs[run..run + literals].copy_from_slice(&data[anchor..at]);
            }
            run += literals;
            self.step(literals, until - at, distance);
            at = until;
            anchor = at;
            if at + 8 <= end {
                let (slot, new) = entry(word(room, at - 2), at - 2);
                self.table[slot] = new;
            }
        }
        let rest = &data[anchor..];
        self.runs[run..run + rest.len()].copy_from_slice(rest);
        self.count_literals(run + rest.len());
        self.literals[END] = 1;
        self.steps.push(Step {
            literals: rest.len() as u32,
            length: 0,
            distance: 0,
        });
    }

    /// Literals, and a match of any length of at least [`MIN_MATCH`].
    #[inline(always)]
    fn step(&mut self, literals: usize, mut length: usize, distance: usize) {
        let symbol = distance_symbol(distance).0;
        let mut literals = literals as u32;
        loop {
            // What is left must be long enough for another match.
            let part = match length {
                ..=MAX_MATCH => length,
                _ => MAX_MATCH.min(length - MIN_MATCH),
            };
            length -= part;
            self.literals[usize::from(LENGTHS[part].0)] += 1;
            self.distances[symbol] += 1;
            self.steps.push(Step {
                literals: std::mem::take(&mut literals),
                length: part as u16,
                distance: (distance - 1) as u16,
            });
            if length == 0 {
                return;
            }
        }
    }

    /// Counts the first `length` bytes of the runs. Four counters of each, since one that was just written is slow to read.
    #[inline(always)]
    fn count_literals(&mut self, length: usize) {
        let mut counts = [[0u32; 256]; 4];
        let fours = self.runs[..length].chunks_exact(4);
        for byte in fours.remainder() {
            counts[0][usize::from(*byte)] += 1;
        }
        for four in fours {
            for (counts, byte) in counts.iter_mut().zip(four) {
                counts[usize::from(*byte)] += 1;
            }
        }
        for (byte, count) in self.literals[..END].iter_mut().enumerate() {
            *count = counts.iter().map(|counts| counts[byte]).sum();
        }
    }

    /// Writes the block of the first `length` bytes of `data` in the cheapest of the three ways.
    #[inline(always)]
    fn block(&mut self, room: &Room, begin: usize, end: usize, bits: &mut Bits<'_>) {
        let length = end - begin;
        let literals = lengths::<LITERALS>(&self.literals, LITERAL_LIMIT);
        let distances = lengths::<DISTANCES>(&self.distances, DISTANCE_LIMIT);
        let head = Head::new(&literals, &distances);
        let own = head.cost() + self.cost(&literals, &distances);
        let fixed = self.cost(&huffman::FIXED_LITERALS, &huffman::FIXED_DISTANCES);
        let stored = length * 8 + 40 * length.div_ceil(0xffff);
        if stored <= own.min(fixed) {
            for part in room[begin..end].chunks(0xffff) {
                bits.stored(part);
            }
        } else if fixed <= own {
            bits.put(Code::new(0b010, 3));
            let distances = huffman::codes(&huffman::FIXED_DISTANCES);
            self.write(room, begin, &huffman::fixed_literals(), &distances, bits);
        } else {
            bits.put(Code::new(0b100, 3));
            head.write(bits);
            self.write(
                room,
                begin,
                &huffman::codes(&literals),
                &huffman::codes(&distances),
                bits,
            );
        }
    }

    /// Bits of the symbols of the block with their extra bits.
    fn cost(&self, literals: &[u8; LITERALS], distances: &[u8; DISTANCES]) -> usize {
        let mut cost = 0;
        for (symbol, (count, length)) in self.literals.iter().zip(literals).enumerate() {
            let extra = match symbol {
                265..285 => (symbol - 261) / 4,
                _ => 0,
            };
            cost += *count as usize * (usize::from(*length) + extra);
        }
        for (symbol, (count, length)) in self.distances.iter().zip(distances).enumerate() {
            let extra = (symbol / 2).saturating_sub(1);
            cost += *count as usize * (usize::from(*length) + extra);
        }
        cost
    }

    /// The symbols of the block that begins at `at`.
    #[inline(always)]
    fn write(
        &mut self,
        room: &Room,
        mut at: usize,
        literals: &[Code; LITERALS],
        distances: &[Code; DISTANCES],
        bits: &mut Bits<'_>,
    ) {
        // Code and extra bits of each match length together.
        let mut matches = [Code::default(); 512];
        for (code, (symbol, count, extra)) in matches.iter_mut().zip(LENGTHS).skip(MIN_MATCH) {
            *code = literals[usize::from(symbol)].then(u32::from(extra), u32::from(count));
        }
        let mut all = [Code::default(); 32];
        all[..DISTANCES].copy_from_slice(distances);
        let literal = |byte: u8| literals[usize::from(byte)];
        let mut pen = bits.pen();
        let out = &mut *self.packed;
        for step in &self.steps {
            let mut left = step.literals as usize;
            while left > 8 {
                pen.put_four(out, bytes(room, at).map(literal));
                at += 4;
                left -= 4;
            }
            // How many are left is different each time: four are put always, those that aren't there with no bits.
            let last: [u8; 8] = bytes(room, at);
            let masks = &MASKS[left];
            let code = |at: usize| literal(last[at]).masked(masks[at]);
            pen.put_four(out, [code(0), code(1), code(2), code(3)]);
            if left > 4 {
                pen.put_four(out, [code(4), code(5), code(6), code(7)]);
            }
            if step.length == 0 {
                break;
            }
            let length = matches[usize::from(step.length) % 512];
            let (symbol, count, extra) = distance_symbol(usize::from(step.distance) + 1);
            let distance = all[symbol % 32];
            let extra = u64::from(extra) << distance.length();
            let both = (u64::from(distance.bits()) | extra) << length.length();
            pen.put(
                out,
                u64::from(length.bits()) | both,
                length.length() + distance.length() + count,
            );
            at += left + usize::from(step.length);
        }
        let end = literals[END];
        pen.put(out, u64::from(end.bits()), end.length());
        bits.take(pen, out);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use proptest::prelude::*;

    /// Compresses in two pieces, the second with the first as its window, and undoes it.
    fn round_trip(data: &[u8], cut: usize) {
        let mut fast = Fast::default();
        let mut room = vec![0xaa; ROOM];
        let mut piece = |fast: &mut Fast, data: &[u8], start| {
            room[..data.len()].copy_from_slice(data);
            let mut out = Vec::new();
            fast.piece(room.first_chunk().unwrap(), start, data.len(), &mut out);
            out
        };
        let mut out = piece(&mut fast, &data[..cut], 0);
        let from = cut.saturating_sub(MAX_DISTANCE);
        let second = piece(&mut fast, &data[from..], cut - from);
        let again = piece(&mut Fast::default(), &data[from..], cut - from);
        assert!(second == again, "nothing remains of earlier pieces");
        out.extend_from_slice(&second);
        out.extend_from_slice(&[3, 0]);
        let mut back = Vec::new();
        flate2::read::DeflateDecoder::new(&out[..])
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == data);
    }

    #[test]
    fn symbols_are_those_of_the_standard() {
        assert_eq!(LENGTHS[3], (257, 0, 0));
        assert_eq!(LENGTHS[11], (265, 1, 0));
        assert_eq!(LENGTHS[12], (265, 1, 1));
        assert_eq!(LENGTHS[257], (284, 5, 30));
        assert_eq!(LENGTHS[258], (285, 0, 0));
        assert_eq!(distance_symbol(1), (0, 0, 0));
        assert_eq!(distance_symbol(5), (4, 1, 0));
        assert_eq!(distance_symbol(24577), (29, 13, 0));
        assert_eq!(distance_symbol(32768), (29, 13, 8191));
    }

    #[test]
    fn extremes() {
        for data in [
            vec![],
            vec![7],
            vec![0; 300_000],
            (0..=255).collect(),
            (0..100_000u32).map(|n| (n % 251) as u8).collect(),
            (0..200_000u32)
                .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect(),
        ] {
            for cut in [0, data.len() / 2, data.len()] {
                round_trip(&data, cut);
            }
        }
        // A code as deep as counts can make it: Fibonacci numbers.
        let mut data = Vec::new();
        let (mut one, mut two) = (1, 1);
        for symbol in 0..22 {
            data.extend(std::iter::repeat_n(symbol, one));
            (one, two) = (two, one + two);
        }
        round_trip(&data, 1000);
    }

    proptest! {
        #[test]
        fn anything_comes_back(
            parts in proptest::collection::vec((any::<u8>(), 1usize..400, 1usize..40_000, 0u8..4), 0..200),
            cut in 0.0..1.0,
        ) {
            let mut data: Vec<u8> = Vec::new();
            let mut state = 1u32;
            for (byte, run, back, kind) in parts {
                match kind {
                    0 => data.extend(std::iter::repeat_n(byte, run)),
                    1 => data.extend((0..run).map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 24) as u8 ^ byte
                    })),
                    _ => {
                        let from = data.len().saturating_sub(back);
                        let end = data.len().min(from + run);
                        data.extend_from_within(from..end);
                    }
                }
            }
            let cut = (data.len() as f64 * cut) as usize;
            round_trip(&data, cut);
        }
    }
}
