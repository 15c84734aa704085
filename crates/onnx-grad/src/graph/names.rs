//! Maps and sets keyed by the names of a graph.

use std::collections::{HashMap, HashSet};

/// A map from names (or whatever is as short and as often looked up).
///
/// Looking names up is most of what differentiating does, so the hasher is a faster one than the standard library's. It is seeded
/// at random, since names come from files that anybody may have made; nothing may depend on the order of such a map.
pub(crate) type NameMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A set of names, as [`NameMap`].
pub(crate) type NameSet<K> = HashSet<K, foldhash::fast::RandomState>;
