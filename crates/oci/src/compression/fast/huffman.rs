//! Prefix codes of limited length (RFC 1951 section 3.2.2).

/// A code of up to 24 bits, the bit that comes first lowest, with its length in the lowest byte: a table of them is small, and
/// all of one is masked at once.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Code(u32);

impl Code {
    pub(super) const fn new(bits: u32, length: u32) -> Self {
        Self(bits << 8 | length)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0 >> 8
    }

    pub(super) const fn length(self) -> u32 {
        self.0 & 0xff
    }

    /// With so many further bits behind it.
    pub(super) const fn then(self, bits: u32, length: u32) -> Self {
        Self::new(self.bits() | bits << self.length(), self.length() + length)
    }

    /// All of it or, with a mask of 0, nothing.
    pub(super) const fn masked(self, mask: u32) -> Self {
        Self(self.0 & mask)
    }
}

/// RFC 1951 section 3.2.6, with the two symbols that have a code and no meaning.
const FIXED: [u8; 288] = {
    let mut lengths = [8; 288];
    let mut symbol = 144;
    while symbol < 256 {
        lengths[symbol] = 9;
        symbol += 1;
    }
    while symbol < 280 {
        lengths[symbol] = 7;
        symbol += 1;
    }
    lengths
};
/// The lengths of the fixed code of literals and match lengths.
pub(super) const FIXED_LITERALS: [u8; 286] = {
    let mut lengths = [0; 286];
    let mut symbol = 0;
    while symbol < lengths.len() {
        lengths[symbol] = FIXED[symbol];
        symbol += 1;
    }
    lengths
};
/// Those of the fixed code of distances.
pub(super) const FIXED_DISTANCES: [u8; 30] = [5; 30];

/// The fixed code of literals and match lengths.
pub(super) fn fixed_literals() -> [Code; 286] {
    let all = codes(&FIXED);
    std::array::from_fn(|symbol| all[symbol])
}

/// Of a number that holds a symbol and its count.
const SYMBOL_BITS: u32 = 9;

/// The lengths of a code for symbols that occur `counts` times; 0 where a symbol doesn't. None is above `limit`.
///
/// A tree of one symbol gets a second, since decoders want a complete code.
pub(super) fn lengths<const N: usize>(counts: &[u32; N], limit: u8) -> [u8; N] {
    let mut lengths = [0; N];
    // Count and symbol in one number sort quickly; the symbol breaks ties, so that equal counts always give the same code.
    let mut used = [0; N];
    let mut amount = 0;
    for (symbol, count) in counts.iter().enumerate() {
        used[amount] = count << SYMBOL_BITS | symbol as u32;
        amount += usize::from(*count > 0);
    }
    let used = &mut used[..amount];
    let symbol = |key: u32| (key & ((1 << SYMBOL_BITS) - 1)) as usize;
    match used[..] {
        [] => {
            lengths[0] = 1;
            lengths[1] = 1;
            return lengths;
        }
        [key] => {
            lengths[symbol(key)] = 1;
            lengths[usize::from(symbol(key) == 0)] = 1;
            return lengths;
        }
        _ => {}
    }
    used.sort_unstable();
    let mut at_length = leaves::<N>(used);
    limit_lengths(&mut at_length, usize::from(limit));
    // The rarest get the longest.
    let mut rest = used.iter();
    for length in (1..=usize::from(limit)).rev() {
        for key in rest.by_ref().take(at_length[length]) {
            lengths[symbol(*key)] = length as u8;
        }
    }
    lengths
}

/// How many leaves the tree of `used` (by rising count) has at each depth.
fn leaves<const N: usize>(used: &[u32]) -> [usize; 33] {
    let count = used.len();
    // Inner nodes in the order they are made, which is that of their weights, and what they hang on.
    let mut weights = [u32::MAX; N];
    let mut parents = [0u16; N];
    // The inner node a leaf hangs on only tells its depth: how many leaves hang there.
    let mut hanging = [0u8; N];
    let (mut leaf, mut inner) = (0, 0);
    for made in 0..count - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let one = used.get(leaf).map_or(u32::MAX, |key| key >> SYMBOL_BITS);
            if one <= weights[inner] {
                weight += one;
                leaf += 1;
                hanging[made] += 1;
            } else {
                weight += weights[inner];
                parents[inner] = made as u16;
                inner += 1;
            }
        }
        weights[made] = weight;
    }
    let root = count - 2;
    let mut depths = [0u8; N];
    let mut at_depth = [0; 33];
    for node in (0..=root).rev() {
        if node < root {
            depths[node] = depths[usize::from(parents[node])] + 1;
        }
        // Counts of a block are below 2^17: no Fibonacci sequence in them goes deeper.
        at_depth[usize::from(depths[node] + 1).min(32)] += usize::from(hanging[node]);
    }
    at_depth
}

/// Moves leaves that are too deep up, and others down until the code is complete again.
fn limit_lengths(at_length: &mut [usize; 33], limit: usize) {
    for depth in limit + 1..at_length.len() {
        at_length[limit] += std::mem::take(&mut at_length[depth]);
    }
    let mut total: usize = (1..=limit)
        .map(|length| at_length[length] << (limit - length))
        .sum();
    while total > 1 << limit {
        // One leaf of the deepest goes beside another that moves one down.
        at_length[limit] -= 1;
        for length in (1..limit).rev() {
            if at_length[length] > 0 {
                at_length[length] -= 1;
                at_length[length + 1] += 2;
                break;
            }
        }
        total -= 1;
    }
}

/// The codes of these lengths: shorter ones first, equal ones in the order of their symbols.
pub(super) fn codes<const N: usize>(lengths: &[u8; N]) -> [Code; N] {
    let mut at_length = [0u32; 17];
    for length in lengths {
        at_length[usize::from(*length)] += 1;
    }
    at_length[0] = 0;
    let mut next = [0u32; 17];
    for length in 1..17 {
        next[length] = (next[length - 1] + at_length[length - 1]) << 1;
    }
    let mut codes = [Code::default(); N];
    for (code, length) in codes.iter_mut().zip(lengths).filter(|(_, length)| **length > 0) {
        let value = &mut next[usize::from(*length)];
        *code = Code::new(
            value.reverse_bits() >> (32 - u32::from(*length)),
            u32::from(*length),
        );
        *value += 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether every sequence of bits means something, once.
    fn is_complete(lengths: &[u8]) -> bool {
        let used = lengths.iter().filter(|length| **length > 0);
        used.map(|length| 1u64 << (32 - length)).sum::<u64>() == 1 << 32
    }

    #[test]
    fn known_codes() {
        // RFC 1951 section 3.2.2.
        let codes = codes(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let text = |code: &Code| {
            let bits = code.bits().reverse_bits() >> (32 - code.length());
            format!("{bits:0width$b}", width = code.length() as usize)
        };
        let texts: Vec<String> = codes.iter().map(text).collect();
        assert_eq!(texts, ["010", "011", "100", "101", "110", "00", "1110", "1111"]);
    }

    #[test]
    fn the_fixed_code() {
        let codes = fixed_literals();
        let value = |symbol: usize| {
            let code = codes[symbol];
            (code.bits().reverse_bits() >> (32 - code.length()), code.length())
        };
        assert_eq!((value(0), value(143)), ((0b0011_0000, 8), (0b1011_1111, 8)));
        assert_eq!((value(144), value(255)), ((0b1_1001_0000, 9), (0b1_1111_1111, 9)));
        assert_eq!((value(256), value(279)), ((0, 7), (0b001_0111, 7)));
        assert_eq!((value(280), value(285)), ((0b1100_0000, 8), (0b1100_0101, 8)));
    }

    #[test]
    fn few_symbols() {
        assert_eq!(lengths(&[0, 0, 0], 7), [1, 1, 0]);
        assert_eq!(lengths(&[5, 0, 0], 7), [1, 1, 0]);
        assert_eq!(lengths(&[0, 0, 5], 7), [1, 0, 1]);
        assert_eq!(lengths(&[1, 2, 4], 7), [2, 2, 1]);
    }

    proptest! {
        #[test]
        fn complete_and_short_enough(
            counts in proptest::collection::vec(prop_oneof![Just(0u32), 1u32..20, 1u32..100_000], 286),
            limit in 9u8..16,
        ) {
            let counts: [u32; 286] = counts.try_into().unwrap();
            let lengths = lengths(&counts, limit);
            prop_assert!(is_complete(&lengths));
            for (one, length) in counts.iter().zip(&lengths) {
                prop_assert!(*length <= limit);
                prop_assert!(*one == 0 || *length > 0);
                for (other, deeper) in counts.iter().zip(&lengths) {
                    prop_assert!(*one == 0 || one >= other || *deeper == 0 || deeper <= length, "the rarer the longer");
                }
            }
        }
    }
}
