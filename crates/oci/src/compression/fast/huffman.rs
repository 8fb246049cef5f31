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

/// The lengths of a code for symbols that occur `counts` times; 0 where a symbol doesn't. None is above `limit`.
///
/// A tree of one symbol gets a second, since decoders want a complete code.
pub(super) fn lengths<const N: usize>(counts: &[u32; N], limit: u8) -> [u8; N] {
    let mut lengths = [0; N];
    let mut used: Vec<(u32, u16)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(symbol, count)| (*count, symbol as u16))
        .collect();
    match used[..] {
        [] => {
            lengths[0] = 1;
            lengths[1] = 1;
            return lengths;
        }
        [(_, symbol)] => {
            lengths[usize::from(symbol)] = 1;
            lengths[usize::from(symbol == 0)] = 1;
            return lengths;
        }
        _ => {}
    }
    // The symbol breaks ties, so that equal counts always give the same code.
    used.sort_unstable();
    let mut at_length = leaves(&used);
    limit_lengths(&mut at_length, usize::from(limit));
    // The rarest get the longest.
    let mut symbols = used.iter().map(|(_, symbol)| usize::from(*symbol));
    for length in (1..=usize::from(limit)).rev() {
        for symbol in symbols.by_ref().take(at_length[length]) {
            lengths[symbol] = length as u8;
        }
    }
    lengths
}

/// How many leaves the tree of `used` (by rising count) has at each depth.
fn leaves(used: &[(u32, u16)]) -> [usize; 33] {
    let count = used.len();
    // Inner nodes in the order they are made, which is that of their weights.
    let mut weights: Vec<u64> = Vec::with_capacity(count);
    let mut parents = vec![0; count * 2];
    let (mut leaf, mut inner) = (0, 0);
    for made in 0..count - 1 {
        let mut lightest = || {
            let next = used.get(leaf).map(|(weight, _)| u64::from(*weight));
            match (next, weights.get(inner).copied()) {
                (Some(one), other) if other.is_none_or(|other| one <= other) => {
                    leaf += 1;
                    (leaf - 1, one)
                }
                (_, Some(other)) => {
                    inner += 1;
                    (count + inner - 1, other)
                }
                _ => unreachable!("a tree of n leaves has n - 1 inner nodes"),
            }
        };
        let (one, other) = (lightest(), lightest());
        parents[one.0] = count + made;
        parents[other.0] = count + made;
        weights.push(one.1 + other.1);
    }
    let root = count * 2 - 2;
    let mut depths = vec![0usize; count * 2];
    let mut at_depth = [0; 33];
    for node in (0..root).rev() {
        depths[node] = depths[parents[node]] + 1;
        if node < count {
            // Counts of a block are below 2^17: no Fibonacci sequence in them goes deeper.
            at_depth[depths[node].min(32)] += 1;
        }
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
