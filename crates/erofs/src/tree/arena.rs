//! Storage that grows without moving: nothing is held twice while it grows.

use std::ops::{Index, IndexMut};

const ITEMS_BITS: u32 = 12;
const ITEMS: usize = 1 << ITEMS_BITS;
const TEXT_BITS: u32 = 16;
const TEXT: usize = 1 << TEXT_BITS;

/// Items by number.
#[derive(Debug, Clone)]
pub(crate) struct Items<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Items<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * ITEMS + last
    }

    /// Returns the number of the new item.
    pub(crate) fn push(&mut self, item: T) -> u32 {
        let number = self.len() as u32;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < ITEMS => chunk.push(item),
            _ => {
                let mut chunk = Vec::with_capacity(ITEMS);
                chunk.push(item);
                self.chunks.push(chunk);
            }
        }
        number
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.chunks.len() * ITEMS * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()) as u64
    }
}

impl<T> Index<u32> for Items<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.chunks[(number >> ITEMS_BITS) as usize][number as usize & (ITEMS - 1)]
    }
}

impl<T> IndexMut<u32> for Items<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.chunks[(number >> ITEMS_BITS) as usize][number as usize & (ITEMS - 1)]
    }
}

/// Strings of up to 4095 bytes, each with one or two bytes of length.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    chunks: Vec<Vec<u8>>,
}

impl Texts {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Returns where the text is kept; `None` when 4 GiB are full.
    pub(crate) fn push(&mut self, text: &[u8]) -> Option<u32> {
        debug_assert!(text.len() < 1 << 14);
        let fits = |chunk: &Vec<u8>| chunk.len() + text.len() + 2 <= TEXT;
        if !self.chunks.last().is_some_and(fits) {
            if self.chunks.len() == 1 << (32 - TEXT_BITS) {
                return None;
            }
            self.chunks.push(Vec::with_capacity(TEXT));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        let at = (number << TEXT_BITS | chunk.len()) as u32;
        match text.len() {
            short @ 0..0x80 => chunk.push(short as u8),
            long => chunk.extend_from_slice(&[0x80 | (long & 0x7F) as u8, (long >> 7) as u8]),
        }
        chunk.extend_from_slice(text);
        Some(at)
    }

    pub(crate) fn get(&self, at: u32) -> &[u8] {
        let chunk = &self.chunks[(at >> TEXT_BITS) as usize];
        let at = at as usize & (TEXT - 1);
        match chunk[at] {
            short @ 0..0x80 => &chunk[at + 1..at + 1 + usize::from(short)],
            low => {
                let len = usize::from(low & 0x7F) | usize::from(chunk[at + 1]) << 7;
                &chunk[at + 2..at + 2 + len]
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.chunks.len() * TEXT + self.chunks.capacity() * size_of::<Vec<u8>>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_across_chunks() {
        let mut texts = Texts::new();
        let text = |n: usize| vec![n as u8; n % 4096];
        let places: Vec<u32> = (0..20_000).map(|n| texts.push(&text(n)).unwrap()).collect();
        for (n, place) in places.iter().enumerate() {
            assert_eq!(texts.get(*place), text(n), "{n}");
        }
    }

    #[test]
    fn items_by_number() {
        let mut items = Items::new();
        assert_eq!(items.len(), 0);
        for n in 0..10_000_u32 {
            assert_eq!(items.push(n), n);
        }
        items[5000] = 1;
        assert_eq!((items.len(), items[4096], items[5000]), (10_000, 4096, 1));
    }
}
