//! Bits, the lowest first, into bytes.

use super::huffman::Code;

/// What the codes of a block are written to: more than the largest, so that a masked position needs no check.
pub(super) type Packed = [u8; PACKED];
pub(super) const PACKED: usize = (256 << 10) + 8;

/// What writes bits, kept apart from the memory it writes to so that a loop holds it in registers.
#[derive(Clone, Copy, Default)]
pub(super) struct Pen {
    /// Bytes that are written.
    at: usize,
    bits: u64,
    count: u32,
}

impl Pen {
    /// Up to 56 bits.
    #[inline(always)]
    pub(super) fn put(&mut self, out: &mut Packed, bits: u64, count: u32) {
        self.bits |= bits << self.count;
        self.count += count;
        let at = self.at % (PACKED - 8);
        out[at..at + 8].copy_from_slice(&self.bits.to_le_bytes());
        self.at += (self.count >> 3) as usize;
        self.bits >>= self.count & !7;
        self.count &= 7;
    }

    /// Four codes of 14 bits at most.
    #[inline(always)]
    pub(super) fn put_four(&mut self, out: &mut Packed, codes: [Code; 4]) {
        let [one, two, three, four] = codes;
        let first = u64::from(one.bits()) | u64::from(two.bits()) << one.length();
        let second = u64::from(three.bits()) | u64::from(four.bits()) << three.length();
        let length = one.length() + two.length();
        self.put(
            out,
            first | second << length,
            length + three.length() + four.length(),
        );
    }
}

/// What is written, to the bit: what a [`Pen`] writes, and what is too little for one.
pub(super) struct Bits<'a> {
    out: &'a mut Vec<u8>,
    /// Up to seven.
    bits: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            bits: 0,
            count: 0,
        }
    }

    /// A pen that goes on from here.
    pub(super) fn pen(&self) -> Pen {
        Pen {
            at: 0,
            bits: self.bits,
            count: self.count,
        }
    }

    /// What the pen wrote.
    pub(super) fn take(&mut self, pen: Pen, packed: &Packed) {
        self.out.extend_from_slice(&packed[..pen.at]);
        (self.bits, self.count) = (pen.bits, pen.count);
    }

    pub(super) fn put(&mut self, code: Code) {
        self.bits |= u64::from(code.bits()) << self.count;
        self.count += code.length();
        while self.count >= 8 {
            self.out.push(self.bits as u8);
            self.bits >>= 8;
            self.count -= 8;
        }
    }

    /// A stored block of up to 65535 bytes.
    pub(super) fn stored(&mut self, bytes: &[u8]) {
        self.put(Code::new(0, 3));
        if self.count > 0 {
            self.put(Code::new(0, 8 - self.count));
        }
        let length = bytes.len() as u16;
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(&(!length).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }

    /// Ends on a byte boundary, by an empty stored block.
    pub(super) fn align(&mut self) {
        self.stored(&[]);
    }
}
