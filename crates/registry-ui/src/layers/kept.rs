//! What is kept in memory, as long as there is room: what was not asked for the longest goes first.

use std::hash::Hash;

use lru::LruCache;

/// Values that were expensive to make, with a bound to what they weigh together.
#[derive(Debug)]
pub(crate) struct Kept<K: Hash + Eq, V> {
    values: LruCache<K, (V, usize)>,
    room: usize,
    weight: usize,
}

impl<K: Hash + Eq, V: Clone> Kept<K, V> {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            values: LruCache::unbounded(),
            room,
            weight: 0,
        }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.values.get(key).map(|(value, _)| value.clone())
    }

    /// Keeps a value, unless it is too heavy for all the room there is.
    pub(crate) fn keep(&mut self, key: K, value: V, weight: usize) {
        // What weighs nothing takes a place, too.
        let weight = weight.max(1);
        if let Some((_, old)) = self.values.pop(&key) {
            self.weight -= old;
        }
        if weight > self.room {
            return;
        }
        self.values.put(key, (value, weight));
        self.weight += weight;
        while self.weight > self.room {
            match self.values.pop_lru() {
                Some((_, (_, gone))) => self.weight -= gone,
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_goes_first() {
        let mut kept = Kept::new(10);
        kept.keep("a", 1, 4);
        kept.keep("b", 2, 4);
        assert_eq!(kept.get(&"a"), Some(1));
        kept.keep("c", 3, 5);
        assert_eq!(
            (kept.get(&"a"), kept.get(&"b"), kept.get(&"c")),
            (Some(1), None, Some(3))
        );
        kept.keep("d", 4, 11);
        assert_eq!((kept.get(&"d"), kept.get(&"a")), (None, Some(1)));
        kept.keep("a", 5, 1);
        kept.keep("e", 6, 4);
        assert_eq!(kept.weight, 10);
        assert_eq!(
            (kept.get(&"a"), kept.get(&"c"), kept.get(&"e")),
            (Some(5), Some(3), Some(6))
        );
    }
}
