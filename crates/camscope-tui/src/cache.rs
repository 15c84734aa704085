//! Values that are kept for going back, within a number of bytes.

use std::collections::HashMap;

/// Values kept by key, the least recently used of them dropped beyond a number of bytes.
#[derive(Debug)]
pub struct Cache<K, V> {
    entries: HashMap<K, (u64, usize, V)>,
    clock: u64,
    bytes: usize,
    most: usize,
    generation: u64,
}

impl<K: std::hash::Hash + Eq + Copy, V> Cache<K, V> {
    /// An empty one for so many bytes.
    pub fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), clock: 0, bytes: 0, most, generation: 0 }
    }

    /// The value, if it is there.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, _, value)| value)
    }

    /// Notes that the value is in use.
    pub fn touch(&mut self, key: &K) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.0 = self.clock;
        }
    }

    /// Keeps a value of that many bytes; the one just put in is never dropped.
    pub fn put(&mut self, key: K, bytes: usize, value: V) {
        self.clock += 1;
        self.generation += 1;
        if let Some((_, old, _)) = self.entries.insert(key, (self.clock, bytes, value)) {
            self.bytes -= old;
        }
        self.bytes += bytes;
        while self.bytes > self.most && self.entries.len() > 1 {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _, _))| *used).map(|(key, _)| *key);
            if let Some((_, size, _)) = oldest.and_then(|key| self.entries.remove(&key)) {
                self.bytes -= size;
            }
        }
    }

    /// Keeps what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.generation += 1;
        let bytes = &mut self.bytes;
        self.entries.retain(|key, (_, size, _)| {
            let kept = keep(key);
            if !kept {
                *bytes -= *size;
            }
            kept
        });
    }

    /// Keeps so many bytes from now on.
    pub fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Another number whenever other values are kept.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_drops_what_was_not_used_for_longest() {
        let mut cache = Cache::new(100);
        for key in 0..4 {
            cache.put(key, 30, key);
            cache.touch(&0);
        }
        assert_eq!([0, 1, 2, 3].map(|key| cache.get(&key).is_some()), [true, false, true, true]);
        cache.put(9, 1000, 9);
        assert_eq!((cache.len(), cache.get(&9)), (1, Some(&9)));
        cache.retain(|_| false);
        assert!(cache.is_empty() && cache.bytes == 0);
    }
}
