//! The hash maps of the broker.

/// A map that hashes the same way in every run, so that two replicas and two runs of a simulation are alike.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;

/// A set of the same kind.
pub(crate) type Set<T> = hashbrown::HashSet<T, foldhash::fast::FixedState>;
