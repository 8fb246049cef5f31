//! Bits, the lowest first, into bytes.

use super::huffman::Code;

/// What writes bits, kept apart from the memory it writes to so that a loop holds it in registers.
#[derive(Clone, Copy, Default)]
pub(super) struct Pen {
    /// Bytes that are written; what follows is room.
    at: usize,
    bits: u64,
    count: u32,
}

impl Pen {
    /// Up to 56 bits, for which there is room in `out`.
    #[inline(always)]
    pub(super) fn put(&mut self, out: &mut [u8], bits: u64, count: u32) {
        self.bits |= bits << self.count;
        self.count += count;
        out[self.at..self.at + 8].copy_from_slice(&self.bits.to_le_bytes());
        self.at += (self.count >> 3) as usize;
        self.bits >>= self.count & !7;
        self.count &= 7;
    }

    /// Four codes of 14 bits at most.
    #[inline(always)]
    pub(super) fn put_four(&mut self, out: &mut [u8], codes: [Code; 4]) {
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

pub(super) struct Bits<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) pen: Pen,
}

impl<'a> Bits<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        let pen = Pen {
            at: out.len(),
            ..Pen::default()
        };
        Self { out, pen }
    }

    /// Makes room for so many bits.
    pub(super) fn reserve(&mut self, bits: usize) {
        self.out.resize(self.pen.at + bits / 8 + 24, 0);
    }

    /// A code, for which there is room.
    pub(super) fn put(&mut self, code: Code) {
        self.pen.put(self.out, u64::from(code.bits()), code.length());
    }

    /// A stored block of up to 65535 bytes.
    pub(super) fn stored(&mut self, bytes: &[u8]) {
        self.reserve(16);
        self.put(Code::new(0, 3));
        if self.pen.count > 0 {
            self.put(Code::new(0, 8 - self.pen.count));
        }
        self.out.truncate(self.pen.at);
        let length = bytes.len() as u16;
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(&(!length).to_le_bytes());
        self.out.extend_from_slice(bytes);
        self.pen.at = self.out.len();
    }

    /// Ends on a byte boundary, by an empty stored block.
    pub(super) fn align(&mut self) {
        self.stored(&[]);
    }
}
