//! The hash maps of the broker.
//!
//! Clients choose the names that become keys, so every map draws its own seed: nobody can make names that collide. What
//! comes out of a map in its order is sorted wherever the order can be seen.

/// A map with a seed of its own.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::RandomState>;

/// A set of the same kind.
pub(crate) type Set<T> = hashbrown::HashSet<T, foldhash::fast::RandomState>;
