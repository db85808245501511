//! A map of bounded size that forgets what has not been asked for lately.

use std::sync::{PoisonError, RwLock};

use crate::base::hash::QuickMap;
use crate::domain::key::KeyId;

/// Shards keep the requests of different keys from waiting for one lock.
const SHARDS: usize = 16;

/// Two generations a shard: a full young one becomes the old one, and what is asked for again becomes young again. That
/// forgets the longest unused half at a cost that does not grow with the size.
pub(super) struct Bounded<V> {
    shards: [RwLock<Shard<V>>; SHARDS],
    generation: usize,
}

/// So small that ids which are made to collide cost little.
struct Shard<V> {
    young: QuickMap<KeyId, V>,
    old: QuickMap<KeyId, V>,
}

impl<V: Clone> Bounded<V> {
    /// A map of at most `capacity` entries, give or take the rounding to shards.
    pub(super) fn new(capacity: usize) -> Self {
        let shard = || RwLock::new(Shard { young: QuickMap::default(), old: QuickMap::default() });
        Self { shards: std::array::from_fn(|_| shard()), generation: (capacity / (2 * SHARDS)).max(1) }
    }

    pub(super) fn get(&self, id: &str) -> Option<V> {
        let shard = self.shard(id);
        {
            let held = shard.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(value) = held.young.get(id) {
                return Some(value.clone());
            }
            if !held.old.contains_key(id) {
                return None;
            }
        }
        let mut held = shard.write().unwrap_or_else(PoisonError::into_inner);
        match held.old.remove_entry(id) {
            Some((id, value)) => {
                held.put(id, value.clone(), self.generation);
                Some(value)
            }
            // Another request was faster.
            None => held.young.get(id).cloned(),
        }
    }

    pub(super) fn insert(&self, id: KeyId, value: V) {
        let mut held = self.shard(id.as_str()).write().unwrap_or_else(PoisonError::into_inner);
        held.put(id, value, self.generation);
    }

    pub(super) fn remove(&self, id: &str) {
        let mut held = self.shard(id).write().unwrap_or_else(PoisonError::into_inner);
        held.young.remove(id);
        held.old.remove(id);
    }

    /// Ids are random, so their last character spreads them well enough.
    fn shard(&self, id: &str) -> &RwLock<Shard<V>> {
        let last = id.as_bytes().last().copied().unwrap_or_default();
        &self.shards[usize::from(last) % SHARDS]
    }
}

impl<V> Shard<V> {
    fn put(&mut self, id: KeyId, value: V, generation: usize) {
        if self.young.len() >= generation && !self.young.contains_key(&id) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::MintedKey;

    #[test]
    fn it_stays_bounded_and_keeps_what_is_in_use() {
        let map = Bounded::new(320);
        let favourite = MintedKey::new(None).id;
        map.insert(favourite.clone(), 0);
        for n in 1..5_000 {
            map.insert(MintedKey::new(None).id, n);
            assert_eq!(map.get(favourite.as_str()), Some(0));
        }
        let held = |shard: &RwLock<Shard<i32>>| shard.read().unwrap().young.len() + shard.read().unwrap().old.len();
        assert!(map.shards.iter().map(held).sum::<usize>() <= 320);
    }

    #[test]
    fn the_newest_value_is_the_one_found() {
        let map = Bounded::new(1);
        let id = MintedKey::new(None).id;
        map.insert(id.clone(), 1);
        map.insert(id.clone(), 2);
        assert_eq!(map.get(id.as_str()), Some(2));
        map.remove(id.as_str());
        assert_eq!(map.get(id.as_str()), None);
    }
}
