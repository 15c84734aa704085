//! Maps and sets keyed by the names of a graph; names that nothing else has.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher,
};

use foldhash::{fast::RandomState, quality::FixedState};

/// A map from names (or whatever is as short and as often looked up).
///
/// Looking names up is most of what differentiating does, so the hasher is a faster one than the standard library's. It is seeded
/// at random, since names come from files that anybody may have made; nothing may depend on the order of such a map.
pub(crate) type NameMap<K, V> = HashMap<K, V, RandomState>;

/// A set of names, as [`NameMap`].
pub(crate) type NameSet<K> = HashSet<K, RandomState>;

/// Names in use, by their hashes alone: should two names ever share one, the later gets a number that it need not have. The hash
/// is the same in every process, so that the names are.
#[derive(Debug, Default)]
pub(crate) struct FreshNames {
    /// With the number that makes it the next name where it is asked for again.
    taken: NameMap<u64, u32>,
    hasher: FixedState,
}

impl FreshNames {
    /// Keeps a name from being given.
    pub(crate) fn take(&mut self, name: &str) {
        self.taken.entry(self.hasher.hash_one(name)).or_insert(1);
    }

    /// Gives a name: `plain`, or that with the first number that makes it new.
    pub(crate) fn give(&mut self, plain: &str) -> String {
        let key = self.hasher.hash_one(plain);
        let Some(&(mut count)) = self.taken.get(&key) else {
            self.taken.insert(key, 1);
            return plain.to_owned();
        };
        loop {
            let name = format!("{plain}_{count}");
            count += 1;
            let numbered = self.hasher.hash_one(&name);
            if !self.taken.contains_key(&numbered) {
                self.taken.extend([(numbered, 1), (key, count)]);
                return name;
            }
        }
    }
}
