//! The description of a block's codes.

use super::bits::Bits;
use super::huffman::{Code, codes, lengths};
use super::{DISTANCES, LITERALS};

const ORDERS: usize = 19;
const ORDER_LIMIT: u8 = 7;
/// RFC 1951 section 3.2.7: the order in which lengths of the code of lengths come.
const ORDER: [usize; ORDERS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The description of a block's codes (RFC 1951 section 3.2.7).
pub(super) struct Head {
    literals: usize,
    distances: usize,
    /// Symbols of the code of lengths, with their extra bits.
    symbols: Vec<(u8, u8)>,
    orders: [u8; ORDERS],
}

impl Head {
    pub(super) fn new(literals: &[u8; LITERALS], distances: &[u8; DISTANCES]) -> Self {
        let used = |lengths: &[u8], least: usize| {
            let last = lengths.iter().rposition(|length| *length > 0);
            last.map_or(least, |last| least.max(last + 1))
        };
        let (count, distance_count) = (used(literals, 257), used(distances, 1));
        let mut all = [0; LITERALS + DISTANCES];
        all[..count].copy_from_slice(&literals[..count]);
        all[count..count + distance_count].copy_from_slice(&distances[..distance_count]);
        let symbols = runs(&all[..count + distance_count]);
        let mut counts = [0; ORDERS];
        for (symbol, _) in &symbols {
            counts[usize::from(*symbol)] += 1;
        }
        Self {
            literals: count,
            distances: distance_count,
            symbols,
            orders: lengths::<ORDERS>(&counts, ORDER_LIMIT),
        }
    }

    /// How many lengths of the code of lengths are told.
    fn told(&self) -> usize {
        let last = ORDER.iter().rposition(|symbol| self.orders[*symbol] > 0);
        last.map_or(4, |last| 4.max(last + 1))
    }

    pub(super) fn cost(&self) -> usize {
        let symbols = self.symbols.iter().map(|(symbol, _)| {
            let symbol = usize::from(*symbol);
            usize::from(self.orders[symbol]) + usize::from(extra_bits(symbol))
        });
        14 + 3 * self.told() + symbols.sum::<usize>()
    }

    pub(super) fn write(&self, bits: &mut Bits<'_>) {
        let told = self.told();
        bits.put(Code::new(self.literals as u32 - 257, 5));
        bits.put(Code::new(self.distances as u32 - 1, 5));
        bits.put(Code::new(told as u32 - 4, 4));
        for symbol in &ORDER[..told] {
            bits.put(Code::new(u32::from(self.orders[*symbol]), 3));
        }
        let codes = codes(&self.orders);
        for (symbol, extra) in &self.symbols {
            let symbol = usize::from(*symbol);
            bits.put(codes[symbol].then(u32::from(*extra), u32::from(extra_bits(symbol))));
        }
    }
}

/// Extra bits of a symbol of the code of lengths.
fn extra_bits(symbol: usize) -> u8 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

/// Lengths as symbols of the code of lengths: 16 repeats the one before 3 to 6 times, 17 and 18 are 3 to 10 and 11 to 138
/// zeros.
fn runs(lengths: &[u8]) -> Vec<(u8, u8)> {
    let mut symbols = Vec::with_capacity(lengths.len());
    let mut rest = lengths;
    while let Some(first) = rest.first() {
        let mut run = rest.iter().take_while(|length| *length == first).count();
        rest = &rest[run..];
        if *first == 0 {
            while run >= 3 {
                let part = run.min(138);
                match part {
                    3..11 => symbols.push((17, part as u8 - 3)),
                    _ => symbols.push((18, part as u8 - 11)),
                }
                run -= part;
            }
        } else {
            symbols.push((*first, 0));
            run -= 1;
            while run >= 3 {
                let part = run.min(6);
                symbols.push((16, part as u8 - 3));
                run -= part;
            }
        }
        symbols.extend(std::iter::repeat_n((*first, 0), run));
    }
    symbols
}
