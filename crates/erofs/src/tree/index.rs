//! From a directory and a name to the entry.

/// Entries are counted in 24 bits; one value means none.
pub(crate) const MAX_ENTRIES: u32 = (1 << 24) - 2;

/// A hash table of entry numbers, eight bits of hash beside each. It never forgets an entry, but another can take its place.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    slots: Vec<u32>,
    used: usize,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![0; 64],
            used: 0,
        }
    }

    fn slot(number: u32, hash: u64) -> u32 {
        (number + 1) | (((hash >> 56) as u32) << 24)
    }

    fn position(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = (hash >> 56) as u32;
        let mut at = self.position(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            let number = (slot & 0xFF_FFFF) - 1;
            if slot >> 24 == tag && is(number) {
                return Some(number);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Adds an entry that is not there yet. When the table grows, `all` gives the others with their hashes: in the order they
    /// lie in memory, which is several times faster than the order of the table.
    pub(crate) fn insert<I: Iterator<Item = (u32, u64)>>(
        &mut self,
        hash: u64,
        number: u32,
        all: impl FnOnce() -> I,
    ) {
        if self.used >= self.slots.len() / 8 * 7 {
            let len = self.slots.len() * 2;
            // The old table goes before the new one comes.
            self.slots = Vec::new();
            self.slots = vec![0; len];
            for (number, hash) in all() {
                self.place(hash, number);
            }
        }
        self.place(hash, number);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, number: u32) {
        let mut at = self.position(hash);
        while self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = Self::slot(number, hash);
    }

    /// Puts the entry `new`, of the same directory and name, in the place of `old`.
    pub(crate) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        let old = Self::slot(old, hash);
        let mut at = self.position(hash);
        while self.slots[at] != old && self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = Self::slot(new, hash);
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.slots.capacity() * size_of::<u32>()) as u64
    }
}
