//! Sparse files in an image: a map of chunks of equal length, each of which lies somewhere in one piece or is a hole.
//!
//! Archives store pieces of any length. A chunk that one piece covers, at a place an image can point to, is left where it is; one
//! of which only a part is stored is put together, with zeros, behind the data.

use havre_erofs::{BlockSize, Node};
use havre_oci::layer::{Entry, Stored};

/// How one file is laid out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Bytes of a chunk.
    pub(super) chunk: u64,
    /// As [`Node::Sparse`] takes it.
    pub(super) map: Vec<u64>,
    /// What is put together, in the order of the file.
    pub(super) copies: Vec<Copied>,
    /// Bytes of the chunks that are put together.
    pub(super) copied: u64,
}

/// A part of a chunk that is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copied {
    /// Among the stored bytes of the file.
    pub(super) from: u64,
    /// Among the chunks that are put together.
    pub(super) to: u64,
    pub(super) len: u64,
}

/// The largest chunk, in blocks: what a chunk format can say.
const MAX_CHUNK: u64 = 1 << 31;
/// A map has at most as many chunks, whatever is large or scattered: 4 MiB.
const MAX_CHUNKS: u64 = 1 << 20;

/// The length of chunks for a file of `size` bytes: the longest that no bound of a piece divides, or longer where there would be
/// too many of them.
fn chunk(size: u64, stored: &[Stored], block: BlockSize) -> u64 {
    let bounds = stored
        .iter()
        .flat_map(|piece| [piece.offset, piece.offset + piece.len]);
    let common = bounds
        .filter(|bound| *bound != size)
        .fold(size.next_power_of_two(), |all, bound| all | bound);
    let whole = 1 << common.trailing_zeros();
    let most = (1 << 16_u64).max(64 * stored.len() as u64).min(MAX_CHUNKS);
    let fewest = size.div_ceil(most).next_power_of_two();
    whole.max(fewest).clamp(block.bytes(), MAX_CHUNK * block.bytes())
}

impl Plan {
    /// For a file of `size` bytes of which `stored` lie at the byte `there` of the image, one after the other (`None`: nowhere
    /// yet). The chunks that are put together will lie at `behind`, an offset as in [`Node::Sparse`].
    pub(super) fn new(
        size: u64,
        stored: &[Stored],
        block: BlockSize,
        there: Option<u64>,
        behind: u64,
    ) -> Self {
        let chunk = chunk(size, stored, block);
        let mut plan = Self {
            chunk,
            ..Self::default()
        };
        // The first piece that reaches into the chunk or behind it, and the stored bytes before it.
        let (mut next, mut before) = (0, 0);
        let mut start = 0;
        while start < size {
            let end = start.saturating_add(chunk).min(size);
            while let Some(piece) = stored.get(next)
                && piece.offset + piece.len <= start
            {
                before += piece.len;
                next += 1;
            }
            let place = match stored.get(next) {
                Some(piece) if piece.offset < end => {
                    let covered = piece.offset <= start && end <= piece.offset + piece.len;
                    let place = there
                        .filter(|_| covered)
                        .map(|there| there + before + (start - piece.offset));
                    match place.filter(|place| place.is_multiple_of(block.bytes())) {
                        Some(place) => place,
                        None => {
                            let place = behind + plan.copied;
                            plan.put_together((start, end), &stored[next..], before);
                            plan.copied += (end - start).next_multiple_of(block.bytes());
                            place
                        }
                    }
                }
                _ => Node::HOLE,
            };
            plan.map.push(place);
            start = end;
        }
        plan
    }

    /// Notes the parts of a chunk, of pieces before which `before` bytes are stored.
    fn put_together(&mut self, (start, end): (u64, u64), stored: &[Stored], mut before: u64) {
        for piece in stored.iter().take_while(|piece| piece.offset < end) {
            let first = piece.offset.max(start);
            let part = Copied {
                from: before + (first - piece.offset),
                to: self.copied + (first - start),
                len: (piece.offset + piece.len).min(end) - first,
            };
            before += piece.len;
            match self.copies.last_mut() {
                Some(last) if (last.from + last.len, last.to + last.len) == (part.from, part.to) => {
                    last.len += part.len;
                }
                _ => self.copies.push(part),
            }
        }
    }

    /// What is zero of the chunks that are put together: offsets and lengths.
    pub(super) fn zeros(&self) -> impl Iterator<Item = (u64, u64)> {
        let ends = std::iter::once(0).chain(self.copies.iter().map(|part| part.to + part.len));
        let starts = self.copies.iter().map(|part| part.to).chain([self.copied]);
        ends.zip(starts)
            .filter(|(end, start)| start > end)
            .map(|(end, start)| (end, start - end))
    }
}

/// What is put together behind the data of an image in the tar form.
#[derive(Debug, Default)]
pub(super) struct Appended {
    /// From the byte of the image to the byte behind the data.
    pub(super) parts: Vec<Copied>,
    /// Bytes in all.
    len: u64,
}

/// The most parts of one layer: 3 MiB of memory.
const MAX_PARTS: usize = 1 << 17;

/// More than [`MAX_PARTS`].
pub(super) struct TooManyParts;

impl Appended {
    /// How a file is laid out whose stored bytes lie at the byte `there` of the image, if it is sparse.
    pub(super) fn plan(&mut self, entry: &Entry, there: u64) -> Result<Option<Plan>, TooManyParts> {
        let Some(stored) = &entry.stored else {
            return Ok(None);
        };
        let behind = Node::APPENDED + self.len;
        let plan = Plan::new(entry.size, stored, BlockSize::B512, Some(there), behind);
        if self.parts.len() + plan.copies.len() > MAX_PARTS {
            return Err(TooManyParts);
        }
        self.parts.extend(plan.copies.iter().map(|part| Copied {
            from: there + part.from,
            to: self.len + part.to,
            len: part.len,
        }));
        self.len += plan.copied;
        Ok(Some(plan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(pieces: &[(u64, u64)]) -> Vec<Stored> {
        pieces
            .iter()
            .map(|&(offset, len)| Stored { offset, len })
            .collect()
    }

    fn plan(size: u64, pieces: &[(u64, u64)]) -> Plan {
        Plan::new(size, &stored(pieces), BlockSize::B512, Some(4096), Node::APPENDED)
    }

    #[test]
    fn what_lies_well_is_left_there() {
        let plan = plan(100_000, &[(8192, 4096), (20_480, 8192), (98_304, 1696)]);
        assert_eq!((plan.chunk, plan.copied), (4096, 0));
        let there: Vec<_> = plan
            .map
            .iter()
            .map(|at| (*at != Node::HOLE).then_some(*at))
            .collect();
        let expected = [(2, 4096), (5, 8192), (6, 12_288), (24, 16_384)];
        assert_eq!(there.len(), 25);
        for (n, at) in there.into_iter().enumerate() {
            assert_eq!(
                at,
                expected.iter().find(|(chunk, _)| *chunk == n).map(|(_, at)| *at)
            );
        }
    }

    #[test]
    fn large_holes_cost_little() {
        // All of it, wherever the one byte is.
        assert_eq!(plan(1 << 40, &[]).map, [Node::HOLE]);
        let one = plan(1 << 40, &[(123_456_789, 1)]);
        assert!(one.map.len() <= 1 << 16, "{}", one.map.len());
        assert_eq!((one.copied, one.copies.len()), (1 << 24, 1));
        let many: Vec<_> = (0..100_000).map(|n| (n * 9_999_999, 1)).collect();
        assert!(plan(1 << 40, &many).map.len() <= 1 << 20);
        assert!(plan(0, &[]).map.is_empty());
    }

    fn pieces() -> impl Strategy<Value = (u64, Vec<(u64, u64)>)> {
        let unit = prop_oneof![Just(1_u64), Just(512), Just(4096), Just(700)];
        let steps = proptest::collection::vec((1..50_u64, 1..50_u64), 0..30);
        (unit, steps, 0..60_000_u64).prop_map(|(unit, steps, tail)| {
            let mut at = 0;
            let pieces: Vec<_> = steps
                .into_iter()
                .map(|(gap, len)| {
                    let offset = at + gap * unit;
                    at = offset + len * unit;
                    (offset, len * unit)
                })
                .collect();
            (at + tail, pieces)
        })
    }

    proptest! {
        /// Following the plan gives the file, with both blocks, with and without contents that are there.
        #[test]
        fn plans_give_the_file((size, pieces) in pieces(), there in any::<bool>(), small in any::<bool>()) {
            let block = if small { BlockSize::B512 } else { BlockSize::B4096 };
            let stored = stored(&pieces);
            let mut expected = vec![0; size as usize];
            let mut data = vec![0; 4096];
            for piece in &stored {
                for at in piece.offset..piece.offset + piece.len {
                    expected[at as usize] = at as u8 | 1;
                    data.push(at as u8 | 1);
                }
            }
            let plan = Plan::new(size, &stored, block, there.then_some(4096), Node::APPENDED);
            let mut behind = vec![0xFF; plan.copied as usize];
            let mut last = 0;
            for part in &plan.copies {
                prop_assert!(part.to >= last);
                last = part.to + part.len;
                behind[part.to as usize..last as usize]
                    .copy_from_slice(&data[4096 + part.from as usize..][..part.len as usize]);
            }
            for (start, len) in plan.zeros() {
                behind[start as usize..][..len as usize].fill(0);
            }
            let mut made = Vec::new();
            for place in &plan.map {
                let len = plan.chunk.min(size - made.len() as u64) as usize;
                match *place {
                    Node::HOLE => made.resize(made.len() + len, 0),
                    place if place >= Node::APPENDED => {
                        let at = (place - Node::APPENDED) as usize;
                        prop_assert!((at as u64).is_multiple_of(block.bytes()));
                        made.extend_from_slice(&behind[at..at + len]);
                    }
                    place => {
                        prop_assert!(place.is_multiple_of(block.bytes()));
                        made.extend_from_slice(&data[place as usize..][..len]);
                    }
                }
            }
            prop_assert!(made == expected);
        }
    }
}
